"""Between the contract's messages and the service's own values."""

from __future__ import annotations

from collections.abc import Sequence

from avatar.media.v1 import media_pb2
from avatar.tts.v1 import tts_pb2

from services.common.errors import InvalidRequestError, NotFoundError
from services.common.timing import duration_of
from services.tts.engine import Capabilities, Style, names_of
from services.tts.narration import Chunk
from services.tts.voices import Voices

SLOWEST_RATE_HZ, FASTEST_RATE_HZ = 8_000, 48_000
_VOICE_PREFIX = "voices/"


def voice_name(voice: str) -> str:
    """The resource name of a voice."""
    return f"{_VOICE_PREFIX}{voice}"


async def style_of(config: tts_pb2.SynthesisConfig, voices: Voices) -> Style:
    """The style that a config asks for, with defaults. Raises: as `Voices.style`."""
    if config.voice and not config.voice.startswith(_VOICE_PREFIX):
        raise NotFoundError(f"there is no voice {config.voice[:80]}; there are {names_of(voices.usable())}")
    voice = config.voice.removeprefix(_VOICE_PREFIX)
    return await voices.style(voice, config.language_code, config.speaking_rate)


def output_rate_of(config: tts_pb2.SynthesisConfig, capabilities: Capabilities) -> int:
    """The sample rate that a config asks for, in hertz. Raises: InvalidRequestError."""
    audio_format = config.audio_format
    if audio_format.encoding not in (media_pb2.AUDIO_ENCODING_UNSPECIFIED, media_pb2.AUDIO_ENCODING_LINEAR16):
        raise InvalidRequestError("this service makes LINEAR16 audio; ask for AUDIO_ENCODING_LINEAR16")
    if audio_format.channel_count not in (0, 1):
        raise InvalidRequestError(f"speech has 1 channel, not {audio_format.channel_count}")
    rate_hz = audio_format.sample_rate_hertz or capabilities.sample_rate_hz
    if not SLOWEST_RATE_HZ <= rate_hz <= FASTEST_RATE_HZ:
        raise InvalidRequestError(f"sample_rate_hertz is {SLOWEST_RATE_HZ} to {FASTEST_RATE_HZ}, not {rate_hz}")
    return rate_hz


def config_of(style: Style, rate_hz: int) -> tts_pb2.SynthesisConfig:
    """A config in which nothing is left to a default."""
    return tts_pb2.SynthesisConfig(
        voice=voice_name(style.voice),
        language_code=style.language,
        speaking_rate=style.speaking_rate,
        audio_format=media_pb2.AudioFormat(
            encoding=media_pb2.AUDIO_ENCODING_LINEAR16, sample_rate_hertz=rate_hz, channel_count=1
        ),
    )


def timing_of(utterance_id: str, chunks: Sequence[Chunk], rate_hz: int, *, exact: bool) -> tts_pb2.Timing:
    """What begins in the chunks."""
    return tts_pb2.Timing(
        utterance_id=utterance_id,
        words=[
            media_pb2.WordTiming(
                word=word.word,
                start_offset=duration_of(word.span.start, rate_hz),
                end_offset=duration_of(word.span.end, rate_hz),
                text_begin=word.span.text_begin,
                text_end=word.span.text_end,
            )
            for chunk in chunks
            for word in chunk.words
        ],
        phonemes=[
            media_pb2.PhonemeTiming(
                phoneme=phoneme.symbol,
                start_offset=duration_of(phoneme.start, rate_hz),
                end_offset=duration_of(phoneme.end, rate_hz),
            )
            for chunk in chunks
            for phoneme in chunk.phonemes
        ],
        visemes=[
            media_pb2.VisemeTiming(
                viseme=media_pb2.Viseme.ValueType(viseme.viseme),
                start_offset=duration_of(viseme.start, rate_hz),
                end_offset=duration_of(viseme.end, rate_hz),
                weight=viseme.weight,
            )
            for chunk in chunks
            for viseme in chunk.visemes
        ],
        exact=exact,
    )


def begins_something(chunk: Chunk) -> bool:
    """Whether a chunk needs a timing message."""
    return bool(chunk.words or chunk.phonemes or chunk.visemes)


def audio_of(utterance_id: str, sequence: int, chunk: Chunk, rate_hz: int) -> media_pb2.AudioChunk:
    """The sound of a chunk."""
    return media_pb2.AudioChunk(
        utterance_id=utterance_id,
        sequence=sequence,
        start_offset=duration_of(chunk.start, rate_hz),
        data=chunk.pcm,
    )


def end_of(
    utterance_id: str, reason: tts_pb2.UtteranceEnd.Reason.ValueType, samples: int, rate_hz: int
) -> tts_pb2.UtteranceEnd:
    """The end of an utterance of which `samples` were sent."""
    return tts_pb2.UtteranceEnd(utterance_id=utterance_id, reason=reason, audio_duration=duration_of(samples, rate_hz))
