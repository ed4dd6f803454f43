"""`avatar models` as people and scripts use it: real processes against a hub on loopback."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from services.common import model_manifest
from services.common.model_store import ModelStore
from tests.fakes.hub import BOUND, TOKEN, FakeHub, Stall, Status, serving_hub
from tests.stack import free_ports
from tests.tools.cli.pulling import EXTRA, FILES, MODELS, MORE, TINY
from tests.tools.cli.terminal import LIMIT_S, Terminal
from tools.cli.__main__ import main

COMMAND = (sys.executable, "-m", "tests.tools.cli.pulling", "models")


@pytest.fixture
def fake() -> Iterator[FakeHub]:
    with serving_hub(FILES | MORE) as hub:
        yield hub


@pytest.fixture
def env(tmp_path: Path, fake: FakeHub, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A data directory of the test's own, the hub on loopback, and a token that must not be seen."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    ours = {"AVATAR_DATA_DIR": str(tmp_path / "data"), "HF_ENDPOINT": fake.endpoint, "HF_TOKEN": TOKEN}
    ours |= {"AVATAR_CONFIG": "", "XDG_CONFIG_HOME": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    for name, value in ours.items():
        monkeypatch.setenv(name, value)
    return dict(os.environ)


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "data")


class Command:
    """`avatar models` in this process, at a place where nobody can be asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *arguments: str, status: int = 0, **env: str) -> str:
        """Returns: what it printed."""
        for name, value in env.items():
            self._monkeypatch.setenv(name, value)
        try:
            main(["models", *arguments])
            ended: object = 0
        except SystemExit as end:
            ended = end.code
        printed = self._capsys.readouterr()
        # A sentence at the end is status 1, as the interpreter has it.
        said = printed.out + printed.err + (ended if isinstance(ended, str) else "")
        assert (1 if isinstance(ended, str) else ended) == status, said
        assert TOKEN not in said
        assert "secret" not in said
        return said


