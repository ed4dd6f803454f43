"""Contract messages to and from the values that the service works with."""

from __future__ import annotations

from typing import Any

from avatar.media.v1 import media_pb2
from avatar.stt.v1 import stt_pb2
from google.protobuf.duration_pb2 import Duration

from services.common.errors import InvalidRequestError
from services.common.timing import duration_of, samples_of, seconds_of
from services.stt.listener import Result
from services.stt.settings import TurnSettings
from services.stt.turn_detector import TurnEvent, TurnEventKind, TurnRules
from services.stt.vad import SAMPLE_RATE_HZ

_KINDS = {kind: stt_pb2.TurnEvent.Kind.Value(f"KIND_{kind.name}") for kind in TurnEventKind}


def rules_of_settings(settings: TurnSettings) -> TurnRules:
    """The rules that hold where the caller says nothing."""

    def samples(seconds: float) -> int:
        return round(seconds * SAMPLE_RATE_HZ)

    return TurnRules(
        min_speech=samples(settings.min_speech_s),
        min_silence=samples(settings.min_silence_s),
        max_silence=samples(max(settings.max_silence_s, settings.min_silence_s)),
        end_of_turn_threshold=settings.end_of_turn_threshold,
        eager_threshold=settings.eager_threshold,
        min_barge_in=samples(settings.min_barge_in_s),
    )


def rules_of(config: stt_pb2.TurnConfig, present: TurnRules) -> TurnRules:
    """The rules with what the caller sets replaced. Raises: InvalidRequestError naming the range that was left."""

    def samples(name: str, value: int, low_s: float, high_s: float) -> int:
        if config.HasField(name):  # type: ignore[arg-type]
            duration: Duration = getattr(config, name)
            if not low_s <= seconds_of(duration) <= high_s:
                raise InvalidRequestError(f"turn.{name} is {low_s:g} s to {high_s:g} s, not {seconds_of(duration):g} s")
            return samples_of(duration, SAMPLE_RATE_HZ)
        return value

    def probability(name: str, value: float) -> float:
        if not config.HasField(name):  # type: ignore[arg-type]
            return value
        sent = float(getattr(config, name))
        if not 0 <= sent <= 1:
            raise InvalidRequestError(f"turn.{name} is 0 to 1, not {sent:g}")
        return sent

    min_silence = samples("min_silence_duration", present.min_silence, 0.064, 2)
    max_silence = samples("max_silence_duration", present.max_silence, 0.064, 10)
    if max_silence < min_silence:
        raise InvalidRequestError(
            f"turn.max_silence_duration is min_silence_duration ({min_silence / SAMPLE_RATE_HZ:g} s) to 10 s, "
            f"not {max_silence / SAMPLE_RATE_HZ:g} s"
        )
    return TurnRules(
        min_speech=samples("min_speech_duration", present.min_speech, 0.032, 1),
        min_silence=min_silence,
        max_silence=max_silence,
        end_of_turn_threshold=probability("end_of_turn_threshold", present.end_of_turn_threshold),
        eager_threshold=probability("eager_threshold", present.eager_threshold),
        min_barge_in=samples("min_barge_in_duration", present.min_barge_in, 0.1, 2),
    )


def turn_config_of(rules: TurnRules) -> stt_pb2.TurnConfig:
    """The rules as the contract says them, with every field set."""
    return stt_pb2.TurnConfig(
        min_speech_duration=_at(rules.min_speech),
        min_silence_duration=_at(rules.min_silence),
        max_silence_duration=_at(rules.max_silence),
        end_of_turn_threshold=rules.end_of_turn_threshold,
        eager_threshold=rules.eager_threshold,
        min_barge_in_duration=_at(rules.min_barge_in),
    )


def check_format(audio_format: media_pb2.AudioFormat, engine_rate_hz: int) -> None:
    """Raises: InvalidRequestError, with what would be right, unless the format is the one that the engine reads."""
    if audio_format.encoding != media_pb2.AUDIO_ENCODING_LINEAR16:
        raise InvalidRequestError(
            "audio_format.encoding is AUDIO_ENCODING_LINEAR16 on a stream, not "
            f"{_name_of(media_pb2.AudioEncoding, audio_format.encoding)}; Recognize reads files"
        )
    if audio_format.sample_rate_hertz != engine_rate_hz:
        raise InvalidRequestError(
            f"this engine reads {engine_rate_hz} Hz audio, not {audio_format.sample_rate_hertz} Hz"
        )
    if audio_format.channel_count != 1:
        raise InvalidRequestError(f"audio_format.channel_count is 1, not {audio_format.channel_count}")


def _name_of(enum: Any, number: int) -> str:
    """The name of an enum's value; its number where the contract has no name for it."""
    return str(enum.Name(number)) if number in enum.values() else str(number)


def result_of(result: Result, language_code: str) -> stt_pb2.RecognitionResult:
    """A result as the contract says it."""
    return stt_pb2.RecognitionResult(
        transcript=result.transcript.text,
        is_final=result.transcript.is_final,
        segment_id=result.segment_id,
        words=[
            media_pb2.WordTiming(
                word=word.text, start_offset=_at(word.start), end_offset=_at(word.end), confidence=word.confidence
            )
            for word in result.transcript.words
        ],
        start_offset=_at(result.start),
        end_offset=_at(result.end),
        language_code=language_code,
    )


def response_of(heard: Result | TurnEvent, language_code: str) -> stt_pb2.StreamingRecognizeResponse:
    """What the listener heard, as the contract says it."""
    if isinstance(heard, Result):
        return stt_pb2.StreamingRecognizeResponse(result=result_of(heard, language_code))
    event = stt_pb2.TurnEvent(kind=_KINDS[heard.kind], event_offset=_at(heard.at), probability=heard.probability)
    return stt_pb2.StreamingRecognizeResponse(turn_event=event)


def _at(samples: int) -> Duration:
    return duration_of(samples, SAMPLE_RATE_HZ)
