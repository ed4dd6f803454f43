"""Starts the real processes of the product on free ports, for tests that talk to them from outside."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import random
import socket
import ssl
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.common.settings import Settings
from tools.cli.settings import KINDS

ROOT = Path(__file__).resolve().parent.parent
READY_S = 60.0
STOP_S = 15.0
# A process that is not there yet is tried again soon.
_EAGER = [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.min_reconnect_backoff_ms", 50)]
_EAGER += [("grpc.max_reconnect_backoff_ms", 200), ("grpc.use_local_subchannel_pool", 1)]


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on, below those that the kernel gives to outgoing connections."""
    with contextlib.ExitStack() as held:
        ports: list[int] = []
        while len(ports) < count:
            port = random.randrange(20_000, 32_000)
            listener = held.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                listener.bind(("127.0.0.1", port))
                ports.append(port)
        return ports


@dataclass(frozen=True, slots=True)
class Program:
    """A process to run. Args: health_port: where its gRPC health says SERVING; None where it has none."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    health_port: int | None = None


async def _serving(port: int) -> None:
    """Return once the server's health says so."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=_EAGER) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), wait_for_ready=True)
        async for answer in watch:
            if answer.status == health_pb2.HealthCheckResponse.SERVING:
                return
    raise ConnectionError(f"the health of port {port} ended before it was SERVING")


async def listening(port: int) -> None:
    """Return once an HTTP/2 connection to the port stands."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=_EAGER) as channel:
        await channel.channel_ready()


@dataclass(frozen=True, slots=True)
class Started:
    """A program that runs. Args: ended: its exit status, once it has one; log: what it prints."""

    program: Program
    process: asyncio.subprocess.Process
    ended: asyncio.Future[int]
    log: Path

    async def ready(self) -> None:
        """Return once its health says SERVING. Raises: AssertionError with the end of its log if it never does."""
        assert self.program.health_port is not None
        serving = asyncio.ensure_future(_serving(self.program.health_port))
        await asyncio.wait((serving, self.ended), timeout=READY_S, return_when=asyncio.FIRST_COMPLETED)
        is_ready = serving.done() and serving.exception() is None
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        assert is_ready, f"{self.program.name} is not ready; its log ends with\n{self.log.read_text()[-4000:]}"


@contextlib.asynccontextmanager
async def started(program: Program, folder: Path) -> AsyncIterator[Started]:
    """Run the program, with its output in `folder/<name>.log`, and end it with SIGTERM on the way out."""
    path = folder / f"{program.name}.log"
    with path.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *program.command, cwd=ROOT, env=os.environ | dict(program.env), stdout=log, stderr=log
        )
    ended = asyncio.ensure_future(process.wait())
    try:
        yield Started(program, process, ended, path)
    finally:
        # It may end by itself at any moment.
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
            await asyncio.wait((ended,), timeout=STOP_S)
            if not ended.done():
                process.kill()
        await ended


@dataclass(frozen=True, slots=True)
class EdgePorts:
    """What an Envoy of a test listens on; the names are those of `envoy/render_config.py`."""

    render: int
    tts: int
    stt: int
    stt_second: int
    page: int
    legacy: int
    admin: int


@dataclass(frozen=True, slots=True)
class Edge:
    """A running Envoy. Args: certificate: PEM file of its HTTPS port; envoy: the process that runs and drains it."""

    ports: EdgePorts
    certificate: Path
    config: Path
    envoy: Started

    @property
    def page_url(self) -> str:
        return f"https://localhost:{self.ports.page}"

    def trust(self) -> ssl.SSLContext:
        """What a client needs to believe the self-made certificate."""
        return ssl.create_default_context(cafile=self.certificate)


def _render(
    folder: Path, ports: EdgePorts, upstreams: Mapping[str, Sequence[int]], arguments: Sequence[str]
) -> list[list[str]]:
    """The commands that make an Envoy's files, as the supervisor runs them."""
    config = [sys.executable, "envoy/render_config.py", "--out", str(folder / "envoy.json")]
    config += ["--certificate", str(folder / "tls/certificate.pem"), "--key", str(folder / "tls/key.pem"), *arguments]
    for port in dataclasses.fields(EdgePorts):
        config += [f"--{port.name.replace('_', '-')}-port", str(getattr(ports, port.name))]
    for name, replicas in upstreams.items():
        addresses = ",".join(f"127.0.0.1:{port}" for port in replicas)
        config += [f"--{name.replace('_', '-')}-upstream", addresses]
    return [[sys.executable, "envoy/certificate.py", "--dir", str(folder / "tls")], config]


