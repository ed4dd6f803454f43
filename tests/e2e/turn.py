"""A real coturn, for as long as a test needs it."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.stack import free_ports

_START_S, _STOP_S = 10.0, 5.0
# Ends by itself if the test is killed before it can end it.
_MAX_S = 300


@dataclass(frozen=True, slots=True)
class Turn:
    """A TURN server. Args: log: what it did, so far."""

    address: str
    port: int
    secret: str
    log_file: Path

    def url(self, transport: str = "udp") -> str:
        return f"turn:{self.address}:{self.port}?transport={transport}"

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")


@contextlib.asynccontextmanager
async def coturn(
    folder: Path, address: str = "127.0.0.1", prefix: Sequence[str] = (), *, port: int = 0, udp: bool = True
) -> AsyncIterator[Turn]:
    """Runs coturn with a shared secret.

    Args: prefix: what starts a program elsewhere, such as in a network namespace; udp: whether clients may use it.
    """
    port = port or free_ports(1)[0]
    secret = secrets.token_hex(16)
    log_file = folder / "coturn.log"
    command = [*prefix, "timeout", str(_MAX_S), "turnserver", "-n", "--no-cli", "--no-tls", "--no-dtls", "--verbose"]
    command += [f"--listening-ip={address}", f"--relay-ip={address}", f"--listening-port={port}", "--realm=avatar.test"]
    command += ["--use-auth-secret", f"--static-auth-secret={secret}", "--allow-loopback-peers"]
    command += [
        "--log-file=stdout",
        "--simple-log",
        f"--pidfile={folder / 'coturn.pid'}",
        f"--userdb={folder / 'turndb'}",
    ]
    if not udp:
        command.append("--no-udp")
    with log_file.open("wb") as log:
        process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)
    turn = Turn(address, port, secret, log_file)
    try:
        async with asyncio.timeout(_START_S):
            while "listener opened on" not in turn.log and process.returncode is None:  # noqa: ASYNC110 - it only logs
                await asyncio.sleep(0.05)
        assert process.returncode is None, f"coturn did not start: {turn.log[-2000:]}"
        yield turn
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), _STOP_S)
        if process.returncode is None:
            process.kill()
            await process.wait()
