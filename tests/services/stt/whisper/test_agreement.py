"""What is settled of a text that is still being spoken."""

from __future__ import annotations

from services.stt.engines.whisper.agreement import Agreement


def test_what_two_hypotheses_agree_on_is_settled_but_for_the_last_word() -> None:
    agreement = Agreement()
    agreement.take([1, 2, 3], [0, 2])
    assert list(agreement.settled) == []
    # The words are 1-2, 3-4 and 5; they agree on 1, 2, 3 and so on one whole word.
    agreement.take([1, 2, 3, 4, 5], [0, 2, 4])
    assert list(agreement.settled) == [1, 2]


def test_a_hypothesis_that_differs_settles_nothing() -> None:
    agreement = Agreement()
    agreement.take([1, 2, 3], [0, 1, 2])
    agreement.take([9, 2, 3], [0, 1, 2])
    assert list(agreement.settled) == []
    agreement.take([9, 2, 3], [0, 1, 2])
    assert list(agreement.settled) == [9, 2]


def test_in_a_pause_the_last_word_is_whole() -> None:
    agreement = Agreement()
    agreement.take([1, 2], [0, 1])
    agreement.take([1, 2], [0, 1], may_settle_all=True)
    assert list(agreement.settled) == [1, 2]


def test_what_is_settled_stays_and_only_grows() -> None:
    agreement = Agreement()
    for _ in range(2):
        agreement.take([1, 2, 3], [0, 1, 2])
    assert list(agreement.settled) == [1, 2]
    agreement.take([1, 2, 7, 8], [0, 1, 2, 3])
    assert list(agreement.settled) == [1, 2]
    agreement.take([1, 2, 7, 8], [0, 1, 2, 3])
    assert list(agreement.settled) == [1, 2, 7]


def test_a_hypothesis_that_was_not_believed_agrees_with_nothing() -> None:
    agreement = Agreement()
    agreement.take([1, 2], [0, 1])
    agreement.forget()
    agreement.take([1, 2], [0, 1])
    assert list(agreement.settled) == []
