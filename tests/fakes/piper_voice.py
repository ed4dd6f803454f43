"""A tiny voice in the layout in which Piper publishes its own: VITS with a HiFi-GAN behind it, in one ONNX graph.

Its weights are random, but so chosen that what it says is known: each symbol has a fixed length, and pads, blanks and
marks are silent.
"""

# ruff: noqa: RUF001 - phonetic letters look like others.

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from services.tts.engines.piper import PiperEngine

FRAME_SAMPLES = 256
CHANNELS = 4
SILENT = "_^$ ,;:.!?"
_STRESS = "ˈˌ"
# Phonemes of English and German as espeak-ng writes them, one code point each; the published voices number them alike.
_SYMBOLS = "_^$ !'(),-.:;?abcdefhijklmnopqrstuvwxyzæçðøŋɐɑɒɔəɚɛɜɡɪɹɾʀʁʃʊʌʒʔˈˌːθᵻ\u0303\u032f\u0329"
IDS = {symbol: number for number, symbol in enumerate(_SYMBOLS)}
# Frames of each symbol.
FRAMES = dict.fromkeys(_SYMBOLS, 2) | {symbol: 6 for symbol in _SYMBOLS if symbol.isalpha()}
FRAMES |= dict.fromkeys(",;:.!?", 8) | dict.fromkeys(_STRESS, 2) | dict.fromkeys("^$", 10)


