"""Both runtimes with the same tiny weights, each the other's reference."""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from services.stt.engines.whisper import files, mel, weights
from services.stt.engines.whisper.ctranslate import CTranslate2Runtime
from services.stt.engines.whisper.runtime import Prompt, Runtime
from services.stt.engines.whisper.torch_mel import Spectrograms
from services.stt.engines.whisper.torch_runtime import TorchRuntime, _Recorder
from services.stt.engines.whisper.vocabulary import Vocabulary
from tests.fakes.cuda_graph import RecordedGraph
from tests.services.stt.conftest import Say
from tests.services.stt.whisper import tiny_models

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def unsure(tmp_path_factory: pytest.TempPathFactory, made: tiny_models.Weights) -> Path:
    """Both layouts of weights whose tokens have rivals, so that a wrong number shows in the probabilities."""
    places = made["decoder.embed_positions.weight"]
    doubting = made | {"decoder.embed_positions.weight": places * 0.25}
    folder = tmp_path_factory.mktemp("unsure")
    tiny_models.build_transformers(folder / "transformers", doubting)
    tiny_models.build_ctranslate2(folder / "ctranslate2", doubting)
    return folder


def load(folder_path: Path, vocabulary: Vocabulary) -> TorchRuntime:
    folder = files.find(str(folder_path), folder_path)
    sizes = files.read_sizes(folder.path)
    network = weights.load(folder, sizes, CPU, torch.float32)
    return TorchRuntime(network, vocabulary, files.read_generation(folder.path, sizes), CPU, 4)


