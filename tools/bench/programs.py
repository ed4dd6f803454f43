"""Processes of the product, one by one, for benches: each with free ports and a log of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tools.bench.record import ROOT

_STOP_S = 60.0


class Program:
    """A process that runs. Attributes: started_s, ready_s: on the bench's clock, time.perf_counter."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, metrics_port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self._metrics_port = metrics_port
        self.log = log
        self.started_s = time.perf_counter()
        self.ready_s = 0.0

    def metrics(self) -> Mapping[str, float]:
        """Every series of /metrics by its name and labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._metrics_port}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        pairs = (line.rpartition(" ") for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in pairs}


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.asynccontextmanager
async def started(
    name: str, module: Sequence[str], env: Mapping[str, str], folder: Path, ready_s: float
) -> AsyncIterator[Program]:
    """`python -m module`, ready; ended by SIGTERM on the way out.

    Args:
        name: of its settings' section, which the log in `folder` is named after too.
        env: its settings, ports apart; no file of settings is read.
        ready_s: how long it may take.
    Raises: RuntimeError with the end of its log if it does not become ready.
    """
    port, metrics_port = free_port(), free_port()
    prefix = name.upper()
    given = os.environ | {
        "AVATAR_CONFIG": os.devnull,
        f"{prefix}_PORT": str(port),
        f"{prefix}_METRICS_PORT": str(metrics_port),
        f"{prefix}_DRAIN__ANNOUNCE_S": "0",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "proto/gen"), os.environ.get("PYTHONPATH", "")]),
        **env,
    }
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", *module, cwd=ROOT, env=given, stdout=output, stderr=output
        )
    program = Program(process, port, metrics_port, log)
    try:
        await _ready(program, ready_s)
        yield program
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), _STOP_S)
            except TimeoutError:
                process.kill()
                await process.wait()


async def _ready(program: Program, limit_s: float) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{program.port}") as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), wait_for_ready=True)

        async def serving() -> None:
            async for answer in watch:
                if answer.status == health_pb2.HealthCheckResponse.SERVING:
                    return

        waiting = [asyncio.ensure_future(serving()), asyncio.ensure_future(program.process.wait())]
        await asyncio.wait(waiting, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        is_ready = waiting[0].done() and program.process.returncode is None
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    if not is_ready:
        raise RuntimeError(f"{program.log.stem} is not ready; its log ends with\n{program.log.read_text()[-3000:]}")
    program.ready_s = time.perf_counter()
