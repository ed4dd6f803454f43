"""A voice and ears that belong together: the ears hear what the voice was asked to say, unless told otherwise."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
from avatar.media.v1 import media_pb2
from avatar.stt.v1 import stt_pb2, stt_pb2_grpc
from avatar.tts.v1 import tts_pb2, tts_pb2_grpc

from services.common.audio import pcm16_of, samples_of_pcm16, wav_of

RATE_HZ = 48_000
_TEXT_S = 0.5
# The voice whistles: each text has a pitch of its own, by which the ears know it again.
_FIRST_HZ, _STEP_HZ = 400.0, 100.0


@dataclass
class Parrot(tts_pb2_grpc.TextToSpeechServiceServicer, stt_pb2_grpc.SpeechToTextServiceServicer):
    """Attributes:
    voice, ears: names of the engines.
    mishears: what is written instead of what was said.
    imagines: written for any other sound, silence too; nothing if empty.
    heeds_assistant: whether its own voice is left out.
    """

    voice: str = "whistle"
    ears: str = "parrot"
    spoken: tuple[str, ...] = ("en", "de", "zh-cn")
    heard: tuple[str, ...] = ("en", "zh")
    mishears: Callable[[str], str] = str
    imagines: str = ""
    heeds_assistant: bool = True
    _texts: list[str] = field(default_factory=list)

    async def GetHealth(self, request: Any, context: Any) -> Any:
        if isinstance(request, tts_pb2.GetHealthRequest):
            engine = media_pb2.EngineInfo(name=self.voice)
            return tts_pb2.GetHealthResponse(status="healthy", engine=engine, language_codes=self.spoken)
        engine = media_pb2.EngineInfo(name=self.ears)
        return stt_pb2.GetHealthResponse(status="healthy", engine=engine, language_codes=self.heard)

    async def Synthesize(self, request: tts_pb2.SynthesizeRequest, context: Any) -> tts_pb2.SynthesizeResponse:
        if request.text not in self._texts:
            self._texts.append(request.text)
        pitch = _FIRST_HZ + _STEP_HZ * self._texts.index(request.text)
        t = np.arange(int(_TEXT_S * RATE_HZ)) / RATE_HZ
        whistle = np.asarray(0.5 * np.sin(2 * np.pi * pitch * t), np.float32)
        return tts_pb2.SynthesizeResponse(audio=wav_of(pcm16_of(whistle), RATE_HZ))

    async def StreamingRecognize(self, requests: AsyncIterator[Any], context: Any) -> None:  # type: ignore[override]
        first = await anext(requests)
        config = stt_pb2.StreamingRecognizeResponse.Started(config=first.config)
        await context.write(stt_pb2.StreamingRecognizeResponse(started=config))
        sound, says = b"", ""
        async for request in requests:
            sound += request.audio
            says = request.assistant_state.text or says
        text = self._heard_in(sound, first.config.audio_format.sample_rate_hertz)
        if text and not (self.heeds_assistant and text == says):
            language = first.config.recognition.language_code or "en"
            result = stt_pb2.RecognitionResult(transcript=text, is_final=True, segment_id="1", language_code=language)
            await context.write(stt_pb2.StreamingRecognizeResponse(result=result))
        event = stt_pb2.TurnEvent(kind=stt_pb2.TurnEvent.KIND_END_OF_TURN)
        await context.write(stt_pb2.StreamingRecognizeResponse(turn_event=event))

    async def Recognize(self, request: stt_pb2.RecognizeRequest, context: Any) -> stt_pb2.RecognizeResponse:
        return stt_pb2.RecognizeResponse(transcript=self._heard_in(request.audio[44:], RATE_HZ))

    def _heard_in(self, pcm: bytes, rate_hz: int) -> str:
        samples = samples_of_pcm16(pcm)
        spectrum = np.abs(np.fft.rfft(samples, rate_hz))
        pitch = int(spectrum.argmax())
        index = round((pitch - _FIRST_HZ) / _STEP_HZ)
        # Its energy lies at one pitch, for as long as a text is whistled.
        is_whistle = spectrum[max(pitch - 8, 0) : pitch + 9].max() > 0.1 * rate_hz * _TEXT_S
        is_known = is_whistle and abs(pitch - _FIRST_HZ - _STEP_HZ * index) < 3 and 0 <= index < len(self._texts)
        return self.mishears(self._texts[index]) if is_known else self.imagines


@contextlib.asynccontextmanager
async def parroting(**told: Any) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to a parrot, as to both services. Args: told: its attributes."""
    parrot = Parrot(**told)  # type: ignore[abstract]
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1)])
    tts_pb2_grpc.add_TextToSpeechServiceServicer_to_server(parrot, server)
    stt_pb2_grpc.add_SpeechToTextServiceServicer_to_server(parrot, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel
    finally:
        await server.stop(None)
