"""What `avatar doctor` finds when something is really wrong."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from aioice import stun

from services.common.models import MODEL_FILES
from tests.e2e.turn import coturn
from tests.fakes.certificates import write_certificate
from tests.fakes.edge_services import serving_page
from tests.stack import ROOT, EdgePorts, config_file, free_ports, running_envoy
from tools.cli.doctor import engines, ice_servers, machine, network
from tools.cli.doctor.finding import Finding
from tools.cli.settings import StackSettings, read_all


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StackSettings:
    """Those of a stack of this test's own, on free ports, that does not run."""
    monkeypatch.setenv("AVATAR_CONFIG", str(config_file(tmp_path / "stack")))
    return read_all()


def only(findings: list[Finding]) -> Finding:
    (finding,) = findings
    return finding


@contextlib.contextmanager
def listening_at(port: int, kind: int = socket.SOCK_STREAM) -> Iterator[None]:
    with socket.socket(type=kind) as listener:
        listener.bind(("127.0.0.1", port))
        if kind == socket.SOCK_STREAM:
            listener.listen()
        yield


async def test_a_taken_port_is_named_with_its_setting_and_who_took_it(settings: StackSettings) -> None:
    assert only(await network.ports(settings, False)).state == "ok"
    with listening_at(settings.network.page_port):
        found = only(await network.ports(settings, False))
    assert found.state == "problem"
    assert (
        f"port {settings.network.page_port} ([network] page_port) is taken by process {os.getpid()} (" in found.message
    )
    assert sys.executable in found.message
    assert "page_port in avatar.toml" in found.cure


async def test_a_variable_that_is_nearly_a_setting_is_named_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [finding.state for finding in machine.settings_source()] == ["ok"]
    for name in ("STT_MAX_STREAM", "STT_MAX_STREAMS", "STT_TURN__MAX_SILENCE_S", "RENDER_EXTERNAL_HOSTNAME"):
        monkeypatch.setenv(name, "4")
    _, misspelt = machine.settings_source()
    assert (misspelt.state, misspelt.cure) == ("warning", "did you mean STT_MAX_STREAMS?")
    assert misspelt.message == "the environment variable STT_MAX_STREAM is not a setting"


async def test_the_ports_that_one_process_has_taken_are_one_finding(settings: StackSettings) -> None:
    with listening_at(settings.tts.port), listening_at(settings.network.admin_port):
        found = only(await network.ports(settings, False))
    first, second = f"{settings.network.admin_port} ([network] admin_port)", f"{settings.tts.port} ([tts] port)"
    assert f"the ports {first}, {second} are taken by process {os.getpid()}" in found.message
    assert found.cure == "end that process, or set other ports in avatar.toml"


async def test_a_missing_and_a_damaged_model_are_told_apart(settings: StackSettings) -> None:
    models = settings.data_dir / "models"
    assert only(await machine.models(settings, False)).state == "ok"
    installed = models.resolve()
    models.unlink()
    shutil.copytree(installed, models)
    missing, damaged = MODEL_FILES[0].name, MODEL_FILES[1].name
    (models / missing).unlink()
    content = bytearray((models / damaged).read_bytes())
    content[1000] ^= 1
    (models / damaged).write_bytes(content)
    found = only(await machine.models(settings, False))
    assert (found.state, found.cure) == ("problem", "run `make setup`")
    assert f"{missing} missing; {damaged} damaged" in found.message


