"""Voices are made of recordings, spoken with, listed and forgotten, over real gRPC with an engine that beeps."""

from __future__ import annotations

import asyncio
import io
import wave
from pathlib import Path

import grpc
import numpy as np
import pytest
from avatar.tts.v1 import tts_pb2

from services.common.audio import samples_of_pcm16
from tests.fakes.recordings import speech_like, wav
from tests.fakes.speaking_engine import PITCH_HZ, RATE_HZ, SpeakingEngine, pitch_of
from tests.services.tts.serving import Stub, config, serving, text

MODEL = "fake-1"
CONSENT = tts_pb2.Voice.Consent(given=True, statement="I am the buzz, and I agree")
RECORDING = wav(speech_like(8))
INVALID = grpc.StatusCode.INVALID_ARGUMENT
GONE = grpc.StatusCode.NOT_FOUND
ORDER = grpc.StatusCode.FAILED_PRECONDITION


def engine() -> SpeakingEngine:
    return SpeakingEngine(2, clones_as=MODEL)


def wish(voice_id: str = "zoe", *, pitch_hz: float = 130, **fields: object) -> tts_pb2.CreateVoiceRequest:
    """Asks for a voice of a recording at that pitch."""
    members = {"recording": wav(speech_like(8, pitch_hz=pitch_hz)), "consent": CONSENT, **fields}
    return tts_pb2.CreateVoiceRequest(voice_id=voice_id, voice=tts_pb2.Voice(**members))  # type: ignore[arg-type]


async def pitch_heard(tts: Stub, voice: str) -> float:
    """The pitch at which a voice says a word."""
    spoken = await tts.Synthesize(
        tts_pb2.SynthesizeRequest(text="beeeeeeeeeep", config=tts_pb2.SynthesisConfig(voice=voice))
    )
    with wave.open(io.BytesIO(spoken.audio)) as file:
        samples = samples_of_pcm16(file.readframes(file.getnframes()))
    return pitch_of(samples[:RATE_HZ], RATE_HZ)


async def names(tts: Stub, **request: str | int) -> list[str]:
    answer = await tts.ListVoices(tts_pb2.ListVoicesRequest(**request))  # type: ignore[arg-type]
    return [voice.name for voice in answer.voices]


async def refused(call: object, code: grpc.StatusCode, said: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match=said) as error:
        await call  # type: ignore[misc]
    assert error.value.code() is code


async def test_a_voice_is_made_of_a_recording_and_speaks_with_it() -> None:
    async with serving(engine()) as tts:
        made = await tts.CreateVoice(wish(display_name="Zoë"))
        assert (made.name, made.display_name, made.kind) == ("voices/zoe", "Zoë", tts_pb2.Voice.KIND_CLONED)
        assert (made.consent, made.recording, made.keep_recording) == (CONSENT, b"", False)
        assert made.create_time.seconds > 0
        assert made.recording_quality.duration.ToMilliseconds() == 8000
        assert 4000 < made.recording_quality.speech_duration.ToMilliseconds() < 8000
        assert made.recording_quality.signal_to_noise_db > 30
        assert list(made.language_codes) == ["de", "en", "en-GB"]
        assert await pitch_heard(tts, "voices/zoe") == pytest.approx(130, abs=2)
        assert await pitch_heard(tts, "") == pytest.approx(PITCH_HZ, abs=2)
        assert await tts.GetVoice(tts_pb2.GetVoiceRequest(name="voices/zoe")) == made
        assert (await tts.GetHealth(tts_pb2.GetHealthRequest())).can_clone_voices
        assert (await tts.ListVoices(tts_pb2.ListVoicesRequest())).can_clone_voices


async def test_voices_do_not_mix_when_they_are_spoken_with_at_once() -> None:
    async with serving(engine()) as tts:
        for pitch_hz in (120, 310):
            await tts.CreateVoice(wish(f"at-{pitch_hz}", pitch_hz=pitch_hz))
        for _ in range(3):
            low, high = await asyncio.gather(pitch_heard(tts, "voices/at-120"), pitch_heard(tts, "voices/at-310"))
            assert low == pytest.approx(120, abs=2)
            assert high == pytest.approx(310, abs=2)


async def test_a_voice_survives_the_process(tmp_path: Path) -> None:
    async with serving(engine(), data_dir=tmp_path) as tts:
        made = await tts.CreateVoice(wish())
    again = engine()
    async with serving(again, data_dir=tmp_path) as tts:
        assert await tts.GetVoice(tts_pb2.GetVoiceRequest(name="voices/zoe")) == made
        assert await pitch_heard(tts, "voices/zoe") == pytest.approx(130, abs=2)
    assert again.conditioned == 0


async def test_validate_only_says_what_would_be_and_keeps_nothing(tmp_path: Path) -> None:
    silent = engine()
    async with serving(silent, data_dir=tmp_path) as tts:
        request = wish()
        request.validate_only = True
        seen = await tts.CreateVoice(request)
        assert seen.recording_quality.speech_level_db < -5
        assert await names(tts) == ["voices/beep", "voices/another"]
        request.voice.recording = wav(speech_like(2))
        await refused(tts.CreateVoice(request), INVALID, "3 to 30 s of speech, not of 2.0 s")
    assert list((tmp_path / "voices").glob("*")) == []
    assert silent.conditioned == 0


