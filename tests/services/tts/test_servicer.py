"""The service over real gRPC, with an engine that beeps."""

from __future__ import annotations

import asyncio
import contextlib
import io
import itertools
import wave
from collections.abc import Sequence
from typing import Any, Literal

import grpc
import pytest
from avatar.media.v1 import media_pb2
from avatar.tts.v1 import tts_pb2
from google.rpc import code_pb2, error_details_pb2
from grpc_status import rpc_status

from services.common.timing import samples_of, seconds_of
from services.tts.narration import FINAL_PAUSE_S
from services.tts.utterances import MAX_OPEN_UTTERANCES, MAX_TEXT_CHARACTERS
from tests.fakes.speaking_engine import BROKEN, ENDLESS, RATE_HZ, SpeakingEngine
from tests.services.tts.serving import End, Request, Stub, cancel, config, flush, serving, text

Message = tts_pb2.StreamingSynthesizeResponse


async def converse(stub: Stub, requests: Sequence[tts_pb2.StreamingSynthesizeRequest]) -> list[Message]:
    """Send everything, close, and read to the end."""
    return [message async for message in stub.StreamingSynthesize(iter(requests))]


def ends(messages: Sequence[Message]) -> list[tuple[str, int]]:
    return [(m.utterance_end.utterance_id, m.utterance_end.reason) for m in messages if m.HasField("utterance_end")]


def words(messages: Sequence[Message]) -> list[str]:
    return [word.word for message in messages for word in message.timing.words]


async def test_the_first_answer_says_what_will_really_be_done() -> None:
    async with serving(SpeakingEngine()) as tts:
        (plain,) = await converse(tts, [config()])
        (asked,) = await converse(
            tts, [config(voice="voices/another", language_code="de-AT", speaking_rate=0.5, sample_rate_hz=48_000)]
        )
    assert plain.started.engine.name == "fake"
    format_ = media_pb2.AudioFormat(
        encoding=media_pb2.AUDIO_ENCODING_LINEAR16, sample_rate_hertz=RATE_HZ, channel_count=1
    )
    assert plain.started.config == tts_pb2.SynthesisConfig(
        voice="voices/beep", language_code="en", speaking_rate=1, audio_format=format_
    )
    format_.sample_rate_hertz = 48_000
    assert asked.started.config == tts_pb2.SynthesisConfig(
        voice="voices/another", language_code="de", speaking_rate=0.5, audio_format=format_
    )


async def test_an_utterance_comes_whole_in_order_and_its_timing_before_its_audio() -> None:
    async with serving(SpeakingEngine()) as tts:
        messages = await converse(tts, [config(), text("a", "ab cd. "), text("a", "ef", last=True)])
    assert words(messages) == ["ab", "cd", "ef"]
    told = heard = 0.0
    for index, message in enumerate(m for m in messages if m.HasField("audio")):
        assert message.audio.sequence == index
        assert message.audio.utterance_id == "a"
    for message in messages:
        if message.HasField("timing"):
            assert not message.timing.exact
            assert all(seconds_of(viseme.start_offset) >= heard - 1e-6 for viseme in message.timing.visemes)
            told = max(told, *(seconds_of(viseme.end_offset) for viseme in message.timing.visemes))
        if message.HasField("audio"):
            assert seconds_of(message.audio.start_offset) == pytest.approx(heard)
            heard += len(message.audio.data) / 2 / RATE_HZ
            assert told >= heard - 1e-6
    (end,) = [m.utterance_end for m in messages if m.HasField("utterance_end")]
    assert messages[-1].utterance_end == end
    assert (end.utterance_id, end.reason) == ("a", End.REASON_COMPLETED)
    assert seconds_of(end.audio_duration) == pytest.approx(heard)
    assert seconds_of(end.audio_duration) == pytest.approx(0.6 + 0.3 + FINAL_PAUSE_S, abs=1e-3)


async def test_words_are_placed_in_the_text_of_the_whole_utterance() -> None:
    whole = "Größe ab. cd — ef"
    async with serving(SpeakingEngine()) as tts:
        messages = await converse(tts, [config(), *(text("a", char) for char in whole), text("a", "", last=True)])
    placed = [word for message in messages for word in message.timing.words]
    assert [whole[word.text_begin : word.text_end] for word in placed] == ["Größe", "ab", "cd", "ef"]
    assert [word.word for word in placed] == ["Größe", "ab", "cd", "ef"]


Field = Literal["timing", "audio", "utterance_end"]


async def read_until(call: Any, utterance_id: str, field: Field) -> Message:
    while True:
        message: Message = await call.read()
        if message.HasField(field) and getattr(message, field).utterance_id == utterance_id:
            return message


async def read_to_end(call: Any) -> list[Message]:
    messages: list[Message] = []
    while (message := await call.read()) is not grpc.aio.EOF:
        messages.append(message)
    return messages


