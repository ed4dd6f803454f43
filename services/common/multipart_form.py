"""Forms as browsers and curl send them (RFC 7578), read strictly: one that is cut off or malformed is refused whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from multipart import (
    MultipartError,
    MultipartSegment,
    ParserLimitReached,
    PushMultipartParser,
    parse_options_header,
)

from services.common.errors import InvalidRequestError

MEDIA_TYPE = "multipart/form-data"
MAX_FILE_BYTES = 64 * 1024 * 1024
# The longest text that a form of ours takes, 20,000 characters, in UTF-8.
MAX_TEXT_BYTES = 80_000
MAX_PARTS = 32
MAX_HEADERS, MAX_HEADER_BYTES = 8, 4096
# RFC 2046, section 5.1.1.
_MAX_BOUNDARY_CHARACTERS = 70
_MAX_CONTENT_TYPE_CHARACTERS = 1024
# The parser copies what it is given at once.
_STEP_BYTES = 256 * 1024


class TooLargeError(InvalidRequestError):
    """More, or longer, than is read."""

    reason = "TOO_LARGE"


@dataclass(frozen=True, slots=True)
class Upload:
    """A file of a form. The name that its sender gave it is not kept, so nothing can depend on it."""

    content: bytes


def read_form(content_type: str, body: bytes) -> dict[str, str | Upload]:
    """The texts and files of a form by their names; of two with one name, the last.

    Args: content_type: with its boundary; a body of another media type is an empty form.
    Raises:
        InvalidRequestError: if the form is cut off or malformed, or a text of it is not UTF-8.
        TooLargeError: if it has more than MAX_PARTS parts, or a part more than MAX_TEXT_BYTES or MAX_FILE_BYTES.
    """
    boundary = _boundary(content_type)
    if boundary is None:
        return {}
    try:
        return dict(_parts(boundary, body))
    except ParserLimitReached as error:
        raise TooLargeError(
            f"the form is too large ({error}); it has at most {MAX_PARTS} parts of {MAX_FILE_BYTES // 2**20} MiB, "
            f"each with at most {MAX_HEADERS} headers of {MAX_HEADER_BYTES} bytes"
        ) from error
    except MultipartError as error:
        raise InvalidRequestError(f"the form is malformed or cut off: {error}") from error


def _boundary(content_type: str) -> str | None:
    """What stands between the parts; None if the body is no form. Raises: InvalidRequestError if it is missing."""
    if len(content_type) > _MAX_CONTENT_TYPE_CHARACTERS:
        raise InvalidRequestError(f"content-type has at most {_MAX_CONTENT_TYPE_CHARACTERS} characters")
    media_type, options = parse_options_header(content_type)
    if media_type != MEDIA_TYPE:
        return None
    boundary = options.get("boundary", "")
    if not 1 <= len(boundary) <= _MAX_BOUNDARY_CHARACTERS or not boundary.isascii():
        raise InvalidRequestError(
            f"content-type has no boundary of 1 to {_MAX_BOUNDARY_CHARACTERS} characters; "
            f"write it like {MEDIA_TYPE}; boundary=something"
        )
    return str(boundary)


def _parts(boundary: str, body: bytes) -> Iterator[tuple[str, str | Upload]]:
    limits = {
        "max_header_size": MAX_HEADER_BYTES,
        "max_header_count": MAX_HEADERS,
        "max_segment_size": MAX_FILE_BYTES,
        "max_segment_count": MAX_PARTS,
    }
    with PushMultipartParser(boundary, strict=True, **limits) as parser:
        for begin in range(0, len(body), _STEP_BYTES):
            for event in parser.parse(body[begin : begin + _STEP_BYTES]):
                if isinstance(event, MultipartSegment):
                    part, content = event, bytearray()
                elif event is not None:
                    content += event
                    if part.filename is None and len(content) > MAX_TEXT_BYTES:
                        raise TooLargeError(f"{part.name[:40]!r} is a text of more than {MAX_TEXT_BYTES} bytes")
                elif part.filename is None:
                    yield part.name, _text(part.name, content)
                else:
                    yield part.name, Upload(bytes(content))


def _text(name: str, content: bytearray) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequestError(f"{name[:40]!r} is not text in UTF-8") from error
