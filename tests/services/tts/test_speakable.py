"""What of a text reaches an engine, and that places in it are still those of the source."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.tts.speakable import make_speakable, tokens_of


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("**bold** and _soft_ `code`", "bold and soft code"),
        ("## Title\n* item", " Title\n item"),
        ("5 * 3", "5 * 3"),
        ("#1 #tag", "#1 #tag"),
        ("snake_case", "snakecase"),
        ("a\x01+50S\x00b", "a +50S b"),
        ("hi 😀 you", "hi   you"),
        ("cafe\u0301", "café"),
        ("\u1112\u1161\u11ab", "한"),
        ("soft\u00adhyphen\ufeff", "softhyphen"),
        ("\ue000x\ud800y", " x y"),
    ],
)
def test_only_what_can_be_spoken_is_left(text: str, spoken: str) -> None:
    assert make_speakable(text).text == spoken


def test_places_are_those_of_the_source() -> None:
    text = "e\u0301te\u0301 **gru\u0308n**"
    spoken = make_speakable(text)
    words = [(spoken.spans[token.begin][0], spoken.spans[token.end - 1][1]) for token in tokens_of(spoken.text)]
    assert [text[begin:end] for begin, end in words] == ["e\u0301te\u0301", "gru\u0308n"]


def test_words_are_without_the_punctuation_around_them() -> None:
    text = '"Hello," (she) said—no… $5 is 50% of it\'s 日本 x'
    words = [text[token.begin : token.end] for token in tokens_of(text)]
    assert words == ["Hello", "she", "said", "no", "$5", "is", "50%", "of", "it's", "日", "本", "x"]
    assert [token.is_glued for token in tokens_of(text)].count(True) == 1


@given(st.text(max_size=60))
def test_no_character_that_an_engine_takes_for_a_command_is_left(text: str) -> None:
    spoken = make_speakable(text)
    assert len(spoken.spans) == len(spoken.text)
    assert not [char for char in spoken.text if unicodedata.category(char) in ("Cc", "Co", "Cs") and char != "\n"]
    spoken.text.encode()
    assert all(0 <= begin < end <= len(text) for begin, end in spoken.spans)
    assert all(one[0] <= other[0] for one, other in zip(spoken.spans, spoken.spans[1:], strict=False))
