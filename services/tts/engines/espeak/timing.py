"""From espeak-ng's events to the spans of words and phonemes."""

# ruff: noqa: RUF001 - phonetic letters look like others.

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from services.tts.engine import PhonemeSpan, WordSpan
from services.tts.engines.espeak.library import PhonemeEvent, Recording, WordEvent
from services.tts.speakable import SpeakableText, Token, tokens_of
from services.tts.visemes import letters_of

# espeak-ng says "(en)" where it takes another language's rules, as if that were a phoneme.
_LANGUAGE_SWITCH = re.compile(r"\([\w-]*\)")
_MAIN_STRESS = "ˈ"
_STRESS = "ˈˌ"
# espeak-ng leaves its own names of some phonemes as they are. Groups that stand for one sound, longest first:
_GROUPS = {
    "ts.h": "tʂʰ",
    "ts.": "tʂ",
    "tsh": "tsʰ",
    "tɕh": "tɕʰ",
    "onɡ": "oŋ",
    "s.": "ʂ",
    "z.": "ʐ",
    "r.": "ɻ",
    "th": "tʰ",
    "kh": "kʰ",
    "ph": "pʰ",
}
_GROUP = re.compile("|".join(map(re.escape, _GROUPS)))
# Single letters that are not IPA, and marks that tell variants of one sound apart.
_LETTERS = str.maketrans("SZNXAKΦε?:", "ʃʒŋχɑkɸɛʔː", ".-^\"'_|;+#[]{}0123456789\x01")
# A release that is spoken as a sound of its own.
_RELEASES = {"ʲ": "j", "ʰ": "h"}
# Voiced stops begin with a hum; before these there is silence, which is the closure of the mouth.
_SILENT_CLOSURES = frozenset("ptkqcʈ")
# In samples; more zeros than a wave has at its crossings.
_SHORTEST_SILENCE = 64


@dataclass(frozen=True, slots=True)
class Timing:
    """Spans in samples; phonemes lie end to end over the whole recording."""

    words: tuple[WordSpan, ...]
    phonemes: tuple[PhonemeSpan, ...]


@dataclass(frozen=True, slots=True)
class _Onset:
    """A phoneme's beginning, and the index of the last word event before it (-1 for none)."""

    symbol: str
    is_stressed: bool
    sample: int
    word: int


def ipa_of(name: str) -> str:
    """The IPA symbol in espeak-ng's name of a phoneme, without stress; empty for a pause."""
    plain = _GROUP.sub(lambda match: _GROUPS[match.group()], _LANGUAGE_SWITCH.sub("", name).strip(_STRESS))
    symbol = plain.translate(_LETTERS)
    return _RELEASES.get(symbol, symbol)


def _onsets(events: Sequence[WordEvent | PhonemeEvent]) -> list[_Onset]:
    onsets: list[_Onset] = []
    word = -1
    for event in events:
        if isinstance(event, WordEvent):
            word += 1
            continue
        symbol = ipa_of(event.name)
        # A mark alone, such as length, goes on with the sound before it, and a language switch is no sound.
        if letters_of(symbol) or not event.name:
            onsets.append(_Onset(symbol, event.name.startswith(_MAIN_STRESS), event.sample, word))
    return onsets


def _closure_start(samples: NDArray[np.int16], onset: _Onset, earliest: int) -> int:
    """Where the silence right before a phoneme begins, not before `earliest`."""
    before = np.flatnonzero(samples[earliest : onset.sample])
    return earliest + (int(before[-1]) + 1 if before.size else 0)


def _starts(samples: NDArray[np.int16], onsets: list[_Onset]) -> list[int]:
    """Where each phoneme really begins: espeak-ng reports a voiceless stop only when the closure opens."""
    starts: list[int] = []
    for index, onset in enumerate(onsets):
        earliest = min(onsets[index - 1].sample, onset.sample) if index else 0
        follows_pause = bool(index) and not onsets[index - 1].symbol
        has_closure = onset.symbol[:1] in _SILENT_CLOSURES or not follows_pause
        starts.append(_closure_start(samples, onset, earliest) if onset.symbol and has_closure else onset.sample)
    return starts


