"""A replica of the fake voice, as a process that a test can kill; it never answers ListVoices."""

from __future__ import annotations

import asyncio
import sys

from services.common.server import stop_requested
from tests.fakes.edge_services import FakeSpeech, serving_speech


async def main(port: int) -> None:
    speech = FakeSpeech("doomed")
    speech.may_list.clear()
    async with serving_speech(speech, port):
        await stop_requested()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
