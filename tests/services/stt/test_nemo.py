"""Parakeet and Canary: tiny models with random weights in the published layout, and the desk that streams share."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import grpc
import numpy as np
import onnxruntime
import pytest
from avatar.stt.v1 import stt_pb2
from numpy.typing import NDArray

from services.common import gpu
from services.common.errors import EngineError, NotReadyError
from services.stt import engines
from services.stt.engine import Hearing, Word
from services.stt.engines.nemo.engine import NemoEngine
from services.stt.engines.nemo.model import CANARY, PARAKEET, Heard, Kind, Model, Request, words_of
from services.stt.engines.nemo.streams import Desk, NemoStream
from services.stt.settings import CanarySettings, NemoSettings, SttSettings
from tests.fakes.nemo_models import build_canary, build_parakeet
from tests.services.stt.conftest import Say
from tests.services.stt.serving import audio, config, converse, serving

SECOND = np.full(16_000, 0.1, np.float32)
KINDS = ((PARAKEET, build_parakeet), (CANARY, build_canary))
each_kind = pytest.mark.parametrize(("kind", "build"), KINDS, ids=["parakeet", "canary"])


class Script:
    """In place of a model: writes what the test says next, once the test lets it.

    Attributes: asked: the lengths of the sounds of each batch, in samples, in the order in which they were read.
    """

    def __init__(self, *texts: str | Heard | Exception, max_batch: int = 1) -> None:
        self._texts = list(texts)
        self.max_batch = max_batch
        self.asked: list[list[int]] = []
        self.languages: list[tuple[str, str]] = []
        self.is_reading = threading.Semaphore(0)
        self.may_write = threading.Semaphore(0)

    def write(self, requests: Sequence[Request]) -> list[Heard]:
        self.asked.append([len(request.sound) for request in requests])
        self.languages.extend((request.language, request.written_in) for request in requests)
        self.is_reading.release()
        assert self.may_write.acquire(timeout=20)
        text = self._texts.pop(0)
        if isinstance(text, Exception):
            raise text
        return [text if isinstance(text, Heard) else spoken(*text.split())] * len(requests)


def spoken(*words: str) -> Heard:
    """Words of which each lasts as many tenths of a second as it has letters; "_" is a tenth of silence."""
    places, at = [], 0
    for word in words:
        start, at = at, at + 1600 * len(word)
        places += [Word(word, start, at)] if word.strip("_") else []
    return Heard(" ".join(word.text for word in places), tuple(places))


def stream_of(desk: Desk, hearing: Hearing | None = None) -> NemoStream:
    return NemoStream(desk, hearing or Hearing("en"))


@pytest.fixture
def desk_of() -> Callable[[Script], Desk]:
    return lambda script: Desk(cast("Model", script))


# --- models ---------------------------------------------------------------------------------------------------------


@each_kind
def test_what_it_writes_depends_on_the_sound(
    kind: Kind, build: Callable[[Path], Path], tmp_path: Path, say: Say
) -> None:
    model = Model(kind, build(tmp_path), "cpu")
    one, other = say("What is the weather like in London?"), say("Good morning.")
    texts = [model.write([Request(sound, "en", "en")])[0].text for sound in (one, other, one)]
    assert texts[0] == texts[2] != texts[1]


@each_kind
def test_sounds_of_a_batch_are_read_as_one_by_one(
    kind: Kind, build: Callable[[Path], Path], tmp_path: Path, say: Say
) -> None:
    model = Model(kind, build(tmp_path), "cpu")
    sounds = [say("Good morning to all of you."), say("Good morning to all of you.")]
    requests = [Request(sound, "en", "en") for sound in sounds]
    assert [heard.text for heard in model.write(requests)] == [model.write([one])[0].text for one in requests]


@each_kind
def test_a_file_that_is_missing_is_named(kind: Kind, build: Callable[[Path], Path], tmp_path: Path) -> None:
    build(tmp_path)
    (tmp_path / kind.files[1]).unlink()
    with pytest.raises(NotReadyError, match=rf"lacks {kind.files[1]}; `avatar models pull {kind.name}` fetches them"):
        Model(kind, tmp_path, "cpu")


@each_kind
@pytest.mark.parametrize("number", range(4))
def test_a_file_that_is_damaged_is_refused_in_one_sentence(
    kind: Kind, build: Callable[[Path], Path], tmp_path: Path, number: int
) -> None:
    build(tmp_path)
    (tmp_path / kind.files[number]).write_bytes(b"\xff\x00 none of it")
    with pytest.raises(NotReadyError, match=rf"{kind.name} in {tmp_path} is damaged, or of another model: [^\n]+\Z"):
        Model(kind, tmp_path, "cpu")


def test_a_gpu_that_is_not_there_is_refused_and_auto_does_without(tmp_path: Path) -> None:
    folder = build_parakeet(tmp_path)
    with pytest.raises(NotReadyError, match="onnxruntime-gpu, or use the device cpu"):
        Model(PARAKEET, folder, "cuda")
    assert Model(PARAKEET, folder, "auto").description == "onnxruntime, CPU"


@pytest.fixture
def cuda_without_its_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """A build of onnxruntime for CUDA on a machine where CUDA does not start: sessions get the CPU, with a warning."""
    providers = [*onnxruntime.get_available_providers(), "CUDAExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: providers)


@each_kind
@pytest.mark.usefixtures("cuda_without_its_libraries")
@pytest.mark.filterwarnings("ignore:Specified provider 'CUDAExecutionProvider' is not in available:UserWarning")
def test_what_really_computes_is_told_where_cuda_does_not_start(
    kind: Kind, build: Callable[[Path], Path], tmp_path: Path
) -> None:
    folder = build(tmp_path)
    engine = NemoEngine(kind, folder, "auto")
    assert engine.capabilities.runs_on == "onnxruntime, CPU, because onnxruntime could not start CUDA here"
    engine.close()
    assert Model(kind, folder, "auto").max_batch == 1
    assert Model(kind, folder, "cpu").description == "onnxruntime, CPU"
    with pytest.raises(NotReadyError, match=r"could not start CUDA here: .*, or use the device cpu"):
        Model(kind, folder, "cuda")


def test_canary_knows_the_languages_of_its_vocabulary_and_translates_from_and_to_english(tmp_path: Path) -> None:
    engine = NemoEngine(CANARY, build_canary(tmp_path), "cpu")
    assert engine.capabilities.languages == ("en", "de", "fr")
    assert engine.capabilities.translations == {("de", "en"), ("fr", "en"), ("en", "de"), ("en", "fr")}
    engine.close()


def test_canary_is_told_both_languages(tmp_path: Path, say: Say) -> None:
    model = Model(CANARY, build_canary(tmp_path), "cpu")
    sound = say("What is the weather like in London?")
    pairs = [("en", "en"), ("de", "de"), ("de", "en"), ("fr", "en")]
    texts = [model.write([Request(sound, *pair)])[0].text for pair in pairs]
    assert len(set(texts)) > 1


def test_parakeet_knows_25_languages_and_translates_none(tmp_path: Path) -> None:
    engine = NemoEngine(PARAKEET, build_parakeet(tmp_path), "cpu")
    assert len(engine.capabilities.languages) == 25
    assert not engine.capabilities.translations
    engine.close()


async def test_parakeet_needs_no_language_and_says_that_it_names_none(tmp_path: Path, say: Say) -> None:
    engine = NemoEngine(PARAKEET, build_parakeet(tmp_path), "cpu")
    sound = audio(say("What is the weather like in London?"), np.zeros(32_000, np.float32))
    loud = np.concatenate([SECOND * 5, SECOND * 0])
    async with serving(engine) as stt:
        health = await stt.GetHealth(stt_pb2.GetHealthRequest())
        assert (health.detects_languages, health.names_languages) == (True, False)
        started, *rest = await converse(stt, [config(), *audio(loud), *sound])
        assert started.started.config.recognition.language_code == ""
        results = [response.result for response in rest if response.HasField("result")]
        assert results
        assert all(not one.language_code and not one.HasField("language_probability") for one in results)
        _, *told = await converse(stt, [config(language_code="de-AT"), *audio(loud), *sound])
        assert {one.result.language_code for one in told if one.HasField("result")} == {"de-AT"}
        with pytest.raises(grpc.aio.AioRpcError, match="does not choose between languages; name none, and it hears"):
            await converse(stt, [config(language_codes=["de", "en"])])
    engine.close()


def test_tokens_make_words_with_their_places_and_how_sure_they_are() -> None:
    words = words_of(
        [" Go", "od", " morn", "ing."], [0.0, 0.08, 0.4, 0.56], [np.log(0.9), np.log(0.4), 0.0, 0.0], 16_000
    )
    assert [(word.text, word.start, word.end) for word in words] == [("Good", 0, 2560), ("morning.", 6400, 10_240)]
    assert [word.confidence for word in words] == [pytest.approx(0.6), 1.0]


def test_words_never_overlap_nor_pass_the_end_of_the_sound() -> None:
    words = words_of([" a", " b", " c"], [0.0, 0.04, 0.99], [None, None, None], 16_000)
    assert [(word.start, word.end) for word in words] == [(0, 640), (640, 1920), (15_840, 16_000)]
    assert [word.confidence for word in words] == [None, None, None]


# --- streams --------------------------------------------------------------------------------------------------------


def test_a_look_begins_when_600_ms_are_new_and_another_not_before(desk_of: Callable[[Script], Desk]) -> None:
    script = Script("one", "one two")
    desk = desk_of(script)
    stream = stream_of(desk)
    for _ in range(9):
        stream.push(SECOND[:1000])
    stream.push(SECOND[:600])
    assert script.is_reading.acquire(timeout=20)
    assert script.asked == [[9600]]
    stream.push(SECOND[:9599])
    script.may_write.release()
    with desk.lock:
        assert desk.changed.wait_for(lambda: stream._covered == 9600, 20)
        assert not desk._due
    (partial,) = stream.push(SECOND[:1])
    assert (partial.text, partial.is_final, partial.stable_characters) == ("one", False, 0)
    assert script.is_reading.acquire(timeout=20)
    assert script.asked == [[9600], [19_200]]
    script.may_write.release()
    stream.close()
    desk.close()


def seen(desk: Desk, stream: NemoStream, script: Script, sound: NDArray[np.float32]) -> tuple[str, int]:
    """What is shown after one more look, and how much of it is settled."""
    stream.push(sound)
    script.may_write.release()
    with desk.lock:
        assert desk.changed.wait_for(lambda: stream._partial is not None, 20)
    (partial,) = stream.push(sound[:0])
    return partial.text, partial.stable_characters


def test_what_two_looks_agree_on_is_settled_and_is_never_taken_back(desk_of: Callable[[Script], Desk]) -> None:
    script = Script("good more", "good morning to", "good morning too all", "bad morning to all of")
    desk = desk_of(script)
    stream = stream_of(desk)
    shown = [seen(desk, stream, script, SECOND) for _ in range(4)]
    assert shown == [
        ("good more", 0),
        ("good morning to", len("good")),
        ("good morning too all", len("good morning")),
        ("good morning to all of", len("good morning")),
    ]
    stream.close()
    desk.close()


@pytest.mark.parametrize(
    ("looks", "shown"),
    [
        (["good morning to", "good morning to all", "goodmorning to all of"], "good morning to all of"),
        (["goodmorning to", "goodmorning to all", "good morning to all of"], "goodmorning to all of"),
        (["good morning", "good mornings", "goodmorning to all"], "good morning to all"),
        (["no no no", "no no no no", "nono no no yes"], "no no no no yes"),
        (["I am twenty", "I am twenty five", "I'm _ twenty five and"], "I am twenty five and"),
        (["in a house", "in a house on", "in the house on fire", "in the house on fire now"], "in a house on fire now"),
        (["one two", "one two three", "", "one two three four"], "one two three four"),
    ],
)
def test_no_word_is_lost_or_doubled_where_a_later_look_splits_words_otherwise(
    desk_of: Callable[[Script], Desk], looks: list[str], shown: str
) -> None:
    script = Script(*looks)
    desk = desk_of(script)
    stream = stream_of(desk)
    texts = [seen(desk, stream, script, SECOND) for _ in looks]
    assert texts[-1][0] == shown
    for (before, stable), (after, _) in itertools.pairwise(texts):
        assert after.startswith(before[:stable])
    stream.close()
    desk.close()


def test_where_words_have_no_places_nothing_is_settled(desk_of: Callable[[Script], Desk]) -> None:
    script = Script(Heard("good morning"), Heard("good morning to"), Heard("goodmorning to all"))
    desk = desk_of(script)
    stream = stream_of(desk)
    shown = [seen(desk, stream, script, SECOND) for _ in range(3)]
    assert shown == [("good morning", 0), ("good morning to", 0), ("goodmorning to all", 0)]
    stream.close()
    desk.close()


def test_a_final_is_of_all_the_sound_and_the_next_stretch_begins_anew(desk_of: Callable[[Script], Desk]) -> None:
    script = Script("first", "second")
    script.may_write.release(2)
    desk = desk_of(script)
    stream = stream_of(desk, Hearing("de", wants_partials=False, translate_to="en"))
    for text, samples in (("first", 16_000), ("second", 8_000)):
        assert stream.push(SECOND[:samples]) == []
        (final,) = stream.finish()
        assert (final.text, final.is_final, final.stable_characters) == (text, True, len(text))
    assert script.asked == [[16_000], [8_000]]
    assert script.languages == [("de", "en")] * 2
    stream.close()
    desk.close()


def test_a_final_needs_no_other_look_where_the_latest_was_of_all_the_sound(desk_of: Callable[[Script], Desk]) -> None:
    script = Script("all of it")
    desk = desk_of(script)
    stream = stream_of(desk)
    seen(desk, stream, script, SECOND)
    (final,) = stream.finish()
    assert final.text == "all of it"
    assert script.asked == [[16_000]]
    stream.close()
    desk.close()


def test_streams_that_wait_are_read_together_where_their_languages_are_the_same(
    desk_of: Callable[[Script], Desk],
) -> None:
    script = Script("first", "together", "german", max_batch=8)
    desk = desk_of(script)
    first, one, german, other = (stream_of(desk, Hearing(code)) for code in ("en", "en", "de", "en"))
    first.push(SECOND)
    assert script.is_reading.acquire(timeout=20)
    for number, stream in enumerate((one, german, other)):
        stream.push(SECOND[: 10_000 + number])
    script.may_write.release(3)
    with desk.lock:
        assert desk.changed.wait_for(lambda: all(each._partial for each in (first, one, german, other)), 20)
    assert script.asked == [[16_000], [10_000, 10_002], [10_001]]
    for stream in (first, one, german, other):
        stream.close()
    desk.close()


def test_finals_go_first_and_let_one_partial_pass_after_three(desk_of: Callable[[Script], Desk]) -> None:
    script = Script(*["read"] * 6)
    script.may_write.release(6)
    desk = desk_of(script)
    partial, *finals = (stream_of(desk) for _ in range(6))
    for number, stream in enumerate([partial, *finals]):
        stream.push(SECOND[: 1000 + number])
    with desk.lock:
        desk.ask(partial, is_final=False)
        for stream in finals:
            desk.ask(stream, is_final=True)
        assert desk.changed.wait_for(lambda: len(script.asked) == 6 and not desk._due, 20)
    assert script.asked == [[1001], [1002], [1003], [1000], [1004], [1005]]
    desk.close()


def test_who_closes_while_the_model_reads_is_not_answered_and_nothing_is_read_for_those_who_wait(
    desk_of: Callable[[Script], Desk],
) -> None:
    script = Script("unheard", "heard")
    desk = desk_of(script)
    reading, waiting, staying = (stream_of(desk) for _ in range(3))
    reading.push(SECOND)
    assert script.is_reading.acquire(timeout=20)
    waiting.push(SECOND)
    staying.push(SECOND[:12_000])
    reading.close()
    waiting.close()
    script.may_write.release(2)
    (final,) = staying.finish()
    assert final.text == "heard"
    assert script.asked == [[16_000], [12_000]]
    staying.close()
    desk.close()


def test_a_failure_reaches_whoever_waits_and_no_other_stream(desk_of: Callable[[Script], Desk]) -> None:
    script = Script(RuntimeError("out of memory"), "heard")
    script.may_write.release(2)
    desk = desk_of(script)
    unlucky, lucky = stream_of(desk), stream_of(desk)
    unlucky.push(SECOND[:4000])
    with pytest.raises(EngineError, match="the recogniser failed; open the stream again"):
        unlucky.finish()
    lucky.push(SECOND[:4000])
    assert [final.text for final in lucky.finish()] == ["heard"]
    desk.close()


def test_a_sound_that_cannot_be_read_fails_alone_in_its_batch(desk_of: Callable[[Script], Desk]) -> None:
    script = Script("before", RuntimeError("a bad sound"), "one", RuntimeError("a bad sound"), "other", max_batch=8)
    desk = desk_of(script)
    first, *batch = (stream_of(desk) for _ in range(4))
    first.push(SECOND)
    assert script.is_reading.acquire(timeout=20)
    for number, stream in enumerate(batch):
        stream.push(SECOND[: 10_000 + number])
    script.may_write.release(5)
    one, bad, other = batch
    assert [final.text for final in one.finish()] == ["one"]
    with pytest.raises(EngineError, match="the recogniser failed; open the stream again"):
        bad.finish()
    assert [final.text for final in other.finish()] == ["other"]
    assert script.asked == [[16_000], [10_000, 10_001, 10_002], [10_000], [10_001], [10_002]]
    for stream in (first, *batch):
        stream.close()
    desk.close()


def test_a_desk_that_closes_tells_its_streams(desk_of: Callable[[Script], Desk]) -> None:
    desk = desk_of(Script())
    stream = stream_of(desk)
    stream.push(SECOND[:100])
    desk.close()
    with pytest.raises(EngineError, match="has been stopped"):
        stream.finish()


# --- which engine runs ----------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def no_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVATAR_DATA_DIR", str(tmp_path / "data"))


def test_auto_takes_parakeet_where_its_files_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "_NODES", ())
    folder = build_parakeet(tmp_path / "parakeet")
    selection = engines.load(SttSettings(parakeet=NemoSettings(dir=folder)))
    selection.engine.close()
    assert (selection.name, selection.reason) == ("parakeet", "the best that runs here (onnxruntime, CPU)")


def test_the_second_recogniser_prefers_canary(tmp_path: Path) -> None:
    canary, parakeet = build_canary(tmp_path / "canary"), build_parakeet(tmp_path / "parakeet")
    settings = CanarySettings(canary=NemoSettings(dir=canary), parakeet=NemoSettings(dir=parakeet))
    selection = engines.load(settings)
    selection.engine.close()
    assert selection.name == "canary"


def test_what_is_missing_is_said_where_an_engine_was_passed_over() -> None:
    selection = engines.load(CanarySettings())
    selection.engine.close()
    assert selection.name == "pocketsphinx"
    assert "models pull canary`" in selection.reason
    assert "models pull parakeet`" in selection.reason


@pytest.mark.parametrize("name", ["parakeet", "canary"])
def test_an_engine_that_is_asked_for_without_its_files_says_how_to_fetch_them(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("STT_ENGINE", name)
    with pytest.raises(NotReadyError, match=rf"fetch the rest by `avatar .*models pull {name}`"):
        engines.load(SttSettings())
