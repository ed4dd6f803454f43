"""A model in the layout in which it is published as ONNX, and what it writes for a batch of sounds."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.common.errors import NotReadyError, first_line
from services.stt.engine import Word

SAMPLE_RATE_HZ = 16_000
# What both were trained on, English first. Canary is told which is spoken; Parakeet finds out, and does not say.
LANGUAGES = (
    "en", "bg", "cs", "da", "de", "el", "es", "et", "fi", "fr", "hr", "hu", "it", "lt", "lv", "mt", "nl", "pl", "pt",
    "ro", "ru", "sk", "sl", "sv", "uk",
)  # fmt: skip
_TOKEN_S = 0.08
_CPU_THREADS = 4
_CUDA = "CUDAExecutionProvider"
_WITHOUT_CUDA = "onnxruntime could not start CUDA here"
# On a CPU several sounds at once take as long as one after the other, and the first waits for the last.
_GPU_BATCH = 8


@dataclass(frozen=True, slots=True)
class Kind:
    """One of the two models.

    Attributes:
        type: onnx-asr's name of its architecture.
        quantization: of the files that are read.
        tells_words: it says where words are.
        is_told_language: it has to know which language is spoken, and can write the text in another.
    """

    name: str
    type: str
    quantization: str
    files: tuple[str, ...]
    tells_words: bool
    is_told_language: bool


PARAKEET = Kind(
    "parakeet",
    "nemo-conformer-tdt",
    "int8",
    ("encoder-model.int8.onnx", "decoder_joint-model.int8.onnx", "vocab.txt", "config.json"),
    tells_words=True,
    is_told_language=False,
)
CANARY = Kind(
    "canary",
    "nemo-conformer-aed",
    "int8",
    ("encoder-model.int8.onnx", "decoder-model.int8.onnx", "vocab.txt", "config.json"),
    tells_words=False,
    is_told_language=True,
)


@dataclass(frozen=True, slots=True)
class Request:
    """A sound, shape (n,), in [-1, 1], at SAMPLE_RATE_HZ, at most 30 s, and the languages of speech and text.

    A language that nobody has named is empty; `Kind.is_told_language` needs both.
    """

    sound: NDArray[np.float32]
    language: str
    written_in: str


@dataclass(frozen=True, slots=True)
class Heard:
    """What was written; words with their places in the sound, none where the model does not say."""

    text: str
    words: tuple[Word, ...] = ()


class Model:
    """A loaded model; used by one thread at a time."""

    def __init__(self, kind: Kind, folder: Path, device: str) -> None:
        """Args: folder: the published files; device: "auto", "cpu" or "cuda".

        Raises: NotReadyError, in a sentence, if a file or the device is missing, or a file is damaged.
        """
        if lacking := [name for name in kind.files if not (folder / name).is_file()]:
            raise NotReadyError(
                f"{kind.name} reads {', '.join(kind.files)}, and {folder} lacks {', '.join(lacking)}; "
                f"`avatar models pull {kind.name}` fetches them"
            )
        import onnxruntime

        wants_gpu = device != "cpu" and _CUDA in onnxruntime.get_available_providers()
        if device == "cuda" and not wants_gpu:
            raise NotReadyError("onnxruntime has no CUDA here: install onnxruntime-gpu, or use the device cpu")
        options = onnxruntime.SessionOptions()
        threads = min(_CPU_THREADS, os.cpu_count() or 1)
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        self.kind = kind
        self._model = _loaded(kind, folder, options, wants_gpu)
        # A session whose CUDA does not come up says so in a log, and computes on the CPU.
        self._on_gpu = wants_gpu and all(_CUDA in session.get_providers() for session in _sessions(self._model))
        self._lacks_cuda = wants_gpu and not self._on_gpu
        if device == "cuda" and self._lacks_cuda:
            raise NotReadyError(f"{_WITHOUT_CUDA}: install what it asks for in the log, or use the device cpu")
        self._knows = _marked_languages(folder / "vocab.txt") if kind.is_told_language else set(LANGUAGES)

    @property
    def max_batch(self) -> int:
        """Sounds that are worth taking at once."""
        return _GPU_BATCH if self._on_gpu else 1

    @property
    def description(self) -> str:
        """For people: where its sessions really compute."""
        if self._lacks_cuda:
            return f"onnxruntime, CPU, because {_WITHOUT_CUDA}"
        return "onnxruntime, CUDA" if self._on_gpu else "onnxruntime, CPU"

    @property
    def languages(self) -> tuple[str, ...]:
        """Primary subtags, English first."""
        return tuple(language for language in LANGUAGES if language in self._knows)

    def write(self, requests: Sequence[Request]) -> list[Heard]:
        """Args: requests: of the same languages. Returns: in their order."""
        options: dict[str, Any] = {}
        if self.kind.is_told_language:
            options = {"language": requests[0].language, "target_language": requests[0].written_in, "pnc": True}
        results = self._model.recognize([request.sound for request in requests], **options)
        return [
            Heard(" ".join(result.text.split()), self._words(result, len(request.sound)))
            for result, request in zip(results, requests, strict=True)
        ]

    def _words(self, result: Any, samples: int) -> tuple[Word, ...]:
        if not self.kind.tells_words or not result.tokens or result.timestamps is None:
            return ()
        certain = result.logprobs or [None] * len(result.tokens)
        return words_of(result.tokens, result.timestamps, certain, samples)


def _marked_languages(vocabulary: Path) -> set[str]:
    """What has a token of its own: "<|de|>"."""
    tokens = (line.split(" ")[0] for line in vocabulary.read_text("utf-8").splitlines())
    return {token[2:-2] for token in tokens if token.startswith("<|") and token.endswith("|>")}


def words_of(
    tokens: Sequence[str], times_s: Sequence[float], logprobs: Sequence[float | None], samples: int
) -> tuple[Word, ...]:
    """Tokens joined to words.

    A word begins with a token that begins with a blank, and lasts until the next one does, but for no longer than a
    token's frame after its last one; its confidence is the geometric mean of its tokens' probabilities.

    Args: times_s: when each token was written, rising; samples: of the sound.
    """
    groups: list[list[int]] = []
    for index, token in enumerate(tokens):
        if not groups or token.startswith(" "):
            groups.append([])
        groups[-1].append(index)
    words = []
    for number, group in enumerate(groups):
        text = "".join(tokens[index] for index in group).strip()
        start = min(round(times_s[group[0]] * SAMPLE_RATE_HZ), samples)
        end = round((times_s[group[-1]] + _TOKEN_S) * SAMPLE_RATE_HZ)
        if number + 1 < len(groups):
            end = min(end, round(times_s[groups[number + 1][0]] * SAMPLE_RATE_HZ))
        known = [logprobs[index] for index in group]
        sure = [each for each in known if each is not None]
        confidence = float(np.exp(np.mean(sure))) if sure and len(sure) == len(known) else None
        if text:
            words.append(Word(text, start, max(min(end, samples), start), confidence))
    return tuple(words)


def _sessions(model: Any) -> list[Any]:
    """Those that onnx-asr opened for a model's files."""
    import onnxruntime

    return [each for each in vars(model.asr).values() if isinstance(each, onnxruntime.InferenceSession)]


def _loaded(kind: Kind, folder: Path, options: Any, on_gpu: bool) -> Any:  # noqa: FBT001
    import onnx_asr

    providers = [_CUDA, "CPUExecutionProvider"] if on_gpu else ["CPUExecutionProvider"]
    try:
        return onnx_asr.load_model(
            kind.type, folder, quantization=kind.quantization, sess_options=options, providers=providers
        ).with_timestamps()
    # onnxruntime and the library raise what they like for a file that is none of theirs.
    except Exception as damaged:
        first = first_line(damaged)[:300]
        raise NotReadyError(f"a file of {kind.name} in {folder} is damaged, or of another model: {first}") from damaged
