"""When what is spoken, for engines that do not know: espeak-ng's phonemes, aligned with the engine's audio."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from services.tts.alignment import HOP_S, Normaliser, Pin, align, cepstra_of
from services.tts.engine import PhonemeSpan, SpeechChunk, VisemeSpan, WordSpan
from services.tts.pronunciation import Pronunciation
from services.tts.visemes import visemes_of

# Sound begins where it is this much of the loudest, or louder than this at all while the loudest is not known.
_RELATIVE_ONSET, _ONSET = 0.03, 0.01
# What has not been heard yet is expected at the pace of what was, within these factors of the asked one.
_SLOWEST_PACE, _FASTEST_PACE = 0.6, 1.7
# Seconds of the expected pace that count as much as the seconds that were heard.
_EXPECTED_S = 0.5
# How far ahead of its frames a part of the speech may reach in the text, in seconds and as a factor.
_REACH_S, _REACH = 1.0, 2.5
# How much of what was heard is aligned again with what follows it, which may show that it was something else.
_HISTORY_S = 4.0
# It may be this long quiet within a sound, as in the closure of a p; longer is a pause, whatever the text says.
_LONGEST_CLOSURE_S = 0.18


@dataclass(frozen=True, slots=True)
class Anchor:
    """That the word with a code point of the text begins about at a sample, both of the segment."""

    text_position: int
    sample: int


def timing_over(
    pronunciation: Pronunciation,
    samples: NDArray[np.float32],
    sample_rate_hz: int,
    anchors: Sequence[Anchor] = (),
) -> SpeechChunk:
    """A whole segment with its estimated spans.

    Args:
        pronunciation: of its text.
        samples: shape (n,), n > 0, float32 in [-1, 1].
        anchors: hints; those that cannot be are ignored.
    """
    return RunningTiming(pronunciation, sample_rate_hz).advance(samples, anchors, is_last=True)


class RunningTiming:
    """The spans of a segment whose audio comes in parts, each told with the part that it begins in.

    A sound that goes on in the next part is told again there, as its own continuation: how long it lasts is known no
    earlier.
    """

    def __init__(self, pronunciation: Pronunciation, sample_rate_hz: int, speaking_rate: float = 1.0) -> None:
        """Args: sample_rate_hz: of the audio; speaking_rate: that it was asked to have."""
        self._phonemes = pronunciation.phonemes
        self._words = deque(pronunciation.words)
        self._rate_hz = sample_rate_hz
        self._reference_rate_hz = pronunciation.sample_rate_hz
        features = cepstra_of(pronunciation.samples, pronunciation.sample_rate_hz)
        normaliser = Normaliser()
        normaliser.learn(features)
        self._reference = normaliser.apply(features)
        self._normaliser = Normaliser(features)
        # Samples of the audio for one of the reference.
        self._asked_pace = sample_rate_hz / pronunciation.sample_rate_hz / speaking_rate
        self._samples = np.zeros(0, np.float32)
        self._peak = 0.0
        self._onset: int | None = None
        # The phoneme that is spoken at the end of what was heard; where it and those before it began.
        self._current = 0
        self._told_starts: list[int] = [0] * len(self._phonemes)
        self._anchors: dict[int, int] = {}
        self._word_end = 0

    def advance(
        self, samples: NDArray[np.float32], anchors: Sequence[Anchor] = (), *, is_last: bool = False
    ) -> SpeechChunk:
        """The next samples with all that begins in them.

        Args:
            samples: shape (n,), n > 0, that follow those before.
            anchors: hints for words that begin in these samples or later.
            is_last: whether the segment ends with them: then everything that is left has its place in them.
        """
        begin = len(self._samples)
        self._samples = np.concatenate([self._samples, samples])
        end = len(self._samples)
        self._peak = max(self._peak, float(np.abs(samples).max()))
        self._note(anchors)
        sound_end = self._quiet_from(0) if is_last else end
        if self._onset is None and not self._find_onset(begin, is_last=is_last):
            spans = (PhonemeSpan("", begin, end),)
            return SpeechChunk(samples, (), spans, visemes_of(spans, self._rate_hz))
        starts = self._starts(begin, sound_end, is_last=is_last)
        words = self._words_until(starts, begin, end, is_last=is_last)
        phonemes, following = self._phonemes_until(starts, begin, end)
        return SpeechChunk(samples, words, phonemes, self._visemes(phonemes, following))

    def _note(self, anchors: Sequence[Anchor]) -> None:
        for anchor in anchors:
            for word in self._words:
                if word.text_begin <= anchor.text_position < word.text_end:
                    self._anchors[word.start] = anchor.sample

    def _find_onset(self, begin: int, *, is_last: bool) -> bool:
        threshold = max(_RELATIVE_ONSET * self._peak, 0.0 if is_last else _ONSET)
        loud = np.flatnonzero(np.abs(self._samples[begin:]) > threshold)
        if loud.size or is_last:
            self._onset = self._told_starts[0] = begin + (int(loud[0]) if loud.size else 0)
        return self._onset is not None

    def _starts(self, begin: int, sound_end: int, *, is_last: bool) -> dict[int, int]:
        """Where in the audio the boundaries of the current phoneme and of those after it are, by the reference's."""
        oldest = begin - round(_HISTORY_S * self._rate_hz)
        index = self._current
        while index and self._told_starts[index] > oldest:
            index -= 1
        first, origin = self._phonemes[index].start, self._told_starts[index]
        boundaries = np.array([first, *(phoneme.end for phoneme in self._phonemes[index:])])
        sound = self._samples[origin : max(sound_end, origin + 1)]
        features = cepstra_of(sound, self._rate_hz, self._peak)
        hop, reference_hop = HOP_S * self._rate_hz, HOP_S * self._reference_rate_hz
        self._normaliser.learn(features[max(round((begin - origin) / hop), 0) :])
        reach = len(self._reference) if is_last else round(len(features) * _REACH + _REACH_S / HOP_S)
        first_frame = int(first // reference_hop)
        reference = self._reference[first_frame : first_frame + reach]
        pins = [
            Pin(round((sample - origin) / hop), round(start / reference_hop) - first_frame)
            for start, sample in self._anchors.items()
        ]
        path = align(self._normaliser.apply(features), reference, pins, is_whole=is_last)
        reached, frames = np.unique(path, return_index=True)
        known = [(reached + first_frame) * reference_hop, origin + frames * hop]
        known[0][0], known[1][0] = first, origin
        if is_last:
            last = (boundaries[-1], len(sound) + origin)
        else:
            # The sound of the last frame goes on, and so does the pace.
            ahead = boundaries[-1] - known[0][-1]
            last = (boundaries[-1], known[1][-1] + hop + max(ahead, 0) * self._pace(known[0][-1]))
        places = np.interp(boundaries, np.append(known[0], last[0]), np.append(known[1], last[1]))
        places = np.maximum.accumulate(np.round(places)).astype(int)
        if not is_last:
            self._defer(places, self._phonemes[index:])
        return dict(zip(boundaries.tolist(), places.tolist(), strict=True))

    def _defer(self, places: NDArray[np.int64], phonemes: Sequence[PhonemeSpan]) -> None:
        """Let nothing begin in a pause that goes on at the end: when it ends is not known. Args: places: changed."""
        end = len(self._samples)
        quiet = self._quiet_from(0)
        if end - quiet >= _LONGEST_CLOSURE_S * self._rate_hz:
            for index, phoneme in enumerate(phonemes):
                if phoneme.symbol and quiet <= places[index]:
                    np.maximum(places[index:], end, out=places[index:])
                    return

    def _quiet_from(self, begin: int, end: int | None = None) -> int:
        """Where a stretch becomes quiet up to its end."""
        loud = np.flatnonzero(np.abs(self._samples[begin:end]) > _RELATIVE_ONSET * self._peak)
        return begin + (int(loud[-1]) + 1 if loud.size else 0)

    def _with_pause(self, span: PhonemeSpan) -> list[PhonemeSpan]:
        """A sound, and the pause that it runs into if there is one."""
        quiet = self._quiet_from(span.start, span.end)
        if not span.symbol or span.end - quiet < _LONGEST_CLOSURE_S * self._rate_hz:
            return [span]
        pause = PhonemeSpan("", quiet, span.end)
        return [pause] if quiet == span.start else [replace(span, end=quiet), pause]

    def _pace(self, reached: float) -> float:
        """Samples of the audio for one of the reference, as far as it was heard."""
        expected = _EXPECTED_S * self._reference_rate_hz
        heard = len(self._samples) - (self._onset or 0)
        pace = (heard + expected * self._asked_pace) / (reached + expected)
        return float(np.clip(pace, _SLOWEST_PACE * self._asked_pace, _FASTEST_PACE * self._asked_pace))

    def _words_until(self, starts: dict[int, int], begin: int, end: int, *, is_last: bool) -> tuple[WordSpan, ...]:
        words = []
        while self._words:
            word = self._words[0]
            start = max(starts.get(word.start, begin), begin, self._word_end)
            if start >= end and not is_last:
                break
            self._words.popleft()
            stop = starts.get(word.end, start)
            if is_last:
                start, stop = min(start, end - 1), min(stop, end)
            words.append(WordSpan(word.text_begin, word.text_end, start, max(stop, start + 1)))
            self._word_end = words[-1].end
        return tuple(words)

    def _phonemes_until(
        self, starts: dict[int, int], begin: int, end: int
    ) -> tuple[tuple[PhonemeSpan, ...], PhonemeSpan | None]:
        """The phonemes of the new samples, end to end over them, and the one that follows."""
        spans = []
        assert self._onset is not None
        at = begin
        if self._onset > begin:
            spans.append(PhonemeSpan("", begin, self._onset))
            at = self._onset
        for index in range(self._current, len(self._phonemes)):
            phoneme = self._phonemes[index]
            start, stop = starts[phoneme.start], starts[phoneme.end]
            self._current, self._told_starts[index] = index, start
            if stop > at and at < end:
                span = PhonemeSpan(phoneme.symbol, at, min(stop, end), phoneme.is_stressed)
                spans.extend(self._with_pause(span))
                at = spans[-1].end
            if stop > end:
                break
        if at < end:
            spans.append(PhonemeSpan("", at, end))
        following = self._phonemes[self._current + 1] if self._current + 1 < len(self._phonemes) else None
        return tuple(spans), following

    def _visemes(self, phonemes: tuple[PhonemeSpan, ...], following: PhonemeSpan | None) -> tuple[VisemeSpan, ...]:
        """The shapes of phonemes. Args: following: which a sound of the throat takes the shape of."""
        end = phonemes[-1].end
        after = () if following is None else (PhonemeSpan(following.symbol, end, end + 1, following.is_stressed),)
        spans = visemes_of((*phonemes, *after), self._rate_hz)
        return tuple(
            VisemeSpan(span.viseme, span.start, min(span.end, end), span.weight) for span in spans if span.start < end
        )
