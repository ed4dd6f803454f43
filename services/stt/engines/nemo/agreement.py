"""How much of a text that is still being spoken will stay: the words that two hypotheses in a row agree on.

Source: LocalAgreement-2, Liu et al., "Low-Latency Sequence-to-Sequence Speech Recognition and Translation by Partial
Hypothesis Selection" (https://arxiv.org/abs/2005.11185). These models cannot be made to begin with what is settled, as
Whisper can, so a later hypothesis may have other words there; where it goes on is then told by when words are spoken.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

from services.stt.engine import Word


class Agreement:
    """The hypotheses about one stretch of sound.

    Attributes:
        settled: words that the text keeps beginning with.
    """

    def __init__(self) -> None:
        self.settled: tuple[Word, ...] = ()
        # Words that follow what is settled, in the latest hypothesis.
        self._open: tuple[Word, ...] = ()

    def take(self, words: Sequence[Word]) -> tuple[Word, ...]:
        """Compare a hypothesis with the one before.

        Returns: the text that holds now: what is settled, and what this hypothesis has after it.
        """
        count = len(self.settled)
        if _texts(words[:count]) == _texts(self.settled):
            # The more sound there is, the better it is known where words are.
            self.settled, follows = tuple(words[:count]), tuple(words[count:])
        else:
            follows = tuple(self._after_settled(words))
        # The last word may go on as long as nothing follows it.
        settles = min(_agreed(self._open, follows), max(len(follows) - 1, 0))
        self.settled += follows[:settles]
        self._open = follows[settles:]
        return self.settled + self._open

    def _after_settled(self, words: Sequence[Word]) -> Iterator[Word]:
        """The words of a hypothesis that are spoken after what is settled, though it puts that in other words."""
        end = self.settled[-1].end
        for word in words:
            if word.start >= end:
                yield word
            elif word.end > end:
                # It may be several words in one, of which the first are settled.
                within = "".join(settled.text for settled in self.settled if _middle(settled) >= word.start)
                rest = word.text.removeprefix(within)
                if rest and (rest != word.text or _middle(word) >= end):
                    yield replace(word, text=rest, start=end)


def _agreed(one: Sequence[Word], other: Sequence[Word]) -> int:
    """How many words at the beginning are the same."""
    pairs = zip(_texts(one), _texts(other), strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def _middle(word: Word) -> float:
    return (word.start + word.end) / 2


def _texts(words: Sequence[Word]) -> list[str]:
    return [word.text for word in words]
