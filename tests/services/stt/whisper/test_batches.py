"""Many streams on one scripted model: who comes when, and that nobody hears anybody else."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from services.common.errors import EngineError
from services.stt.engine import Hearing
from services.stt.engines.whisper.engine import WhisperEngine
from services.stt.engines.whisper.hypothesis import Hypothesis
from services.stt.engines.whisper.runtime import Decoded, Prompt
from services.stt.engines.whisper.stream import Job
from services.stt.engines.whisper.vocabulary import Vocabulary
from tests.fakes.whisper_runtime import ScriptedRuntime, decoded
from tests.services.stt.whisper.test_stream import voice

SOUND = voice(1.5)
NAMES = ("one", "two", "three", "four", "five", "six", "seven")


def marked(number: int) -> NDArray[np.float32]:
    """A sound whose first sample tells whose it is."""
    sound = SOUND.copy()
    sound[0] = number / 100
    return sound


@pytest.fixture
def runtime(vocabulary: Vocabulary) -> ScriptedRuntime:
    def decode(sound: NDArray[np.float32], prompt: Prompt) -> Decoded:
        return decoded(vocabulary.encode(f" {NAMES[round(sound[0] * 100)]}"), states=prompt.states)

    return ScriptedRuntime(vocabulary, decode, max_batch=3)


@pytest.fixture
def engine(runtime: ScriptedRuntime, vocabulary: Vocabulary) -> Iterator[WhisperEngine]:
    engine = WhisperEngine(runtime, vocabulary)
    yield engine
    runtime.may_work.set()
    engine.close()


def test_streams_that_wait_are_worked_on_together_and_get_their_own_text(
    engine: WhisperEngine, runtime: ScriptedRuntime
) -> None:
    runtime.may_work.clear()
    streams = [engine.open_stream(Hearing("en", wants_partials=False)) for _ in NAMES]
    texts: dict[int, str] = {}

    def finish(number: int) -> None:
        texts[number] = streams[number].finish()[0].text

    for number, stream in enumerate(streams):
        stream.push(marked(number))
    threads = [threading.Thread(target=finish, args=[number]) for number in range(len(streams))]
    threads[0].start()
    assert runtime.is_held.wait(30)
    for thread in threads[1:]:
        thread.start()
    batches = engine._batches
    with batches.lock:
        # The first one is held in the model; the others come to stand in line.
        while len(batches._due) < len(NAMES) - 1:
            batches.changed.wait(0.01)
    runtime.may_work.set()
    for thread in threads:
        thread.join(30)
    assert [texts[number] for number in range(len(streams))] == list(NAMES)
    assert [len(batch) for batch in runtime.batches] == [1, 3, 3]


def test_a_final_comes_before_interims_and_interims_are_not_starved(
    engine: WhisperEngine, runtime: ScriptedRuntime
) -> None:
    runtime.may_work.clear()
    holder = engine.open_stream(Hearing("en"))
    holder.push(SOUND)
    assert runtime.is_held.wait(30)
    talking = [engine.open_stream(Hearing("en")) for _ in range(4)]
    for stream in talking:
        stream.push(SOUND)
    batches = engine._batches
    with batches.lock:
        batches.ask(talking[3], is_final=True)  # type: ignore[arg-type]
        # A final waits for as few as half a batch would hold.
        assert batches._next_batch() == [talking[3]]
        assert batches._next_batch() == talking[:3]
        for _ in range(3):
            # More finals than a batch holds, again and again.
            for stream in (holder, *talking[:3]):
                batches.ask(stream, is_final=True)  # type: ignore[arg-type]
            batches._finals_in_a_row = 3
            batches._due.move_to_end(talking[2], last=False)  # type: ignore[arg-type]
            batches._due[talking[2]] = False  # type: ignore[index]
            assert talking[2] in batches._next_batch()
            batches._due.clear()
    runtime.may_work.set()


def test_while_one_text_is_judged_the_model_goes_on_with_others_but_not_with_its_stream(
    engine: WhisperEngine, runtime: ScriptedRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_judge, judge = threading.Event(), Job.judge

    def held(job: Job, decoded: Decoded) -> Hypothesis:
        assert may_judge.wait(30)
        return judge(job, decoded)

    monkeypatch.setattr(Job, "judge", held)
    one, other = (engine.open_stream(Hearing("en")) for _ in range(2))
    batches = engine._batches

    def wait_for_batches(count: int) -> None:
        with batches.lock:
            for _ in range(3000):
                if len(runtime.batches) >= count:
                    return
                batches.changed.wait(0.01)
        pytest.fail(f"only {len(runtime.batches)} batches came")

    one.push(marked(0))
    wait_for_batches(1)
    one.push(SOUND)
    other.push(marked(1))
    wait_for_batches(2)
    with batches.lock:
        assert list(batches._due) == [one]
    may_judge.set()
    assert [final.text for final in other.finish()] == ["two"]
    assert [final.text for final in one.finish()] == ["one"]
    assert [len(batch) for batch in runtime.batches][:2] == [1, 1]


def test_a_stream_that_has_been_closed_is_not_worked_on(engine: WhisperEngine, runtime: ScriptedRuntime) -> None:
    runtime.may_work.clear()
    holder, gone, other = (engine.open_stream(Hearing("en")) for _ in range(3))
    holder.push(marked(0))
    assert runtime.is_held.wait(30)
    gone.push(marked(1))
    other.push(marked(2))
    gone.close()
    runtime.may_work.set()
    assert other.finish()[0].text == "three"
    assert sum(len(batch) for batch in runtime.batches) == 2


def test_what_was_asked_for_a_stretch_that_is_over_does_not_reach_the_next(
    engine: WhisperEngine, runtime: ScriptedRuntime
) -> None:
    stream = engine.open_stream(Hearing("en"))
    for number in (0, 1, 2):
        stream.push(marked(number))
        assert stream.finish()[0].text == NAMES[number]
        # Nothing of the stretch before comes as a partial of the next one.
        assert list(stream.push(np.zeros(512, np.float32))) == []
        stream.finish()


def test_an_engine_that_is_closed_ends_those_who_wait(engine: WhisperEngine, runtime: ScriptedRuntime) -> None:
    runtime.may_work.clear()
    stream = engine.open_stream(Hearing("en"))
    stream.push(SOUND)
    assert runtime.is_held.wait(30)
    closing = threading.Thread(target=engine.close)
    closing.start()
    with pytest.raises(EngineError, match="stopped"):
        stream.finish()
    runtime.may_work.set()
    closing.join(30)
    with pytest.raises(EngineError, match="stopped"):
        stream.push(SOUND)


def test_half_an_hour_in_one_stream_keeps_no_more_than_a_window(
    engine: WhisperEngine, runtime: ScriptedRuntime
) -> None:
    stream = engine.open_stream(Hearing("en"))
    stretch = np.concatenate([SOUND] * 12)
    for _ in range(100):
        stream.push(stretch)
        assert stream.finish()[0].text == "one"
    longest = max(prompt.transcript_at + len(prompt.text) for batch in runtime.batches for prompt in batch)
    assert longest <= 65
    assert len(stream._sound) == 30.1 * 16_000  # type: ignore[attr-defined]
