"""The voices that can be asked for now: the engine's own, and those that were made of recordings."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from services.common.errors import EngineError, NotFoundError, UnsupportedError
from services.tts.engine import Capabilities, Style, Voice, names_of, resolve_style
from services.tts.voice_store import VoiceRecord, VoiceStore


@dataclass(frozen=True, slots=True)
class ListedVoice:
    """A voice as it is shown.

    Args:
        record: what was kept of a cloned voice; None for one of the engine's own.
        unusable_reason: a sentence why it cannot be spoken with now; empty where it can.
    """

    voice: Voice
    record: VoiceRecord | None = None
    unusable_reason: str = ""


class Voices:
    """What a caller can choose from; it may change between two calls."""

    def __init__(self, capabilities: Capabilities, store: VoiceStore, default: str = "") -> None:
        """Args: default: whom callers hear who name none, by id or display name; empty for the engine's own choice.

        Raises: EngineError if there is no such voice.
        """
        self._capabilities = capabilities
        self._store = store
        self._default = default
        if default and not any(default in (voice.id, voice.display_name) for voice in self.usable()):
            raise EngineError(
                f"default_voice {default!r} is no voice that there is; there are {names_of(self.usable())}"
            )

    def listed(self) -> tuple[ListedVoice, ...]:
        """Every voice: the default one, the engine's own, then the others, the oldest first."""
        own = [ListedVoice(voice) for voice in self._capabilities.voices]
        cloned = [self.of(record) for record in self._store.records()]
        first = [
            known
            for known in (*own, *cloned)
            if not known.unusable_reason and self._default in (known.voice.id, known.voice.display_name)
        ][:1]
        return (*first, *(known for known in (*own, *cloned) if known not in first))

    def of(self, record: VoiceRecord) -> ListedVoice:
        """A cloned voice as it is shown; it speaks all languages of its engine."""
        return ListedVoice(Voice(record.voice_id, record.display_name), record, self._unusable_reason(record))

    def usable(self) -> tuple[Voice, ...]:
        """Every voice that can be spoken with now, the default one first."""
        return tuple(known.voice for known in self.listed() if not known.unusable_reason)

    async def style(self, voice: str, language: str, speaking_rate: float) -> Style:
        """How to speak, with the defaults filled in. Args: as of `resolve_style`.

        Raises: as `resolve_style`; UnsupportedError for a voice of another engine; EngineError if it is damaged.
        """
        record = self._cloned(voice)
        if record and (reason := self._unusable_reason(record)):
            raise UnsupportedError(reason)
        style = resolve_style(self._capabilities, voice, language, speaking_rate, self.usable())
        if self._cloned(style.voice) is None:
            return style
        return replace(style, conditioning=await asyncio.to_thread(self._store.conditioning, style.voice))

    def check_current(self, style: Style) -> None:
        """Raises: NotFoundError if the voice was deleted, or made anew, since the style was made."""
        if style.conditioning is not None and not self._store.is_current(style.voice, style.conditioning):
            raise NotFoundError(
                f"the voice voices/{style.voice} was deleted or made anew meanwhile; begin another stream"
            )

    def _cloned(self, voice: str) -> VoiceRecord | None:
        own = any(known.id == voice for known in self._capabilities.voices)
        return None if own else self._store.record(voice)

    def _unusable_reason(self, record: VoiceRecord) -> str:
        cloning = self._capabilities.cloning
        name = f"voices/{record.voice_id}"
        if any(known.id == record.voice_id for known in self._capabilities.voices):
            return f"this engine has a voice {name} of its own, which is the one that is heard"
        if cloning is None:
            return f"{name} is a voice of {record.model}, and this engine speaks with its own voices only"
        if cloning.model != record.model:
            way = (
                "RemakeVoice makes it anew of its recording" if record.has_recording else "delete it and make it again"
            )
            return f"{name} was made for {record.model}, and this engine speaks those of {cloning.model}; {way}"
        return ""
