"""The words of an utterance and how many of them were heard."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """A word of the text: code points [text_begin, text_end), sound from `start_s` on."""

    text_begin: int
    text_end: int
    start_s: float


@dataclass(slots=True)
class SpokenText:
    """A text that is being spoken, with the words whose times are known so far."""

    text: str = ""
    words: list[SpokenWord] = field(default_factory=list)

    def heard(self, heard_s: float, *, whole: bool = False) -> str:
        """The text up to the last word whose sound had begun.

        Args:
            heard_s: how much of the utterance's sound was heard.
            whole: all of it was heard, so the end of the text (a full stop, say) belongs to it.
        """
        if whole:
            return self.text.strip()
        end = 0
        for word in self.words:
            if word.start_s < heard_s:
                end = max(end, word.text_end)
        return self.text[:end].strip()
