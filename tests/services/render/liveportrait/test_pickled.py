"""Pickles are read and not executed: what numpy writes comes back, and whatever else one can say is refused."""

from __future__ import annotations

import os
import pickle
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.common.errors import InvalidRequestError
from services.render.engines.liveportrait import pickled
from services.render.engines.liveportrait.pickled import read_pickle
from tests.fakes.motion import motion_clip, template_file
from tests.fuzz.mutate import mutated


def same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    return bool(type(one) is type(other) and one == other)


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_what_numpy_writes_comes_back(protocol: int) -> None:
    plain = {
        "numbers": [0, -1, 255, 70_000, 2**40, 1.5, True, False, None],
        "words": ("", "motion", "ü"),
        "f4": np.arange(6, dtype=np.float32).reshape(1, 2, 3),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "others": [np.arange(3, dtype=kind) for kind in (np.float64, np.int32, np.int64, np.uint8)],
        "flags": np.array([True, False]),
        "big-endian": np.arange(3, dtype=">f4"),
        "nothing": np.zeros((0, 3), np.float32),
        "one": np.array(2.5, np.float32),
    }
    assert same(read_pickle(pickle.dumps(plain, protocol)), plain)


def test_numbers_of_numpy_become_numbers() -> None:
    read = read_pickle(pickle.dumps({"rate": np.float64(29.97), "count": np.int64(3)}, 4))
    assert (read["rate"], read["count"], type(read["rate"]), type(read["count"])) == (29.97, 3, float, int)


def test_an_array_that_is_there_twice_is_read_once() -> None:
    array = np.arange(3.0)
    first, second = read_pickle(pickle.dumps([array, array], 4))
    assert first is second


def test_names_of_numpy_before_and_after_its_second_version_are_known() -> None:
    data = pickle.dumps(np.arange(3, dtype=np.float32), 4)
    swapped = data.replace(b"\x16numpy._core.multiarray", b"\x15numpy.core.multiarray")
    if swapped == data:
        swapped = data.replace(b"\x15numpy.core.multiarray", b"\x16numpy._core.multiarray")
    # The frame's length in bytes 3 to 10 is no more than a hint for readers of streams.
    assert swapped != data
    assert same(read_pickle(swapped), read_pickle(data))