def _convolution(rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    """Weights that neither damp nor amplify much."""
    fan_in = shape[1] * shape[2]
    return np.asarray(rng.normal(0.0, 1.6 / np.sqrt(fan_in), shape), np.float32)


class _Graph:
    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []

    def tensor(self, name: str, value: NDArray[Any]) -> str:
        self.tensors.append(numpy_helper.from_array(value, name))
        return name

    def add(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output


def _front(graph: _Graph, rng: np.random.Generator) -> str:
    """From ids to latents of shape (1, channels, frames). Returns: their name."""
    sounds = np.where(np.isin(list(_SYMBOLS), list(SILENT + _STRESS))[:, None], 0.0, 1.0)
    sounds = sounds * np.sign(rng.normal(size=(len(_SYMBOLS), CHANNELS))) * 2.0
    graph.add("Gather", [graph.tensor("emb", sounds.astype(np.float32)), "input"], "x")
    # They are rounded up.
    lengths = np.array([FRAMES[symbol] - 0.5 for symbol in _SYMBOLS], np.float32)
    graph.add("Gather", [graph.tensor("lengths", lengths), "input"], "w1")
    graph.add("Gather", ["scales", graph.tensor("one", np.array(1, np.int64))], "length_scale")
    graph.add("Mul", ["w1", "length_scale"], "w2")
    graph.add("Unsqueeze", ["w2", graph.tensor("axis1", np.array([1], np.int64))], "w")
    graph.add("Ceil", ["w"], "w_ceil")
    graph.add("Squeeze", ["w_ceil", "axis1"], "w3")
    graph.add("CumSum", ["w3", graph.tensor("axis_one", np.array(1, np.int64))], "ends")
    graph.add("ReduceSum", ["w_ceil"], "total", keepdims=0)
    graph.tensor("zero", np.array(0.0, np.float32))
    graph.add("Range", ["zero", "total", graph.tensor("step", np.array(1.0, np.float32))], "frames")
    graph.add("Unsqueeze", ["ends", graph.tensor("axis2", np.array([2], np.int64))], "ends3")
    graph.add("LessOrEqual", ["ends3", "frames"], "is_over")
    graph.add("Cast", ["is_over"], "over", to=TensorProto.INT64)
    graph.add("ReduceSum", ["over", "axis1"], "places", keepdims=0)
    graph.add("Squeeze", ["x", graph.tensor("axis0", np.array([0], np.int64))], "x2")
    graph.add("Squeeze", ["places", "axis0"], "places1")
    graph.add("Gather", ["x2", "places1"], "spread")
    graph.add("Transpose", ["spread"], "spread_t", perm=[1, 0])
    graph.add("Unsqueeze", ["spread_t", "axis0"], "m_p")
    graph.add("RandomNormalLike", ["m_p"], "noise", seed=1.0)
    graph.add("Gather", ["scales", graph.tensor("first", np.array(0, np.int64))], "noise_scale")
    graph.add("Mul", ["noise", "noise_scale"], "scaled")
    # What is silent stays silent.
    graph.add("Mul", ["scaled", "m_p"], "masked")
    return graph.add("Add", ["m_p", "masked"], "z")


def _vocoder(graph: _Graph, rng: np.random.Generator, latents: str, speakers: int) -> None:
    pre = graph.tensor("dec.conv_pre.weight", _convolution(rng, 8, CHANNELS, 7))
    at = graph.add("Conv", [latents, pre], "pre", kernel_shape=[7], pads=[3, 3])
    if speakers > 1:
        voices = np.linspace(0.5, 1.5, speakers)[:, None, None] * np.ones((1, 8, 1))
        graph.add("Gather", [graph.tensor("emb_g", voices.astype(np.float32)), "sid"], "g")
        graph.add("Sub", ["g", graph.tensor("half", np.array(0.5, np.float32))], "cond")
        at = graph.add("Add", [at, "cond"], "conditioned")
    channels = 8
    for number, rate in enumerate((8, 8, 4)):
        weight = _convolution(rng, channels, channels // 2, 2 * rate)
        name = graph.tensor(f"dec.ups.{number}.weight", weight * np.sqrt(rate).astype(np.float32))
        at = graph.add("LeakyRelu", [at], f"relu{number}", alpha=0.1)
        edge = rate // 2
        at = graph.add("ConvTranspose", [at, name], f"up{number}", strides=[rate], pads=[edge, edge])
        channels //= 2
    graph.tensor("dec.conv_post.weight", _convolution(rng, 1, channels, 7))
    at = graph.add("LeakyRelu", [at], "relu_post", alpha=0.1)
    at = graph.add("Conv", [at, "dec.conv_post.weight"], "post", kernel_shape=[7], pads=[3, 3])
    at = graph.add("Tanh", [at], "tanh")
    graph.add("Unsqueeze", [at, "axis1"], "output")


def build_voice(
    folder: Path,
    name: str,
    espeak_voice: str,
    *,
    sample_rate_hz: int = 22_050,
    speakers: int = 1,
    seed: int = 0,
    **config: Any,
) -> Path:
    """Write NAME.onnx and its configuration. Args: name: as in "de_DE-thorsten-medium". Returns: the model's path."""
    rng = np.random.default_rng(seed)
    graph = _Graph()
    _vocoder(graph, rng, _front(graph, rng), speakers)
    inputs = [
        helper.make_tensor_value_info("input", TensorProto.INT64, ["batch_size", "phonemes"]),
        helper.make_tensor_value_info("input_lengths", TensorProto.INT64, ["batch_size"]),
        helper.make_tensor_value_info("scales", TensorProto.FLOAT, [3]),
    ]
    if speakers > 1:
        inputs.append(helper.make_tensor_value_info("sid", TensorProto.INT64, ["batch_size"]))
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch_size", 1, 1, "time"])
    model = helper.make_model(
        helper.make_graph(graph.nodes, "voice", inputs, [output], graph.tensors),
        opset_imports=[helper.make_opsetid("", 15)],
        ir_version=8,
    )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.onnx"
    path.write_bytes(model.SerializeToString())
    language, person, quality = name.split("-")
    settings: dict[str, Any] = {
        "audio": {"sample_rate": sample_rate_hz, "quality": quality},
        "espeak": {"voice": espeak_voice},
        "inference": {"noise_scale": 0.2, "length_scale": 1, "noise_w": 0.8},
        "phoneme_type": "espeak",
        "phoneme_map": {},
        "phoneme_id_map": {symbol: [number] for symbol, number in IDS.items()},
        "num_symbols": 256,
        "num_speakers": speakers,
        "speaker_id_map": {f"p{number}": number for number in range(speakers)} if speakers > 1 else {},
        "piper_version": "1.0.0",
        "language": {"code": language, "family": language.split("_")[0], "name_english": "as it is called"},
        "dataset": person,
    }
    path.with_name(f"{name}.onnx.json").write_text(json.dumps(settings | config), encoding="utf-8")
    return path


def build_voices(folder: Path) -> Path:
    """Three languages and a voice of two speakers at another rate, as the folder of the published ones lies."""
    build_voice(folder / "de/de_DE/thorsten/medium", "de_DE-thorsten-medium", "de", seed=1)
    build_voice(folder / "en/en_GB/cori/medium", "en_GB-cori-medium", "en-gb-x-rp", seed=2)
    build_voice(folder / "en/en_US/ljspeech/medium", "en_US-ljspeech-medium", "en-us", seed=3)
    build_voice(folder / "en/en_US/pair/low", "en_US-pair-low", "en-us", sample_rate_hz=16_000, speakers=2, seed=4)
    return folder


def engine(speaker_count: int) -> PiperEngine:
    """An engine with these voices."""
    with tempfile.TemporaryDirectory() as folder:
        # They are all loaded at once, so their files are not needed any more.
        return PiperEngine(build_voices(Path(folder)), speaker_count, 4)
