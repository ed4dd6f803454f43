"""Where segments end, whatever the pieces are that the text comes in."""

# ruff: noqa: RUF001 - punctuation of many scripts.

from __future__ import annotations

import itertools
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.tts.text import CLAUSE_PAUSE_S, COMMA_PAUSE_S, SENTENCE_PAUSE_S, Segment, Segmenter

Unit = Literal["sentence", "clause"]


def segments(pieces: list[str], unit: Unit = "sentence", limit: int = 100) -> list[Segment]:
    """Taken after each piece, as a stream does, and at the end."""
    segmenter = Segmenter(unit, limit)
    taken = []
    for piece in pieces:
        segmenter.add(piece)
        while segment := segmenter.take():
            taken.append(segment)
    segmenter.complete()
    while segment := segmenter.take():
        taken.append(segment)
    return taken


def texts(text: str, unit: Unit = "sentence", limit: int = 100) -> list[str]:
    return [segment.text for segment in segments([text], unit, limit)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello there. How are you? Fine!", ["Hello there.", "How are you?", "Fine!"]),
        ('He said "Stop!" Then he left.', ['He said "Stop!"', "Then he left."]),
        ("It costs 3.50 euros. Really.", ["It costs 3.50 euros.", "Really."]),
        ("Dr. Smith met J. R. Tolkien at 10. Oktober.", ["Dr. Smith met J. R. Tolkien at 10. Oktober."]),
        ("See e.g. the U.S.A. for this.", ["See e.g. the U.S.A. for this."]),
        ("Wait... what?! Yes.", ["Wait...", "what?!", "Yes."]),
        ("A title\n\nThen text", ["A title\n\n", "Then text"]),
        ("你好。今天天气很好！走吧", ["你好。", "今天天气很好！", "走吧"]),
        ("他说「好。」然后走了。", ["他说「好。」", "然后走了。"]),
        ("नमस्ते। कैसे हैं", ["नमस्ते।", "कैसे हैं"]),
        ("كيف حالك؟ بخير", ["كيف حالك؟", "بخير"]),
        ("www.example.com is up", ["www.example.com is up"]),
        ("", []),
        ("  \n ", []),
    ],
)
def test_sentences_end_where_a_reader_would_end_them(text: str, expected: list[str]) -> None:
    assert texts(text) == expected


def test_clauses_end_at_commas_but_not_in_numbers() -> None:
    assert texts("Well, 1,000 of them; all: good", "clause") == ["Well,", "1,000 of them;", "all:", "good"]
    assert texts("今天，我们去：3：30", "clause") == ["今天，", "我们去：", "3：30"]


def test_the_pause_before_a_segment_is_that_of_the_mark_before_it() -> None:
    pauses = [segment.pause_before_s for segment in segments(["One, two; three. Four"], "clause")]
    assert pauses == [0.0, COMMA_PAUSE_S, CLAUSE_PAUSE_S, SENTENCE_PAUSE_S]


def test_a_sentence_is_known_as_soon_as_the_character_after_its_mark_is() -> None:
    segmenter = Segmenter("sentence", 100)
    segmenter.add("It is 3.")
    assert segmenter.take() is None
    segmenter.add("5 metres.")
    assert segmenter.take() is None
    segmenter.add(" ")
    assert segmenter.take() == Segment("It is 3.5 metres.", 0, 0.0)


def test_flush_lets_half_a_sentence_go_and_the_rest_is_a_segment_of_its_own() -> None:
    segmenter = Segmenter("sentence", 100)
    segmenter.add("Let me see")
    assert segmenter.take() is None
    segmenter.flush()
    assert segmenter.take() == Segment("Let me see", 0, 0.0)
    segmenter.add(" if that works.")
    assert segmenter.take() is None
    segmenter.complete()
    assert segmenter.take() == Segment("if that works.", 11, 0.0)


