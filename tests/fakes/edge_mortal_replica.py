"""A replica of the fake voice, as a process that dies in the middle of a call."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any

from avatar.tts.v1 import tts_pb2 as tts

from tests.fakes.edge_services import FakeSpeech, serving_speech


class MortalSpeech(FakeSpeech):
    """Its first ListVoices is its last act."""

    async def ListVoices(self, request: tts.ListVoicesRequest, context: Any) -> tts.ListVoicesResponse:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("SIGKILL was survived")


async def main(port: int) -> None:
    async with serving_speech(MortalSpeech(), port):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