@contextlib.asynccontextmanager
async def running_envoy(
    upstreams: Mapping[str, Sequence[int]],
    ports: EdgePorts | None = None,
    drain_s: float = 0.0,
    arguments: Sequence[str] = (),
) -> AsyncIterator[Edge]:
    """An Envoy in front of what listens on loopback, or will.

    Args:
        upstreams: name as in `envoy/render_config.py` (render, tts, stt, stt_second, page, conversation) to the ports
            of its replicas. What is left out is a port where nobody listens.
        arguments: more of `envoy/render_config.py`.
    """
    ports = ports or EdgePorts(*free_ports(len(dataclasses.fields(EdgePorts))))
    names = ("render", "tts", "stt", "stt_second", "page", "conversation")
    nobody = {name: [port] for name, port in zip(names, free_ports(len(names)), strict=True)}
    with tempfile.TemporaryDirectory(prefix="avatar-edge-") as name:
        folder = Path(name)
        for command in _render(folder, ports, nobody | dict(upstreams), arguments):
            made = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.DEVNULL)
            assert await made.wait() == 0, f"{command[1]} failed"
        config = folder / "envoy.json"
        command = [sys.executable, "envoy/run.py", "--config", str(config), "--drain-s", str(drain_s)]
        async with started(Program("envoy", command), folder) as envoy:
            async with asyncio.timeout(READY_S):
                await asyncio.gather(*(listening(port) for port in (ports.tts, ports.legacy)))
            yield Edge(ports, folder / "tls/certificate.pem", config, envoy)


@dataclass(frozen=True, slots=True)
class Stack:
    """Real processes behind a real Envoy. Args: native: the gRPC port of each, by name; edge: the public side."""

    native: Mapping[str, int]
    edge: Edge
    programs: Mapping[str, Started]

    @property
    def ports(self) -> EdgePorts:
        return self.edge.ports


def _programs(names: Sequence[str], env: Mapping[str, str]) -> Iterator[Program]:
    for name, port in zip(names, free_ports(len(names)), strict=True):
        settings = {f"{name.upper()}_HOST": "127.0.0.1", f"{name.upper()}_PORT": str(port)}
        settings[f"{name.upper()}_DRAIN__ANNOUNCE_S"] = "0"
        yield Program(name, (sys.executable, "-m", f"services.{name}"), settings | dict(env), port)


def _grpc_ports(programs: Sequence[Program]) -> dict[str, int]:
    return {program.name: program.health_port for program in programs if program.health_port is not None}


@contextlib.asynccontextmanager
async def running_stack(
    services: Sequence[str] = ("render", "tts", "stt"),
    env: Mapping[str, str] | None = None,
    more: Callable[[Mapping[str, int]], Sequence[Program]] = lambda _: (),
    upstreams: Mapping[str, Sequence[int]] | None = None,
    edge_ports: EdgePorts | None = None,
) -> AsyncIterator[Stack]:
    """The services and Envoy in front of them, all ready.

    Args:
        services: folders below `services/`.
        env: settings for all of them.
        more: makes other programs, given the gRPC port of each service by name. They start with the services and
            are named after the upstream of Envoy that they are: "conversation" is the orchestrator.
        upstreams: ports of upstreams without gRPC, such as the orchestrator's HTTP (`page`).
        edge_ports: Envoy's, where a program must know them beforehand.
    """
    programs = list(_programs(services, env or {}))
    programs += more(_grpc_ports(programs))
    native = _grpc_ports(programs)
    async with contextlib.AsyncExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="avatar-stack-")))
        running = {program.name: await held.enter_async_context(started(program, folder)) for program in programs}
        behind = {name: [port] for name, port in native.items()} | dict(upstreams or {})
        edge = await held.enter_async_context(running_envoy(behind, edge_ports))
        async with asyncio.TaskGroup() as waiting:
            for name in native:
                waiting.create_task(running[name].ready())
        yield Stack(native, edge, running)


def config_file(folder: Path, more: str = "") -> Path:
    """An avatar.toml for a stack of a test's own: its data in `folder/data` and free ports, with the installed models.

    Args: more: sections of which the ports are added; every line goes to the section that its first word names, such as
        "orchestrator reply = 'echo'".
    """
    data = folder / "data"
    data.mkdir(parents=True)
    for made_before in ("models", "compiled"):
        kept = Settings().data_dir / made_before
        kept.mkdir(parents=True, exist_ok=True)
        (data / made_before).symlink_to(kept)
    kinds = [kind for kind in KINDS if kind is not Settings]
    sections = {kind.section(): [key for key in kind.model_fields if key.endswith("port")] for kind in kinds}
    free = iter(free_ports(sum(map(len, sections.values()))))
    lines = [f'data_dir = "{data}"']
    for section, keys in sections.items():
        lines += [f"[{section}]", *(f"{key} = {next(free)}" for key in keys)]
        lines += [line.partition(" ")[2] for line in more.splitlines() if line.split()[:1] == [section]]
    path = folder / "avatar.toml"
    path.write_text("\n".join(lines))
    return path
