"""The gRPC edge of speech to text: messages in, messages out."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from avatar.media.v1 import media_pb2
from avatar.stt.v1 import stt_pb2, stt_pb2_grpc

from services.common.audio import samples_of_pcm16
from services.common.errors import InvalidRequestError, OverloadedError, ProtocolError
from services.common.inference import InferenceThread
from services.common.log import get_logger
from services.common.streaming import write_within
from services.common.timing import duration_of
from services.stt.engine import Hearing, SpeechEngine, SpeechStream
from services.stt.listener import Listener, Result
from services.stt.messages import (
    MAX_ASSISTANT_CHARACTERS,
    check_format,
    health_of,
    hearing_of,
    recognition_of,
    response_of,
    result_of,
    rules_of,
    rules_of_settings,
    turn_config_of,
)
from services.stt.recording import transcribe
from services.stt.settings import SttSettings
from services.stt.turn_detector import TurnDetector, TurnEvent
from services.stt.turn_model import TurnModel
from services.stt.vad import SAMPLE_RATE_HZ, VoiceDetector

Request = stt_pb2.StreamingRecognizeRequest
Response = stt_pb2.StreamingRecognizeResponse
log = get_logger(__name__)


class SpeechToTextServicer(stt_pb2_grpc.SpeechToTextServiceServicer):
    """Serves one engine; a call has a thread of its own, on which everything that it hears is worked through."""

    def __init__(
        self,
        engine: SpeechEngine,
        info: media_pb2.EngineInfo,
        new_voice_detector: Callable[[], VoiceDetector],
        turn_model: TurnModel,
        settings: SttSettings,
    ) -> None:
        self._engine = engine
        self._info = info
        self._new_voice_detector = new_voice_detector
        self._turn_model = turn_model
        self._rules = rules_of_settings(settings.turn)
        self._idle_timeout_s = settings.idle_timeout_s
        self._max_recording_s = settings.max_recording_s
        self._max_streams = settings.max_streams
        self._open_streams = 0

    # The generated base class knows streamed answers only as generators.
    async def StreamingRecognize(  # type: ignore[override]
        self, request_iterator: AsyncIterator[Request], context: Any
    ) -> None:
        requests = aiter(request_iterator)
        config, hearing = await self._first_config(requests)
        rules = rules_of(config.turn, self._rules)
        async with self._stream(hearing) as (thread, stream):
            turns = TurnDetector(rules)
            listener = Listener(stream, self._new_voice_detector(), self._turn_model, turns)
            write = functools.partial(write_within, context, limit_s=self._idle_timeout_s)
            call = _Call(
                write, thread, listener, config.recognition.language_code, interim_results=config.interim_results
            )
            await call.started(config, self._info)
            while (request := await self._next(requests)) is not None:
                await call.take(request)
            await call.finish()
        log.info("stream_finished", audio_s=listener.position / SAMPLE_RATE_HZ)

    async def Recognize(self, request: stt_pb2.RecognizeRequest, context: Any) -> stt_pb2.RecognizeResponse:
        hearing = hearing_of(request.config, self._engine.capabilities, wants_partials=False)
        language_code = recognition_of(request.config, hearing).language_code
        response = stt_pb2.RecognizeResponse()
        async with self._stream(hearing) as (thread, stream):
            steps = transcribe(request.audio, stream, self._new_voice_detector(), self._max_recording_s)
            while (step := await thread.run(next, steps, None)) is not None:
                response.results.extend(result_of(result, language_code) for result in step.results)
                response.audio_duration.CopyFrom(duration_of(step.position, SAMPLE_RATE_HZ))
        response.transcript = " ".join(result.transcript for result in response.results)
        return response

    async def GetHealth(self, request: stt_pb2.GetHealthRequest, context: Any) -> stt_pb2.GetHealthResponse:
        return health_of(self._info, self._engine.capabilities)

    async def _first_config(
        self, requests: AsyncIterator[Request]
    ) -> tuple[stt_pb2.StreamingRecognitionConfig, Hearing]:
        """The caller's config with its defaults filled in, except for the turn's, and what is to be heard."""
        first = await self._next(requests)
        if first is None or first.WhichOneof("request") != "config":
            sent = "nothing" if first is None else first.WhichOneof("request") or "an empty message"
            raise ProtocolError(f"the first message is config, not {sent}")
        config = first.config
        check_format(config.audio_format, self._engine.capabilities.sample_rate_hz)
        capabilities = self._engine.capabilities
        hearing = hearing_of(config.recognition, capabilities, wants_partials=config.interim_results)
        config.recognition.CopyFrom(recognition_of(config.recognition, hearing))
        return config, hearing

    async def _next(self, requests: AsyncIterator[Request]) -> Request | None:
        try:
            async with asyncio.timeout(self._idle_timeout_s):
                return await anext(requests, None)
        except TimeoutError as late:
            raise ProtocolError(
                f"nothing came in {self._idle_timeout_s:g} s; a stream is fed with sound, silence included, or closed"
            ) from late

    @contextlib.asynccontextmanager
    async def _stream(self, hearing: Hearing) -> AsyncIterator[tuple[InferenceThread, SpeechStream]]:
        """A stream of the recogniser with the thread that it lives on. Raises: OverloadedError, EngineError."""
        opened: list[SpeechStream] = []

        def close() -> None:
            for stream in opened:
                stream.close()

        async with self._thread() as thread:
            try:
                await thread.run(lambda: opened.append(self._engine.open_stream(hearing)))
                yield thread, opened[0]
            finally:
                # After whatever the thread still does for a caller who has gone: it may be opening the stream.
                await thread.run(close)

    @contextlib.asynccontextmanager
    async def _thread(self) -> AsyncIterator[InferenceThread]:
        """One of the streams that this process serves at once. Raises: OverloadedError if all are taken."""
        if self._open_streams == self._max_streams:
            raise OverloadedError(
                f"all {self._max_streams} streams of this process are taken", limit=f"max_streams={self._max_streams}"
            )
        self._open_streams += 1
        # A call that was cancelled may still run when the one that closes the stream is made.
        thread = InferenceThread("stt-stream", max_pending=2)
        try:
            yield thread
        finally:
            thread.close()
            self._open_streams -= 1


class _Call:
    """One StreamingRecognize call after its config."""

    def __init__(
        self,
        write: Callable[[Response], Awaitable[None]],
        thread: InferenceThread,
        listener: Listener,
        language_code: str,
        *,
        interim_results: bool,
    ) -> None:
        self._send = write
        self._thread = thread
        self._listener = listener
        self._language_code = language_code
        self._interim_results = interim_results

    async def started(self, config: stt_pb2.StreamingRecognitionConfig, engine: media_pb2.EngineInfo) -> None:
        """Say what will really be done."""
        config.turn.CopyFrom(turn_config_of(self._listener.turns.rules))
        await self._write(Response(started=Response.Started(config=config, engine=engine)))

    async def take(self, request: Request) -> None:
        """Do what a message of the caller asks. Raises: InvalidRequestError, ProtocolError, EngineError."""
        match request.WhichOneof("request"):
            case "audio":
                self._check_audio(request.audio)
                await self._tell(await self._thread.run(self._listener.hear, samples_of_pcm16(request.audio)))
            case "finalize":
                await self._tell(await self._thread.run(self._listener.finalize))
            case "turn":
                self._listener.turns.rules = rules_of(request.turn, self._listener.turns.rules)
            case "assistant_state":
                self._take_assistant(request.assistant_state)
            case "config":
                raise ProtocolError("config is the first message only; turn settings change by a turn message")
            case _:
                raise InvalidRequestError("the message is empty; send audio, finalize, turn or assistant_state")

    async def finish(self) -> None:
        """The caller has sent everything."""
        await self._tell(await self._thread.run(self._listener.finish))

    def _take_assistant(self, state: Request.AssistantState) -> None:
        if len(state.text) > MAX_ASSISTANT_CHARACTERS:
            raise InvalidRequestError(
                f"assistant_state.text has at most {MAX_ASSISTANT_CHARACTERS} characters, not {len(state.text)}"
            )
        self._listener.assistant(speaking=state.speaking, text=state.text)

    def _check_audio(self, pcm: bytes) -> None:
        if len(pcm) % 2:
            raise InvalidRequestError(f"audio is whole samples of 2 bytes; {len(pcm)} bytes are not")
        if len(pcm) > 2 * SAMPLE_RATE_HZ:
            raise InvalidRequestError(
                f"one message holds at most 1 s of audio, not {len(pcm) / 2 / SAMPLE_RATE_HZ:g} s"
            )

    async def _tell(self, heard: Sequence[Result | TurnEvent]) -> None:
        for item in heard:
            if isinstance(item, Result) and not item.transcript.is_final and not self._interim_results:
                continue
            await self._write(response_of(item, self._language_code))

    async def _write(self, response: Response) -> None:
        response.audio_processed_offset.CopyFrom(duration_of(self._listener.position, SAMPLE_RATE_HZ))
        await self._send(response)