def test_text_without_marks_is_cut_at_a_blank_within_the_limit() -> None:
    cut = texts("word " * 50, limit=32)
    assert all(len(text) <= 32 for text in cut)
    assert all(text.split() == ["word"] * len(text.split()) for text in cut)


def test_a_cut_inside_a_word_keeps_letters_and_their_marks_together() -> None:
    cut = texts("e\u0301" * 40, limit=15)
    assert all(len(text) <= 15 and text.startswith("e") for text in cut)


def test_marks_alone_that_are_longer_than_the_limit_do_not_stall() -> None:
    assert "".join(texts("a" + "." * 500, limit=50)) == "a" + "." * 500
    assert "".join(texts("\u0301" * 500, limit=50)) == "\u0301" * 500


TEXT = st.text(st.sampled_from("aB1 .,!?…。、\"')\n-é\u0301中") | st.characters(), max_size=120)


@given(TEXT, st.lists(st.integers(0, 120), max_size=12), st.sampled_from(["sentence", "clause"]), st.integers(5, 60))
def test_pieces_make_no_difference(text: str, cuts: list[int], unit: Unit, limit: int) -> None:
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[begin:end] for begin, end in itertools.pairwise(edges)]
    assert segments(pieces, unit, limit) == segments([text], unit, limit)


@given(TEXT, st.sampled_from(["sentence", "clause"]), st.integers(5, 60))
def test_segments_hold_all_the_text_but_blanks_between_them(text: str, unit: Unit, limit: int) -> None:
    end = 0
    for segment in segments([text], unit, limit):
        assert text[end : segment.begin].strip() == ""
        assert text[segment.begin : segment.begin + len(segment.text)] == segment.text
        assert 0 < len(segment.text) <= limit
        end = segment.begin + len(segment.text)
    assert text[end:].strip() == ""


def sooner(text: str) -> list[str]:
    """Segments of which the first may be a clause."""
    segmenter = Segmenter("sentence", 100, "clause")
    segmenter.add(text)
    segmenter.complete()
    return [segment.text for segment in iter(segmenter.take, None)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "When it rains a lot, one reads, or sleeps. Then, later, one gets up.",
            ["When it rains a lot,", "one reads, or sleeps.", "Then, later, one gets up."],
        ),
        ("Well, if it rains, one reads.", ["Well, if it rains,", "one reads."]),
        ("Oh, yes. When it rains a lot, one reads.", ["Oh, yes.", "When it rains a lot, one reads."]),
        ("今天，天气真的很好。走吧，快走。", ["今天，天气真的很好。", "走吧，快走。"]),
        ("今天的天气，真的很好。", ["今天的天气，", "真的很好。"]),
    ],
)
def test_the_first_segment_may_end_sooner_than_the_others_but_not_after_a_word(text: str, expected: list[str]) -> None:
    assert sooner(text) == expected


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        (
            "It rained for days, and for nights, until it did not rain any more",
            50,
            "It rained for days, and for nights,",
        ),
        ("It rained (for days,) and nobody knew when it was to end again", 36, "It rained (for days,)"),
        ("It cost 1,000,000 euros and some cents on top of all that", 30, "It cost 1,000,000 euros and"),
        ("No, nobody who was there has ever told anybody what he saw", 40, "No, nobody who was there has ever told"),
        ("昨天晚上下了很大的雨，所以我们没有出去玩只是在家里看书", 16, "昨天晚上下了很大的雨，"),
        ("昨天晚上下了很大的雨所以我们没有出去玩", 16, "昨天晚上下了很大的雨所以我们没有"),
    ],
)
def test_a_sentence_that_is_too_long_is_cut_behind_a_clause_if_it_can_be(text: str, limit: int, expected: str) -> None:
    assert texts(text, limit=limit)[0].rstrip() == expected


def test_a_cut_behind_a_clause_has_its_pause() -> None:
    first, second = segments(["It rained for days, and nobody knew"], limit=25)
    assert (first.text, second.pause_before_s) == ("It rained for days,", COMMA_PAUSE_S)