def _phonemes(samples: NDArray[np.int16], onsets: list[_Onset]) -> list[PhonemeSpan]:
    """One span for each onset, end to end from 0; of those that begin together each gets its share."""
    starts = [*_starts(samples, onsets), len(samples)]
    if onsets:
        starts[0] = 0
    spans: list[PhonemeSpan] = []
    index = 0
    while index < len(onsets):
        same = index
        while same + 1 < len(onsets) and starts[same + 1] <= starts[index] and onsets[same + 1].symbol:
            same += 1
        begin, end, count = starts[index], max(starts[same + 1], starts[index]), same + 1 - index
        for part, onset in enumerate(onsets[index : same + 1]):
            start, stop = (begin + (end - begin) * k // count for k in (part, part + 1))
            spans.append(PhonemeSpan(onset.symbol, start, stop, onset.is_stressed))
        index = same + 1
    return spans


def _longest_silence(samples: NDArray[np.int16], start: int, end: int) -> tuple[int, int]:
    """The longest run of zeros in `[start, end)`; espeak-ng's silence is exact."""
    edges = np.concatenate([[start - 1], start + np.flatnonzero(samples[start:end]), [end]])
    longest = int(np.argmax(np.diff(edges)))
    return int(edges[longest]) + 1, int(edges[longest + 1])


def _with_silent_pauses(
    samples: NDArray[np.int16], onsets: list[_Onset], spans: list[PhonemeSpan]
) -> list[PhonemeSpan]:
    """Pauses cut down to where it is silent; the sound around the silence goes to the phonemes beside it.

    espeak-ng reports the soft onset of a vowel like a pause, and a pause while the sound before it still fades.
    """
    spans = list(spans)
    for is_pause, group in itertools.groupby(range(len(spans)), lambda index: not spans[index].symbol):
        indices = list(group)
        first, last = indices[0], indices[-1]
        start, end = spans[first].start, spans[last].end
        if not is_pause or start == end:
            continue
        silence_start, silence_end = _longest_silence(samples, start, end)
        has_next = last + 1 < len(spans)
        if silence_end - silence_start < _SHORTEST_SILENCE:
            # No pause at all: the onset of the next sound if that is of the same word, else the end of the one before.
            is_onset = has_next and (not first or onsets[last + 1].word == onsets[last].word)
            silence_start = silence_end = start if is_onset else end
        silence_start = silence_start if first else start
        silence_end = silence_end if has_next else end
        if first:
            spans[first - 1] = replace(spans[first - 1], end=silence_start)
        if has_next:
            spans[last + 1] = replace(spans[last + 1], start=silence_end)
        for index in indices:
            spans[index] = replace(
                spans[index], start=silence_start if index == first else silence_end, end=silence_end
            )
    return spans


def _token_of_events(events: list[WordEvent], tokens: list[Token]) -> list[int]:
    """For each word event the token that it speaks; positions behind a symbol may point at the blank after it."""
    found: list[int] = []
    token = 0
    for index, event in enumerate(events):
        while token + 1 < len(tokens) and tokens[token + 1].begin <= event.position:
            token += 1
        is_behind = event.position >= tokens[token].end and token + 1 < len(tokens)
        if is_behind and not (index + 1 < len(events) and events[index + 1].position == tokens[token + 1].begin):
            token += 1
        found.append(token)
    return found


def _words(
    spoken: SpeakableText, tokens: list[Token], events: list[WordEvent], onsets: list[_Onset], spans: list[PhonemeSpan]
) -> list[WordSpan]:
    token_of_event = _token_of_events(events, tokens)
    sounds: dict[int, list[PhonemeSpan]] = {}
    for onset, span in zip(onsets, spans, strict=True):
        if onset.symbol and onset.word >= 0:
            sounds.setdefault(token_of_event[onset.word], []).append(span)
    words: list[WordSpan] = []
    heard = sorted(sounds)
    for token, following in zip(heard, [*heard, len(tokens)][1:], strict=True):
        # "of the" is one event: the words without an event of their own share the sound of the one before them.
        group = [[token, token]]
        for silent in range(token + 1, following):
            if tokens[silent].is_glued:
                group[-1][1] = silent
            elif any(char.isalnum() for char in spoken.text[tokens[silent].begin : tokens[silent].end]):
                group.append([silent, silent])
        words.extend(_share(spoken, tokens, group, sounds[token]))
    return _disjoint(words)


def _share(
    spoken: SpeakableText, tokens: list[Token], group: list[list[int]], sound: list[PhonemeSpan]
) -> list[WordSpan]:
    """Share phonemes among words by their letters, at least one for each word."""
    group = group[: len(sound)]
    letters = [tokens[last].end - tokens[first].begin for first, last in group]
    words = []
    begin = 0
    for index, (first, last) in enumerate(group):
        fair = round(len(sound) * sum(letters[: index + 1]) / sum(letters))
        end = min(max(fair, begin + 1), len(sound) - (len(group) - 1 - index))
        text_begin, text_end = spoken.spans[tokens[first].begin][0], spoken.spans[tokens[last].end - 1][1]
        words.append(WordSpan(text_begin, text_end, sound[begin].start, sound[end - 1].end))
        begin = end
    return words


def _disjoint(words: list[WordSpan]) -> list[WordSpan]:
    """Words that share a character of the source, composed of letters of both, without it in the later one."""
    disjoint: list[WordSpan] = []
    for word in words:
        begin = max(word.text_begin, disjoint[-1].text_end if disjoint else 0)
        if begin < word.text_end:
            disjoint.append(WordSpan(begin, word.text_end, word.start, word.end))
    return disjoint


def timing_of(spoken: SpeakableText, recording: Recording) -> Timing:
    """The spans of a recording of `spoken.text`; text ranges are those of the source text."""
    onsets = _onsets(recording.events)
    spans = _with_silent_pauses(recording.samples, onsets, _phonemes(recording.samples, onsets))
    return _timing(spoken, recording.events, onsets, spans)


def timing_of_events(spoken: SpeakableText, events: Sequence[WordEvent | PhonemeEvent], length: int) -> Timing:
    """The spans of speech of `spoken.text` whose phonemes begin exactly where the events say, the first one at 0.

    Args: length: of the speech, in samples.
    """
    onsets = _onsets(events)
    ends = [*(onset.sample for onset in onsets[1:]), length]
    spans = [
        PhonemeSpan(onset.symbol, onset.sample, end, onset.is_stressed) for onset, end in zip(onsets, ends, strict=True)
    ]
    return _timing(spoken, events, onsets, spans)


def _timing(
    spoken: SpeakableText,
    events: Sequence[WordEvent | PhonemeEvent],
    onsets: list[_Onset],
    spans: list[PhonemeSpan],
) -> Timing:
    tokens = tokens_of(spoken.text)
    word_events = [event for event in events if isinstance(event, WordEvent)]
    words = _words(spoken, tokens, word_events, onsets, spans) if tokens else []
    return Timing(tuple(words), tuple(span for span in spans if span.end > span.start))
