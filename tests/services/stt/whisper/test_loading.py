"""Which model, runtime and device are taken, and what is said of folders that are not whole."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from services.common.errors import NotReadyError
from services.stt import engines
from services.stt.engine import Hearing
from services.stt.engines.whisper import files, weights
from services.stt.engines.whisper.engine import WhisperEngine, load
from services.stt.settings import SttSettings, WhisperSettings
from tests.services.stt.conftest import Say
from tests.services.stt.whisper import tiny_models

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path: Path, transformers_folder: Path) -> Path:
    return Path(shutil.copytree(transformers_folder, tmp_path / "model"))


@pytest.fixture
def loaded() -> object:
    opened: list[WhisperEngine] = []

    def loaded(model: Path | str, models_dir: Path = Path("/nowhere"), **settings: object) -> WhisperEngine:
        opened.append(load(WhisperSettings(model=str(model), **settings), models_dir))  # type: ignore[arg-type]
        return opened[-1]

    yield loaded
    for engine in opened:
        engine.close()


Loaded = Callable[..., WhisperEngine]


def refusal(model: Path | str, models_dir: Path = Path("/nowhere"), **settings: object) -> str:
    with pytest.raises(NotReadyError) as refused:
        load(WhisperSettings(model=str(model), **settings), models_dir)  # type: ignore[arg-type]
    assert "\n" not in str(refused.value)
    return str(refused.value)


def change_config(folder: Path, **changes: object) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_the_layout_chooses_the_runtime(loaded: Loaded, transformers_folder: Path, ctranslate2_folder: Path) -> None:
    assert loaded(transformers_folder).capabilities.runs_on.startswith("PyTorch")
    assert loaded(ctranslate2_folder).capabilities.runs_on.startswith("CTranslate2")


def test_pytorch_runs_on_the_files_of_ctranslate2_where_only_it_can(
    loaded: Loaded, ctranslate2_folder: Path, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = say("What is the weather like in London?")

    def heard(engine: WhisperEngine) -> str:
        with contextlib.closing(engine.open_stream(engine.capabilities.check(Hearing("en")))) as stream:
            return " ".join(transcript.text for transcript in [*stream.push(sound), *stream.finish()])

    there = importlib.util.find_spec
    expected = heard(loaded(ctranslate2_folder))
    asked_for = loaded(ctranslate2_folder, runtime="torch")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ctranslate2" else there(name))
    for engine in (asked_for, loaded(ctranslate2_folder)):
        assert engine.capabilities.runs_on.startswith("PyTorch")
        assert heard(engine) == expected != ""


def test_a_folder_of_both_layouts_is_read_by_ctranslate2_without_a_gpu(
    loaded: Loaded, folder: Path, ctranslate2_folder: Path
) -> None:
    for file in ctranslate2_folder.iterdir():
        if not (folder / file.name).exists():
            shutil.copy(file, folder)
    shutil.copy(ctranslate2_folder / "config.json", folder)
    assert loaded(folder).capabilities.runs_on.startswith("CTranslate2")


def test_a_model_is_found_by_its_size(loaded: Loaded, tmp_path: Path, folder: Path) -> None:
    folder.rename(tmp_path / "whisper-small")
    for model in ("small", ""):
        engine = loaded(model, tmp_path)
        assert len(engine.capabilities.languages) == 100
        assert engine.capabilities.languages[0] == "en"
    assert refusal("large-v3", tmp_path).startswith(f"there is no Whisper model in {tmp_path}/whisper-large-v3; fetch")


def test_large_v3_is_not_taken_unasked_where_there_is_no_gpu(loaded: Loaded, tmp_path: Path, folder: Path) -> None:
    folder.rename(tmp_path / "whisper-large-v3")
    assert "large-v3 is too slow without a GPU" in refusal("", tmp_path)
    assert loaded("large-v3", tmp_path).capabilities.runs_on.startswith("PyTorch")


def test_auto_falls_back_to_the_embedded_engine_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVATAR_DATA_DIR", str(tmp_path))
    selection = engines.load(SttSettings())
    selection.engine.close()
    assert selection.name == "pocketsphinx"
    assert "there is no Whisper model in" in selection.reason
    assert selection.reason.endswith("understands English only")


def test_auto_takes_whisper_where_its_weights_are(
    tmp_path: Path, ctranslate2_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVATAR_DATA_DIR", str(tmp_path))
    shutil.copytree(ctranslate2_folder, tmp_path / "models" / "whisper-small")
    selection = engines.load(SttSettings())
    selection.engine.close()
    assert selection.name == "whisper"
    assert "CTranslate2" in selection.reason


def test_pickled_and_split_checkpoints_are_read_alike(folder: Path) -> None:
    sizes = files.read_sizes(folder)
    whole = files.find(str(folder), folder)
    network = weights.load(whole, sizes, CPU, torch.float32)
    expected = network.state_dict()
    named = {f"model.{name}": tensor for name, tensor in expected.items()}
    (folder / "model.safetensors").unlink()
    torch.save(named | {"proj_out.weight": named["model.decoder.embed_tokens.weight"]}, folder / "pytorch_model.bin")
    pickled = weights.load(files.find(str(folder), folder), sizes, CPU, torch.float32).state_dict()
    (folder / "pytorch_model.bin").unlink()
    shards: dict[str, tiny_models.Weights] = {"a.safetensors": {}, "b.safetensors": {}}
    for number, (name, tensor) in enumerate(expected.items()):
        shards[list(shards)[number % 2]][name] = tensor.numpy()
    weight_map: dict[str, str] = {}
    for file, part in shards.items():
        tiny_models.write_safetensors(folder / file, part)
        weight_map |= {f"model.{name}": file for name in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    split = weights.load(files.find(str(folder), folder), sizes, CPU, torch.float32).state_dict()
    for name, tensor in expected.items():
        assert torch.equal(tensor, pickled[name])
        assert torch.equal(tensor, split[name])


def cut(file: Path, keep: int) -> None:
    file.write_bytes(file.read_bytes()[:keep])


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / "tokenizer.json").unlink(), "is not whole: tokenizer.json is missing"),
        (lambda folder: (folder / "config.json").unlink(), "is not whole: config.json is missing"),
        (
            lambda folder: (folder / "model.safetensors").unlink(),
            "has no weights of Whisper: none of model.safetensors",
        ),
        (lambda folder: cut(folder / "config.json", 20), "cannot be read as JSON"),
        (lambda folder: cut(folder / "tokenizer.json", 20), "is no tokenizer of Whisper"),
        (lambda folder: cut(folder / "model.safetensors", 100_000), "is cut off or no safetensors file"),
        (lambda folder: cut(folder / "model.safetensors", 7), "is cut off or no safetensors file"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"<html>" * 99), "cut off or no safetensors file"),
        (lambda folder: change_config(folder, model_type="bert"), 'a model of the type "bert", not "whisper"'),
        (lambda folder: change_config(folder, d_model="wide"), "d_model is a whole number over 0, not 'wide'"),
        (lambda folder: change_config(folder, d_model=128), "does not belong to its config.json"),
        (lambda folder: change_config(folder, d_model=63), "cannot be shared by its attention heads"),
        (lambda folder: change_config(folder, encoder_layers=3), "is not whole: encoder.layers.2"),
        (lambda folder: change_config(folder, encoder_layers=1), "is of another model: it has model.encoder.layers.1"),
        (
            lambda folder: change_config(folder, decoder_layers=1),
            "alignment_heads name a head that config.json's sizes",
        ),
        (lambda folder: change_config(folder, max_target_positions=100), "1500 source and 448 target positions"),
        (lambda folder: change_config(folder, vocab_size=51_000), "its tokenizer has more tokens than its weights"),
    ],
)
def test_what_is_wrong_with_a_folder_is_said_in_one_sentence(
    folder: Path, spoil: Callable[[Path], object], words: str
) -> None:
    spoil(folder)
    assert words in refusal(folder)


def test_what_is_wrong_with_a_model_of_ctranslate2_is_said_too(tmp_path: Path, ctranslate2_folder: Path) -> None:
    folder = Path(shutil.copytree(ctranslate2_folder, tmp_path / "model"))
    cut(folder / "model.bin", 100_000)
    assert refusal(folder).startswith(f"CTranslate2 cannot load {folder}")
    shutil.copy(ctranslate2_folder / "model.bin", folder)
    (folder / "preprocessor_config.json").write_text('{"feature_size": 128}')
    assert "is of two models: 128 mel bands, and weights for 80" in refusal(folder)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"runtime": "ctranslate2"}, "has the layout of transformers, which CTranslate2 cannot read"),
        ({"device": "cuda", "runtime": "torch"}, "without CUDA"),
    ],
)
def test_a_runtime_or_a_device_that_cannot_be_had_is_refused(
    transformers_folder: Path, settings: dict[str, object], words: str
) -> None:
    assert words in refusal(transformers_folder, Path("/nowhere"), **settings)


def test_an_english_model_finds_out_no_language_and_translates_nothing(
    loaded: Loaded, tmp_path: Path, made: tiny_models.Weights, say: Say
) -> None:
    """Such models have one token fewer; their tokenizers name the languages all the same."""
    embeddings = made["decoder.embed_tokens.weight"][:51_864]
    folder = tiny_models.build_transformers(tmp_path / "en", made | {"decoder.embed_tokens.weight": embeddings})
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["added_tokens"] = [one for one in tokenizer["added_tokens"] if one["id"] < 51_864]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    change_config(folder, vocab_size=51_864)
    engine = loaded(folder)
    assert (engine.capabilities.languages, engine.capabilities.detects_languages) == (("en",), False)
    assert not engine.capabilities.translations
    stream = engine.open_stream(engine.capabilities.check(Hearing()))
    stream.push(say("What is the weather like in London?"))
    assert len(stream.finish()) == 1
    stream.close()
