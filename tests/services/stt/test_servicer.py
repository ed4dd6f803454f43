"""What a caller of the service sees, over real gRPC, with ears that count quarter seconds."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from avatar.media.v1 import media_pb2
from avatar.stt.v1 import stt_pb2
from google.protobuf.duration_pb2 import Duration

from services.common.audio import pcm16_of, wav_of
from services.common.timing import seconds_of
from services.stt.engine import Hearing
from tests.fakes.hearing_engine import HearingEngine, ScriptedTurnModel, loud, quiet
from tests.services.stt.serving import INFO, Request, Stub, assistant, audio, config, converse, serving, told

Turn = stt_pb2.TurnConfig


def seconds(value: float) -> Duration:
    return Duration(seconds=int(value), nanos=round(value % 1 * 1e9))


async def refusal(*requests: Request, **settings: object) -> tuple[grpc.StatusCode, str]:
    """How the server refuses the requests."""
    async with serving(**settings) as stt:  # type: ignore[arg-type]
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await converse(stt, requests)
    return refused.value.code(), refused.value.details() or ""


async def _read_all(call: grpc.aio.StreamStreamCall[Request, stt_pb2.StreamingRecognizeResponse]) -> None:
    while await call.read() is not grpc.aio.EOF:
        pass


async def is_full(stt: Stub) -> bool:
    """Whether one more stream is refused."""
    try:
        await converse(stt, [config()])
    except grpc.aio.AioRpcError as refused:
        return refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    return False


async def test_the_first_answer_says_what_will_be_done_with_every_default_filled_in() -> None:
    async with serving() as stt:
        (response,) = await converse(stt, [config()])
    started = response.started
    assert started.engine == INFO
    assert started.config.recognition.language_code == "en"
    assert started.config.audio_format.sample_rate_hertz == 16_000
    turn = started.config.turn
    assert all(turn.HasField(field.name) for field in Turn.DESCRIPTOR.fields)  # type: ignore[arg-type]
    assert (turn.min_silence_duration, turn.max_silence_duration) == (seconds(0.16), seconds(1.1))


async def test_what_the_caller_sets_is_kept() -> None:
    turn = Turn(max_silence_duration=seconds(3), eager_threshold=0.0)
    async with serving() as stt:
        (response,) = await converse(stt, [config(language_code="de-AT", turn=turn)])
    assert response.started.config.recognition.language_code == "de-AT"
    assert response.started.config.turn.max_silence_duration == seconds(3)
    assert response.started.config.turn.eager_threshold == 0
    assert response.started.config.turn.min_silence_duration == seconds(0.16)


async def test_a_turn_is_told_in_order_and_its_final_comes_before_its_end() -> None:
    async with serving() as stt:
        responses = await converse(stt, [config(), *audio(quiet(1), loud(1), quiet(1))])
    assert told(responses) == ["SPEECH_STARTED", "SPEECH_ENDED", '"one two three four five"', "END_OF_TURN"]
    final = next(response.result for response in responses if response.result.is_final)
    assert final.language_code == "en"
    assert [word.word for word in final.words] == ["one", "two", "three", "four", "five"]
    assert final.words[0].confidence == 0.75
    assert 0.6 < seconds_of(final.start_offset) < 1
    assert 2 <= seconds_of(final.end_offset) < 2.2


async def test_interim_results_come_only_when_they_are_wanted() -> None:
    sound = audio(quiet(1), loud(1), quiet(1))
    async with serving() as stt:
        plain = await converse(stt, [config(), *sound])
        wanted = await converse(stt, [config(interim_results=True), *sound])
    interims = [response.result for response in wanted if response.HasField("result") and not response.result.is_final]
    assert [interim.transcript for interim in interims][:2] == ["one", "one two"]
    final = next(response.result for response in wanted if response.result.is_final)
    assert {interim.segment_id for interim in interims} == {final.segment_id}
    assert interims[0].words[0].word == "one"
    assert told(plain) == told(wanted)
    assert len(plain) == len(wanted) - len(interims)


async def test_every_answer_says_how_much_sound_was_taken_in() -> None:
    async with serving() as stt:
        responses = await converse(stt, [config(), *audio(quiet(1), loud(1), quiet(1))])
    offsets = [seconds_of(response.audio_processed_offset) for response in responses]
    assert offsets == sorted(offsets)
    assert offsets[0] == 0
    assert 1.0 < offsets[1] < 1.2
    assert offsets[-1] < 2.4


async def test_closing_the_stream_finishes_what_was_heard() -> None:
    async with serving() as stt:
        responses = await converse(stt, [config(), *audio(loud(1))])
    assert told(responses) == ["SPEECH_STARTED", "SPEECH_ENDED", '"one two three four"', "END_OF_TURN"]


async def test_silence_has_no_answer() -> None:
    async with serving() as stt:
        assert len(await converse(stt, [config(), *audio(quiet(3))])) == 1


async def test_finalize_gives_the_text_so_far() -> None:
    requests = [config(), *audio(loud(1)), Request(finalize=Request.Finalize()), *audio(loud(1), quiet(1))]
    async with serving() as stt:
        responses = await converse(stt, requests)
    assert told(responses) == [
        "SPEECH_STARTED",
        '"one two three"',
        "SPEECH_ENDED",
        '"one two three four"',
        "END_OF_TURN",
    ]


async def test_more_patience_can_be_asked_for_in_mid_stream() -> None:
    patient = Request(turn=Turn(max_silence_duration=seconds(2.5)))
    model = ScriptedTurnModel(0.0)
    async with serving(turn_model=model) as stt:
        hurried = await converse(stt, [config(), *audio(loud(1), quiet(2), loud(1), quiet(3))])
        waited = await converse(stt, [config(), patient, *audio(loud(1), quiet(2), loud(1), quiet(3))])
    assert told(hurried).count("END_OF_TURN") == 2
    assert told(waited).count("END_OF_TURN") == 1


@pytest.mark.parametrize(("length_s", "verdict"), [(0.25, "BACKCHANNEL"), (1.0, "BARGE_IN")])
async def test_a_voice_over_the_assistant_is_judged_by_its_length(length_s: float, verdict: str) -> None:
    requests = [config(), assistant(speaking=True), *audio(quiet(0.5), loud(length_s), quiet(1))]
    async with serving() as stt:
        names = told(await converse(stt, requests))
    assert names[0] == "SPEECH_STARTED"
    assert {"BACKCHANNEL", "BARGE_IN"} & set(names) == {verdict}


async def test_a_likely_end_is_told_and_taken_back() -> None:
    async with serving(turn_model=ScriptedTurnModel(0.4)) as stt:
        names = told(await converse(stt, [config(), *audio(loud(1), quiet(0.4), loud(1))]))
    assert names[:5] == ["SPEECH_STARTED", "SPEECH_ENDED", "END_OF_TURN_LIKELY", "TURN_RESUMED", "SPEECH_STARTED"]


@pytest.mark.parametrize(
    ("first", "words"),
    [
        (audio(quiet(0.02))[0], "the first message is config, not audio"),
        (Request(), "the first message is config, not an empty message"),
        (assistant(speaking=True), "the first message is config, not assistant_state"),
    ],
)
async def test_a_stream_that_does_not_begin_with_config_is_refused(first: Request, words: str) -> None:
    assert await refusal(first) == (grpc.StatusCode.FAILED_PRECONDITION, words)


async def test_a_stream_that_is_closed_at_once_is_refused() -> None:
    code, words = await refusal()
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert "not nothing" in words


async def test_a_second_config_is_refused() -> None:
    code, words = await refusal(config(), config())
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert "first message only" in words


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (config(sample_rate_hz=8_000), "this engine reads 16000 Hz audio, not 8000 Hz"),
        (config(channel_count=2), "channel_count is 1, not 2"),
        (config(encoding=media_pb2.AUDIO_ENCODING_UNSPECIFIED), "LINEAR16"),
        (config(language_code="english!"), '"en" or "en-US"'),
        (config(translation_language_code="english!"), '"en" or "en-US"'),
        (config(language_codes=[""]), "language_codes are at most 100 BCP-47 tags, none of them empty"),
        (config(language_codes=["en"] * 101), "language_codes are at most 100"),
        (config(language_code="en", language_codes=["de"]), "leave it empty to choose between language_codes"),
        (config(phrases=["x"] * 65), "phrases are at most 64, not 65"),
        (config(phrases=[" "]), "a phrase has 1 to 100 characters"),
        (config(phrases=["x" * 101]), "a phrase has 1 to 100 characters"),
        (config(turn=Turn(min_speech_duration=seconds(2))), "min_speech_duration is 0.032 s to 1 s, not 2 s"),
        (config(turn=Turn(min_silence_duration=seconds(0.01))), "min_silence_duration is 0.064 s to 2 s, not 0.01 s"),
        (config(turn=Turn(max_silence_duration=seconds(11))), "max_silence_duration is 0.064 s to 10 s, not 11 s"),
        (config(turn=Turn(min_silence_duration=seconds(2))), "max_silence_duration is min_silence_duration"),
        (config(turn=Turn(end_of_turn_threshold=1.5)), "end_of_turn_threshold is 0 to 1, not 1.5"),
        (config(turn=Turn(eager_threshold=-1)), "eager_threshold is 0 to 1, not -1"),
        (config(turn=Turn(eager_threshold=float("nan"))), "eager_threshold is 0 to 1, not nan"),
        (config(turn=Turn(min_barge_in_duration=seconds(3))), "min_barge_in_duration is 0.1 s to 2 s, not 3 s"),
    ],
)
async def test_a_config_that_cannot_work_is_refused_with_what_would(request_: Request, words: str) -> None:
    code, details = await refusal(request_)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert words in details


async def test_a_language_that_the_engine_does_not_hear_is_refused_with_those_it_does() -> None:
    code, words = await refusal(config(language_code="fr"))
    assert code is grpc.StatusCode.UNIMPLEMENTED
    assert words == 'this engine does not hear "fr"; it hears: en, de'


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (Request(audio=b"\0" * 641), "whole samples of 2 bytes; 641"),
        (Request(audio=b"\0" * 32_002), "at most 1 s of audio"),
        (Request(), "send audio, finalize, turn or assistant_state"),
        (assistant(speaking=True, text="x" * 4001), "at most 4000 characters, not 4001"),
        (
            Request(turn=Turn(max_silence_duration=seconds(0.1))),
            "max_silence_duration is min_silence_duration (0.16 s)",
        ),
    ],
)
async def test_a_message_that_cannot_work_is_refused_with_what_would(request_: Request, words: str) -> None:
    code, details = await refusal(config(), request_)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert words in details


async def test_one_second_of_audio_in_one_message_is_taken() -> None:
    async with serving() as stt:
        responses = await converse(stt, [config(), *(Request(audio=pcm16_of(loud(1))) for _ in range(2))])
    assert told(responses)[-1] == "END_OF_TURN"


async def test_a_caller_who_sends_nothing_is_ended() -> None:
    async with serving(idle_timeout_s=0.1) as stt:
        call = stt.StreamingRecognize()
        await call.write(config())
        await call.read()
        with pytest.raises(grpc.aio.AioRpcError, match=r"nothing came in 0\.1 s") as ended:
            await call.read()
    assert ended.value.code() is grpc.StatusCode.FAILED_PRECONDITION


async def test_a_stream_too_many_is_refused_and_one_that_ends_makes_room() -> None:
    async with serving(max_streams=1) as stt:
        first = stt.StreamingRecognize()
        await first.write(config())
        await first.read()
        with pytest.raises(grpc.aio.AioRpcError, match="all 1 streams") as refused:
            await converse(stt, [config()])
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        await first.done_writing()
        assert await first.read() is grpc.aio.EOF
        assert len(await converse(stt, [config()])) == 1


async def test_a_caller_who_goes_away_gives_the_stream_back_once_the_recogniser_lets_go() -> None:
    engine = HearingEngine()
    async with serving(engine, max_streams=1) as stt:
        call = stt.StreamingRecognize()
        await call.write(config())
        await call.read()
        engine.may_work.clear()
        for request in audio(loud(0.5)):
            await call.write(request)
        assert await asyncio.to_thread(engine.is_held.wait, 10)
        call.cancel()
        assert await is_full(stt)
        engine.may_work.set()
        assert await asyncio.to_thread(engine.is_idle.wait, 10)
        async with asyncio.timeout(10):
            while await is_full(stt):
                pass


async def test_a_recogniser_that_fails_ends_the_stream_and_says_so() -> None:
    engine = HearingEngine()
    engine.is_broken = True
    async with serving(engine) as stt:
        # Everything is sent before the failure: a client that writes on loses the server's words to its own error.
        call = stt.StreamingRecognize()
        await call.write(config())
        await call.write(Request(audio=pcm16_of(loud(0.5))))
        with pytest.raises(grpc.aio.AioRpcError, match="the ears are blocked") as failed:
            await _read_all(call)
    assert failed.value.code() is grpc.StatusCode.INTERNAL
    assert engine.is_idle.is_set()


async def test_health_names_the_engine_and_its_languages() -> None:
    async with serving() as stt:
        health = await stt.GetHealth(stt_pb2.GetHealthRequest())
    assert (health.status, health.engine, list(health.language_codes)) == ("healthy", INFO, ["en", "de"])


async def test_a_recording_is_answered_with_its_stretches() -> None:
    sound = [quiet(1), loud(1), quiet(2), loud(1), quiet(1)]
    recording = wav_of(b"".join(map(pcm16_of, sound)), 16_000)
    async with serving() as stt:
        response = await stt.Recognize(stt_pb2.RecognizeRequest(audio=recording))
    assert response.transcript == "one two three four five one two three four five"
    assert [result.is_final for result in response.results] == [True, True]
    assert seconds_of(response.audio_duration) == 6
    second = response.results[1]
    assert 3.6 < seconds_of(second.words[0].start_offset) < 4
    assert 5 <= seconds_of(second.end_offset) < 5.3


async def test_a_silent_recording_has_no_text() -> None:
    async with serving() as stt:
        response = await stt.Recognize(stt_pb2.RecognizeRequest(audio=wav_of(pcm16_of(quiet(3)), 16_000)))
    assert (response.transcript, len(response.results)) == ("", 0)
    assert seconds_of(response.audio_duration) == 3


@pytest.mark.parametrize("recording", [b"", b"no recording", wav_of(b"", 16_000)])
async def test_what_is_no_recording_is_refused_and_leaves_nothing_behind(recording: bytes) -> None:
    engine = HearingEngine()
    async with serving(engine, max_streams=1) as stt:
        for _ in range(2):
            with pytest.raises(grpc.aio.AioRpcError, match="WAV, FLAC, MP3, OGG, WebM and M4A") as refused:
                await stt.Recognize(stt_pb2.RecognizeRequest(audio=recording))
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert engine.is_idle.is_set()


async def test_a_caller_who_goes_away_stops_the_work_on_a_recording() -> None:
    engine = HearingEngine()
    recording = wav_of(pcm16_of(loud(600)), 16_000)
    async with serving(engine) as stt:
        engine.may_work.clear()
        call = stt.Recognize(stt_pb2.RecognizeRequest(audio=recording))
        assert await asyncio.to_thread(engine.is_held.wait, 10)
        call.cancel()
        engine.may_work.set()
        assert await asyncio.to_thread(engine.is_idle.wait, 10)


async def test_a_caller_who_goes_away_while_the_stream_opens_leaves_none_open() -> None:
    engine = HearingEngine()
    async with serving(engine, max_streams=1) as stt:
        engine.may_open.clear()
        call = stt.Recognize(stt_pb2.RecognizeRequest(audio=wav_of(pcm16_of(loud(1)), 16_000)))
        assert await asyncio.to_thread(engine.is_opening.wait, 10)
        call.cancel()
        # Everyone else is answered meanwhile.
        async with asyncio.timeout(10):
            assert await is_full(stt)
        engine.may_open.set()
        assert await asyncio.to_thread(engine.is_idle.wait, 10)


async def test_an_engine_that_finds_out_the_language_is_asked_to_and_says_how_sure_it_is() -> None:
    engine = HearingEngine(is_gifted=True)
    async with serving(engine) as stt:
        started, *rest = await converse(stt, [config(), *audio(quiet(0.5), loud(1), quiet(1))])
        assert started.started.config.recognition == stt_pb2.RecognitionConfig()
        (final,) = [response.result for response in rest if response.result.is_final]
        assert (final.language_code, final.language_probability) == ("de", 0.75)
        chosen = await converse(stt, [config(language_codes=["en-GB", "en"]), *audio(loud(1))])
        assert chosen[0].started.config.recognition.language_code == "en"
        assert not any(response.result.HasField("language_probability") for response in chosen)
    assert [hearing.language for hearing in engine.hearings] == ["", "en"]


async def test_what_is_asked_for_reaches_the_engine_and_is_confirmed() -> None:
    engine = HearingEngine(("en", "de", "nl"), is_gifted=True)
    asked = config(
        language_codes=["de-AT", "nl"],
        translation_language_code="fr-CA",
        phrases=["Ada  Lovelace"],
        interim_results=True,
    )
    async with serving(engine) as stt:
        responses = await converse(stt, [asked, *audio(loud(0.6), quiet(1))])
    assert engine.hearings == [Hearing("", ("de", "nl"), "fr", ("Ada Lovelace",))]
    done = responses[0].started.config.recognition
    assert (list(done.language_codes), done.translation_language_code) == (["de", "nl"], "fr-CA")
    assert [response.result.transcript for response in responses if response.result.is_final] == ["un deux"]


async def test_nobody_works_at_partials_that_nobody_reads() -> None:
    engine = HearingEngine()
    async with serving(engine) as stt:
        await converse(stt, [config()])
        await stt.Recognize(stt_pb2.RecognizeRequest(audio=wav_of(pcm16_of(loud(1)), 16_000)))
        await converse(stt, [config(interim_results=True)])
    assert [hearing.wants_partials for hearing in engine.hearings] == [False, False, True]


async def test_partials_say_how_much_of_them_stays() -> None:
    async with serving() as stt:
        responses = await converse(stt, [config(interim_results=True), *audio(loud(1), quiet(1))])
    told_ = [response.result for response in responses if response.HasField("result")]
    assert [(one.transcript, one.stable_character_count) for one in told_[:2]] == [("one", 0), ("one two", 3)]
    assert told_[-1].is_final
    assert told_[-1].stable_character_count == len(told_[-1].transcript)


@pytest.mark.parametrize(
    ("request_", "is_gifted", "words"),
    [
        (config(language_codes=["en", "de"]), False, "does not find out which language is spoken; name one of: en, de"),
        (config(language_codes=["en", "fr"]), True, 'this engine does not hear "fr"; it hears: en, de'),
        (config(translation_language_code="fr"), False, "does not translate; it writes what it hears: en, de"),
        (config(language_code="en", translation_language_code="de"), True, 'does not translate "en" to "de"; it tra'),
        (config(translation_language_code="xx"), True, 'the languages asked for to "xx"; it translates that to: fr'),
        (config(phrases=["Ada"]), False, "this engine has no use for phrases; leave them out"),
    ],
)
async def test_what_the_engine_cannot_do_is_refused_with_what_it_can(
    request_: Request, is_gifted: bool, words: str
) -> None:
    code, details = await refusal(request_, engine=HearingEngine(is_gifted=is_gifted))
    assert code is grpc.StatusCode.UNIMPLEMENTED
    assert words in details


async def test_a_translation_to_the_language_that_is_spoken_is_its_words() -> None:
    async with serving() as stt:
        (response,) = await converse(stt, [config(language_code="de", translation_language_code="de-AT")])
    assert response.started.config.recognition == stt_pb2.RecognitionConfig(language_code="de")


async def test_health_says_what_the_engine_can_do() -> None:
    async with serving(HearingEngine(is_gifted=True)) as stt:
        health = await stt.GetHealth(stt_pb2.GetHealthRequest())
    assert health.detects_languages
    assert health.accepts_phrases
    assert [(one.language_code, one.translation_language_code) for one in health.translations] == [
        ("de", "fr"),
        ("en", "fr"),
    ]


async def test_the_assistants_own_words_are_no_result() -> None:
    echo = assistant(speaking=True, text="Zero, one, two, three, four, five, six.")
    async with serving() as stt:
        names = told(await converse(stt, [config(), echo, *audio(quiet(0.5), loud(1), quiet(1))]))
    assert names == ["SPEECH_STARTED", "BARGE_IN", "SPEECH_ENDED", "END_OF_TURN"]