@pytest.mark.parametrize("where", ["below a file", "/proc/avatar"])
async def test_a_data_directory_that_cannot_be_written_is_a_problem(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "data" if where == "below a file" else Path(where)
    monkeypatch.setenv("AVATAR_DATA_DIR", str(folder))
    found = only(await machine.data(read_all(), False))
    assert found.state == "problem"
    assert f"{folder} cannot be written" in found.message
    assert "AVATAR_DATA_DIR" in found.cure


async def test_the_disk_is_measured_where_the_data_lies(
    settings: StackSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [finding.name for finding in await machine.data(settings, False)] == ["data", "disk"]
    # Of a disk that is this full, real or not, the rest is too little.
    free = shutil.disk_usage(settings.data_dir).free
    monkeypatch.setattr(machine, "_NO_DISK_BYTES", 2 * free)
    assert [finding.state for finding in await machine.data(settings, False)] == ["ok", "problem"]


@pytest.mark.parametrize(
    ("lasts", "names", "fault"),
    [
        (dt.timedelta(days=-1), ("localhost", "127.0.0.1"), "expired on"),
        (dt.timedelta(days=3), ("localhost", "127.0.0.1"), "expires soon"),
        (dt.timedelta(days=90), ("localhost",), "does not name 127.0.0.1"),
    ],
)
async def test_a_bad_certificate_is_a_warning_before_the_start_and_a_problem_in_use(
    lasts: dt.timedelta, names: tuple[str, ...], fault: str, settings: StackSettings
) -> None:
    write_certificate(settings.data_dir / "tls", names, dt.datetime.now(dt.UTC) + lasts)
    idle, running = only(await network.certificate(settings, False)), only(await network.certificate(settings, True))
    assert (idle.state, idle.cure) == ("warning", "the next `avatar up` replaces it")
    assert (running.state, running.cure) == ("problem", "`avatar down` and `avatar up` replace it")
    assert fault in idle.message


async def test_a_certificate_of_another_key_or_none_at_all(settings: StackSettings) -> None:
    folder = settings.data_dir / "tls"
    assert "there is none yet" in only(await network.certificate(settings, False)).message
    later = dt.datetime.now(dt.UTC) + dt.timedelta(days=90)
    write_certificate(folder, ("localhost", "127.0.0.1"), later)
    assert only(await network.certificate(settings, False)).state == "ok"
    write_certificate(folder / "other", ("localhost",), later)
    shutil.copy(folder / "other" / "key.pem", folder / "key.pem")
    assert "does not belong to its key" in only(await network.certificate(settings, False)).message
    (folder / "key.pem").write_text("nonsense")
    assert "cannot be read" in only(await network.certificate(settings, False)).message


@contextlib.asynccontextmanager
async def page_of(settings: StackSettings) -> AsyncIterator[None]:
    """Envoy at the ports of the settings, in front of a page of a test."""
    ports = EdgePorts(**settings.public_ports)
    async with serving_page() as page, running_envoy({"page": [page]}, ports) as edge:
        (settings.data_dir / "tls").mkdir()
        shutil.copy(edge.certificate, settings.data_dir / "tls" / "certificate.pem")
        yield


async def test_a_page_that_forbids_the_microphone_is_a_problem(settings: StackSettings) -> None:
    async with page_of(settings):
        found = only(await network.page(settings, True))
    assert found.state == "problem"
    assert "Permissions-Policy" in found.message


async def test_a_page_that_nobody_serves_is_a_problem_only_when_an_avatar_runs(settings: StackSettings) -> None:
    assert only(await network.page(settings, False)).state == "not checked"
    write_certificate(settings.data_dir / "tls", ("localhost",), dt.datetime.now(dt.UTC) + dt.timedelta(days=90))
    found = only(await network.page(settings, True))
    assert found.state == "problem"
    assert f"https://localhost:{settings.network.page_port}/ does not answer by HTTPS" in found.message


async def test_a_range_of_udp_ports_that_others_hold_is_a_problem(
    settings: StackSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert only(await network.ice(settings, False)).state == "ok"
    (port,) = free_ports(1)
    monkeypatch.setenv("ORCHESTRATOR_ICE__UDP_PORT_MIN", str(port))
    monkeypatch.setenv("ORCHESTRATOR_ICE__UDP_PORT_MAX", str(port))
    with listening_at(port, socket.SOCK_DGRAM):
        found = only(await network.ice(read_all(), False))
    assert found.state == "problem"
    assert f"the UDP ports {port} to {port} cannot be used" in found.message


class StunServer(asyncio.DatagramProtocol):
    """Tells each caller its address."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        asked = stun.parse_message(data)
        answer = stun.Message(
            message_method=stun.Method.BINDING,
            message_class=stun.Class.RESPONSE,
            transaction_id=asked.transaction_id,
            attributes={"XOR-MAPPED-ADDRESS": addr},
        )
        self._transport.sendto(bytes(answer), addr)


async def test_a_stun_server_is_asked_and_one_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(StunServer, local_addr=("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]
    found = await ice_servers.reach(f"stun:127.0.0.1:{port}", "")
    transport.close()
    assert (found.state, found.message.split(" says")[0]) == ("ok", f"stun:127.0.0.1:{port}")
    monkeypatch.setattr(ice_servers, "_TIMEOUT_S", 1.0)
    away = await ice_servers.reach(f"stun:127.0.0.1:{port}", "")
    assert away.state == "problem"
    assert f"port {port} (UDP)" in away.cure


async def test_a_turn_server_that_is_not_there_is_named() -> None:
    (port,) = free_ports(1)
    found = await ice_servers.reach(f"turn:127.0.0.1:{port}?transport=tcp", "secret")
    assert found.state == "problem"
    assert "does not answer" in found.message
    assert f"port {port} (TCP)" in found.cure
    assert "secret" not in found.message


@pytest.mark.slow
async def test_an_engine_without_its_models_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVATAR_DATA_DIR", str(tmp_path))
    found = await engines.engine_of("render", runs=False)
    assert found.state == "problem"
    assert str(tmp_path / "models") in found.message


def doctor(config: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"AVATAR_CONFIG": str(config)}
    command = (sys.executable, "-m", "tools.cli", "doctor", *arguments)
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=100, check=False)


@pytest.mark.slow
def test_a_mistake_in_the_settings_is_said_in_words_and_the_command_fails(tmp_path: Path) -> None:
    config = tmp_path / "avatar.toml"
    config.write_text("[render]\nprot = 50081\n")
    done = doctor(config)
    assert done.returncode == 1
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("problem")]
    assert "there is no setting prot (did you mean port?)" in line


@pytest.mark.slow
def test_on_a_machine_where_all_is_well_every_line_says_so(tmp_path: Path) -> None:
    done = doctor(config_file(tmp_path / "stack"), "--json")
    findings = {found["name"]: found for found in json.loads(done.stdout)}
    assert {found["state"] for found in findings.values()} <= {"ok", "warning", "not checked"}, findings
    assert done.returncode == 0
    assert {"python", "system", "settings", "data", "models", "ports", "envoy", "certificate", "udp"} <= set(findings)
    for section, engine in (("render", "mesh"), ("tts", "espeak"), ("stt", "pocketsphinx")):
        assert findings[section]["message"].startswith(f"{engine} can run: ")


@pytest.mark.slow
async def test_a_turn_server_gives_a_relay_to_those_who_know_its_secret(tmp_path: Path) -> None:
    async with coturn(tmp_path) as server:
        for transport in ("udp", "tcp"):
            found = await ice_servers.reach(server.url(transport), server.secret)
            assert (found.state, found.message) == ("ok", f"{server.url(transport)} gives a relay")
        refused = await ice_servers.reach(server.url("udp"), "another secret")
    assert refused.state == "problem"
    assert "turn_secret is the server's static-auth-secret" in refused.cure
