"""`avatar doctor`: says in words what is wrong on this machine, and what would help."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Awaitable, Callable

from services.common.settings_file import SettingsError
from tools.cli import state
from tools.cli.doctor import engines, machine, network
from tools.cli.doctor.finding import Finding
from tools.cli.settings import StackSettings, read_all

_WIDTH = 12
_COLOURS = {"ok": "\x1b[32m", "warning": "\x1b[33m", "problem": "\x1b[31m", "not checked": "\x1b[2m"}
_RESET = "\x1b[0m"
_Check = Callable[[StackSettings, bool], Awaitable[list[Finding]]]
_CHECKS: tuple[_Check, ...] = (
    machine.data,
    machine.models,
    network.ports,
    network.envoy,
    network.certificate,
    network.page,
    network.ice,
    engines.engines,
)


async def examine(tell: Callable[[Finding], None]) -> list[Finding]:
    """Check everything that can be checked, one after the other, and tell each finding as it comes."""
    found: list[Finding] = []

    def add(findings: list[Finding]) -> None:
        for finding in findings:
            found.append(finding)
            tell(finding)

    add(await machine.system())
    try:
        settings = read_all()
    except SettingsError as error:
        add([Finding("settings", "problem", str(error), "correct it; nothing else can be checked before")])
        return found
    add(machine.settings_source())
    runs = state.running(settings) is not None
    for check in _CHECKS:
        add(await check(settings, runs))
    return found


def _print(finding: Finding, *, coloured: bool) -> None:
    colour, reset = (_COLOURS[finding.state], _RESET) if coloured else ("", "")
    cure = f"; {finding.cure}" if finding.cure else ""
    print(f"{colour}{finding.state:{_WIDTH}}{reset}{finding.name:{_WIDTH}}{finding.message}{cure}", flush=True)


def run(*, as_json: bool, coloured: bool) -> bool:
    """Check everything and print a line for each check, or one JSON document. Returns: whether there is no problem."""
    if as_json:
        found = asyncio.run(examine(lambda _: None))
        print(json.dumps([dataclasses.asdict(finding) for finding in found], indent=2))
    else:
        found = asyncio.run(examine(lambda finding: _print(finding, coloured=coloured)))
    return not any(finding.state == "problem" for finding in found)
