"""Parakeet and Canary in the published layout, tiny and with random weights: what they write depends on the sound.

They read the loudness of eight frames of ten milliseconds at a time, as the real ones' encoders take eight frames to
one. Of a few frames they write nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

_BANDS, _WIDTH, _MEMORY = 128, 12, 5
_PIECES = ("▁a", "▁be", "▁see", "▁tea", "mo", "ra", "li", "t", ".")
_DURATIONS = 5
_LANGUAGES = ("en", "de", "fr")


def build_parakeet(folder: Path, *, pieces: Sequence[str] = _PIECES) -> Path:
    """Write a Parakeet to a folder. Args: pieces: of its vocabulary; ▁ is the blank before a word."""
    vocabulary = [*pieces, "<blk>"]
    _lay(folder, vocabulary, "nemo-conformer-tdt")
    _save(folder / "encoder-model.int8.onnx", _encoder("outputs", "encoded_lengths", is_canary=False))
    random = np.random.default_rng(4)
    outputs = len(vocabulary) + _DURATIONS
    bias = np.zeros(outputs, np.float32)
    # A blank unless something is heard, and then one frame on; after a token two.
    bias[len(vocabulary) - 1] = 1.5
    bias[len(vocabulary) + 2] = 2.0
    weights = random.normal(size=(_WIDTH, outputs)).astype(np.float32) * 1.5
    weights[:, len(vocabulary) :] = 0
    said = random.normal(size=(len(vocabulary), outputs)).astype(np.float32) * 0.3
    graph = helper.make_graph(
        [
            helper.make_node("Transpose", ["encoder_outputs"], ["rows"], perm=[0, 2, 1]),
            helper.make_node("MatMul", ["rows", "weights"], ["heard"]),
            helper.make_node("Gather", ["said", "targets"], ["before"]),
            helper.make_node("Add", ["heard", "before"], ["both"]),
            helper.make_node("Add", ["both", "bias"], ["flat"]),
            helper.make_node("Unsqueeze", ["flat", "axis"], ["outputs"]),
            helper.make_node("Identity", ["target_length"], ["prednet_lengths"]),
            helper.make_node("Identity", ["input_states_1"], ["output_states_1"]),
            helper.make_node("Identity", ["input_states_2"], ["output_states_2"]),
        ],
        "decoder_joint",
        [
            _float("encoder_outputs", (1, _WIDTH, 1)),
            helper.make_tensor_value_info("targets", TensorProto.INT32, (1, 1)),
            helper.make_tensor_value_info("target_length", TensorProto.INT32, (1,)),
            _float("input_states_1", (2, 1, _MEMORY)),
            _float("input_states_2", (2, 1, _MEMORY)),
        ],
        [
            _float("outputs", (1, 1, 1, outputs)),
            helper.make_tensor_value_info("prednet_lengths", TensorProto.INT32, (1,)),
            _float("output_states_1", (2, 1, _MEMORY)),
            _float("output_states_2", (2, 1, _MEMORY)),
        ],
        _constants({"weights": weights, "said": said, "bias": bias, "axis": np.array([1], np.int64)}),
    )
    _save(folder / "decoder_joint-model.int8.onnx", graph)
    return folder


def build_canary(folder: Path, languages: Sequence[str] = _LANGUAGES) -> Path:
    """Write a Canary to a folder; its text depends on the languages too, and is at most eight tokens long."""
    marks = [
        "<|startofcontext|>", "<|startoftranscript|>", "<|emo:undefined|>", "<|pnc|>", "<|noitn|>", "<|notimestamp|>",
        "<|nodiarize|>", *(f"<|{language}|>" for language in languages), "<|endoftext|>",
    ]  # fmt: skip
    vocabulary = ["▁", *marks, *_PIECES]
    _lay(folder, vocabulary, "nemo-conformer-aed")
    _save(folder / "encoder-model.int8.onnx", _encoder("encoder_embeddings", "encoder_mask", is_canary=True))
    random = np.random.default_rng(5)
    count = len(vocabulary)
    heard = random.normal(size=(_WIDTH, count)).astype(np.float32) * 6
    said = random.normal(size=(count, count)).astype(np.float32) * 4
    bias = np.full(count, -100, np.float32)
    # Rather the beginning of a word than its rest.
    bias[-len(_PIECES) :] = [20 if piece.startswith("▁") else 0 for piece in _PIECES]
    end = np.zeros(count, np.float32)
    end[vocabulary.index("<|endoftext|>")] = 1
    heard[:, : count - len(_PIECES)] = 0
    # The sum of all tokens so far speaks for the next one; with each of them the end grows likelier, and silence ends
    # at once.
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["encoder_embeddings"], ["sound"], axes=[1], keepdims=1),
            helper.make_node("Abs", ["sound"], ["loud"]),
            helper.make_node("ReduceMax", ["loud"], ["loudest"], axes=[1, 2], keepdims=1),
            helper.make_node("Gather", ["said", "input_ids"], ["new"]),
            helper.make_node("Concat", ["mems", "new"], ["all"], axis=1),
            helper.make_node("Squeeze", ["decoder_mems", "first"], ["mems"]),
            helper.make_node("Unsqueeze", ["all", "first"], ["decoder_hidden_states"]),
            helper.make_node("ReduceSum", ["all", "second"], ["sum"], keepdims=1),
            helper.make_node("MatMul", ["sound", "heard"], ["speech"]),
            helper.make_node("Add", ["sum", "speech"], ["both"]),
            helper.make_node("Add", ["both", "bias"], ["words"]),
            helper.make_node("Shape", ["all"], ["shape"]),
            helper.make_node("Gather", ["shape", "one"], ["length"]),
            helper.make_node("Cast", ["length"], ["tokens"], to=TensorProto.FLOAT),
            helper.make_node("Sub", ["tokens", "limit"], ["over"]),
            helper.make_node("Mul", ["over", "weight"], ["late"]),
            helper.make_node("Less", ["loudest", "least"], ["silent"]),
            helper.make_node("Where", ["silent", "always", "late"], ["ends"]),
            helper.make_node("Mul", ["ends", "end"], ["ending"]),
            helper.make_node("Add", ["words", "ending"], ["logits"]),
        ],
        "decoder",
        [
            helper.make_tensor_value_info("input_ids", TensorProto.INT64, ("batch", "tokens")),
            _float("encoder_embeddings", ("batch", "frames", _WIDTH)),
            helper.make_tensor_value_info("encoder_mask", TensorProto.INT64, ("batch", "frames")),
            _float("decoder_mems", (1, "batch", "before", count)),
        ],
        [_float("logits", ("batch", 1, count)), _float("decoder_hidden_states", (1, "batch", "after", count))],
        _constants(
                {
                    "said": said, "heard": heard, "bias": bias, "end": end,
                    "first": np.array([0], np.int64), "second": np.array([1], np.int64), "one": np.array(1, np.int64),
                    "limit": np.array(18, np.float32), "weight": np.array(1000, np.float32),
                    "least": np.array(1e-4, np.float32), "always": np.array(1e6, np.float32),
                }
        ),
    )  # fmt: skip
    _save(folder / "decoder-model.int8.onnx", graph)
    return folder


def _encoder(output: str, about_it: str, *, is_canary: bool) -> onnx.GraphProto:
    """Eight frames to one, by a random mixture of the bands; Canary's has a mask where Parakeet's has lengths."""
    mix = np.random.default_rng(3).normal(size=(_WIDTH, _BANDS, 8)).astype(np.float32) / np.float32(_BANDS**0.5)
    convolution = helper.make_node(
        "Conv", ["audio_signal", "mix"], ["mixed"], kernel_shape=[8], strides=[8], pads=[0, 7]
    )
    constants: dict[str, NDArray[Any]] = {"mix": mix}
    if is_canary:
        constants |= {"bands": np.array([1]), "zero": np.array(0, np.float32), "whole": np.array(1, np.float32)}
        tail = [
            helper.make_node("Transpose", ["mixed"], [output], perm=[0, 2, 1]),
            helper.make_node("ReduceSum", ["mixed", "bands"], ["flat"], keepdims=0),
            helper.make_node("Mul", ["flat", "zero"], ["nothing"]),
            helper.make_node("Add", ["nothing", "whole"], ["ones"]),
            helper.make_node("Cast", ["ones"], [about_it], to=TensorProto.INT64),
        ]
        shapes: list[Any] = [("batch", "frames", _WIDTH), ("batch", "frames")]
    else:
        constants |= {"one": np.array(1), "eight": np.array(8)}
        tail = [
            helper.make_node("Identity", ["mixed"], [output]),
            helper.make_node("Sub", ["length", "one"], ["last"]),
            helper.make_node("Div", ["last", "eight"], ["eighth"]),
            helper.make_node("Add", ["eighth", "one"], ["frames"]),
            helper.make_node("Identity", ["frames"], [about_it]),
        ]
        shapes = [("batch", _WIDTH, "frames"), ("batch",)]
    return helper.make_graph(
        [convolution, *tail],
        "encoder",
        [
            _float("audio_signal", ("batch", _BANDS, "time")),
            helper.make_tensor_value_info("length", TensorProto.INT64, ("batch",)),
        ],
        [_float(output, shapes[0]), helper.make_tensor_value_info(about_it, TensorProto.INT64, shapes[1])],
        _constants(constants),
    )


def _lay(folder: Path, vocabulary: Sequence[str], kind: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"{piece} {number}\n" for number, piece in enumerate(vocabulary)]
    (folder / "vocab.txt").write_text("".join(lines), encoding="utf-8")
    config = {"model_type": kind, "features_size": _BANDS, "subsampling_factor": 8}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


def _float(name: str, shape: Sequence[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _constants(arrays: dict[str, NDArray[Any]]) -> list[onnx.TensorProto]:
    return [numpy_helper.from_array(array, name) for name, array in arrays.items()]


def _save(path: Path, graph: onnx.GraphProto) -> None:
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))
