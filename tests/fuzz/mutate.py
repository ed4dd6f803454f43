"""Structure-aware damage: what a mutated file keeps is enough to get past the first check of its reader."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

# Where lengths, counts and signs turn over.
_NUMBERS = (0, 1, 2, 7, 8, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_MAX_GROWTH = 64 * 1024


def _flip(data: bytearray, rng: Random) -> None:
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _number(data: bytearray, rng: Random) -> None:
    size = rng.choice((1, 2, 4, 8))
    at = rng.randrange(len(data))
    value = rng.choice(_NUMBERS) if rng.random() < 0.8 else rng.randrange(2**31)
    data[at : at + size] = (value % 2 ** (8 * size)).to_bytes(size, rng.choice(("big", "little")))


def _header_number(data: bytearray, rng: Random) -> None:
    """The first bytes say what the rest is."""
    head = bytearray(data[:128])
    _number(head, rng)
    data[:128] = head


def _cut(data: bytearray, rng: Random) -> None:
    del data[rng.randrange(1, len(data) + 1) :]


def _remove(data: bytearray, rng: Random) -> None:
    at = rng.randrange(len(data))
    del data[at : at + rng.choice((1, 2, 4, 12, 100))]


def _repeat(data: bytearray, rng: Random) -> None:
    at = rng.randrange(len(data))
    piece = bytes(data[at : at + rng.choice((1, 4, 8, 12, 64, 1024))])
    data[at:at] = piece * min(rng.choice((1, 2, 10, 1000)), _MAX_GROWTH // len(piece))


def _noise(data: bytearray, rng: Random) -> None:
    at = rng.randrange(len(data))
    data[at : at + rng.choice((1, 8, 64))] = rng.randbytes(rng.choice((1, 8, 64)))


_STEPS: tuple[Callable[[bytearray, Random], None], ...] = (
    *(_flip, _flip, _number, _number, _header_number, _header_number, _cut, _remove, _repeat, _noise),
)


def mutated(data: bytes, rng: Random, others: Sequence[bytes] = ()) -> bytes:
    """One to four kinds of damage; sometimes the end of another file is put behind the beginning of this one."""
    result = bytearray(data)
    if others and rng.random() < 0.1:
        other = rng.choice(others)
        result = bytearray(data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :])
    for _ in range(rng.choice((1, 1, 2, 4))):
        if result:
            rng.choice(_STEPS)(result, rng)
    return bytes(result)
