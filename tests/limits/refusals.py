"""Everything that this product refuses, sent for real: each must get its status and its sentence."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import io
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Literal

import grpc
import numpy as np
from avatar.conversation.v1 import conversation_pb2, conversation_pb2_grpc
from avatar.media.v1 import media_pb2
from avatar.render.v1 import render_pb2, render_pb2_grpc
from avatar.stt.v1 import stt_pb2, stt_pb2_grpc
from avatar.tts.v1 import tts_pb2, tts_pb2_grpc
from numpy.typing import NDArray

from services.common.network_settings import NetworkSettings
from services.render.image_file import decode
from tests.limits import files
from tests.limits.world import IDLE_S, MAX_STREAMS, Door, refused

MIB = 1024 * 1024
PORTRAIT = Path(__file__).parents[2] / "services/render/portraits/default.jpg"
FORMAT = media_pb2.AudioFormat(encoding=media_pb2.AUDIO_ENCODING_LINEAR16, sample_rate_hertz=16_000, channel_count=1)
RENDER, STT, TTS = (
    render_pb2.StreamingRenderRequest,
    stt_pb2.StreamingRecognizeRequest,
    tts_pb2.StreamingSynthesizeRequest,
)
STARTS: dict[str, Any] = {
    "render": RENDER(
        config=render_pb2.RenderConfig(
            avatar="avatars/default",
            video_format=render_pb2.VideoFormat(codec=render_pb2.VIDEO_CODEC_JPEG, width=256, height=256),
            audio_format=FORMAT,
        )
    ),
    "stt": STT(config=stt_pb2.StreamingRecognitionConfig(audio_format=FORMAT)),
    "tts": TTS(config=tts_pb2.SynthesisConfig()),
}
INVALID, WRONG_ORDER = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION
FULL = grpc.StatusCode.RESOURCE_EXHAUSTED
Refusal = Callable[[Door], Awaitable[None]]
Lane = Literal["text", "sound", "picture", "places"]
# By lane, then by name. Those of one lane are sent one after the other; the last lane wants all places for itself.
REFUSALS: dict[Lane, dict[str, Refusal]] = {"text": {}, "sound": {}, "picture": {}, "places": {}}


def refusal(lane: Lane) -> Callable[[Refusal], Refusal]:
    """Name it after its function."""

    def add(act: Refusal) -> Refusal:
        REFUSALS[lane][act.__name__] = act
        return act

    return add


def streaming_on(channel: Any, name: str) -> Any:
    """The bidirectional method of a service."""
    match name:
        case "render":
            return render_pb2_grpc.RenderServiceStub(channel).StreamingRender
        case "stt":
            return stt_pb2_grpc.SpeechToTextServiceStub(channel).StreamingRecognize
        case _:
            return tts_pb2_grpc.TextToSpeechServiceStub(channel).StreamingSynthesize


def streaming(door: Door, name: str) -> Any:
    """The same, by its public port."""
    return streaming_on(door.channels[name], name)


async def _sent(door: Door, name: str, *messages: Any) -> list[Any]:
    """What the service answers to a whole stream."""

    async def requests() -> AsyncIterator[Any]:
        for message in messages:
            yield message

    while True:
        call = streaming(door, name)(requests())
        try:
            return [answer async for answer in call]
        except grpc.aio.AioRpcError as error:
            # The client's own: it was still sending when the refusal came, and did not read it.
            if error.details() != "Internal error from Core":
                raise
        finally:
            call.cancel()


async def create(door: Door, portrait: bytes, **fields: Any) -> render_pb2.Avatar:
    """Make a face, or be refused."""
    avatar = render_pb2.Avatar(portrait=portrait, consent="it is a drawing")
    for name in ("display_name", "consent"):
        if name in fields:
            setattr(avatar, name, fields.pop(name))
    request = render_pb2.CreateAvatarRequest(avatar=avatar, **fields)
    made: render_pb2.Avatar = await render_pb2_grpc.AvatarServiceStub(door.channels["render"]).CreateAvatar(request)
    return made


async def delete(door: Door, name: str) -> None:
    await render_pb2_grpc.AvatarServiceStub(door.channels["render"]).DeleteAvatar(
        render_pb2.DeleteAvatarRequest(name=name)
    )


def recognize(door: Door, recording: bytes) -> Awaitable[stt_pb2.RecognizeResponse]:
    stub = stt_pb2_grpc.SpeechToTextServiceStub(door.channels["stt"])
    return stub.Recognize(stt_pb2.RecognizeRequest(audio=recording))


@functools.cache
def drawn() -> NDArray[np.uint8]:
    """The face that ships, as a picture."""
    return decode(PORTRAIT.read_bytes())


# Size of a body and of a message.


@refusal("text")
async def a_body_of_64_mib_where_text_is_read(door: Door) -> None:
    streamed = ("page", "/v1/speech:synthesizeStream")
    for listener, path in (("tts", "/v1/speech:synthesize"), ("tts", "/synthesize"), streamed):
        status, body = await door.post(listener, path, data=io.BytesIO(bytes(64 * MIB)))
        assert (status, body.get("message") or body["detail"]) == (413, "the body is too large; at most 1 MiB are read")


@refusal("sound")
async def a_voice_of_29_mib_of_json_or_22_of_a_form(door: Door) -> None:
    for path, size, most in (("/v1/voices", 29, 28), ("/synthesize-with-voice-clone", 22, 21)):
        status, body = await door.post("tts", path, data=io.BytesIO(bytes(size * MIB)))
        words = f"the body is too large; at most {most} MiB are read"
        assert (status, body.get("message") or body["detail"]) == (413, words)


@refusal("sound")
async def a_voice_of_no_recording_and_one_that_this_engine_cannot_take_on(door: Door) -> None:
    consent = {"given": True, "statement": "it is nobody's"}
    for voice, found in (({"consent": consent}, 400), ({"consent": consent, "recording": "AAAA"}, 501)):
        assert (await door.post("tts", "/v1/voices", json=voice))[0] == found


@refusal("sound")
async def a_body_over_88_mib(door: Door) -> None:
    status, body = await door.post("stt", "/v1/speech:recognize", data=io.BytesIO(bytes(89 * MIB)))
    assert (status, body["code"]) == (413, 3)
    assert "at most 88 MiB" in body["message"]


@refusal("sound")
async def more_large_bodies_than_pass(door: Door) -> None:
    count = 31
    async with contextlib.AsyncExitStack() as held:
        answers = []
        for _ in range(count):
            reader, writer = await asyncio.open_connection("127.0.0.1", door.ports.stt)
            held.callback(writer.close)
            head = f"POST /transcribe HTTP/1.1\r\nHost: localhost\r\nContent-Length: {64 * MIB}\r\n\r\n"
            writer.write(head.encode() + bytes(MIB))
            answers.append(asyncio.create_task(reader.read(4096)))
            held.callback(answers[-1].cancel)
        passing = NetworkSettings.model_fields["large_bodies"].default
        for answer in itertools.islice(asyncio.as_completed(answers), count - passing):
            head, _, body = (await answer).decode().partition("\r\n\r\n")
            assert " 429 " in head, head
            assert "retry-after: 5" in head
            assert json.loads(body) == {"detail": "too many large bodies are on their way; try again in 5 s"}
        assert set((await door.health()).values()) == {200}


@refusal("text")
async def a_message_over_66_mib(door: Door) -> None:
    await refused(recognize(door, bytes(67 * MIB)), FULL, r"larger than max \(\d+ vs\. 69206016\)")


@refusal("text")
async def what_is_no_message(door: Door) -> None:
    call: Any = door.channels["stt"].unary_unary("/avatar.stt.v1.SpeechToTextService/Recognize")
    await refused(call(b"\x12\xff\xff"), INVALID, "could not be read as protobuf")


# Length of texts.


@refusal("text")
async def text_of_20001_characters(door: Door) -> None:
    for path in ("/v1/speech:synthesize", "/v1/speech:synthesizeStream"):
        status, body = await door.post("tts", path, json={"text": "a" * 20_001})
        assert (status, body["code"]) == (400, 3)
        assert body["message"] == "text has 1 to 20000 characters, not 20001"


@refusal("text")
async def no_text(door: Door) -> None:
    status, body = await door.post("tts", "/v1/speech:synthesize", json={"text": ""})
    assert (status, body["message"]) == (400, "text has 1 to 20000 characters, not 0")


@refusal("text")
async def an_utterance_of_20001_characters_in_pieces(door: Door) -> None:
    pieces = [TTS(text=TTS.TextChunk(utterance_id="long", text=" " * 10_000)) for _ in range(2)]
    pieces.append(TTS(text=TTS.TextChunk(utterance_id="long", text=" ")))
    await refused(_sent(door, "tts", STARTS["tts"], *pieces), INVALID, "at most 20000 characters")


@refusal("text")
async def an_id_of_129_characters(door: Door) -> None:
    for message in (TTS(flush=TTS.Flush(utterance_id="x" * 129)), TTS(cancel=TTS.Cancel(utterance_id="x" * 60 * MIB))):
        await refused(_sent(door, "tts", STARTS["tts"], message), INVALID, "utterance_id has 1 to 128 characters")
    done = RENDER(utterance_done=RENDER.UtteranceDone(utterance_id="x" * 129))
    await refused(_sent(door, "render", STARTS["render"], done), INVALID, "129 characters; use 1 to 128")


@refusal("text")
async def a_language_tag_of_megabytes(door: Door) -> None:
    tag = "a-" * MIB
    speaking = TTS(config=tts_pb2.SynthesisConfig(language_code=tag))
    await refused(_sent(door, "tts", speaking), grpc.StatusCode.UNIMPLEMENTED, "it speaks ")
    recognition = stt_pb2.RecognitionConfig(language_code=tag)
    config = stt_pb2.StreamingRecognitionConfig(audio_format=FORMAT, recognition=recognition)
    await refused(_sent(door, "stt", STT(config=config)), INVALID, "at most 35 characters")


@refusal("text")
async def a_sentence_of_20001_characters_for_a_conversation(door: Door) -> None:
    stub = conversation_pb2_grpc.ConversationServiceStub(door.channels["legacy"])
    running = (await stub.ListConversations(conversation_pb2.ListConversationsRequest())).conversations
    name = running[0].name if running else "conversations/none"
    words = "20,?000 characters" if running else "there is no conversation"
    code = INVALID if running else grpc.StatusCode.NOT_FOUND
    await refused(stub.Say(conversation_pb2.SayRequest(name=name, text="a" * 20_001)), code, words)


# Length and form of sound.


@refusal("sound")
async def a_recording_over_64_mib(door: Door) -> None:
    await refused(recognize(door, bytes(64 * MIB + 1)), INVALID, "at most 64 MiB")


@refusal("sound")
async def ten_hours_of_silence_in_a_small_file(door: Door) -> None:
    await refused(recognize(door, files.silent_opus(36_000)), INVALID, "at most 10800 s")


@refusal("sound")
async def a_wav_that_announces_a_gibibyte(door: Door) -> None:
    await refused(recognize(door, files.wav(16_000, bytes(32_000), announced_bytes=1024 * MIB)), INVALID, "cut off")


@refusal("sound")
async def a_wav_of_a_sample_per_second(door: Door) -> None:
    await refused(recognize(door, files.wav(1, b"\x80" * 5000)), INVALID, "4000 to 192000 Hz")


@refusal("sound")
async def a_wav_of_64_channels(door: Door) -> None:
    await refused(recognize(door, files.wav(16_000, b"\x80" * 64_000, channels=64)), INVALID, "at most 8 channels")


@refusal("sound")
async def an_m4a_that_announces_a_billion_samples(door: Door) -> None:
    await refused(recognize(door, files.m4a_of_samples(1_000_000_000)), INVALID, "announces more than 4000000 samples")


@refusal("sound")
async def a_recording_that_is_cut_off(door: Door) -> None:
    await refused(recognize(door, files.silent_opus(300)[:-2000]), INVALID, "cut off")


@refusal("sound")
async def a_recording_that_is_none(door: Door) -> None:
    encoded = base64.b64encode(b"Dear sir or madam").decode()
    status, body = await door.post("stt", "/v1/speech:recognize", json={"audio": encoded})
    assert (status, body["code"]) == (400, 3)
    assert "WAV, FLAC, MP3, OGG, WebM and M4A are read" in body["message"]


@refusal("sound")
async def a_chunk_of_more_than_a_second(door: Door) -> None:
    await refused(_sent(door, "stt", STARTS["stt"], STT(audio=bytes(32_002))), INVALID, "at most 1 s of audio")
    chunk = RENDER(audio=media_pb2.AudioChunk(utterance_id="a", data=bytes(32_002)))
    await refused(_sent(door, "render", STARTS["render"], chunk), INVALID, "send at most 1 s")


@refusal("sound")
async def half_a_sample(door: Door) -> None:
    await refused(_sent(door, "stt", STARTS["stt"], STT(audio=bytes(641))), INVALID, "whole samples")
    chunk = RENDER(audio=media_pb2.AudioChunk(utterance_id="a", data=bytes(641)))
    await refused(_sent(door, "render", STARTS["render"], chunk), INVALID, "whole samples")


@refusal("sound")
async def more_than_50000_mouth_shapes(door: Door) -> None:
    shapes = RENDER(visemes=RENDER.Visemes(utterance_id="a", visemes=[media_pb2.VisemeTiming()] * 50_001))
    await refused(_sent(door, "render", STARTS["render"], shapes), INVALID, "at most 50000 visemes")


@refusal("sound")
async def mouth_shapes_all_at_once(door: Door) -> None:
    shapes = RENDER(
        visemes=RENDER.Visemes(utterance_id="a", visemes=[media_pb2.VisemeTiming(viseme=media_pb2.VISEME_PP)] * 1000)
    )
    await refused(_sent(door, "render", STARTS["render"], shapes), INVALID, "more than 64 visemes")


# Pictures.


@refusal("picture")
async def a_name_or_consent_that_is_too_long(door: Door) -> None:
    await refused(create(door, PORTRAIT.read_bytes(), display_name="x" * 81), INVALID, "81 characters; use at most 80")
    await refused(create(door, PORTRAIT.read_bytes(), consent="x" * 501), INVALID, "in 1 to 500 who agreed")


@refusal("picture")
async def a_portrait_over_20_mib(door: Door) -> None:
    await refused(create(door, bytes(20 * MIB + 1)), INVALID, "send at most 20 MiB")


@refusal("picture")
async def a_picture_of_900_megapixels_in_a_small_file(door: Door) -> None:
    await refused(create(door, files.png(30_000, 30_000)), INVALID, "30000 x 30000 pixels; send at most 50 megapixels")


@refusal("picture")
async def a_jpeg_of_a_thousand_scans(door: Door) -> None:
    await refused(create(door, files.jpeg_of_many_scans(1000)), INVALID, "scans; send one with at most 100")


@refusal("picture")
async def a_png_of_a_million_chunks(door: Door) -> None:
    await refused(create(door, files.png(400, 400, (b"teSt",) * 1_000_000)), INVALID, "damaged or cut off")


@refusal("picture")
async def more_portraits_at_once_than_wait(door: Door) -> None:
    grey = files.jpeg(np.full((3000, 3000, 3), 128, np.uint8))
    ended = await asyncio.gather(*(create(door, grey) for _ in range(12)), return_exceptions=True)
    codes = [error.code() for error in ended if isinstance(error, grpc.aio.AioRpcError)]
    assert len(codes) == len(ended)
    assert codes.count(FULL) >= 1
    # Those that were looked at have no face.
    assert codes.count(INVALID) == len(codes) - codes.count(FULL) >= 4


@refusal("picture")
async def a_portrait_that_is_cut_off(door: Door) -> None:
    whole = PORTRAIT.read_bytes()
    for part in (whole[: len(whole) // 2], files.png(400, 400)[:-20]):
        await refused(create(door, part), INVALID, "damaged or cut off; send the whole file")


@refusal("picture")
async def a_portrait_that_is_no_picture(door: Door) -> None:
    for other in (b"GIF89a", b"%PDF-1.7", files.wav(8_000, bytes(100)), b"\xff\xd8\xff" + bytes(1000)):
        await refused(create(door, other), INVALID, "JPEG")
    await refused(create(door, b""), INVALID, "the portrait is empty")


# Faces.


@refusal("picture")
async def a_picture_without_a_face(door: Door) -> None:
    grey = np.full((400, 400, 3), 128, np.uint8)
    await refused(create(door, files.jpeg(grey)), INVALID, "no face was found in the portrait; send a picture of one")


@refusal("picture")
async def a_face_that_is_too_small(door: Door) -> None:
    face = files.shrunk(drawn(), 120)
    await refused(create(door, files.jpeg(face)), INVALID, r"the face is \d\d pixels wide; send .* 80 or more")


# Places, time and order.


async def held(door: Door, name: str) -> Any:
    """A stream that has begun and stays open."""
    call = streaming(door, name)()
    await call.write(STARTS[name])
    assert (await call.read()).HasField("started")
    return call


@refusal("places")
async def one_stream_more_than_there_are_places(door: Door) -> None:
    for name in ("render", "stt", "tts"):
        # Others may hold some of the places.
        calls: list[Any] = []

        async def one_after_the_other() -> None:
            for _ in range(MAX_STREAMS + 1):
                calls.append(await held(door, name))  # noqa: PERF401, B023 - those before the refusal are to end

        try:
            await refused(one_after_the_other(), FULL, f"all {MAX_STREAMS} streams")
        finally:
            for call in calls:
                call.cancel()


@refusal("places")
async def a_stream_without_config(door: Door) -> None:
    firsts = {
        "render": RENDER(audio=media_pb2.AudioChunk(utterance_id="a", data=bytes(640))),
        "stt": STT(audio=bytes(640)),
        "tts": TTS(text=TTS.TextChunk(utterance_id="a", text="one")),
    }
    for name, first in firsts.items():
        await refused(_sent(door, name, first), WRONG_ORDER, "first message (is|holds) config")


@refusal("places")
async def a_second_config(door: Door) -> None:
    for name, words in (("render", "second config"), ("stt", "first message only"), ("tts", "config came twice")):
        await refused(_sent(door, name, STARTS[name], STARTS[name]), WRONG_ORDER, words)


@refusal("places")
async def a_stream_that_says_nothing(door: Door) -> None:
    async def silent(name: str) -> None:
        call = await held(door, name)
        await refused(call.read(), WRONG_ORDER, rf"nothing (was sent|came) (for|in) {IDLE_S:g} s")

    await asyncio.gather(*(silent(name) for name in ("render", "stt", "tts")))
