"""Forms, whole and broken."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.common import multipart_form
from services.common.errors import InvalidRequestError
from services.common.multipart_form import (
    MAX_FILE_BYTES,
    MAX_HEADER_BYTES,
    MAX_PARTS,
    MAX_TEXT_BYTES,
    TooLargeError,
    Upload,
    read_form,
)
from tests.legacy_calls import BOUNDARY, FORM, form


def part(header: str, content: bytes = b"x") -> bytes:
    return f"--{BOUNDARY}\r\n{header}\r\n\r\n".encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()


def test_texts_and_files_are_found_by_their_names() -> None:
    found = read_form(FORM, form({"language": "de", "text": "Grüße\r\n--"}, {"file": b"\x00\r\n--\xff"}))
    assert found == {"language": "de", "text": "Grüße\r\n--", "file": Upload(b"\x00\r\n--\xff")}


def test_of_two_parts_with_one_name_the_last_counts() -> None:
    first = form({"language": "de"}).removesuffix(f"--{BOUNDARY}--\r\n".encode())
    assert read_form(FORM, first + form({"language": "en"})) == {"language": "en"}


def test_a_file_without_a_name_of_its_own_is_still_a_file() -> None:
    assert read_form(FORM, part('Content-Disposition: form-data; name="file"; filename=""')) == {"file": Upload(b"x")}


def test_what_stands_after_the_end_is_not_read() -> None:
    assert read_form(FORM, form({"a": "b"}) + b"the rest") == {"a": "b"}


@pytest.mark.parametrize("content_type", ["", "application/json", "text/plain; boundary=----test", "multipart/mixed"])
def test_a_body_of_another_kind_is_an_empty_form(content_type: str) -> None:
    assert read_form(content_type, b"{}") == {}


@pytest.mark.parametrize("length", [1, 20, 60, 100, -3, -4, -30])
def test_a_form_that_is_cut_off_is_refused(length: int) -> None:
    with pytest.raises(InvalidRequestError, match="malformed or cut off"):
        read_form(FORM, form({"language": "de"}, {"file": b"0123456789"})[:length])


@pytest.mark.parametrize(
    ("content_type", "body", "words"),
    [
        ("multipart/form-data", form(), "no boundary"),
        ("multipart/form-data; boundary=", form(), "no boundary"),
        (f"multipart/form-data; boundary={'x' * 71}", form(), "1 to 70 characters"),
        ("multipart/form-data; boundary=other", form({"a": "b"}), "malformed"),
        ('multipart/form-data; boundary="\u00fc"', form({"a": "b"}), "no boundary"),
        (FORM + "; " + "x" * 1024, form({"a": "b"}), "1024 characters"),
        (FORM, b"", "cut off"),
        (FORM, b"\x00" * 10_000, "malformed"),
        (FORM, part("Content-Disposition: form-data"), "malformed"),
        (FORM, part("Content-Disposition: attachment; name=a"), "malformed"),
        (FORM, part("Content-Type: text/plain"), "malformed"),
        (FORM, part("no header"), "malformed"),
        (FORM, part('Content-Disposition: form-data; name="a"', b"\xff"), "'a' is not text in UTF-8"),
        (FORM, form({"a": "b"}).replace(b"\r\n", b"\n"), "malformed"),
    ],
)
def test_a_broken_form_is_refused_in_words(content_type: str, body: bytes, words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words) as refused:
        read_form(content_type, body)
    assert not isinstance(refused.value, TooLargeError)


def test_each_limit_is_kept() -> None:
    disposition = 'Content-Disposition: form-data; name="a"'
    assert len(read_form(FORM, form({str(n): "" for n in range(MAX_PARTS)}))) == MAX_PARTS
    assert read_form(FORM, form({"a": "x" * MAX_TEXT_BYTES})) == {"a": "x" * MAX_TEXT_BYTES}
    for too_large, words in (
        (form({str(n): "" for n in range(MAX_PARTS + 1)}), f"{MAX_PARTS} parts"),
        (form({"a": "x" * (MAX_TEXT_BYTES + 1)}), f"'a' is a text of more than {MAX_TEXT_BYTES} bytes"),
        (part("\r\n".join([disposition] + ["X: y"] * 8)), "8 headers"),
        (part(f"{disposition}\r\nX: {'y' * MAX_HEADER_BYTES}"), f"{MAX_HEADER_BYTES} bytes"),
    ):
        with pytest.raises(TooLargeError, match=words):
            read_form(FORM, too_large)


def test_a_file_at_its_limit_is_read_and_one_byte_more_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_FILE_BYTES == 64 * 1024 * 1024
    monkeypatch.setattr(multipart_form, "MAX_FILE_BYTES", 1_000_000)
    assert read_form(FORM, form(files={"file": bytes(1_000_000)})) == {"file": Upload(bytes(1_000_000))}
    with pytest.raises(TooLargeError, match="too large"):
        read_form(FORM, form(files={"file": bytes(1_000_001)}))


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "header", ['Content-Disposition: form-data; name="' + "\\" * 4000, "Content-Disposition: " + '; a="\\' * 700]
)
def test_a_header_that_is_hard_to_read_costs_no_time(header: str) -> None:
    with pytest.raises(InvalidRequestError):
        read_form(FORM, part(header))
    with pytest.raises(InvalidRequestError):
        read_form("multipart/form-data; boundary=" + '"\\' * 400, form())


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 300), st.integers(0, 300))
def test_whatever_is_sent_is_a_form_or_is_refused(noise: bytes, begin: int, length: int) -> None:
    whole = form({"language": "de"}, {"file": b"0123456789" * 10})
    broken = whole[:begin] + noise + whole[begin + length :]
    try:
        found = read_form(FORM, broken)
    except InvalidRequestError:
        return
    assert all(isinstance(value, str | Upload) for value in found.values())


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(st.text("abcdefgh_", min_size=1, max_size=8), st.text(max_size=50).filter(str.isprintable)),
    st.binary(max_size=600_000).filter(lambda content: BOUNDARY.encode() not in content),
)
def test_what_was_put_in_comes_out(texts: dict[str, str], content: bytes) -> None:
    expected: dict[str, str | Upload] = {**texts, "file": Upload(content)}
    assert read_form(FORM, form(texts, {"file": content})) == expected
