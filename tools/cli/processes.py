"""Which processes make a stack, and how each of them is started."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from services.common.settings import address_of
from tools.cli import lan
from tools.cli.settings import StackSettings

ROOT = Path(__file__).resolve().parent.parent.parent
# What a process needs to end once it is told to, besides the time that it gives its calls.
_STOP_MARGIN_S = 10.0
# One thread for each library that would take all cores. And two heaps instead of one for each thread: what is free in
# them stays with the process, and grows for minutes until each heap has seen its busiest moment.
FRUGAL = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
_MODULES = {"canary": ("services.stt", "canary"), "orchestrator": ("orchestrator",)}


@dataclass(frozen=True, slots=True)
class Process:
    """One process.

    Args:
        health_port: where its gRPC health says SERVING; None for Envoy, which has none.
        stop_s: how long it may take to end once it is told to.
    """

    name: str
    command: tuple[str, ...]
    health_port: int | None
    stop_s: float = _STOP_MARGIN_S
    env: Mapping[str, str] = field(default_factory=dict)


def _command(name: str) -> tuple[str, ...]:
    return (sys.executable, "-m", *_MODULES.get(name, (f"services.{name}",)))


def service(name: str, port: int) -> Process:
    """A service of ours at another port than the settings say."""
    return Process(
        name, _command(name), port, env={f"{name.upper()}_PORT": str(port), f"{name.upper()}_METRICS_PORT": "0"}
    )


def stack(settings: StackSettings) -> list[Process]:
    """Every process, in the order in which they start."""
    servers = [
        Process(name, _command(name), server.port, server.drain.announce_s + server.drain.grace_s + _STOP_MARGIN_S)
        for name, server in settings.servers.items()
    ]
    drain_s = settings.network.drain_s
    config = ("--config", str(envoy_config(settings)), "--drain-s", str(drain_s))
    return [*servers, Process("envoy", (sys.executable, "envoy/run.py", *config), None, drain_s + _STOP_MARGIN_S)]


def envoy_config(settings: StackSettings) -> Path:
    """Where Envoy's configuration is written."""
    return settings.data_dir / "run" / "envoy.json"


def _upstreams(settings: StackSettings) -> Iterator[tuple[str, str]]:
    for section in ("render", "tts", "stt"):
        yield section, address_of(section)
    yield "stt-second", address_of("canary" if settings.canary.enabled else "stt")
    conversation = address_of("orchestrator")
    yield "conversation", conversation
    host = conversation.rpartition(":")[0]
    yield "page", f"{host}:{settings.orchestrator.http_port}"
    if settings.orchestrator.metrics_port:
        yield "conversation-metrics", f"{host}:{settings.orchestrator.metrics_port}"
    for section, server in settings.servers.items():
        listener = {"canary": "stt-second"}.get(section, section)
        if server.metrics_port and section != "orchestrator":
            yield f"{listener}-metrics", f"{address_of(section).rpartition(':')[0]}:{server.metrics_port}"


def envoy_files(settings: StackSettings, *, log_calls_to_file: bool = True) -> list[tuple[str, ...]]:
    """Commands that write what Envoy reads: the page's certificate and the configuration.

    Calls are logged to a file of the data directory, or to Envoy's standard output. The token is in a file that they
    read: what stands on a command line can be seen by every user of the machine.
    """
    tls = settings.data_dir / "tls"
    names = [part for name in lan.extra_names(settings) for part in ("--also-name", name)]
    config = ["--out", str(envoy_config(settings)), "--bind", lan.bind_address(settings), *names]
    config += ["--certificate", str(tls / "certificate.pem"), "--key", str(tls / "key.pem")]
    if log_calls_to_file:
        config += ["--access-log", str(settings.data_dir / "logs" / "access.jsonl")]
    config += [part for origin in settings.network.origins for part in ("--origin", origin)]
    for place in ("connection", "port"):
        config += [f"--{place}-calls-per-s", str(getattr(settings.network, f"{place}_calls_per_s"))]
    config += ["--large-bodies", str(settings.network.large_bodies), "--request-s", str(settings.network.request_s)]
    if settings.network.lan:
        lan.ensure_token(settings)
        config += ["--token-file", str(lan.token_file(settings))]
    for name, port in settings.public_ports.items():
        config += [f"--{name.replace('_', '-')}-port", str(port)]
    for name, address in _upstreams(settings):
        config += [f"--{name}-upstream", address]
    return [
        (sys.executable, "envoy/certificate.py", "--dir", str(tls), *names),
        (sys.executable, "envoy/render_config.py", *config),
    ]


def environment(process: Process) -> dict[str, str]:
    """The process's environment: ours and its own settings, and `FRUGAL` where we say nothing else."""
    return FRUGAL | os.environ | dict(process.env)
