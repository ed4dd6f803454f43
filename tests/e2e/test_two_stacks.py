"""Two files, two stacks on one machine: each has its own ports and data, and each command finds its own."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest

from tests.e2e.avatar_command import Avatar
from tests.stack import ROOT, config_file

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


async def test_two_stacks_run_side_by_side_and_end_alone(tmp_path: Path) -> None:
    one = Avatar(config_file(tmp_path / "one", "orchestrator reply = 'echo'"))
    other = Avatar(config_file(tmp_path / "other", "canary enabled = true"))
    async with one.up() as said:
        assert f"https://localhost:{one.settings().network.page_port}" in said
        async with other.up():
            states = [json.loads((await avatar.run("status", "--json")).out) for avatar in (one, other)]
            assert [state["ready"] for state in states] == [True, True]
            assert "canary" not in states[0]["processes"]
            assert states[1]["processes"]["canary"] == "serving"
            made = await other.run(
                *("portrait", "add", str(ROOT / "services/render/portraits/default.jpg"), "--id", "second"),
                *("--consent", "nobody's face"),
            )
            assert made.out.splitlines()[0] == "avatars/second", made.err
            faces = [(await avatar.run("portrait", "list")).out for avatar in (one, other)]
            assert "avatars/second" not in faces[0]
            assert "avatars/second" in faces[1]
            again = await one.run("up", "--detach")
            assert again.status == 1
            assert re.search(r"an avatar with the data directory \S+ runs already", again.err)
        after = await asyncio.gather(one.run("status"), other.run("status"))
        assert [ended.status for ended in after] == [0, 1]
        assert "no avatar runs" in after[1].out


async def test_a_second_stack_on_the_same_ports_says_which_are_taken(tmp_path: Path) -> None:
    one = Avatar(config_file(tmp_path / "one"))
    rival = tmp_path / "rival.toml"
    rival.write_text(one.config.read_text().replace(str(tmp_path / "one" / "data"), str(tmp_path / "one" / "data2")))
    (tmp_path / "one" / "data2").mkdir()
    (tmp_path / "one" / "data2" / "models").symlink_to(tmp_path / "one" / "data" / "models")
    async with one.up():
        refused = await Avatar(rival).run("up", "--detach")
    assert refused.status == 1
    assert str(one.settings().network.page_port) in refused.err
    assert "other ports in avatar.toml" in refused.err


async def test_a_mistake_in_the_file_stops_the_start_with_one_sentence(tmp_path: Path) -> None:
    avatar = Avatar(config_file(tmp_path, "render max_streems = 2"))
    refused = await avatar.run("up")
    assert refused.status == 1
    assert refused.err.count("\n") == 1
    assert "[render]: there is no setting max_streems (did you mean max_streams?)" in refused.err
