"""RenderService and AvatarService over a real channel, with an engine that draws one colour."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from avatar.media.v1 import media_pb2
from avatar.render.v1 import render_pb2

from services.common.timing import duration_of_s, seconds_of
from services.render.blendshapes import BLENDSHAPE_NAMES, INDEX
from services.render.engine import Portrait, VideoCodec
from services.render.image_file import decode
from services.render.video import jpeg_of
from services.render.visemes import Viseme
from tests.fakes.drawing_flat import FlatEngine
from tests.services.render.face_service import (
    FPS,
    RATE,
    Request,
    asked,
    audio,
    by_audio,
    config,
    done,
    frame,
    interrupt,
    jaw,
    opened,
    refusal,
    rest_of,
    serving,
    tone,
    visemes,
)


async def test_the_first_answer_says_what_will_really_be_done(data_dir: Path) -> None:
    async with serving(data_dir) as face:
        call = face.render.StreamingRender()
        answer = await asked(call, config(video={"width": 0, "height": 0}))
        video = answer.started.config.video_format
        assert (video.width, video.height, video.frame_rate_hertz) == (512, 512, 25)
        assert answer.started.config.frame_clock == render_pb2.FRAME_CLOCK_REQUEST
        assert answer.started.engine.name == "flat"
        assert tuple(answer.started.blendshape_names) == BLENDSHAPE_NAMES
        assert len(BLENDSHAPE_NAMES) == 52
        assert seconds_of(answer.started.look_ahead_duration) == pytest.approx(0.2)
        assert await rest_of(call) == []


@pytest.mark.parametrize("codec", [render_pb2.VIDEO_CODEC_I420, render_pb2.VIDEO_CODEC_JPEG])
async def test_each_request_is_answered_by_its_frame_in_order(data_dir: Path, codec: Any) -> None:
    async with serving(data_dir) as face:
        call = await opened(face, config(video={"codec": codec}))
        for index in (3, 4, 9):
            await call.write(frame(index))
        answers = await rest_of(call)
    assert [answer.frame.frame_index for answer in answers] == [3, 4, 9]
    assert [seconds_of(answer.frame.presentation_offset) for answer in answers] == [3 / FPS, 4 / FPS, 9 / FPS]
    for answer in answers:
        assert seconds_of(answer.frame.render_duration) > 0
        if codec == render_pb2.VIDEO_CODEC_I420:
            assert len(answer.frame.data) == 256 * 256 * 3 // 2
        else:
            assert decode(answer.frame.data).shape == (256, 256, 3)


async def test_visemes_move_the_mouth_at_their_place_and_an_unknown_utterance_is_rest(data_dir: Path) -> None:
    async with serving(data_dir) as face:
        call = await opened(face)
        await call.write(visemes("u", (Viseme.AA, 0.0, 0.5), (Viseme.SIL, 0.5, 1.0)))
        spoken = await asked(call, frame(0, "u", 0.3))
        assert spoken.frame.utterance_id == "u"
        assert seconds_of(spoken.frame.utterance_offset) == pytest.approx(0.3)
        assert jaw(spoken) > 0.5
        assert spoken.frame.data[0] > 60
        unknown = await asked(call, frame(10, "who", 0.3))
        assert (unknown.frame.utterance_id, jaw(unknown)) == ("", 0.0)
        await rest_of(call)


async def test_after_the_acknowledgement_no_frame_carries_the_utterance_and_the_mouth_shuts(data_dir: Path) -> None:
    async with serving(data_dir) as face:
        call = await opened(face)
        await call.write(visemes("u", (Viseme.AA, 0.0, 3.0)))
        for index in range(10):
            assert (await asked(call, frame(index, "u", index / FPS))).frame.utterance_id == "u"
        answer = await asked(call, interrupt("u"))
        assert answer.interrupted.utterance_id == "u"
        assert seconds_of(answer.interrupted.last_offset) == pytest.approx(9 / FPS)
        # What was on its way when the caller stopped is dropped, and a second interrupt says nothing.
        await call.write(visemes("u", (Viseme.AA, 3.0, 4.0)))
        await call.write(done("u"))
        await call.write(interrupt("u"))
        for index in range(10, 15):
            await call.write(frame(index, "u", index / FPS))
        answers = await rest_of(call)
    assert [answer.WhichOneof("response") for answer in answers] == ["frame"] * 5
    assert {answer.frame.utterance_id for answer in answers} == {""}
    assert jaw(answers[0]) > 0
    assert [jaw(answer) for answer in answers[3:]] == [0.0, 0.0]


async def test_the_next_utterance_speaks_after_an_interruption(data_dir: Path) -> None:
    async with serving(data_dir) as face:
        call = await opened(face)
        await call.write(visemes("one", (Viseme.AA, 0.0, 3.0)))
        await asked(call, frame(0, "one", 0.5))
        await asked(call, interrupt("one"))
        await call.write(visemes("two", (Viseme.AA, 0.0, 3.0)))
        answers = [await asked(call, frame(index, "two", index / FPS)) for index in range(1, 12)]
        assert {answer.frame.utterance_id for answer in answers} == {"two"}
        assert jaw(answers[-1]) > 0.5
        await rest_of(call)


async def test_audio_makes_its_frames_and_holds_back_the_look_ahead(data_dir: Path) -> None:
    async with serving(data_dir) as face:
        call = await opened(face, by_audio())
        samples = tone(1.013)
        for sequence in range(11):
            await call.write(audio("u", sequence, samples[sequence * 1600 : (sequence + 1) * 1600]))
        before = [await call.read() for _ in range(20)]
        assert [answer.frame.frame_index for answer in before] == list(range(20))
        await call.write(done("u"))
        answers = await rest_of(call)
    frames, last = [*before, *answers[:-1]], answers[-1]
    # 1.013 s at 25 frames per second: the last frame is begun, so it is shown.
    assert (last.utterance_rendered.utterance_id, last.utterance_rendered.frame_count) == ("u", 26)
    assert len(frames) == 26
    assert {answer.frame.utterance_id for answer in frames} == {"u"}
    assert [seconds_of(answer.frame.utterance_offset) for answer in frames] == pytest.approx(list(np.arange(26) / FPS))
    assert np.mean([jaw(answer) for answer in frames[5:20]]) > 0.3


async def test_visemes_win_over_the_sound(data_dir: Path) -> None:
    async with serving(data_dir) as face:
        call = await opened(face, by_audio())
        await call.write(visemes("u", (Viseme.SIL, 0.0, 0.5)))
        await call.write(audio("u", 0, tone(0.5)))
        await call.write(done("u"))
        answers = await rest_of(call)
    assert max(jaw(answer) for answer in answers if answer.HasField("frame")) == 0.0


async def test_frames_of_two_utterances_are_counted_on(data_dir: Path) -> None:
    async with serving(data_dir) as face:
        call = await opened(face, by_audio())
        for name in ("one", "two"):
            await call.write(audio(name, 0, tone(0.2)))
            await call.write(done(name))
        answers = [answer for answer in await rest_of(call) if answer.HasField("frame")]
    assert [answer.frame.frame_index for answer in answers] == list(range(10))
    assert [answer.frame.utterance_id for answer in answers] == ["one"] * 5 + ["two"] * 5
    assert seconds_of(answers[5].frame.utterance_offset) == 0.0


async def test_an_interrupted_utterance_is_never_rendered_to_its_end(data_dir: Path) -> None:
    async with serving(data_dir) as face:
        call = await opened(face, by_audio())
        await call.write(audio("u", 0, tone(0.5)))
        await call.write(interrupt("u"))
        await call.write(audio("u", 1, tone(0.5)))
        await call.write(done("u"))
        await call.write(audio("v", 0, tone(0.2)))
        await call.write(done("v"))
        kinds = [(a.WhichOneof("response"), a.frame.utterance_id) for a in await rest_of(call)]
    cut = kinds.index(("interrupted", ""))
    assert set(kinds[:cut]) == {("frame", "u")}
    assert kinds[cut + 1 :] == [("frame", "v")] * 5 + [("utterance_rendered", "")]


async def test_a_gap_in_the_audio_is_warned_of_and_the_stream_goes_on(data_dir: Path) -> None:
    async with serving(data_dir) as face:
        call = await opened(face, by_audio())
        await call.write(audio("u", 0, tone(0.1)))
        await call.write(audio("u", 2, tone(0.1)))
        await call.write(done("u"))
        answers = await rest_of(call)
    assert [a.warning.message for a in answers if a.HasField("warning")] == [
        "audio chunk 2 of 'u' came where 1 was due; it is taken as the next one"
    ]
    assert answers[-1].utterance_rendered.frame_count == 5


async def test_expression_gaze_and_another_face_show_from_the_next_frame(data_dir: Path, default_file: bytes) -> None:
    async with serving(data_dir) as face:
        dark = jpeg_of((decode(default_file) * 0.6).astype(np.uint8))
        portrait = render_pb2.Avatar(portrait=dark, consent="a drawing")
        await face.avatars.CreateAvatar(render_pb2.CreateAvatarRequest(avatar=portrait, avatar_id="dark"))
        call = await opened(face)
        first = await asked(call, frame(0))
        happy = render_pb2.Expression(kind=render_pb2.EXPRESSION_KIND_HAPPY, intensity=1.0)
        await call.write(
            Request(expression=Request.SetExpression(expression=happy, transition_duration=duration_of_s(0)))
        )
        await call.write(Request(gaze=Request.SetGaze(gaze=render_pb2.Gaze(yaw_degrees=30.0))))
        await call.write(Request(switch_avatar=Request.SwitchAvatar(avatar="avatars/dark")))
        second = await asked(call, frame(25))
        weights = second.frame.face_state.blendshape_weights
        assert weights[INDEX["mouthSmileLeft"]] == 1.0
        assert weights[INDEX["eyeLookOutLeft"]] > 0.8
        assert second.frame.data[0] < first.frame.data[0]
        await rest_of(call)


@pytest.mark.parametrize(
    ("requests", "said"),
    [
        ([frame(0)], "first message holds config"),
        ([config(), config()], "second config"),
        ([by_audio(), frame(0)], "FRAME_CLOCK_REQUEST"),
        ([config(), audio("u", 0, [0.0])], "no audio_format"),
        ([by_audio(), audio("u", 0, [0.0]), audio("v", 0, [0.0])], "finish one first"),
    ],
)
async def test_a_wrong_order_is_a_failed_precondition(data_dir: Path, requests: list[Any], said: str) -> None:
    async with serving(data_dir) as face:
        error = await refusal(face, *requests)
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert said in (error.details() or "")


@pytest.mark.parametrize(
    ("requests", "said"),
    [
        ([config(video={"codec": 0})], "VIDEO_CODEC_I420 or"),
        ([config(video={"width": 254, "height": 254})], "256 to 512"),
        ([config(video={"width": 514, "height": 514})], "256 to 512"),
        ([config(video={"width": 257, "height": 257})], "even"),
        ([config(video={"width": 512, "height": 256})], "equal"),
        ([config(video={"frame_rate_hertz": 31})], "5 to 30"),
        ([config(video={"frame_rate_hertz": 4})], "5 to 30"),
        ([config(frame_clock=render_pb2.FRAME_CLOCK_AUDIO)], "needs audio_format"),
        ([config(audio_format=media_pb2.AudioFormat(sample_rate_hertz=44_100))], "16000, 22050, 24000, 48000"),
        ([config(audio_format=media_pb2.AudioFormat(sample_rate_hertz=16_000, channel_count=2))], "1 channel"),
        ([config(avatar="default")], "avatars/default"),
        ([config(), Request()], "empty"),
        ([config(), frame(1), frame(1)], "must rise"),
        ([config(), visemes("", (Viseme.AA, 0, 1))], "1 to 128"),
        ([config(), visemes("u" * 129, (Viseme.AA, 0, 1))], "1 to 128"),
        ([config(), visemes("u", (Viseme.AA, 1.0, 0.5))], "ends where it starts"),
        ([config(), interrupt("")], "1 to 128"),
        ([config(), Request(gaze=Request.SetGaze(gaze=render_pb2.Gaze(yaw_degrees=31)))], "-30 to 30"),
        ([config(), Request(gaze=Request.SetGaze(gaze=render_pb2.Gaze(pitch_degrees=-21)))], "-20 to 20"),
        (
            [config(), Request(expression=Request.SetExpression(expression=render_pb2.Expression(intensity=1.5)))],
            "0 to 1",
        ),
        ([config(), Request(expression=Request.SetExpression(transition_duration=duration_of_s(11)))], "0 to 10 s"),
        ([by_audio(), Request(audio=media_pb2.AudioChunk(utterance_id="u", data=b"abc"))], "whole samples"),
        ([by_audio(), audio("u", 0, np.zeros(RATE + 1))], "at most 1 s"),
    ],
)
async def test_what_is_out_of_range_is_refused_with_the_range(data_dir: Path, requests: list[Any], said: str) -> None:
    async with serving(data_dir) as face:
        error = await refusal(face, *requests)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert said in (error.details() or "")


async def test_an_unknown_face_is_not_found(data_dir: Path) -> None:
    async with serving(data_dir) as face:
        error = await refusal(face, config(avatar="avatars/nobody"))
        assert error.code() is grpc.StatusCode.NOT_FOUND
        with pytest.raises(grpc.aio.AioRpcError, match="avatars/nobody") as refused:
            await face.render.RenderStill(render_pb2.RenderStillRequest(avatar="avatars/nobody"))
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND


async def test_one_stream_too_many_is_refused_and_a_closed_one_makes_room(data_dir: Path) -> None:
    async with serving(data_dir, max_streams=1) as face:
        call = await opened(face)
        error = await refusal(face, config())
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "all 1 streams" in (error.details() or "")
        await rest_of(call)
        await rest_of(await opened(face))


async def test_a_silent_caller_is_let_go(data_dir: Path) -> None:
    async with serving(data_dir, idle_timeout_s=0.05) as face:
        call = await opened(face)
        with pytest.raises(grpc.aio.AioRpcError, match="nothing was sent") as refused:
            await call.read()
        assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION


async def test_a_caller_who_does_not_read_loses_the_place_to_another(data_dir: Path) -> None:
    # Long enough for the other, whom a busy machine may hold up.
    async with serving(data_dir, max_streams=1, idle_timeout_s=1.5) as face:
        call = await opened(face, by_audio())
        for number in range(4):
            await call.write(audio("u", number, np.zeros(RATE)))
        # A hundred frames of 400 KB do not fit into what lies between the two.
        async with asyncio.timeout(10.0):
            while True:
                try:
                    await rest_of(await opened(face))
                    break
                except grpc.aio.AioRpcError as error:
                    # gRPC's own words, where the refusal meets a message on its way.
                    crossed = error.details() == "Internal error from Core"
                    if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED and not crossed:
                        raise
        with pytest.raises(grpc.aio.AioRpcError, match=r"nothing was read for 1\.5 s") as refused:
            await rest_of(call)
        assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION


async def test_too_much_audio_is_refused(data_dir: Path) -> None:
    async with serving(data_dir, max_utterance_s=0.5) as face:
        error = await refusal(face, by_audio(), audio("u", 0, np.zeros(RATE // 2)), audio("u", 1, [0.0]))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "more than 0.5 s" in (error.details() or "")


async def test_a_still_is_a_jpeg_of_the_size_and_the_mouth_asked_for(data_dir: Path) -> None:
    async with serving(data_dir) as face:
        bright = []
        for viseme in (media_pb2.VISEME_UNSPECIFIED, media_pb2.VISEME_AA):
            request = render_pb2.RenderStillRequest(avatar="avatars/default", viseme=viseme, size=128)
            answer = await face.render.RenderStill(request)
            assert answer.content_type == "image/jpeg"
            image = decode(answer.data)
            assert image.shape == (128, 128, 3)
            bright.append(float(image.mean()))
        assert bright[1] > bright[0] + 50
        with pytest.raises(grpc.aio.AioRpcError, match="64 to 512"):
            await face.render.RenderStill(render_pb2.RenderStillRequest(avatar="avatars/default", size=62))


async def test_health_names_the_engine_and_why(data_dir: Path) -> None:
    async with serving(data_dir) as face:
        health = await face.render.GetHealth(render_pb2.GetHealthRequest())
    assert (health.status, health.engine.name, health.engine.reason) == ("healthy", "flat", "a test asked for it")


async def test_a_face_is_made_shown_listed_and_forgotten(data_dir: Path, default_file: bytes) -> None:
    async with serving(data_dir) as face:
        portrait = render_pb2.Avatar(portrait=default_file, consent="a drawing", display_name="Zoe")
        made = await face.avatars.CreateAvatar(render_pb2.CreateAvatarRequest(avatar=portrait, avatar_id="zoe"))
        assert (made.name, made.display_name, made.width, made.height) == ("avatars/zoe", "Zoe", 720, 720)
        assert len(made.landmarks) == 468
        assert abs(made.landmarks[1].x - 360) < 15
        assert not made.portrait
        assert await face.avatars.GetAvatar(render_pb2.GetAvatarRequest(name="avatars/zoe")) == made
        listed = (await face.avatars.ListAvatars(render_pb2.ListAvatarsRequest())).avatars
        assert [avatar.name for avatar in listed] == ["avatars/default", "avatars/zoe"]
        assert not any(avatar.landmarks for avatar in listed)
        call = await opened(face, config(avatar="avatars/zoe"))
        await face.avatars.DeleteAvatar(render_pb2.DeleteAvatarRequest(name="avatars/zoe"))
        # The stream that draws it goes on; a new one finds nothing.
        assert (await asked(call, frame(0))).frame.data
        await rest_of(call)
        error = await refusal(face, config(avatar="avatars/zoe"))
        assert error.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("avatar", "avatar_id", "code", "said"),
    [
        ({"consent": "yes"}, "", grpc.StatusCode.INVALID_ARGUMENT, "empty"),
        ({"portrait": b"GIF89a"}, "", grpc.StatusCode.INVALID_ARGUMENT, "who agreed"),
        ({"portrait": b"GIF89a", "consent": "yes"}, "", grpc.StatusCode.INVALID_ARGUMENT, "JPEG, PNG or WebP"),
        ({"portrait": b"GIF89a", "consent": "yes"}, "A B", grpc.StatusCode.INVALID_ARGUMENT, "a-z"),
        ({"portrait": b"GIF89a", "consent": "yes"}, "default", grpc.StatusCode.INVALID_ARGUMENT, "exists already"),
    ],
)
async def test_a_face_that_cannot_be_made_is_refused_in_words(
    data_dir: Path, avatar: dict[str, Any], avatar_id: str, code: grpc.StatusCode, said: str
) -> None:
    async with serving(data_dir) as face:
        request = render_pb2.CreateAvatarRequest(avatar=render_pb2.Avatar(**avatar), avatar_id=avatar_id)
        with pytest.raises(grpc.aio.AioRpcError, match=said) as refused:
            await face.avatars.CreateAvatar(request)
        assert refused.value.code() is code
        with pytest.raises(grpc.aio.AioRpcError, match="ships") as refused:
            await face.avatars.DeleteAvatar(render_pb2.DeleteAvatarRequest(name="avatars/default"))
        assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION


class CountingEngine(FlatEngine):
    """Counts how often a portrait was prepared."""

    def __init__(self) -> None:
        self.prepared = 0

    def prepare(self, portrait: Portrait) -> Any:
        self.prepared += 1
        return super().prepare(portrait)


async def test_a_prepared_face_is_kept_and_the_oldest_is_dropped(data_dir: Path, default_file: bytes) -> None:
    engine = CountingEngine()
    async with serving(data_dir, engine, max_prepared=1) as face:
        portrait = render_pb2.Avatar(portrait=default_file, consent="a drawing")
        await face.avatars.CreateAvatar(render_pb2.CreateAvatarRequest(avatar=portrait, avatar_id="zoe"))
        for name in ("zoe", "zoe", "default", "zoe"):
            seat = await face.stage.sit(name, 256, VideoCodec.I420, FPS, is_live=True)
            seat.leave()
    # The first one was prepared when the service started.
    assert engine.prepared == 1 + 3