async def test_a_recording_that_is_no_good_makes_no_voice() -> None:
    async with serving(engine()) as tts:
        for recording, said in [
            (b"", "recording is empty; send a file"),
            (b"GIF89a", "not a recording in a known format"),
            (wav(speech_like(31)), "at most 30 s"),
            (
                wav(0.1 * np.random.default_rng(1).normal(size=200_000).astype(np.float32)),
                "0.0 s of the 8.3 s are speech",
            ),
        ]:
            await refused(tts.CreateVoice(wish(recording=recording)), INVALID, said)
        assert await names(tts) == ["voices/beep", "voices/another"]


async def test_without_consent_no_voice_is_made() -> None:
    consent = tts_pb2.Voice.Consent
    async with serving(engine()) as tts:
        await refused(tts.CreateVoice(wish(consent=None)), INVALID, "somebody who agreed")
        await refused(tts.CreateVoice(wish(consent=consent(statement="me"))), INVALID, "consent.given is true")
        await refused(tts.CreateVoice(wish(consent=consent(given=True))), INVALID, "say in 1 to 500 who agreed")


async def test_a_name_belongs_to_one_voice() -> None:
    async with serving(engine()) as tts:
        await tts.CreateVoice(wish(display_name="Zoë"))
        await refused(tts.CreateVoice(wish()), INVALID, "voices/zoe exists already")
        await refused(tts.CreateVoice(wish("beep")), INVALID, "voices/beep exists already")
        await refused(tts.CreateVoice(wish("other", display_name="Zoë")), INVALID, "a voice 'Zoë' already")
        both = await asyncio.gather(
            *(tts.CreateVoice(wish("twin", recording=RECORDING)) for _ in range(2)), return_exceptions=True
        )
        assert sorted(type(one) is tts_pb2.Voice for one in both) == [False, True]


async def test_one_more_than_are_kept_is_refused_with_the_limit() -> None:
    async with serving(engine(), max_voices=1) as tts:
        await tts.CreateVoice(wish())
        await refused(tts.CreateVoice(wish("other")), grpc.StatusCode.RESOURCE_EXHAUSTED, "there are 1 voices already")
        await tts.DeleteVoice(tts_pb2.DeleteVoiceRequest(name="voices/zoe"))
        await tts.CreateVoice(wish("other"))


async def test_recordings_that_wait_are_few() -> None:
    slow = engine()
    async with serving(slow) as tts:
        slow.may_condition.clear()
        calls = [tts.CreateVoice(wish(f"v{number}", recording=RECORDING)) for number in range(5)]
        done = await asyncio.wait(
            [asyncio.ensure_future(one) for one in map(_answer, calls)], timeout=20, return_when="FIRST_COMPLETED"
        )
        (first,) = done[0]
        with pytest.raises(grpc.aio.AioRpcError, match="4 calls waiting already"):
            first.result()
        slow.may_condition.set()
        await asyncio.gather(*done[1], return_exceptions=True)


async def _answer(call: object) -> tts_pb2.Voice:
    answer: tts_pb2.Voice = await call  # type: ignore[misc]
    return answer


async def test_a_deleted_voice_is_gone_at_once_and_an_engines_own_stays(tmp_path: Path) -> None:
    delete, named = tts_pb2.DeleteVoiceRequest, tts_pb2.SynthesisConfig(voice="voices/zoe")
    async with serving(engine(), data_dir=tmp_path) as tts:
        await tts.CreateVoice(wish(keep_recording=True))
        await tts.DeleteVoice(delete(name="voices/zoe"))
        assert list((tmp_path / "voices").glob("*")) == []
        await refused(tts.GetVoice(tts_pb2.GetVoiceRequest(name="voices/zoe")), GONE, "voices/zoe")
        await refused(tts.Synthesize(tts_pb2.SynthesizeRequest(text="a", config=named)), GONE, "no voice voices/zoe")
        await refused(tts.DeleteVoice(delete(name="voices/zoe")), GONE, "voices/zoe")
        await refused(tts.DeleteVoice(delete(name="voices/beep")), ORDER, "the engine's own and stays")
        await refused(tts.DeleteVoice(delete(name="voices/../beep")), INVALID, "cannot be a voice's id")


async def test_an_open_stream_says_nothing_more_in_a_voice_that_was_deleted() -> None:
    async with serving(engine()) as tts:
        await tts.CreateVoice(wish())
        call = tts.StreamingSynthesize()
        await call.write(config(voice="voices/zoe"))
        await call.write(text("a", "said", last=True))
        while not await ends_utterance(call):
            pass
        await tts.DeleteVoice(tts_pb2.DeleteVoiceRequest(name="voices/zoe"))
        await call.write(text("b", "never said", last=True))
        await refused(call.read(), GONE, "voices/zoe was deleted")


