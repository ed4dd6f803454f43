"""Makes voices of recordings: reads them, listens to them, and lets the engine take them on."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.common.errors import UnsupportedError
from services.common.inference import InferenceThread
from services.tts.engine import Capabilities, Cloning, Conditioning, names_of
from services.tts.voice_recording import MAX_S, listen, read, trimmed
from services.tts.voice_store import VoiceRecord, VoiceStore, checked_wish

MAX_WAITING_RECORDINGS = 4
# A recording that is made for once may be longer than it is of use: as the older stack took it.
MAX_LENIENT_S = 600.0


class VoiceMaker:
    """Does one recording after the other, on a thread of its own, while others speak."""

    def __init__(self, capabilities: Capabilities, store: VoiceStore) -> None:
        self._capabilities = capabilities
        self._store = store
        self._thread = InferenceThread("voice-maker", MAX_WAITING_RECORDINGS)

    def close(self) -> None:
        """End the thread; no call may be running."""
        self._thread.close()

    async def create(
        self,
        voice_id: str,
        display_name: str,
        consent: str,
        file: bytes,
        *,
        keep_recording: bool = False,
        validate_only: bool = False,
    ) -> VoiceRecord:
        """Make a voice and keep it.

        Args: voice_id, display_name: empty to have them made; file: a recording as `voice_recording.read` takes it;
            validate_only: do all but this, and keep nothing.
        Raises: InvalidRequestError, in words; UnsupportedError where the engine cannot; OverloadedError; EngineError.
        """
        cloning = self._cloning()

        def make() -> VoiceRecord:
            # Here, where one is made after the other, two cannot take the same name.
            taken = {voice.id: voice.display_name for voice in self._capabilities.voices}
            taken |= {record.voice_id: record.display_name for record in self._store.records()}
            final_id, name = checked_wish(voice_id, display_name, consent, taken)
            self._store.check_room()
            samples = read(file, cloning.sample_rate_hz)
            quality = listen(samples, cloning.sample_rate_hz)
            made_at = datetime.now(UTC)
            record = VoiceRecord(final_id, name, consent, cloning.model, keep_recording, quality, made_at)
            if not validate_only:
                arrays = cloning.condition(trimmed(samples, cloning.sample_rate_hz))
                self._store.add(record, arrays, file if keep_recording else None)
            return record

        return await self._thread.run(make)

    async def remake(self, voice_id: str) -> VoiceRecord:
        """Make a voice anew of the recording that was kept. Raises: as `create`; NotFoundError; ProtocolError."""
        cloning = self._cloning()

        def make() -> VoiceRecord:
            before, file = self._store.recording(voice_id)
            record = replace(before, model=cloning.model)
            samples = trimmed(read(file, cloning.sample_rate_hz), cloning.sample_rate_hz)
            self._store.exchange(record, cloning.condition(samples), file)
            return record

        return await self._thread.run(make)

    async def delete(self, voice_id: str) -> None:
        """Forget a voice and all that was kept of it, at once. Raises: NotFoundError."""
        await asyncio.to_thread(self._store.delete, voice_id)

    async def condition(self, file: bytes) -> Conditioning:
        """A voice for one text; of a long recording the beginning is used. Raises: as `create`."""
        cloning = self._cloning()

        def make() -> Mapping[str, NDArray[Any]]:
            samples: NDArray[np.float32] = read(file, cloning.sample_rate_hz, MAX_LENIENT_S)
            samples = samples[: round(MAX_S * cloning.sample_rate_hz)]
            listen(samples, cloning.sample_rate_hz)
            return cloning.condition(trimmed(samples, cloning.sample_rate_hz))

        return Conditioning(await self._thread.run(make))

    def _cloning(self) -> Cloning:
        cloning = self._capabilities.cloning
        if cloning is None:
            own = names_of(self._capabilities.voices)
            raise UnsupportedError(f"this engine cannot make a voice of a recording; it speaks with its own: {own}")
        return cloning
