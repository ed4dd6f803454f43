"""What serves one engine: its speakers, each on its thread, and the voices that they speak with."""

from __future__ import annotations

import asyncio
from pathlib import Path

from avatar.media.v1 import media_pb2

from services.tts.engine import SpeechEngine, Style
from services.tts.slots import Slot, Slots
from services.tts.voice_maker import VoiceMaker
from services.tts.voice_store import VoiceStore
from services.tts.voices import Voices


class Studio:
    """Everything that calls share."""

    def __init__(
        self,
        engine: SpeechEngine,
        info: media_pb2.EngineInfo,
        data_dir: Path,
        max_voices: int,
        default_voice: str = "",
    ) -> None:
        """Reads the voices that are kept. Args: default_voice: as of `Voices`. Raises: EngineError as `Voices`."""
        self.engine = engine
        self.info = info
        self.capabilities = engine.capabilities
        self.store = VoiceStore(data_dir, max_voices)
        self.voices = Voices(self.capabilities, self.store, default_voice)
        self.maker = VoiceMaker(self.capabilities, self.store)
        self.slots = Slots(engine.speakers)

    async def warm_up(self) -> None:
        """Let every speaker say something at the same time, so that the first callers wait for nothing."""
        style = await self.voices.style(voice="", language="", speaking_rate=0)
        async with asyncio.TaskGroup() as tasks:
            for slot in self.slots.all():
                tasks.create_task(slot.thread.run(_speak, slot, style))

    def close(self) -> None:
        """End the threads, then the engine; no call may be running."""
        self.maker.close()
        self.slots.close()
        self.engine.close()


def _speak(slot: Slot, style: Style) -> None:
    for _ in slot.speaker.speak("Ready.", style):
        pass