async def ends_utterance(call: object) -> bool:
    """Whether the next message of a stream ends an utterance."""
    message = await call.read()  # type: ignore[attr-defined]
    return bool(message.HasField("utterance_end"))


async def test_voices_are_listed_in_pages() -> None:
    async with serving(engine()) as tts:
        for name in ("one", "two", "three"):
            await tts.CreateVoice(wish(name, recording=RECORDING))
        everyone = ["voices/beep", "voices/another", "voices/one", "voices/two", "voices/three"]
        assert await names(tts) == everyone
        pages: list[list[str]] = []
        token = ""
        while not pages or token:
            answer = await tts.ListVoices(tts_pb2.ListVoicesRequest(page_size=2, page_token=token))
            pages.append([voice.name for voice in answer.voices])
            token = answer.next_page_token
        assert pages == [everyone[:2], everyone[2:4], everyone[4:]]
        assert await names(tts, language_code="ja") == []


async def test_a_page_goes_on_where_the_last_one_ended_though_its_voice_is_gone() -> None:
    async with serving(engine()) as tts:
        for name in ("one", "two", "three"):
            await tts.CreateVoice(wish(name, recording=RECORDING))
        token = (await tts.ListVoices(tts_pb2.ListVoicesRequest(page_size=4))).next_page_token
        for name in ("one", "two"):
            await tts.DeleteVoice(tts_pb2.DeleteVoiceRequest(name=f"voices/{name}"))
        assert await names(tts, page_token=token) == ["voices/three"]


@pytest.mark.parametrize("page", [{"page_size": -1}, {"page_size": 1001}, {"page_token": "x"}, {"page_token": "4pyT"}])
async def test_a_page_that_cannot_be_is_refused(page: dict[str, int | str]) -> None:
    async with serving(engine()) as tts:
        await refused(tts.ListVoices(tts_pb2.ListVoicesRequest(**page)), INVALID, "page_")  # type: ignore[arg-type]


async def test_a_voice_of_another_model_is_refused_until_it_is_remade_of_its_recording(tmp_path: Path) -> None:
    remake, named = tts_pb2.RemakeVoiceRequest(name="voices/zoe"), tts_pb2.SynthesisConfig(voice="voices/zoe")
    async with serving(engine(), data_dir=tmp_path) as tts:
        before = await tts.CreateVoice(wish(keep_recording=True))
        await tts.CreateVoice(wish("ann"))
    async with serving(SpeakingEngine(clones_as="fake-2"), data_dir=tmp_path) as tts:
        shown = await tts.GetVoice(tts_pb2.GetVoiceRequest(name="voices/zoe"))
        assert "was made for fake-1, and this engine speaks those of fake-2; RemakeVoice" in shown.unusable_reason
        request = tts_pb2.SynthesizeRequest(text="a", config=named)
        await refused(tts.Synthesize(request), grpc.StatusCode.UNIMPLEMENTED, "fake-2; RemakeVoice makes it anew")
        after = await tts.RemakeVoice(remake)
        assert after.unusable_reason == ""
        assert (after.create_time, after.consent) == (before.create_time, before.consent)
        assert await pitch_heard(tts, "voices/zoe") == pytest.approx(130, abs=2)
        shown = await tts.GetVoice(tts_pb2.GetVoiceRequest(name="voices/ann"))
        assert shown.unusable_reason.endswith("fake-2; delete it and make it again")
        await refused(tts.RemakeVoice(tts_pb2.RemakeVoiceRequest(name="voices/ann")), ORDER, "was not kept")
        await refused(tts.RemakeVoice(tts_pb2.RemakeVoiceRequest(name="voices/beep")), ORDER, "stays as it is")
    async with serving(SpeakingEngine(clones_as="fake-2"), data_dir=tmp_path) as tts:
        assert await pitch_heard(tts, "voices/zoe") == pytest.approx(130, abs=2)


async def test_an_engine_without_cloning_says_so_and_keeps_the_voices_that_there_are(tmp_path: Path) -> None:
    unable = grpc.StatusCode.UNIMPLEMENTED
    async with serving(engine(), data_dir=tmp_path) as tts:
        await tts.CreateVoice(wish(keep_recording=True))
    async with serving(SpeakingEngine(), data_dir=tmp_path) as tts:
        assert not (await tts.GetHealth(tts_pb2.GetHealthRequest())).can_clone_voices
        await refused(tts.CreateVoice(wish("other")), unable, "its own: voices/beep, voices/another")
        await refused(tts.RemakeVoice(tts_pb2.RemakeVoiceRequest(name="voices/zoe")), unable, "cannot make a voice")
        shown = await tts.GetVoice(tts_pb2.GetVoiceRequest(name="voices/zoe"))
        assert "a voice of fake-1" in shown.unusable_reason
        await tts.DeleteVoice(tts_pb2.DeleteVoiceRequest(name="voices/zoe"))
        assert await names(tts) == ["voices/beep", "voices/another"]
