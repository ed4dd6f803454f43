"""The decoding processes: what they hear, and that none of them outlives its use."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from services.common.errors import EngineError, UnsupportedError
from services.stt.engine import Hearing
from services.stt.engines.pocketsphinx import PocketsphinxEngine
from tests.services.stt.conftest import Say

ENGLISH = Hearing("en")
pytestmark = pytest.mark.slow


@pytest.fixture
def engine() -> Iterator[PocketsphinxEngine]:
    engine = PocketsphinxEngine(spare_workers=1)
    yield engine
    engine.close()


def children_of(parent: int) -> set[int]:
    """The processes that a process has started and that still run."""
    tasks = Path(f"/proc/{parent}/task").iterdir()
    children = {int(pid) for task in tasks for pid in (task / "children").read_text().split()}
    return {pid for pid in children if not has_ended(pid)}


def has_ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def wait_for_end(pids: set[int]) -> None:
    deadline = time.monotonic() + 20
    while not all(has_ended(pid) for pid in pids):
        assert time.monotonic() < deadline


def test_most_words_are_understood_in_the_very_first_stretch(engine: PocketsphinxEngine, say: Say) -> None:
    text = "i would like to order a cup of coffee"
    stream = engine.open_stream(ENGLISH)
    hush = np.random.default_rng(0).normal(0, 1e-4, 4800).astype(np.float32)
    stream.push(np.concatenate([hush, say(text, "en-us", 160), hush]))
    (final,) = stream.finish()
    stream.close()
    assert sum(word in final.text.split() for word in text.split()) >= 6


def test_german_is_refused_by_name(engine: PocketsphinxEngine) -> None:
    with pytest.raises(UnsupportedError, match='"de-DE"; it hears: en'):
        engine.capabilities.language_of("de-DE")


def test_a_process_that_dies_ends_its_own_stream_and_no_other(engine: PocketsphinxEngine, say: Say) -> None:
    (pid,) = children_of(os.getpid())
    doomed, other = engine.open_stream(ENGLISH), engine.open_stream(ENGLISH)
    os.kill(pid, signal.SIGKILL)
    wait_for_end({pid})
    with pytest.raises(EngineError, match="ended with code -9; open the stream again"):
        doomed.push(say("Can you hear me now?"))
    doomed.close()
    again = engine.open_stream(ENGLISH)
    for stream in (other, again):
        stream.push(say("Can you hear me now?"))
        assert stream.finish()
        stream.close()


def test_a_spare_process_that_dies_is_not_lent(engine: PocketsphinxEngine, say: Say) -> None:
    spares = children_of(os.getpid())
    os.kill(min(spares), signal.SIGKILL)
    wait_for_end(spares)
    stream = engine.open_stream(ENGLISH)
    stream.push(say("Can you hear me now?"))
    assert stream.finish()
    stream.close()


def test_processes_are_used_again_and_few_are_kept(engine: PocketsphinxEngine) -> None:
    for _ in range(2):
        streams = [engine.open_stream(ENGLISH) for _ in range(3)]
        for stream in streams:
            stream.close()
    assert len(children_of(os.getpid())) == 2


def test_closing_the_engine_ends_every_process(say: Say) -> None:
    engine = PocketsphinxEngine(spare_workers=2)
    stream = engine.open_stream(ENGLISH)
    started = children_of(os.getpid())
    assert len(started) == 3
    stream.push(say("Can you hear me now?"))
    engine.close()
    with pytest.raises(EngineError):
        stream.finish()
    stream.close()
    assert all(has_ended(pid) for pid in started)
    with pytest.raises(EngineError, match="stopped"):
        engine.open_stream(ENGLISH)


def test_processes_end_with_a_parent_that_is_killed() -> None:
    program = (
        "import time; from services.stt.engines.pocketsphinx import PocketsphinxEngine\n"
        "from services.stt.engine import Hearing\n"
        "engine = PocketsphinxEngine(1); stream = engine.open_stream(Hearing('en'))\n"
        "print('open', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"open\n"
        workers = children_of(parent.pid)
        assert len(workers) == 2
        parent.kill()
    wait_for_end(workers)
