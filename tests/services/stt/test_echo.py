"""What counts as the assistant's own voice."""

from __future__ import annotations

import pytest

from services.stt.echo import is_echo

ANSWER = "The weather in London is fine today, but take an umbrella along: it's going to rain in the evening."


@pytest.mark.parametrize(
    "heard",
    [
        ANSWER,
        "the weather in london",
        "Take an umbrella along, its going to rain",
        # Two of nine words are wrong.
        "Weather in London is fine to day but cake an umbrella",
    ],
)
def test_the_assistants_words_in_its_order_are_its_echo(heard: str) -> None:
    assert is_echo(heard, ANSWER)


@pytest.mark.parametrize(
    "heard",
    [
        "",
        "Stop",
        "rain today",
        "What is the weather like in Paris?",
        "London the in weather fine",
        "No, please be quiet.",
    ],
)
def test_other_words_and_single_ones_are_a_caller(heard: str) -> None:
    assert not is_echo(heard, ANSWER)


def test_an_assistant_that_says_nothing_has_no_echo() -> None:
    assert not is_echo("the weather in London", "")


def test_scripts_without_blanks_are_compared_by_character() -> None:
    assert is_echo("今天伦敦天气很好", "今天伦敦天气很好,但是请带伞。")
    assert not is_echo("请你现在停一下", "今天伦敦天气很好,但是请带伞。")
