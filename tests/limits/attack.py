"""Sends everything that is refused, several at a time, to the product whose ports come as JSON in argv.

A process of its own: what it costs to make these messages is not to be taken for harm to somebody else.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from tests.limits.refusals import REFUSALS, Refusal
from tests.limits.world import Door, opened
from tests.stack import EdgePorts


async def one_by_one(door: Door, lane: dict[str, Refusal]) -> None:
    for name, act in lane.items():
        try:
            await act(door)
        except Exception as error:
            raise AssertionError(f"{name}: {error}") from error


async def main(ports: EdgePorts, certificate: Path) -> None:
    """Raises: AssertionError naming what was not refused as it should be."""
    async with opened(ports, certificate) as door:
        async with asyncio.TaskGroup() as tasks:
            for lane in [lane for name, lane in REFUSALS.items() if name != "places"]:
                tasks.create_task(one_by_one(door, lane))
        await one_by_one(door, REFUSALS["places"])


if __name__ == "__main__":
    asyncio.run(main(EdgePorts(**json.loads(sys.argv[1])), Path(sys.argv[2])))