@pytest.fixture
def run(env: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    monkeypatch.setattr(model_manifest, "MODELS", MODELS)
    return Command(monkeypatch, capsys)


def begin(env: Mapping[str, str], *arguments: str, **more: Any) -> subprocess.Popen[str]:
    """The command as a process."""
    return subprocess.Popen(
        (*COMMAND, *arguments), env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more
    )


def read_until(process: subprocess.Popen[str], words: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if words in line:
            return
    raise AssertionError(f"the process ended without {words!r}")


def test_list_says_what_there_is_and_what_to_do(run: Command) -> None:
    said = run("list")
    assert "tiny: a tiny model" in said
    assert "for render, 1 MB, licence Free (https://example.org/free)\n" in said
    assert "not here, fetched by: avatar models pull tiny" in said
    assert "extra (optional, for tiny)" in said
    assert "has to be accepted, as bound" in said
    run("pull", "tiny")
    assert "here, verified on 20" in run("list")


def test_list_for_programs(run: Command, store: ModelStore) -> None:
    run("pull", "tiny")
    tiny, extra = json.loads(run("list", "--json"))
    assert (tiny["name"], tiny["complete"], tiny["here_bytes"]) == ("tiny", True, TINY.size_bytes)
    assert (tiny["folder"], tiny["files"]["two.onnx"]) == (str(store.folder(TINY)), "verified")
    assert (extra["optional_for"], extra["complete"], extra["verified_at"]) == ("tiny", False, None)
    assert extra["licence"]["needs_yes"]
    assert not extra["licence"]["accepted"]


def test_pull_path_and_verify(run: Command, store: ModelStore) -> None:
    missing = run("path", "tiny", status=1)
    assert "the model tiny is not complete" in missing
    assert "fetch the rest by `avatar models pull tiny`" in missing
    said = run("pull", "tiny")
    assert "licence: Free (https://example.org/free)\n  It allows any use." in said
    assert "nets/one.pth: 0 % of 0 MB" in said
    assert "nets/one.pth: here, and its hash is right" in said
    assert run("path", "tiny") == f"{store.folder(TINY)}\n"
    assert {path: (store.folder(TINY) / path).read_bytes() for path in FILES} == FILES
    verified = run("verify")
    assert verified.splitlines() == [f"verified  {store.folder(TINY)}/{path}" for path in FILES]


def test_what_is_there_needs_no_hub(run: Command, store: ModelStore) -> None:
    run("pull", "tiny")
    (port,) = free_ports(1)
    nowhere = f"http://127.0.0.1:{port}"
    assert f"tiny is here, in {store.folder(TINY)}" in run("pull", "tiny", HF_ENDPOINT=nowhere)
    run("verify", "tiny")
    assert "cannot be reached" in run("pull", "extra", "--accept-licence", "bound", status=1)


def test_damage_is_found_named_and_repaired(run: Command, store: ModelStore) -> None:
    run("pull", "tiny")
    damaged = store.folder(TINY) / "two.onnx"
    damaged.write_bytes(bytes(len(FILES["two.onnx"])))
    said = run("verify", "tiny", status=1)
    assert f"damaged   {damaged}" in said
    assert "1 of 2 files of tiny is missing or damaged; `avatar models pull tiny` fetches what is wrong" in said
    assert "damaged, repaired by: avatar models pull tiny" in run("list")
    run("path", "tiny", status=1)
    run("pull", "tiny")
    run("verify", "tiny")


def test_files_elsewhere_are_verified_where_they_are(run: Command, tmp_path: Path) -> None:
    for path, content in FILES.items():
        (tmp_path / "mine" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / path).write_bytes(content)
    run("verify", "tiny", "--dir", str(tmp_path / "mine"))
    (tmp_path / "mine" / "two.onnx").unlink()
    said = run("verify", "tiny", "--dir", str(tmp_path / "mine"), status=1)
    assert f"missing   {tmp_path}/mine/two.onnx" in said
    assert f"1 of 2 files of tiny is missing in {tmp_path}/mine or not the pinned ones" in said
    assert "name it too" in run("verify", "--dir", str(tmp_path), status=1)


def test_verify_says_when_nothing_is_there(run: Command) -> None:
    assert "no model is here" in run("verify")
    assert "2 of 2 files of tiny are missing or damaged" in run("verify", "tiny", status=1)


def test_a_wrong_name_is_answered_with_the_right_ones(run: Command) -> None:
    assert "no model tinny (did you mean tiny?); there are tiny, extra" in run("pull", "tinny", status=1)


def test_a_script_that_says_nothing_of_a_licence_gets_the_rest(run: Command, store: ModelStore) -> None:
    said = run("pull", "tiny")
    assert "licence: Bound (https://example.org/bound)\n  It allows research." in said
    assert "avatar models pull extra --accept-licence bound accepts it" in said
    assert "Left out: the small one serves." in said
    assert not store.state(EXTRA).is_complete
    refused = run("pull", "extra", status=1)
    assert "`avatar models pull extra --accept-licence bound` accepts it" in refused


def test_nothing_is_fetched_before_every_licence_is_accepted(run: Command, fake: FakeHub) -> None:
    assert "`avatar models pull extra --accept-licence bound` accepts it" in run("pull", "tiny", "extra", status=1)
    assert fake.seen == []


def test_a_licence_accepted_once_is_not_asked_for_again(run: Command, tmp_path: Path, store: ModelStore) -> None:
    run("pull", "tiny", "--accept-licence", "bound")
    assert store.state(EXTRA).is_complete
    kept = json.loads((tmp_path / "data" / "licences" / "bound.json").read_text())
    assert (kept["licence"], kept["url"]) == (BOUND.title, BOUND.url)
    (store.folder(EXTRA) / "more/three.onnx").unlink()
    run("pull", "extra")
    assert store.state(EXTRA).is_complete


def test_a_licence_that_nothing_needs_is_a_mistake(run: Command, fake: FakeHub) -> None:
    said = run("pull", "tiny", "--accept-licence", "bund", status=1)
    assert "no licence bund has to be accepted for this; what does is bound" in said
    assert fake.seen == []


@pytest.mark.slow
def test_a_person_who_agrees_gets_everything(env: dict[str, str], store: ModelStore) -> None:
    terminal = Terminal(env, *COMMAND, "pull", "tiny")
    terminal.sees("Do you accept Bound? Type yes or no: ")
    terminal.types("yes\n")
    terminal.ends(0)
    assert "It allows research." in terminal.seen
    assert store.state(TINY).is_complete
    assert store.state(EXTRA).is_complete


@pytest.mark.slow
@pytest.mark.parametrize("answer", ["no\n", "\x04"])
def test_a_person_who_does_not_agree_gets_the_rest(answer: str, env: dict[str, str], store: ModelStore) -> None:
    terminal = Terminal(env, *COMMAND, "pull", "tiny")
    terminal.sees("Type yes or no: ")
    terminal.types(answer)
    terminal.ends(0)
    assert "Left out: the small one serves." in terminal.seen
    assert store.state(TINY).is_complete
    assert not store.state(EXTRA).is_complete


@pytest.mark.slow
def test_at_a_terminal_a_bar_tells_how_far_it_is(env: dict[str, str], fake: FakeHub) -> None:
    fake.cdn_faults.append(Stall(200_000))
    terminal = Terminal(env, *COMMAND, "pull", "tiny", "--accept-licence", "bound")
    terminal.sees("200.0/800.0")
    fake.may_go_on.set()
    terminal.ends(0)


@pytest.mark.slow
@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_what_came_before_the_end_is_not_fetched_again(
    sent: signal.Signals, status: int, env: dict[str, str], run: Command, fake: FakeHub, store: ModelStore
) -> None:
    fake.cdn_faults.append(Stall(310_000))
    with begin(env, "pull", "tiny") as pull:
        read_until(pull, "nets/one.pth: 7")
        pull.send_signal(sent)
        assert pull.stdout is not None
        said = pull.stdout.read()
        assert pull.wait(LIMIT_S) == status
    if sent == signal.SIGINT:
        assert "what has come is kept; `avatar models pull tiny` goes on from there" in said
        assert "Traceback" not in said
    assert not store.path(TINY, TINY.files[0]).exists()
    kept = store.part_bytes(TINY, TINY.files[0])
    assert 290_000 < kept <= 310_000
    assert f"{100 * kept // TINY.size_bytes} % is here, the rest by: avatar models pull tiny" in run("list")
    run("pull", "tiny")
    assert fake.starts() == [0, kept, 0]
    run("verify", "tiny")


@pytest.mark.slow
def test_two_pulls_at_once_fetch_each_file_once(env: dict[str, str], fake: FakeHub) -> None:
    fake.cdn_faults.append(Stall(100_000))
    with begin(env, "pull", "tiny") as first:
        assert fake.stalled.wait(LIMIT_S)
        with begin(env, "pull", "tiny") as second:
            read_until(second, "another process fetches it; waiting for that one")
            fake.may_go_on.set()
            read_until(first, "tiny is here and verified")
            read_until(second, "tiny is here and verified")
            assert (first.wait(LIMIT_S), second.wait(LIMIT_S)) == (0, 0)
    assert fake.starts() == [0, 0]


@pytest.mark.slow
def test_a_disk_that_is_full_in_between_is_said_and_gone_on_with(
    env: dict[str, str], run: Command, fake: FakeHub
) -> None:
    def small_files_only() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    with begin(env, "pull", "tiny", preexec_fn=small_files_only) as pull:
        read_until(pull, "nets/one.pth.part cannot be written (File too large); what has come is kept")
        assert pull.wait(LIMIT_S) == 1
    run("pull", "tiny")
    assert fake.starts() == [0, 100_000, 0]


def test_a_hub_that_refuses_leaves_no_secret_in_words(run: Command, fake: FakeHub) -> None:
    fake.cdn_faults.append(Status(404))
    assert "has no nets/one.pth at revision" in run("pull", "tiny", status=1)
    bad = "https://somebody:secret@hub.lan"
    assert "HF_ENDPOINT is not the address of a hub" in run("pull", "tiny", status=1, HF_ENDPOINT=bad)
