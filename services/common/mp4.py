"""How many samples an MP4 file announces: FFmpeg makes room for all of them before it reads the first.

Source: ISO/IEC 14496-12, boxes stts, stsz, stz2 and trun.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_PARENTS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf")
# A fragment of a second has some ten boxes.
_MAX_BOXES = 200_000


def announced_samples(data: bytes) -> int:
    """The largest number of samples in one place of the file; 0 where it says none, or cannot be read."""
    found, is_uncompressed = 0, False
    for kind, body in _boxes(data):
        try:
            if kind == b"stbl":
                is_uncompressed = False
            elif kind == b"stts":
                # FFmpeg takes samples that each last one tick by the chunk, and makes room for chunks only.
                count, _, ticks = struct.unpack_from(">4x3I", data, body)
                is_uncompressed = (count, ticks) == (1, 1)
            elif kind in (b"stsz", b"stz2") and not is_uncompressed:
                found = max(found, struct.unpack_from(">8xI", data, body)[0])
            elif kind == b"trun":
                found += struct.unpack_from(">4xI", data, body)[0]
        except struct.error:
            continue
    return found


def _boxes(data: bytes) -> Iterator[tuple[bytes, int]]:
    """The kind of each box and where its content begins; boxes that hold others are followed by these."""
    at = 0
    for _ in range(_MAX_BOXES):
        if at + 8 > len(data):
            return
        size, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1 and at + 16 <= len(data):
            head, (size,) = 16, struct.unpack_from(">Q", data, at + 8)
        yield kind, at + head
        at += head if kind in _PARENTS else max(size, head) if size else len(data)