@pytest.fixture(scope="module", params=["plain", "recorded"])
def by_torch(request: pytest.FixtureRequest, unsure: Path, vocabulary: Vocabulary) -> TorchRuntime:
    """As on a CPU, and as on a GPU: each part recorded once, before anything is known of what it will work on."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "recorded":
            patch.setattr(_Recorder, "of", lambda _, work: RecordedGraph(work).replay)
        return load(unsure / "transformers", vocabulary)


@pytest.fixture(scope="module")
def by_ctranslate2(unsure: Path, vocabulary: Vocabulary) -> Iterator[CTranslate2Runtime]:
    runtime = CTranslate2Runtime(files.find(str(unsure / "ctranslate2"), unsure), vocabulary, "cpu", "float32", 1)
    yield runtime
    runtime.close()


@pytest.fixture(scope="module")
def sounds(say: Say) -> list[NDArray[np.float32]]:
    noise = np.random.default_rng(0).normal(0, 0.1, 100_000).astype(np.float32)
    return [say("What is the weather like in London?"), noise, noise[:8_000]]


def prompts(vocabulary: Vocabulary, sounds: list[NDArray[np.float32]], *text: int) -> list[Prompt]:
    start = vocabulary.start_of("en", translate=False)
    return [Prompt(start, 0, text, len(sound) // 320, 5) for sound in sounds]


def test_both_write_the_same_with_the_same_probabilities(
    by_torch: TorchRuntime,
    by_ctranslate2: CTranslate2Runtime,
    vocabulary: Vocabulary,
    sounds: list[NDArray[np.float32]],
) -> None:
    asked = prompts(vocabulary, sounds)
    found = by_torch.decode(by_torch.encode(sounds), asked)
    for one, other in zip(found, by_ctranslate2.decode(by_ctranslate2.encode(sounds), asked), strict=True):
        assert one.tokens == other.tokens
        # The library gives the last token the probability of the one before.
        assert one.probabilities[:-1] == pytest.approx(other.probabilities[:-1], rel=1e-4)
        assert one.probabilities[0] < 0.99
        assert one.average_log_probability == pytest.approx(other.average_log_probability, rel=1e-3)
        assert one.no_speech_probability == pytest.approx(other.no_speech_probability, rel=1e-3)
        assert one.is_complete == other.is_complete


def test_both_go_on_behind_what_is_settled(
    by_torch: TorchRuntime,
    by_ctranslate2: CTranslate2Runtime,
    vocabulary: Vocabulary,
    sounds: list[NDArray[np.float32]],
) -> None:
    (one,) = by_torch.decode(by_torch.encode(sounds[:1]), prompts(vocabulary, sounds[:1]))
    asked = prompts(vocabulary, sounds[:1], *one.tokens[:2])
    runtimes: tuple[Runtime, ...] = (by_torch, by_ctranslate2)
    for runtime in runtimes:
        (longer,) = runtime.decode(runtime.encode(sounds[:1]), asked)
        assert longer.tokens[:5] == one.tokens
        assert len(longer.probabilities) == len(longer.tokens) - 2
        log_sum = sum(map(math.log, longer.probabilities[:2]))
        assert log_sum == pytest.approx(sum(map(math.log, one.probabilities[2:4])), abs=1e-4)


def test_both_hear_the_same_language(
    by_torch: TorchRuntime, by_ctranslate2: CTranslate2Runtime, sounds: list[NDArray[np.float32]]
) -> None:
    found = by_torch.language_probabilities(by_torch.encode(sounds))
    reference = by_ctranslate2.language_probabilities(by_ctranslate2.encode(sounds))
    for one, other in zip(found, reference, strict=True):
        assert one == pytest.approx(other, abs=1e-5)
        assert sum(one.values()) == pytest.approx(1, abs=1e-4)
        assert len(one) == len(tiny_models.LANGUAGES)


def test_both_place_tokens_alike(
    by_torch: TorchRuntime,
    by_ctranslate2: CTranslate2Runtime,
    vocabulary: Vocabulary,
    sounds: list[NDArray[np.float32]],
) -> None:
    asked = prompts(vocabulary, sounds[:1])
    (one,) = by_torch.decode(by_torch.encode(sounds[:1]), asked)
    (other,) = by_ctranslate2.decode(by_ctranslate2.encode(sounds[:1]), asked)
    # The library lets the end of the text have a say in what is usual, which ours has not looked at yet.
    assert one.starts == pytest.approx(other.starts, abs=3)


def test_places_that_are_known_stay_and_the_others_follow(
    by_torch: TorchRuntime, vocabulary: Vocabulary, sounds: list[NDArray[np.float32]]
) -> None:
    encoded = by_torch.encode(sounds[:1])
    (one,) = by_torch.decode(encoded, prompts(vocabulary, sounds[:1]))
    (asked,) = prompts(vocabulary, sounds[:1], *one.tokens[:3])
    known = (1, 2, one.starts[2] + 7)
    (anew,), (other,) = (by_torch.decode(encoded, [replace(asked, places=places)]) for places in ((), known))
    assert other.tokens == anew.tokens
    assert other.starts[:3] == known
    assert len(other.starts) == len(anew.starts)
    assert list(other.starts) == sorted(other.starts)
    assert other.starts[3] >= max(anew.starts[3], known[2])
    assert other.starts[-1] == anew.starts[-1]


def test_a_window_is_decoded_alike_alone_and_in_a_batch(
    by_torch: TorchRuntime, vocabulary: Vocabulary, sounds: list[NDArray[np.float32]]
) -> None:
    """Prompts of different lengths in one batch are filled up; nothing of it may show."""
    start = vocabulary.start_of("de", translate=True)
    context = (vocabulary.context, *vocabulary.encode(" what is"))
    mixed = [
        Prompt(start, 0, (), len(sounds[0]) // 320, 4),
        Prompt((*context, *start), len(context), (), len(sounds[1]) // 320, 8),
        Prompt(start, 0, vocabulary.encode(" the"), len(sounds[2]) // 320, 1),
    ]
    together = by_torch.decode(by_torch.encode(sounds), mixed)
    for sound, prompt, one in zip(sounds, mixed, together, strict=True):
        (alone,) = by_torch.decode(by_torch.encode([sound]), [prompt])
        assert alone.tokens == one.tokens
        assert len(one.tokens) - len(prompt.text) <= prompt.max_new
        assert alone.probabilities == pytest.approx(one.probabilities, abs=1e-5)
        assert alone.average_log_probability == pytest.approx(one.average_log_probability, abs=1e-5)
        assert alone.no_speech_probability == pytest.approx(one.no_speech_probability, rel=1e-3)
        assert alone.starts == one.starts


def test_one_window_of_a_batch_is_decoded_again_by_itself(
    by_torch: TorchRuntime,
    by_ctranslate2: CTranslate2Runtime,
    vocabulary: Vocabulary,
    sounds: list[NDArray[np.float32]],
) -> None:
    asked = prompts(vocabulary, sounds)
    runtimes: tuple[Runtime, ...] = (by_torch, by_ctranslate2)
    for runtime in runtimes:
        encoded = runtime.encode(sounds)
        whole = runtime.decode(encoded, asked)
        (again,) = runtime.decode(encoded, asked[1:2], [1])
        assert again.tokens == whole[1].tokens
        assert again.probabilities == pytest.approx(whole[1].probabilities, abs=1e-5)


def test_tokens_are_drawn_as_often_as_they_are_likely(
    by_torch: TorchRuntime, vocabulary: Vocabulary, sounds: list[NDArray[np.float32]]
) -> None:
    torch.manual_seed(0)
    encoded = by_torch.encode(sounds[:1] * 4)
    (prompt,) = prompts(vocabulary, sounds[:1])
    found = [
        one for _ in range(15) for one in by_torch.decode(encoded, [replace(prompt, temperature=1.0, max_new=1)] * 4)
    ]
    likely = {one.tokens: one.probabilities for one in found}
    assert len(likely) > 1
    often, times = Counter(one.tokens for one in found).most_common(1)[0]
    assert times / len(found) == pytest.approx(likely[often][0], abs=0.2)
    # Nothing of chance is left behind.
    (one,) = by_torch.decode(by_torch.encode(sounds[:1]), [prompt])
    (other,) = by_torch.decode(by_torch.encode(sounds[:1]), [prompt])
    assert one == other


def test_without_graphs_it_runs_by_plain_calls_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder, calls = _Recorder(CPU), []

    def refused(*_: object) -> None:
        calls.append("capture")
        raise RuntimeError("operation not permitted when stream is capturing\nand more")

    monkeypatch.setattr(recorder, "_device", torch.device("cuda"))
    monkeypatch.setattr(recorder, "_stream", object())
    monkeypatch.setattr(recorder, "_recorded", refused)
    assert recorder.way == "CUDA graphs"
    for name in ("one", "other"):
        recorder.of(functools.partial(calls.append, name))()
    # It is not tried again for each part.
    assert calls == ["capture", "one", "other"]
    assert recorder.failure == "operation not permitted when stream is capturing"
    assert recorder.way == "no CUDA graphs"


@pytest.mark.parametrize("seconds", [0.0, 0.01, 1.0, 29.99, 30.0])
def test_the_spectrogram_is_the_same_on_either_side(seconds: float) -> None:
    sound = np.random.default_rng(0).normal(0, 0.1, round(seconds * 16_000)).astype(np.float32)
    by_numpy = mel.log_mel(sound, 128)
    (by_torch_,) = Spectrograms(128, CPU, 1).of([sound])
    assert by_numpy.shape == (128, 3000)
    assert np.abs(by_numpy - by_torch_.numpy()).max() < 1e-3
