"""PyTorch with weights of CTranslate2's layout: the same as of the transformers layout, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ctranslate2.converters.transformers import TransformersConverter
from torch import Tensor

from services.common.errors import NotReadyError
from services.stt.engines.whisper import ctranslate_weights, files, weights
from services.stt.engines.whisper.network import Products, Whisper
from tests.services.stt.whisper import tiny_models

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path: Path, ctranslate2_folder: Path) -> Path:
    return Path(shutil.copytree(ctranslate2_folder, tmp_path / "model"))


def loaded(folder: Path) -> Whisper:
    return weights.load(files.find(str(folder), folder), ctranslate_weights.read_sizes(folder), CPU, torch.float32)


def refusal(folder: Path) -> str:
    with pytest.raises(NotReadyError) as refused:
        ctranslate_weights.read_generation(folder, loaded(folder).sizes)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_both_layouts_say_the_same(transformers_folder: Path, ctranslate2_folder: Path) -> None:
    """Normalisations that are alike share one array in the file."""
    sizes = files.read_sizes(transformers_folder)
    assert ctranslate_weights.read_sizes(ctranslate2_folder) == sizes
    assert ctranslate_weights.read_generation(ctranslate2_folder, sizes) == files.read_generation(
        transformers_folder, sizes
    )
    expected = weights.load(files.find(str(transformers_folder), transformers_folder), sizes, CPU, torch.float32)
    found = loaded(ctranslate2_folder).state_dict()
    assert found.keys() == expected.state_dict().keys()
    for name, tensor in expected.state_dict().items():
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize(("quantization", "tolerance"), [("float16", 2**-11), ("int8", 0.5 / 127), ("int16", 2**-10)])
def test_weights_that_were_rounded_are_as_near_as_that_allows(
    quantization: str, tolerance: float, tmp_path: Path, made: tiny_models.Weights
) -> None:
    # The library rounds in place.
    copies = {name: numbers.copy() for name, numbers in made.items()}
    found = loaded(tiny_models.build_ctranslate2(tmp_path / "model", copies, quantization)).state_dict()
    for name, numbers in made.items():
        expected = torch.from_numpy(numbers)
        # Eight bits have a step for each row, sixteen one for all that is in an array: queries, keys and values.
        rows = 1 if quantization != "int8" or expected.dim() == 1 else len(expected)
        greatest = expected.reshape(rows, -1).abs().amax(dim=1, keepdim=True)
        wrong = (found[name].reshape(rows, -1) - expected.reshape(rows, -1)).abs()
        assert bool((wrong <= greatest * tolerance * 1.01).all()), name
        if quantization != "float16" and expected.dim() > 1 and "position" not in name:
            assert bool(wrong.any()), name


@pytest.mark.slow
def test_a_model_that_the_library_converted_writes_what_transformers_writes(tmp_path: Path) -> None:
    """Nothing here but the library knows how one layout becomes the other."""
    import transformers

    torch.manual_seed(0)
    config = transformers.WhisperConfig(
        vocab_size=51_865,
        d_model=32,
        encoder_layers=2,
        decoder_layers=3,
        encoder_attention_heads=2,
        decoder_attention_heads=4,
        encoder_ffn_dim=48,
        decoder_ffn_dim=64,
        num_mel_bins=128,
        # Large enough for every weight to count.
        init_std=0.2,
    )
    reference: Any = transformers.WhisperForConditionalGeneration(config)
    reference.eval()
    for name, parameter in reference.named_parameters():
        if "norm" in name or name.endswith("bias"):
            parameter.data += 0.3 * torch.randn_like(parameter)
    source = tiny_models.build_transformers(tmp_path / "source")
    reference.save_pretrained(source)
    TransformersConverter(str(source)).convert(str(tmp_path / "model"))
    shutil.copy(source / "tokenizer.json", tmp_path / "model")

    network = loaded(tmp_path / "model")
    columns, tokens = torch.randn(2, 128, 3000), torch.randint(0, 51_865, (2, 5))
    with torch.inference_mode():
        network.fuse()
        states = network.encoder(columns)
        expected = reference(input_features=columns, decoder_input_ids=tokens)
        cache = network.new_cache(2, 1)
        network.decoder.listen(states, cache, torch.arange(2))
        positions = torch.arange(5).expand(2, 5)
        scores = network.scores(network.decoder(tokens, positions, cache, 5, (), Products()))
    assert relative(states, expected.encoder_last_hidden_state) < 1e-5
    assert relative(scores, expected.logits) < 1e-5


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


def change(file: Path, old: bytes, new: bytes) -> None:
    content = file.read_bytes()
    assert old in content
    file.write_bytes(content.replace(old, new))


def change_config(folder: Path, **changes: object) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda file: file.write_bytes(file.read_bytes()[:100_000]), "is cut off or no model of CTranslate2"),
        (lambda file: file.write_bytes(file.read_bytes()[:2]), "is cut off or no model of CTranslate2"),
        (lambda file: file.write_bytes(file.read_bytes()[:-1]), "is cut off or no model of CTranslate2"),
        (lambda file: file.write_bytes(b"<html>" * 99), "is no model of CTranslate2 in the version 6"),
        (lambda file: change(file, b"WhisperSpec", b"MarianNSpec"), 'of the kind "MarianNSpec", not "WhisperSpec"'),
        (lambda file: change(file, b"encoder/conv1/weight", b"encoder/conv3/weight"), "encoder/conv1/weight is not as"),
        (
            lambda file: change(file, b"layer_1/ffn/linear_1/bias", b"layer_1/ffn/linear_9/bias"),
            "it has decoder/layer_1/ffn/linear_9/bias, which Whisper has not",
        ),
        (
            lambda file: change(file, b"encoder/layer_1/ffn/linear_1", b"encoder/layer_0/ffn/linear_1"),
            "is not whole: encoder.layers.1.fc2.bias and 1 more weights are missing",
        ),
        (lambda file: change_config(file.parent, alignment_heads=None), "names no alignment_heads"),
        (lambda file: change_config(file.parent, alignment_heads=[[2, 0]]), "name a head that the weights do not have"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(folder: Path, spoil: Callable[[Path], object], words: str) -> None:
    spoil(folder / "model.bin")
    assert words in refusal(folder)
