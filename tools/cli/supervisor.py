"""`avatar up`, `down` and `status`: starts the stack's processes, keeps them running, and ends them in order."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from services.common.status import only_member
from tools.cli import processes
from tools.cli.health import is_listening, is_serving, wait_until_serving
from tools.cli.processes import Process

READY_S = 120.0
STOP_S = 15.0
# A process that ends by itself is started again after this, doubled each time up to the limit.
_FIRST_RESTART_S, _LAST_RESTART_S = 0.5, 30.0
_HEALTHY_S = 60.0
_ANSWER_TIMEOUT_S = 2.0
_PUBLIC_PORTS = (8081, 8082, 8083, 8085, 8086)


class StackError(Exception):
    """The stack cannot do what was asked; the message says why and what would help."""


def _state_file() -> Path:
    return processes.data_dir() / "run" / "state.json"


def _log_file(name: str) -> Path:
    return processes.data_dir() / "logs" / f"{name}.log"


def running_pid() -> int | None:
    """The supervisor's process id, if one runs."""
    try:
        pid = int(json.loads(_state_file().read_text())["pid"])
        command = Path(f"/proc/{pid}/cmdline")
        os.kill(pid, 0)
    except (OSError, ValueError, KeyError):
        return None
    # The number may have gone to another program since.
    if command.exists() and b"avatar" not in command.read_bytes() and b"tools.cli" not in command.read_bytes():
        return None
    return pid


class Supervisor:
    """Runs the processes of a stack until it is told to stop."""

    def __init__(self, stack: list[Process]) -> None:
        self._stack = stack
        self._children: dict[str, asyncio.subprocess.Process] = {}
        self._stopping = asyncio.Event()
        self._restarts: dict[str, int] = {}

    async def run(self) -> None:
        """Start everything, print the address when it serves, keep it running until SIGINT or SIGTERM.

        Raises: StackError if a port is taken or a process does not become ready.
        """
        await self._check_ports()
        for folder in (_state_file().parent, _log_file("x").parent):
            folder.mkdir(parents=True, exist_ok=True)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        started_s = time.monotonic()
        for command in processes.envoy_files():
            made = await asyncio.create_subprocess_exec(*command, cwd=processes.ROOT)
            if await made.wait():
                raise StackError(f"{command[1]} failed; its message stands above")
        try:
            await self._run_all(started_s)
        except ExceptionGroup as group:
            raise only_member(group) from None
        finally:
            await self._end()
            _state_file().unlink(missing_ok=True)

    async def _run_all(self, started_s: float) -> None:
        async with asyncio.TaskGroup() as tasks:
            keeping = [tasks.create_task(self._keep(process)) for process in self._stack]
            self._write_state()
            ready = tasks.create_task(self._wait_ready())
            stopping = tasks.create_task(self._stopping.wait())
            await asyncio.wait((ready, stopping), return_when=asyncio.FIRST_COMPLETED)
            if ready.done():
                ready.result()
                self._write_state(ready=True)
                print(f"ready in {time.monotonic() - started_s:.1f} s", flush=True)
                print(f"open https://localhost:{processes.PAGE_PORT} in a browser", flush=True)
                print("its certificate is self-made: the browser asks once whether you trust it", flush=True)
            await self._stopping.wait()
            ready.cancel()
            for task in keeping:
                task.cancel()

    async def _check_ports(self) -> None:
        ports = [*_PUBLIC_PORTS, *(p.health_port for p in self._stack if p.health_port)]
        taken = [port for port in ports if await is_listening(port)]
        if taken:
            raise StackError(
                f"port {', '.join(map(str, taken))} is taken by another program; "
                "end it (or `avatar down`, if it is an avatar) and try again"
            )

    async def _keep(self, process: Process) -> None:
        wait_s = _FIRST_RESTART_S
        while True:
            started_s = time.monotonic()
            with _log_file(process.name).open("ab") as log:
                child = await asyncio.create_subprocess_exec(
                    *process.command,
                    cwd=processes.ROOT,
                    env=processes.environment(process),
                    stdout=log,
                    stderr=log,
                    # Ctrl-C in the terminal is for the supervisor, which ends the others in order.
                    start_new_session=True,
                )
            self._children[process.name] = child
            status = await child.wait()
            if self._stopping.is_set():
                return
            if time.monotonic() - started_s > _HEALTHY_S:
                wait_s = _FIRST_RESTART_S
            self._restarts[process.name] = self._restarts.get(process.name, 0) + 1
            print(
                f"{process.name} ended with status {status}; starting it again in {wait_s:g} s "
                f"(its log is {_log_file(process.name)})",
                file=sys.stderr,
                flush=True,
            )
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, _LAST_RESTART_S)

    async def _wait_ready(self) -> None:
        try:
            async with asyncio.timeout(READY_S), asyncio.TaskGroup() as tasks:
                for process in self._stack:
                    if process.health_port:
                        tasks.create_task(wait_until_serving(process.health_port))
                tasks.create_task(_wait_until_healthy())
        except TimeoutError:
            slow = [p.name for p in self._stack if p.health_port and not await is_serving(p.health_port)]
            raise StackError(
                f"{', '.join(slow) or 'envoy'} did not become ready within {READY_S:g} s; "
                f"the logs are in {_log_file('x').parent}"
            ) from None

    def _write_state(self, *, ready: bool = False) -> None:
        part = _state_file().with_suffix(".part")
        part.write_text(json.dumps({"pid": os.getpid(), "ready": ready}))
        part.replace(_state_file())

    async def _end(self) -> None:
        """End the children, the public side first; what does not end by itself is killed."""
        self._stopping.set()
        for process in reversed(self._stack):
            child = self._children.get(process.name)
            if child is not None and child.returncode is None:
                child.terminate()
        for child in self._children.values():
            try:
                async with asyncio.timeout(STOP_S):
                    await child.wait()
            except TimeoutError:
                child.kill()
                await child.wait()