async def test_a_sentence_is_spoken_before_the_next_is_written_and_a_flush_speaks_the_rest() -> None:
    async with serving(SpeakingEngine()) as tts:
        call = tts.StreamingSynthesize()
        await call.write(config())
        await call.write(text("a", "One sentence. Half a"))
        while words([await read_until(call, "a", "timing")]) != ["sentence"]:
            pass
        await call.write(flush("a"))
        while words([await read_until(call, "a", "timing")]) != ["Half"]:
            pass
        await call.write(text("a", "", last=True))
        end = (await read_until(call, "a", "utterance_end")).utterance_end
        assert end.reason == End.REASON_COMPLETED
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF


async def test_utterances_are_spoken_in_the_order_in_which_they_began() -> None:
    async with serving(SpeakingEngine()) as tts:
        messages = await converse(
            tts,
            [config(), text("a", "x"), text("b", "y"), text("b", " z", last=True), text("a", " w", last=True)],
        )
    assert words(messages) == ["x", "w", "y", "z"]
    assert ends(messages) == [("a", End.REASON_COMPLETED), ("b", End.REASON_COMPLETED)]


async def test_what_has_no_last_piece_is_spoken_when_the_caller_has_sent_everything() -> None:
    async with serving(SpeakingEngine()) as tts:
        messages = await converse(tts, [config(), text("a", "abc")])
    assert (words(messages), ends(messages)) == (["abc"], [("a", End.REASON_COMPLETED)])


@pytest.mark.parametrize("nothing", ["", "...", " \n ", "\U0001f600", "\x00"])
async def test_an_utterance_with_nothing_to_say_completes_without_audio(nothing: str) -> None:
    async with serving(SpeakingEngine()) as tts:
        messages = await converse(tts, [config(), text("a", nothing, last=True)])
    assert ends(messages) == [("a", End.REASON_COMPLETED)]
    assert not [message for message in messages if message.HasField("audio")]
    assert seconds_of(messages[-1].utterance_end.audio_duration) == 0


