"""A compiler that ends its process is not called again and again."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.common.compiled_kernels import UnavailableError, attempted


def test_an_attempt_that_comes_back_is_forgotten(tmp_path: Path) -> None:
    note = tmp_path / "kernels" / "attempts"
    for _ in range(5):
        with attempted(note):
            assert note.exists()
        assert not note.exists()


def test_an_attempt_that_fails_in_words_is_forgotten_too(tmp_path: Path) -> None:
    note = tmp_path / "attempts"
    with pytest.raises(UnavailableError, match="too old"), attempted(note):
        raise UnavailableError("too old")
    assert not note.exists()


def test_what_ended_the_process_twice_is_not_tried_again(tmp_path: Path) -> None:
    note = tmp_path / "attempts"
    # As a process leaves it that ended in its first attempt.
    note.write_bytes(b".")
    with attempted(note):
        left_by_the_second = note.read_bytes()
    note.write_bytes(left_by_the_second)
    with pytest.raises(UnavailableError, match=f"ended the process 2 times; delete {note}"), attempted(note):
        pass


def test_without_a_folder_nothing_is_counted() -> None:
    with attempted(None):
        pass
