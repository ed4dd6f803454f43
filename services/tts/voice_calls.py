"""The calls about voices: messages in, messages out."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime

from avatar.tts.v1 import tts_pb2
from google.protobuf.duration_pb2 import Duration

from services.common.errors import InvalidRequestError, NotFoundError, ProtocolError
from services.common.log import get_logger
from services.tts.engine import Capabilities, language_among, languages_of
from services.tts.messages import voice_name
from services.tts.voice_maker import VoiceMaker
from services.tts.voice_recording import Quality
from services.tts.voice_store import VoiceStore, voice_id_of
from services.tts.voices import ListedVoice, Voices

MAX_PAGE = 1000
log = get_logger(__name__)


class VoiceCalls:
    """What `TextToSpeechService` does with voices."""

    def __init__(self, capabilities: Capabilities, voices: Voices, store: VoiceStore, maker: VoiceMaker) -> None:
        self._capabilities = capabilities
        self._voices = voices
        self._store = store
        self._maker = maker

    def list(self, request: tts_pb2.ListVoicesRequest) -> tts_pb2.ListVoicesResponse:
        """A page of the voices. Raises: InvalidRequestError for a page that cannot be."""
        if not 0 <= request.page_size <= MAX_PAGE:
            raise InvalidRequestError(f"page_size is 1 to {MAX_PAGE}, or 0 for all voices, not {request.page_size}")
        tag = request.language_code
        found = [
            known
            for known in self._voices.listed()
            if not tag or language_among(languages_of(known.voice, self._capabilities), tag)
        ]
        rest = found[_begin_of_page(request.page_token, found) :]
        page = rest[: request.page_size or len(rest)]
        return tts_pb2.ListVoicesResponse(
            voices=[self._message(known) for known in page],
            next_page_token=_token_after(page[-1]) if len(page) < len(rest) else "",
            can_clone_voices=self._capabilities.can_clone,
        )

    def get(self, request: tts_pb2.GetVoiceRequest) -> tts_pb2.Voice:
        """One voice. Raises: InvalidRequestError, NotFoundError."""
        return self._shown(voice_id_of(request.name))

    async def create(self, request: tts_pb2.CreateVoiceRequest) -> tts_pb2.Voice:
        """Make a voice of a recording. Raises: as `VoiceMaker.create`."""
        voice = request.voice
        if not voice.consent.given:
            raise InvalidRequestError(
                "a voice is made only of the recording of somebody who agreed to it: consent.given is true, and "
                "consent.statement says who agreed"
            )
        if not voice.recording:
            raise InvalidRequestError("recording is empty; send a file with 3 to 30 s of one person's speech")
        record = await self._maker.create(
            request.voice_id,
            voice.display_name,
            voice.consent.statement,
            voice.recording,
            keep_recording=voice.keep_recording,
            validate_only=request.validate_only,
        )
        log.info(
            "recording_listened_to" if request.validate_only else "voice_created",
            recording_s=round(record.quality.duration_s, 1),
            warnings=len(record.quality.warnings),
        )
        return self._message(self._voices.of(record))

    async def remake(self, request: tts_pb2.RemakeVoiceRequest) -> tts_pb2.Voice:
        """Make a voice anew. Raises: as `VoiceMaker.remake`."""
        voice_id = voice_id_of(request.name)
        self._check_cloned(voice_id, "stays as it is")
        record = await self._maker.remake(voice_id)
        log.info("voice_remade")
        return self._message(self._voices.of(record))

    async def delete(self, request: tts_pb2.DeleteVoiceRequest) -> None:
        """Forget a voice. Raises: InvalidRequestError, NotFoundError; ProtocolError for an engine's own."""
        voice_id = voice_id_of(request.name)
        self._check_cloned(voice_id, "stays")
        await self._maker.delete(voice_id)
        log.info("voice_deleted")

    def _check_cloned(self, voice_id: str, fate: str) -> None:
        if self._store.record(voice_id) is None and self._shown(voice_id):
            raise ProtocolError(
                f"{voice_name(voice_id)} is the engine's own and {fate}; those that were made of recordings can be "
                "deleted and remade"
            )

    def _shown(self, voice_id: str) -> tts_pb2.Voice:
        for known in self._voices.listed():
            if known.voice.id == voice_id:
                return self._message(known)
        raise NotFoundError(f"there is no voice {voice_name(voice_id)}; ListVoices names those that there are")

    def _message(self, known: ListedVoice) -> tts_pb2.Voice:
        record = known.record
        message = tts_pb2.Voice(
            name=voice_name(known.voice.id),
            display_name=known.voice.display_name,
            language_codes=languages_of(known.voice, self._capabilities),
            natural_sample_rate_hertz=self._capabilities.sample_rate_hz,
            kind=tts_pb2.Voice.KIND_BUILT_IN if record is None else tts_pb2.Voice.KIND_CLONED,
            unusable_reason=known.unusable_reason,
        )
        if record is not None:
            message.consent.CopyFrom(tts_pb2.Voice.Consent(given=True, statement=record.consent))
            message.keep_recording = record.has_recording
            message.create_time.FromDatetime(record.created_at)
            message.recording_quality.CopyFrom(_quality_message(record.quality))
        return message


def _quality_message(quality: Quality) -> tts_pb2.RecordingQuality:
    return tts_pb2.RecordingQuality(
        duration=_duration(quality.duration_s),
        speech_duration=_duration(quality.speech_s),
        speech_level_db=quality.speech_level_db,
        signal_to_noise_db=quality.signal_to_noise_db,
        warnings=quality.warnings,
    )


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromMilliseconds(round(seconds * 1000))
    return duration


# --- pages --------------------------------------------------------------------------------------------------------
# A token names the last voice of its page, and when that was made: voices that come or go meanwhile move no others to
# another page, and the voice itself may go.


def _token_after(known: ListedVoice) -> str:
    created = known.record.created_at.isoformat() if known.record else ""
    return base64.urlsafe_b64encode(f"{created} {known.voice.id}".encode()).decode()


def _begin_of_page(token: str, voices: list[ListedVoice]) -> int:
    """Where the voices after the page of a token begin. Raises: InvalidRequestError if it is no token of ours."""
    if not token:
        return 0
    try:
        created, _, voice_id = base64.urlsafe_b64decode(token.encode()).decode().rpartition(" ")
        created_at = datetime.fromisoformat(created) if created else None
    except (ValueError, binascii.Error) as error:
        raise InvalidRequestError("page_token is no next_page_token of an earlier answer; begin without") from error
    for index, known in enumerate(voices):
        if known.voice.id == voice_id:
            return index + 1
    if created_at is None:
        raise InvalidRequestError("page_token is of another engine's voices; begin without")
    later = (at for at, known in enumerate(voices) if known.record and known.record.created_at > created_at)
    return next(later, len(voices))
