"""The voices that can be asked for now: the engine's own, and those that were cloned."""

from __future__ import annotations

from services.common.errors import EngineError
from services.tts.engine import Capabilities, Style, Voice, names_of, resolve_style


class Voices:
    """What a caller can choose from; it may change between two calls."""

    def __init__(self, capabilities: Capabilities, default: str = "") -> None:
        """Args: default: whom callers hear who name none, by id or display name; empty for the engine's own choice.

        Raises: EngineError if there is no such voice.
        """
        self._capabilities = capabilities
        self._default = default
        if default and not _called(default, self._own):
            raise EngineError(f"default_voice {default!r} is no voice that there is; there are {names_of(self._own)}")

    @property
    def _own(self) -> tuple[Voice, ...]:
        return self._capabilities.voices

    def known(self) -> tuple[Voice, ...]:
        """Every voice, the default one first."""
        first = _called(self._default, self._own)
        return (*first, *(voice for voice in self._own if voice not in first))

    def style(self, voice: str, language: str, speaking_rate: float) -> Style:
        """How to speak, with the defaults filled in. Args, Raises: as of `resolve_style`."""
        return resolve_style(self._capabilities, voice, language, speaking_rate, self.known())


def _called(name: str, voices: tuple[Voice, ...]) -> tuple[Voice, ...]:
    """The voice of that id or display name, if there is one."""
    return tuple(voice for voice in voices if name in (voice.id, voice.display_name))[:1]