async def test_nothing_of_a_dropped_utterance_follows_its_end() -> None:
    async with serving(SpeakingEngine()) as tts:
        call = tts.StreamingSynthesize()
        await call.write(config())
        await call.write(text("a", ENDLESS + " "))
        await call.write(flush("a"))
        await call.write(text("b", "never heard", last=True))
        first = await read_until(call, "a", "audio")
        await call.write(cancel())
        # The caller does not know yet and goes on writing.
        await call.write(text("a", "more of it. "))
        await call.write(flush("a"))
        await call.write(text("a", "the last", last=True))
        await call.write(text("c", "abc", last=True))
        await call.done_writing()
        messages = [first, *await read_to_end(call)]
    first_end = next(index for index, message in enumerate(messages) if message.HasField("utterance_end"))
    heard = sum(len(message.audio.data) // 2 for message in messages[:first_end])
    assert ends(messages) == [
        ("a", End.REASON_CANCELLED),
        ("b", End.REASON_CANCELLED),
        ("c", End.REASON_COMPLETED),
    ]
    assert samples_of(messages[first_end].utterance_end.audio_duration, RATE_HZ) == heard
    followers = {m.audio.utterance_id or m.timing.utterance_id for m in messages[first_end + 2 : -1]}
    assert followers == {"c"}
    assert seconds_of(messages[first_end + 1].utterance_end.audio_duration) == 0


async def test_a_cancel_of_what_has_ended_or_never_began_is_no_error() -> None:
    async with serving(SpeakingEngine()) as tts:
        call = tts.StreamingSynthesize()
        await call.write(config())
        await call.write(cancel("unknown"))
        await call.write(text("a", "x", last=True))
        await read_until(call, "a", "utterance_end")
        await call.write(cancel("a"))
        await call.write(cancel())
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
        assert await call.code() is grpc.StatusCode.OK


async def test_an_engine_failure_ends_the_utterance_and_the_stream_goes_on() -> None:
    async with serving(SpeakingEngine()) as tts:
        call: Any = tts.StreamingSynthesize()
        await call.write(config())
        await call.write(text("a", f"ab. {BROKEN}. cd. "))
        await call.write(text("b", "ef", last=True))
        messages: list[Message] = []
        while not ends(messages):
            messages.append(await call.read())
        await call.write(text("a", "late text of the failed one", last=True))
        await call.done_writing()
        messages += await read_to_end(call)
    (warning,) = [message.warning for message in messages if message.HasField("warning")]
    assert (warning.code, warning.message) == (code_pb2.INTERNAL, "the voice is hoarse")
    assert ends(messages) == [("a", End.REASON_FAILED), ("b", End.REASON_COMPLETED)]
    assert words(messages) == ["ab", "ef"]


A = text("a", "x", last=True)
TOO_LONG = "x" * (MAX_TEXT_CHARACTERS // 2 + 1)


@pytest.mark.parametrize(
    ("requests", "code", "sentence"),
    [
        ([], "FAILED_PRECONDITION", "first message is config, not nothing"),
        ([A], "FAILED_PRECONDITION", "first message is config, not text"),
        ([Request()], "FAILED_PRECONDITION", "not an empty message"),
        ([config(), Request()], "FAILED_PRECONDITION", "send text, flush or cancel"),
        ([config(), config()], "FAILED_PRECONDITION", "config came twice"),
        ([config(), A, A], "FAILED_PRECONDITION", "another with a new utterance_id"),
        ([config(), text("a", ENDLESS), cancel("a"), A, A], "FAILED_PRECONDITION", "a new utterance_id"),
        ([config(), flush("a")], "FAILED_PRECONDITION", "has not begun"),
        ([config(), text("", "x")], "INVALID_ARGUMENT", "1 to 128 characters, not 0"),
        ([config(), text("x" * 129, "x")], "INVALID_ARGUMENT", "1 to 128 characters, not 129"),
        ([config(), text("a", TOO_LONG), text("a", TOO_LONG)], "INVALID_ARGUMENT", "at most 20000 characters"),
        ([config(speaking_rate=3)], "INVALID_ARGUMENT", "0.5 to 2, not 3"),
        ([config(sample_rate_hz=96_000)], "INVALID_ARGUMENT", "8000 to 48000, not 96000"),
        ([config(sample_rate_hz=-1)], "INVALID_ARGUMENT", "8000 to 48000, not -1"),
        ([config(voice="voices/nobody")], "NOT_FOUND", "there are voices/beep, voices/another"),
        ([config(voice="beep")], "NOT_FOUND", "there are voices/beep, voices/another"),
        ([config(language_code="xx")], "UNIMPLEMENTED", "does not speak xx; it speaks de, en, en-GB"),
    ],
)
async def test_what_cannot_be_done_is_refused_in_words(
    requests: list[tts_pb2.StreamingSynthesizeRequest], code: str, sentence: str
) -> None:
    async with serving(SpeakingEngine()) as tts:
        with pytest.raises(grpc.aio.AioRpcError, match=sentence) as refused:
            await converse(tts, requests)
    assert refused.value.code().name == code


async def test_stereo_is_refused() -> None:
    two = config()
    two.config.audio_format.channel_count = 2
    async with serving(SpeakingEngine()) as tts:
        with pytest.raises(grpc.aio.AioRpcError, match="1 channel, not 2"):
            await converse(tts, [two])


async def test_an_utterance_at_the_limit_is_spoken() -> None:
    async with serving(SpeakingEngine()) as tts:
        messages = await converse(tts, [config(), text("a", "." * MAX_TEXT_CHARACTERS, last=True)])
    assert ends(messages) == [("a", End.REASON_COMPLETED)]


async def test_more_open_utterances_than_the_limit_are_refused() -> None:
    async with serving(SpeakingEngine()) as tts:
        requests = [config(), *(text(f"u{number}", "x") for number in range(MAX_OPEN_UTTERANCES + 1))]
        with pytest.raises(grpc.aio.AioRpcError, match=f"{MAX_OPEN_UTTERANCES} utterances wait") as refused:
            await converse(tts, requests)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_one_stream_more_than_there_are_speakers_is_refused_until_one_ends() -> None:
    async with serving(SpeakingEngine(speaker_count=2)) as tts:
        calls = [tts.StreamingSynthesize() for _ in range(2)]
        for call in calls:
            await call.write(config())
            started: Any = await call.read()
            assert started.HasField("started")
        with pytest.raises(grpc.aio.AioRpcError, match="all 2 streams are taken") as refused:
            await converse(tts, [config()])
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        status = rpc_status.from_call(refused.value)
        assert status is not None
        quota = error_details_pb2.QuotaFailure()
        assert status.details[-1].Unpack(quota)
        assert quota.violations[0].subject == "max_streams=2"
        await calls[0].done_writing()
        assert await calls[0].read() is grpc.aio.EOF
        assert len(await converse(tts, [config()])) == 1
        calls[1].cancel()


async def test_a_caller_who_goes_away_gives_its_speaker_back() -> None:
    engine = SpeakingEngine()
    async with serving(engine) as tts:
        call = tts.StreamingSynthesize()
        await call.write(config())
        await call.write(text("a", ENDLESS, last=True))
        await read_until(call, "a", "audio")
        call.cancel()
        async with asyncio.timeout(20):
            while True:
                with contextlib.suppress(grpc.aio.AioRpcError):
                    messages = await converse(tts, [config(), text("a", "x", last=True)])
                    break
    assert words(messages) == ["x"]
    assert engine.speakers[0].chunks_closed == 2


async def test_a_stream_whose_caller_is_silent_is_ended() -> None:
    async with serving(SpeakingEngine(), idle_timeout_s=0.05) as tts:
        for requests in ([], [config()]):
            call = tts.StreamingSynthesize()
            for request in requests:
                await call.write(request)
                await call.read()
            with pytest.raises(grpc.aio.AioRpcError, match=r"in 0\.05 s|for 0\.05 s") as ended:
                await call.read()
            assert ended.value.code() is grpc.StatusCode.FAILED_PRECONDITION


async def test_a_whole_text_comes_as_a_wav_file_with_its_timing() -> None:
    async with serving(SpeakingEngine()) as tts:
        response = await tts.Synthesize(
            tts_pb2.SynthesizeRequest(config=config(sample_rate_hz=24_000).config, text="ab. cd")
        )
    with wave.open(io.BytesIO(response.audio)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (24_000, 1, 2)
        assert samples_of(response.audio_duration, 24_000) == file.getnframes()
    assert [word.word for word in response.timing.words] == ["ab", "cd"]
    visemes = response.timing.visemes
    assert all(one.end_offset == other.start_offset for one, other in itertools.pairwise(visemes))
    assert visemes[-1].end_offset == response.audio_duration
    assert response.config.voice == "voices/beep"


async def test_a_whole_text_is_streamed_and_ends_in_band() -> None:
    async with serving(SpeakingEngine()) as tts:
        messages = [message async for message in tts.SynthesizeStream(tts_pb2.SynthesizeStreamRequest(text="ab. cd"))]
    assert messages[0].HasField("started")
    assert [word.word for message in messages for word in message.timing.words] == ["ab", "cd"]
    heard = sum(len(message.audio.data) // 2 for message in messages)
    assert messages[-1].utterance_end.reason == End.REASON_COMPLETED
    assert samples_of(messages[-1].utterance_end.audio_duration, RATE_HZ) == heard


async def test_a_streamed_text_that_fails_says_so_in_band_and_in_its_status() -> None:
    async with serving(SpeakingEngine()) as tts:
        call = tts.SynthesizeStream(tts_pb2.SynthesizeStreamRequest(text=f"ab. {BROKEN}"))
        messages: list[Any] = [await call.read()]
        while not messages[-1].HasField("utterance_end"):
            messages.append(await call.read())
        with pytest.raises(grpc.aio.AioRpcError, match="hoarse") as failed:
            await call.read()
    assert failed.value.code() is grpc.StatusCode.INTERNAL
    assert messages[-1].utterance_end.reason == End.REASON_FAILED


@pytest.mark.parametrize("wrong", ["", "x" * (MAX_TEXT_CHARACTERS + 1)])
async def test_a_whole_text_that_is_empty_or_too_long_is_refused(wrong: str) -> None:
    async with serving(SpeakingEngine()) as tts:
        with pytest.raises(grpc.aio.AioRpcError, match="text has 1 to 20000 characters") as unary:
            await tts.Synthesize(tts_pb2.SynthesizeRequest(text=wrong))
        with pytest.raises(grpc.aio.AioRpcError, match="text has 1 to 20000 characters") as streamed:
            await tts.SynthesizeStream(tts_pb2.SynthesizeStreamRequest(text=wrong)).read()
    assert {unary.value.code(), streamed.value.code()} == {grpc.StatusCode.INVALID_ARGUMENT}


@pytest.mark.slow
async def test_a_text_too_long_for_one_answer_is_refused_with_what_would_do() -> None:
    request = tts_pb2.SynthesizeRequest(config=config(sample_rate_hz=48_000).config, text=ENDLESS)
    async with serving(SpeakingEngine()) as tts:
        with pytest.raises(grpc.aio.AioRpcError, match="use SynthesizeStream") as refused:
            await tts.Synthesize(request)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_voices_are_listed_with_the_default_first_and_by_language() -> None:
    async with serving(SpeakingEngine()) as tts:
        every = await tts.ListVoices(tts_pb2.ListVoicesRequest())
        german = await tts.ListVoices(tts_pb2.ListVoicesRequest(language_code="de-CH"))
        none = await tts.ListVoices(tts_pb2.ListVoicesRequest(language_code="xx"))
    assert [voice.name for voice in every.voices] == ["voices/beep", "voices/another"]
    assert every.voices[0].natural_sample_rate_hertz == RATE_HZ
    assert (len(german.voices), len(none.voices)) == (2, 0)


async def test_health_says_what_serves_and_why() -> None:
    async with serving(SpeakingEngine()) as tts:
        health = await tts.GetHealth(tts_pb2.GetHealthRequest())
    assert (health.status, health.engine.name) == ("healthy", "fake")
    assert list(health.language_codes) == ["de", "en", "en-GB"]
