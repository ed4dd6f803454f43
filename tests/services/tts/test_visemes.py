"""Mouth shapes of phonemes."""

# ruff: noqa: RUF001 - phonetic letters look like others.

from __future__ import annotations

import itertools

import pytest
from avatar.media.v1 import media_pb2
from hypothesis import given
from hypothesis import strategies as st

from services.tts.engine import PhonemeSpan, Viseme
from services.tts.visemes import is_mapped, visemes_of

RATE_HZ = 1000


def shapes(*symbols: str, length: int = 100) -> list[str]:
    phonemes = [PhonemeSpan(symbol, index * length, (index + 1) * length) for index, symbol in enumerate(symbols)]
    return [span.viseme.name for span in visemes_of(phonemes, RATE_HZ)]


def test_the_shapes_are_those_of_the_contract() -> None:
    contract = {name.removeprefix("VISEME_"): number for name, number in media_pb2.Viseme.items()}
    del contract["UNSPECIFIED"]
    assert {viseme.name: viseme.value for viseme in Viseme} == contract


@pytest.mark.parametrize(
    ("symbol", "expected"),
    [
        ("p", ["PP"]),
        ("bʰ", ["PP"]),
        ("m̩", ["PP"]),
        ("f", ["FF"]),
        ("θ", ["TH"]),
        ("t̪", ["DD"]),
        ("kʰ", ["KK"]),
        ("tʃ", ["CH"]),
        ("t͡ʃ", ["CH"]),
        ("tɕʰ", ["CH"]),
        ("ts", ["SS"]),
        ("pf", ["PP", "FF"]),
        ("ɲ", ["NN"]),
        ("ʁ", ["RR"]),
        ("ɑː", ["AA"]),
        ("ɛ̃", ["E"]),
        ("ç", ["IH"]),
        ("ɔː", ["OH"]),
        ("yː", ["OU"]),
        ("aɪ", ["AA", "IH"]),
        ("ɐ̃ʊ̃", ["AA", "OU"]),
        ("iɑu", ["IH", "AA", "OU"]),
        ("ɔːɹ", ["OH", "RR"]),
        ("ɚ", ["E", "RR"]),
    ],
)
def test_a_phoneme_has_the_shape_of_its_letters(symbol: str, expected: list[str]) -> None:
    assert is_mapped(symbol)
    assert shapes(symbol) == expected


def test_a_diphthong_is_held_half_as_long_in_each_shape() -> None:
    first, second = visemes_of([PhonemeSpan("aʊ", 0, 101)], RATE_HZ)
    assert (first.start, first.end, second.end) == (0, 50, 101)


def test_breath_has_the_shape_of_the_vowel_that_follows() -> None:
    assert shapes("h", "u") == ["OU", "OU"]
    assert shapes("ʔ", "p", "a") == ["E", "PP", "AA"]
    assert shapes("a", "h") == ["AA", "E"]


def test_the_mouth_rests_in_a_pause_but_not_in_a_short_one() -> None:
    assert shapes("a", "", "i", length=100) == ["AA", "SIL", "IH"]
    assert shapes("a", "", "i", length=20) == ["AA", "IH"]


def test_a_stressed_vowel_opens_more_than_an_unstressed_one_and_that_more_than_a_schwa() -> None:
    phonemes = [
        PhonemeSpan("a", 0, 100, is_stressed=True),
        PhonemeSpan("a", 100, 200),
        PhonemeSpan("ə", 200, 300),
        PhonemeSpan("m", 300, 400),
    ]
    weights = [span.weight for span in visemes_of(phonemes, RATE_HZ)]
    assert weights == [1.0, 0.8, 0.5, 1.0]


def test_an_unknown_sound_opens_the_mouth_a_little() -> None:
    assert not is_mapped("ʘ")
    assert shapes("ʘ") == ["E"]
    assert not is_mapped("")


@given(st.lists(st.tuples(st.sampled_from(["", "p", "aɪ", "h", "ʘ", "tʃ", "ə"]), st.integers(0, 90)), max_size=20))
def test_shapes_lie_end_to_end_over_the_same_time(sounds: list[tuple[str, int]]) -> None:
    phonemes = []
    end = 0
    for symbol, length in sounds:
        phonemes.append(PhonemeSpan(symbol, end, end + length))
        end += length
    spans = visemes_of(phonemes, RATE_HZ)
    if end:
        assert (spans[0].start, spans[-1].end) == (0, end)
    assert all(one.end == other.start for one, other in itertools.pairwise(spans))
    assert all(span.start < span.end for span in spans)
