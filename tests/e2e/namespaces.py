"""Two devices on one network: Linux network namespaces with a cable between them, away from the real network."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_pairs = itertools.count()
_CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21}


def missing_capabilities() -> str:
    """Those that making a network namespace takes and this process lacks; empty if it has them."""
    status = Path("/proc/self/status").read_text()
    effective = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff"))
    return ", ".join(name for name, bit in _CAPABILITIES.items() if not effective & 1 << bit)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


@dataclass(frozen=True, slots=True)
class Device:
    """A machine of its own, as far as the network goes. Args: cable: its end of the cable to the other."""

    name: str
    address: str
    cable: str

    @property
    def prefix(self) -> tuple[str, ...]:
        """What starts a program on it; the program takes the place of the starter, with its process id."""
        return ("ip", "netns", "exec", self.name)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """A short program, to its end."""
        return subprocess.run([*self.prefix, *command], capture_output=True, text=True, timeout=30)

    @contextlib.contextmanager
    def udp_cut(self) -> Iterator[None]:
        """No UDP passes the cable, in either direction; TCP does."""
        rules = [("input", f"iifname {self.cable}"), ("output", f"oifname {self.cable}")]
        chains = [
            f"chain {hook} {{ type filter hook {hook} priority 0; {way} meta l4proto udp drop; }}; "
            for hook, way in rules
        ]
        _run(*self.prefix, "nft", f"table inet cut {{ {''.join(chains)} }}")
        try:
            yield
        finally:
            _run(*self.prefix, "nft", "delete", "table", "inet", "cut")

    def forward_udp(self, announced: str, first: int, last: int) -> None:
        """As behind a NAT whose UDP ports are opened: those of `announced` lead here, and no other UDP does."""
        chains = [
            "chain nat { type nat hook prerouting priority -100; "
            f"ip daddr {announced} udp dport {first}-{last} dnat to {self.address}; }}; ",
            "chain input { type filter hook input priority 0; "
            f"iifname {self.cable} ct status dnat accept; iifname {self.cable} meta l4proto udp drop; }};",
        ]
        _run(*self.prefix, "nft", f"table ip forwarding {{ {''.join(chains)} }}")

    def _end_programs(self) -> None:
        for pid in _run("ip", "netns", "pids", self.name).split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)


@contextlib.contextmanager
def two_devices() -> Iterator[tuple[Device, Device]]:
    """A cable between two devices, both with loopback up. All of it, and what still runs there, goes at the end."""
    tag = f"{os.getpid() % 100_000}-{next(_pairs)}"
    home = Device(f"avatar-home-{tag}", "10.77.0.1", f"av-h{tag}")
    away = Device(f"avatar-away-{tag}", "10.77.0.2", f"av-a{tag}")
    with contextlib.ExitStack() as held:
        for device in (home, away):
            _run("ip", "netns", "add", device.name)
            held.callback(_run, "ip", "netns", "del", device.name)
            held.callback(device._end_programs)
        # The cable goes with the namespace that holds an end of it.
        ends = ("type", "veth", "peer", "name", away.cable, "netns", away.name)
        _run("ip", "link", "add", home.cable, "netns", home.name, *ends)
        for device in (home, away):
            _run("ip", "-n", device.name, "address", "add", f"{device.address}/24", "dev", device.cable)
            for interface in ("lo", device.cable):
                _run("ip", "-n", device.name, "link", "set", interface, "up")
        yield home, away