class Command:
    """Pickles as a call."""

    def __init__(self, called: Callable[..., Any], *arguments: Any) -> None:
        self._call = (called, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self._call


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_a_command_is_not_run(protocol: int, tmp_path: Path) -> None:
    hit = tmp_path / "hit"
    attack = pickle.dumps({"motion": [Command(os.system, f"touch {hit}")]}, protocol)
    with pytest.raises(InvalidRequestError, match=r"asks for \w+\.system|says (GET|PUT|UNICODE|DICT)"):
        read_pickle(attack)
    assert not hit.exists()
    # It was one.
    pickle.loads(attack)
    assert hit.exists()


def op(*parts: bytes | str) -> bytes:
    """A pickle of protocol 4 of these instructions; words are short strings."""
    words = (part if isinstance(part, bytes) else b"\x8c" + bytes([len(part)]) + part.encode() for part in parts)
    return b"\x80\x04" + b"".join(words)


F4 = op(
    "numpy", "dtype", b"\x93", "f4", b"\x89\x88\x87R", b"(K\x03", "<", b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
)[2:]
ARRAY = op("numpy.core.multiarray", "_reconstruct", b"\x93", "numpy", "ndarray", b"\x93K\x00\x85C\x01b\x87R")[2:]
FULL = ARRAY + b"(K\x01K\x02\x85" + F4 + b"\x89C\x08" + bytes(8) + b"tb"
HUGE = b"\x8a\x06" + (2**40).to_bytes(6, "little")

REFUSED = {
    "eval": (op("builtins", "eval", b"\x93", "1", b"\x85R."), "asks for builtins.eval"),
    "getattr": (op("builtins", "getattr", b"\x93", b"."), "asks for builtins.getattr"),
    "a part of numpy": (op("numpy", "load", b"\x93."), "asks for numpy.load"),
    "a dotted name": (op("numpy", "ndarray.tofile", b"\x93."), "asks for numpy.ndarray.tofile"),
    "a module that is none": (op("numpy.core", "multiarray._reconstruct", b"\x93."), "asks for numpy.core"),
    "a name that is no string": (op(b"K\x01K\x02\x93."), "asks for 1.2"),
    "the older way to name": (op(b"cos\nsystem\n."), "asks for os.system"),
    "an instance": (op(b"(ios\nsystem\n."), "INST"),
    "a new object": (op("numpy", "ndarray", b"\x93", HUGE, b"\x85\x81."), "NEWOBJ"),
    "an extension": (op(b"\x82\x01."), "EXT1"),
    "a persistent id": (op(b"Pid\n."), "PERSID"),
    "a call of an array's type": (op("numpy", "ndarray", b"\x93", HUGE, b"\x85R."), "neither an array nor a number"),
    "a call of a string": (op("os", b")R."), "neither an array nor a number"),
    "an array made with a size": (ARRAY.replace(b"K\x00\x85", HUGE + b"\x85"), "neither an array nor a number"),
    "an array of objects": (op("numpy", "dtype", b"\x93", "O8", b"\x89\x88\x87R."), "neither an array nor a number"),
    "an array of text": (op("numpy", "dtype", b"\x93", "U9", b"\x89\x88\x87R."), "neither an array nor a number"),
    "a type with fields": (F4.replace(b"NNNJ", b"NN)J") + b".", "sets the state"),
    "an array larger than the file": (ARRAY + b"(K\x01" + HUGE + b"\x85" + F4 + b"\x89C\x04\0\0\0\0tb.", "has 4 bytes"),
    "an array of less than nothing": (
        ARRAY + b"(K\x01J\xff\xff\xff\xffJ\xff\xff\xff\xff\x86" + F4 + b"\x89C\x04\0\0\0\0tb.",
        "no number",
    ),
    "an array of many sides": (ARRAY + b"(K\x01(" + b"K\x01" * 65 + b"t" + F4 + b"\x89C\x04\0\0\0\0tb.", "65 sides"),
    "arrays where numbers belong": (
        FULL + b"\x94" + op("numpy", "dtype", b"\x93", b"h\x00h\x00h\x00\x87R.")[2:],
        "neither an array nor a number",
    ),
    "arrays where an array's content belongs": (
        FULL + b"\x94" + ARRAY + b"(h\x00h\x00h\x00h\x00h\x00tb.",
        "sets the state",
    ),
    "a state for a dict": (op(b"}", b"}b."), "sets the state"),
    "a state for numpy": (op("numpy", "ndarray", b"\x93}b."), "sets the state"),
    "text longer than the file": (op(b"X" + struct.pack("<I", 2**31) + b"x."), "cut off or damaged"),
    "bytes longer than the file": (op(b"\x8e" + struct.pack("<Q", 2**60) + b"x."), "cut off or damaged"),
    "a number of many digits": (op(b"\x8b" + struct.pack("<I", 2**30) + b"x."), "cut off or damaged"),
    "a key that is no string": (op(b"}K\x01K\x02s."), "otherwise than by strings"),
    "a key that is deeper than the stack": (op(b"}", b")" + b"\x85" * 100_000, b"Ns."), "otherwise than by strings"),
    "a key without a value": (op(b"}(", "a", b"u."), "otherwise than by strings"),
    "more than there is": (op(b"NNa."), "no list"),
    "a container without a mark": (op(b"Nt."), "not there"),
    "an empty stack": (op(b"."), "leaves 0 values"),
    "a value beyond a mark": (op(b"N(\x85."), "not there"),
    "several values": (op(b"NN."), "leaves 2 values"),
    "what was never remembered": (op(b"h\x07."), "recalls 7"),
    "an unknown instruction": (op(b"\xff."), "cut off or damaged"),
    "no end": (op(b"N"), "cut off or damaged"),
    "nothing": (b"", "cut off or damaged"),
    "text": (b"hello", "byte 0"),
}


@pytest.mark.parametrize("attack", REFUSED)
def test_everything_else_is_refused_in_words(attack: str) -> None:
    data, words = REFUSED[attack]
    with pytest.raises(InvalidRequestError, match=words):
        read_pickle(data)


def peak_of(call: Callable[[], Any]) -> int:
    """The most bytes that it held."""
    tracemalloc.start()
    try:
        call()
    except InvalidRequestError:
        pass
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return peak


@pytest.mark.parametrize(
    "bomb",
    [
        op(b"Nr\xff\xff\xff\x7f."),
        REFUSED["an array larger than the file"][0],
        REFUSED["bytes longer than the file"][0],
        op(b"]" * 100_000 + b"."),
        op(b")" + b"\x85" * 100_000 + b"."),
        op(b"]\x94" + b"h\x00a" * 50_000 + b"."),
    ],
    ids=["memo", "array", "bytes", "lists", "tuples", "a list in itself"],
)
def test_no_pickle_takes_more_memory_than_some_hundred_times_its_size(bomb: bytes) -> None:
    assert peak_of(lambda: read_pickle(bomb)) < 100_000 + 300 * len(bomb)


def test_a_nest_of_any_depth_is_read_and_dropped_without_recursion() -> None:
    deep = read_pickle(op(b")" + b"\x85" * 1_000_000 + b"."))
    for _ in range(1_000_000):
        (deep,) = deep
    assert deep == ()


def test_a_program_without_an_end_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickled, "MAX_INSTRUCTIONS", 1000)
    with pytest.raises(InvalidRequestError, match="more than 1000 instructions"):
        read_pickle(op(b"N" * 2000 + b"."))


SEEDS = [template_file(motion_clip(3), protocol, is_old=is_old) for protocol in (3, 4, 5) for is_old in (False, True)]


def reads_or_refuses(data: bytes) -> bool:
    """Whether it was read. Raises: whatever is a bug."""
    said = ""
    try:
        read_pickle(data)
    except InvalidRequestError as refusal:
        said = str(refusal)
    assert not said or len(said) > 20
    return not said


@settings(deadline=None)
@given(st.randoms(use_true_random=False), st.sampled_from(SEEDS))
def test_damaged_pickles_are_read_or_refused(random: Random, seed: bytes) -> None:
    assert reads_or_refuses(seed)
    reads_or_refuses(mutated(seed, random, SEEDS))


OPCODES = [struct.pack("B", code) for code in range(256)]


@settings(deadline=None)
@given(st.lists(st.one_of(st.sampled_from(OPCODES), st.binary(max_size=6), st.just(ARRAY), st.just(F4)), max_size=60))
def test_programs_of_any_instructions_are_read_or_refused(program: list[bytes]) -> None:
    reads_or_refuses(b"\x80\x04" + b"".join(program) + b".")
