"""Starts the processes of a stack, keeps them running, and ends them in order."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Awaitable, Iterator
from typing import Protocol

import grpc

from services.common.errors import NotFoundError
from services.common.start import NEEDS_REPAIR
from services.common.status import only_member
from tools.cli import chosen, processes, state
from tools.cli.health import engine_of, is_listening, is_serving, page_answers, wait_until_serving
from tools.cli.logs import keep_bounded
from tools.cli.processes import Process
from tools.cli.settings import StackSettings, listeners
from tools.cli.state import State, log_file

READY_S = 120.0
# A process that ends by itself is started again after this, doubled each time up to the limit.
_FIRST_RESTART_S, _LAST_RESTART_S = 0.5, 30.0
_HEALTHY_S = 60.0
# One that ends this often before everything serves will not come up by itself.
_VAIN_STARTS = 3
_SHOWN_LOG_LINES = 5
# Linux, <linux/prctl.h>.
_PR_SET_PDEATHSIG = 1


class StackError(Exception):
    """The stack cannot do what was asked; the message says why and what would help."""


class Teller(Protocol):
    """Tells a person how far the stack is."""

    def serves(self, name: str, engine: str, after_s: float) -> None:
        """A process is ready. Args: engine: empty for one that has none."""

    def ready(self, after_s: float) -> None:
        """Everything is."""

    def ended(self, name: str, status: int, wait_s: float, log: str) -> None:
        """A process ended by itself and is started again."""

    def gave_up(self, name: str, why: str) -> None:
        """A process ended, and is not started again: somebody has to repair something first."""

    def note(self, sentence: str) -> None:
        """Something that is worth knowing."""


class Supervisor:
    """Runs the processes of a stack until it is told to stop."""

    def __init__(self, settings: StackSettings, stack: list[Process], tell: Teller) -> None:
        self._settings = settings
        self._stack = stack
        self._tell = tell
        self._children: dict[str, asyncio.subprocess.Process] = {}
        self._stopping = asyncio.Event()
        self._replaced: set[str] = set()
        self._is_ready = False

    async def run(self) -> None:
        """Start everything, tell when it serves, keep it running until SIGINT or SIGTERM.

        SIGHUP makes Envoy start anew, with what the settings and the token are then.

        Raises: StackError if another supervisor has the data directory, a port is taken, a process does not become
            ready, or there is no such face, voice or language as the settings choose.
        """
        for folder in ("run", "logs"):
            (self._settings.data_dir / folder).mkdir(parents=True, exist_ok=True)
        with state.claimed(self._settings) as is_ours:
            if not is_ours:
                raise StackError(
                    f"another `avatar up` has {self._settings.data_dir}; `avatar status` shows how far it is, and "
                    "AVATAR_DATA_DIR gives this one a folder of its own"
                )
            await self._run()

    async def _run(self) -> None:
        await self._check_ports()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        renew = asyncio.Event()
        loop.add_signal_handler(signal.SIGHUP, renew.set)
        started_s = time.monotonic()
        await self._write_envoy_files()
        try:
            await self._run_all(started_s, renew)
        except ExceptionGroup as group:
            raise only_member(group) from None
        finally:
            await self._end()
            state.forget(self._settings)

    async def _write_envoy_files(self) -> None:
        for command in processes.envoy_files(self._settings):
            made = await asyncio.create_subprocess_exec(
                *command, cwd=processes.ROOT, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
            )
            _, said = await made.communicate()
            if made.returncode:
                raise StackError(f"{command[1]} failed: {said.decode(errors='replace').strip()}")

    async def _renew_envoy(self, asked: asyncio.Event) -> None:
        """Each time that it is asked for, give Envoy a new configuration and let it start with that."""
        while True:
            await asked.wait()
            asked.clear()
            await self._write_envoy_files()
            child = self._children.get("envoy")
            if child is not None and child.returncode is None:
                self._replaced.add("envoy")
                child.terminate()

    async def _run_all(self, started_s: float, renew: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as tasks:
            keeping = [tasks.create_task(self._keep(process)) for process in self._stack]
            keeping.append(tasks.create_task(self._renew_envoy(renew)))
            keeping.append(tasks.create_task(keep_bounded(log_file(self._settings, "x").parent)))
            self._write_state(is_ready=False)
            ready = tasks.create_task(self._wait_ready(started_s))
            stopping = tasks.create_task(self._stopping.wait())
            await asyncio.wait((ready, stopping), return_when=asyncio.FIRST_COMPLETED)
            if ready.done():
                ready.result()
                self._is_ready = True
                self._write_state(is_ready=True)
                self._tell.ready(time.monotonic() - started_s)
            await self._stopping.wait()
            ready.cancel()
            for task in keeping:
                task.cancel()

    async def _check_ports(self) -> None:
        wanted = listeners(self._settings)
        taken = [(port, setting) for setting, host, port in wanted if port and await is_listening(host, port)]
        if len(taken) == 1:
            [(port, setting)] = taken
            raise StackError(
                f"port {port} is taken by another program, which `avatar doctor` names; end that one, or set {setting} "
                "in avatar.toml"
            )
        if taken:
            raise StackError(
                f"the ports {', '.join(str(port) for port, _ in taken)} are taken by another program, which `avatar "
                "doctor` names; end it (`avatar down`, if it is an avatar), or give this one other ports in avatar.toml"
            )

    async def _keep(self, process: Process) -> None:
        wait_s = _FIRST_RESTART_S
        starts = 0
        while True:
            starts += 1
            started_s = time.monotonic()
            with log_file(self._settings, process.name).open("ab") as log:
                child = await asyncio.create_subprocess_exec(
                    *process.command,
                    cwd=processes.ROOT,
                    env=processes.environment(process),
                    stdout=log,
                    stderr=log,
                    # Ctrl-C in the terminal is for the supervisor, which ends the others in order.
                    start_new_session=True,
                    preexec_fn=_end_with_parent,
                )
            self._children[process.name] = child
            status = await child.wait()
            if self._stopping.is_set():
                return
            if process.name in self._replaced:
                self._replaced.discard(process.name)
                continue
            if status == NEEDS_REPAIR:
                why = self._last_lines(process.name, 1).strip()
                if not self._is_ready:
                    raise StackError(f"{process.name} cannot start: {why}")
                self._tell.gave_up(process.name, why)
                return
            if not self._is_ready and starts == _VAIN_STARTS:
                raise StackError(
                    f"{process.name} ended with status {status} each of {starts} times that it was started; `avatar "
                    f"doctor` may say why. Its log, {log_file(self._settings, process.name)}, ends with\n"
                    f"{self._last_lines(process.name, _SHOWN_LOG_LINES)}"
                )
            if time.monotonic() - started_s > _HEALTHY_S:
                wait_s = _FIRST_RESTART_S
            self._tell.ended(process.name, status, wait_s, str(log_file(self._settings, process.name)))
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, _LAST_RESTART_S)

    def _last_lines(self, name: str, count: int) -> str:
        lines = log_file(self._settings, name).read_text(errors="replace").splitlines()
        return "\n".join(f"  {line}" for line in lines[-count:])

    async def _wait_ready(self, started_s: float) -> None:
        async def told(process: Process, serving: Awaitable[None]) -> None:
            await serving
            after_s = time.monotonic() - started_s
            if process.health_port:
                await self._check_chosen(process.name, process.health_port)
            engine = await engine_of(process.name, process.health_port) if process.health_port else ""
            self._tell.serves(process.name, engine, after_s)

        try:
            async with asyncio.timeout(READY_S), asyncio.TaskGroup() as tasks:
                for process in self._stack:
                    serving = (
                        wait_until_serving(process.health_port) if process.health_port else page_answers(self._settings)
                    )
                    tasks.create_task(told(process, serving))
        except TimeoutError:
            slow = [p.name for p in self._stack if p.health_port and not await is_serving(p.health_port)]
            raise StackError(
                f"{', '.join(slow) or 'envoy'} did not become ready within {READY_S:g} s; "
                f"the logs are in {log_file(self._settings, 'x').parent}"
            ) from None

    async def _check_chosen(self, name: str, port: int) -> None:
        try:
            if note := await chosen.check(name, port, self._settings.orchestrator):
                self._tell.note(note)
        except NotFoundError as unknown:
            raise StackError(str(unknown)) from None
        except grpc.aio.AioRpcError:
            # Whatever keeps a process that serves from answering shows when it is used.
            return

    def _write_state(self, *, is_ready: bool) -> None:
        longest_s = max(process.stop_s for process in self._stack)
        state.write(self._settings, State(os.getpid(), is_ready, self._settings.network.lan, longest_s))

    async def _end(self) -> None:
        """End the children, the public side first; one that does not end in its time is killed."""
        self._stopping.set()
        running = list(self._running())
        for _, child in running:
            child.terminate()
        async with asyncio.TaskGroup() as tasks:
            for process, child in running:
                tasks.create_task(_ended(child, process.stop_s))

    def _running(self) -> Iterator[tuple[Process, asyncio.subprocess.Process]]:
        for process in reversed(self._stack):
            child = self._children.get(process.name)
            if child is not None and child.returncode is None:
                yield process, child


def _end_with_parent() -> None:
    """In the child: be told to end by the kernel when the supervisor is killed, and keep no port then."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


async def _ended(child: asyncio.subprocess.Process, limit_s: float) -> None:
    try:
        async with asyncio.timeout(limit_s):
            await child.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()
