"""Contract messages to and from the values that the service works with."""

from __future__ import annotations

import re
from typing import Any

from avatar.media.v1 import media_pb2
from avatar.stt.v1 import stt_pb2
from google.protobuf.duration_pb2 import Duration

from services.common.errors import InvalidRequestError
from services.common.timing import duration_of, samples_of, seconds_of
from services.stt.engine import Capabilities, Hearing, subtag_of
from services.stt.listener import Result
from services.stt.settings import TurnSettings
from services.stt.turn_detector import TurnEvent, TurnEventKind, TurnRules
from services.stt.vad import SAMPLE_RATE_HZ

# RFC 5646, section 4.4.1
MAX_LANGUAGE_TAG_CHARACTERS = 35
MAX_PHRASES = 64
MAX_PHRASE_CHARACTERS = 100
MAX_ASSISTANT_CHARACTERS = 4000
MAX_LANGUAGES = 100
_LANGUAGE_TAG = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{1,8})*")
_KINDS = {kind: stt_pb2.TurnEvent.Kind.Value(f"KIND_{kind.name}") for kind in TurnEventKind}


def hearing_of(config: stt_pb2.RecognitionConfig, capabilities: Capabilities, *, wants_partials: bool) -> Hearing:
    """What the caller wants heard, as far as the engine can.

    Raises: InvalidRequestError, with what would be right, for what nobody could do; UnsupportedError, with what the
        engine can do, for what it cannot.
    """
    tags = [config.language_code, *config.language_codes, config.translation_language_code]
    for tag in tags:
        if len(tag) > MAX_LANGUAGE_TAG_CHARACTERS or (tag and not _LANGUAGE_TAG.fullmatch(tag)):
            raise InvalidRequestError(
                f'language_code is a BCP-47 tag like "en" or "en-US", at most {MAX_LANGUAGE_TAG_CHARACTERS} characters'
            )
    if len(config.language_codes) > MAX_LANGUAGES or not all(config.language_codes):
        raise InvalidRequestError(f"language_codes are at most {MAX_LANGUAGES} BCP-47 tags, none of them empty")
    if config.language_code and config.language_codes:
        raise InvalidRequestError("language_code names what is spoken; leave it empty to choose between language_codes")
    if len(config.phrases) > MAX_PHRASES:
        raise InvalidRequestError(f"phrases are at most {MAX_PHRASES}, not {len(config.phrases)}")
    if any(not phrase.strip() or len(phrase) > MAX_PHRASE_CHARACTERS for phrase in config.phrases):
        raise InvalidRequestError(f"a phrase has 1 to {MAX_PHRASE_CHARACTERS} characters")
    return capabilities.check(
        Hearing(
            language=capabilities.language_of(config.language_code) if config.language_code else "",
            languages=tuple(dict.fromkeys(map(capabilities.language_of, config.language_codes))),
            # What is written need not be among what is heard.
            translate_to=subtag_of(config.translation_language_code),
            phrases=tuple(" ".join(phrase.split()) for phrase in config.phrases),
            wants_partials=wants_partials,
        )
    )


def recognition_of(config: stt_pb2.RecognitionConfig, hearing: Hearing) -> stt_pb2.RecognitionConfig:
    """What the engine will really do, in the caller's own tags where it named any."""
    done = stt_pb2.RecognitionConfig(phrases=hearing.phrases)
    if hearing.language:
        done.language_code = config.language_code or hearing.language
    done.language_codes.extend(hearing.languages)
    if hearing.translate_to:
        done.translation_language_code = config.translation_language_code
    return done


def health_of(info: media_pb2.EngineInfo, capabilities: Capabilities) -> stt_pb2.GetHealthResponse:
    """What a loaded engine can do."""
    return stt_pb2.GetHealthResponse(
        status="healthy",
        engine=info,
        language_codes=capabilities.languages,
        detects_languages=capabilities.detects_languages,
        names_languages=capabilities.detects_languages and capabilities.names_languages,
        accepts_phrases=capabilities.accepts_phrases,
        translations=[
            stt_pb2.GetHealthResponse.Translation(language_code=spoken, translation_language_code=written)
            for spoken, written in sorted(capabilities.translations)
        ],
    )


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
    """A result as the contract says it. Args: language_code: the tag that was asked for, if any."""
    transcript = result.transcript
    return stt_pb2.RecognitionResult(
        transcript=transcript.text,
        is_final=transcript.is_final,
        segment_id=result.segment_id,
        words=[
            media_pb2.WordTiming(
                word=word.text, start_offset=_at(word.start), end_offset=_at(word.end), confidence=word.confidence
            )
            for word in transcript.words
        ],
        start_offset=_at(result.start),
        end_offset=_at(result.end),
        language_code=language_code or transcript.language,
        language_probability=None if language_code else transcript.language_probability,
        stable_character_count=len(transcript.text) if transcript.is_final else transcript.stable_characters,
    )


def response_of(heard: Result | TurnEvent, language_code: str) -> stt_pb2.StreamingRecognizeResponse:
    """What the listener heard, as the contract says it."""
    if isinstance(heard, Result):
        return stt_pb2.StreamingRecognizeResponse(result=result_of(heard, language_code))
    event = stt_pb2.TurnEvent(kind=_KINDS[heard.kind], event_offset=_at(heard.at), probability=heard.probability)
    return stt_pb2.StreamingRecognizeResponse(turn_event=event)


def _at(samples: int) -> Duration:
    return duration_of(samples, SAMPLE_RATE_HZ)
