"""The transcript keeps what was heard."""

from __future__ import annotations

import pytest

from orchestrator.spoken_text import SpokenText, SpokenWord

TEXT = SpokenText("Well, hello there.", [SpokenWord(0, 4, 0.0), SpokenWord(6, 11, 0.4), SpokenWord(12, 17, 0.8)])


@pytest.mark.parametrize(
    ("heard_s", "text"), [(0.0, ""), (0.1, "Well"), (0.4, "Well"), (0.41, "Well, hello"), (9.0, "Well, hello there")]
)
def test_only_words_whose_sound_had_begun_were_heard(heard_s: float, text: str) -> None:
    assert TEXT.heard(heard_s) == text


def test_a_whole_utterance_keeps_its_full_stop() -> None:
    assert TEXT.heard(1.2, whole=True) == "Well, hello there."