async def _wait_until_healthy() -> None:
    """Return once the page answers through Envoy."""
    while not await _page_answers():  # noqa: ASYNC110 - Envoy tells nobody when it is ready
        await asyncio.sleep(0.1)


async def _page_answers() -> bool:
    unchecked = ssl.create_default_context()
    unchecked.check_hostname = False
    unchecked.verify_mode = ssl.CERT_NONE
    try:
        async with asyncio.timeout(_ANSWER_TIMEOUT_S):
            reader, writer = await asyncio.open_connection("localhost", processes.PAGE_PORT, ssl=unchecked)
            try:
                writer.write(b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
                status = await reader.readline()
            finally:
                writer.close()
                with contextlib.suppress(OSError, ssl.SSLError):
                    await writer.wait_closed()
    except OSError:  # also when it takes too long
        return False
    return b" 200 " in status


def up(env: Mapping[str, str], *, detach: bool) -> None:
    """Start the stack, in the foreground or detached. Raises: StackError."""
    if (pid := running_pid()) is not None:
        raise StackError(f"an avatar runs already (process {pid}); `avatar status` shows it, `avatar down` ends it")
    if not detach:
        asyncio.run(Supervisor(processes.stack(env)).run())
        return
    log = _log_file("up")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as out:
        child = subprocess.Popen(
            [sys.executable, "-m", "tools.cli", "up"],
            cwd=processes.ROOT,
            env=dict(os.environ) | dict(env),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    while not _is_ready():
        if child.poll() is not None:
            raise StackError(log.read_text().strip() or f"the stack did not start; see {log}")
        time.sleep(0.1)
    print(log.read_text().strip())


def _is_ready() -> bool:
    try:
        return bool(json.loads(_state_file().read_text())["ready"])
    except (OSError, ValueError, KeyError):
        return False


def down() -> None:
    """End the stack and wait for its end."""
    pid = running_pid()
    if pid is None:
        print("no avatar runs")
        return
    os.kill(pid, signal.SIGTERM)
    limit_s = time.monotonic() + 2 * STOP_S
    while running_pid() == pid:
        if time.monotonic() > limit_s:
            raise StackError(f"process {pid} did not end within {2 * STOP_S:g} s; end it by hand")
        time.sleep(0.1)
    print("ended")


async def status() -> dict[str, object]:
    """What runs and whether it serves."""
    stack = processes.stack({})
    serving = await asyncio.gather(*(is_serving(p.health_port) for p in stack if p.health_port))
    names = [p.name for p in stack if p.health_port]
    states = {name: "serving" if ready else "not serving" for name, ready in zip(names, serving, strict=True)}
    page = await _page_answers()
    return {
        "running": running_pid() is not None,
        "pid": running_pid(),
        "ready": page and all(serving),
        "address": f"https://localhost:{processes.PAGE_PORT}",
        "processes": states | {"envoy": "serving" if page else "not serving"},
        "logs": str(_log_file("x").parent),
    }
