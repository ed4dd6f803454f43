"""How much of a text that is still being spoken will stay: what two hypotheses in a row agree on.

Source: LocalAgreement-2, Liu et al., "Low-Latency Sequence-to-Sequence Speech Recognition and Translation by Partial
Hypothesis Selection" (https://arxiv.org/abs/2005.11185), as Macháček et al. use it with Whisper, "Turning Whisper into
Real-Time Transcription System" (https://arxiv.org/abs/2307.14743). Here the text that is settled is also what the next
decoding begins with, so that no later hypothesis can change it, and only what is new is decoded.
"""

from __future__ import annotations

from collections.abc import Sequence


class Agreement:
    """The hypotheses about one window of sound.

    Attributes:
        settled: tokens that every later hypothesis begins with; whole words.
    """

    def __init__(self) -> None:
        self.settled: tuple[int, ...] = ()
        self._last: tuple[int, ...] = ()

    def take(self, tokens: Sequence[int], word_starts: Sequence[int], *, may_settle_all: bool = False) -> None:
        """Compare a hypothesis with the one before.

        Args:
            tokens: begin with `settled`.
            word_starts: places in `tokens` at which a word begins; ascending.
            may_settle_all: the last word has been spoken to its end.
        """
        agreed = 0
        for new, old in zip(tokens, self._last, strict=False):
            if new != old:
                break
            agreed += 1
        # A word may go on as long as nothing follows it.
        ends = [*word_starts[1:], *([len(tokens)] if may_settle_all else [])]
        whole = max((end for end in ends if end <= agreed), default=0)
        if whole > len(self.settled):
            self.settled = tuple(tokens[:whole])
        self._last = tuple(tokens)

    def forget(self) -> None:
        """The last hypothesis was not to be believed."""
        self._last = self.settled
