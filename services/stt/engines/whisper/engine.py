"""Whisper: any of its sizes, on whichever runtime suits the machine, for many streams at once."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from services.common.errors import NotReadyError
from services.stt.engine import Capabilities, Hearing, SpeechStream
from services.stt.engines.whisper import files
from services.stt.engines.whisper.batches import Batches
from services.stt.engines.whisper.files import ModelFolder
from services.stt.engines.whisper.runtime import SAMPLE_RATE_HZ, Runtime
from services.stt.engines.whisper.stream import WhisperStream
from services.stt.engines.whisper.vocabulary import Vocabulary, read_vocabulary
from services.stt.settings import WhisperSettings

_GPU_MODEL = "large-v3"
_CPU_MODEL = "small"
_CPU_THREADS = 4


class WhisperEngine:
    """A loaded model and the thread that works for all of its streams."""

    def __init__(self, runtime: Runtime, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._runtime = runtime
        spoken = tuple(vocabulary.languages) or ("en",)
        # English first: what a caller gets who does not say, where nothing can be found out.
        languages = ("en", *(language for language in spoken if language != "en"))
        self.capabilities = Capabilities(
            sample_rate_hz=SAMPLE_RATE_HZ,
            languages=languages,
            detects_languages=bool(vocabulary.languages),
            translations=frozenset((language, "en") for language in vocabulary.languages if language != "en"),
            accepts_phrases=True,
            runs_on=runtime.description,
        )
        self._batches = Batches(runtime)

    def open_stream(self, hearing: Hearing) -> SpeechStream:
        """As `SpeechEngine.open_stream`."""
        return WhisperStream(self._batches, self._vocabulary, hearing)

    def close(self) -> None:
        """As `SpeechEngine.close`."""
        self._batches.close()
        self._runtime.close()


def load(settings: WhisperSettings, models_dir: Path, compiled: Path | None = None) -> WhisperEngine:
    """The engine that the settings ask for.

    Args: compiled: as of `TorchRuntime`.
    Raises: NotReadyError, in a sentence, for what is missing.
    """
    has_torch = importlib.util.find_spec("torch") is not None
    has_ctranslate2 = importlib.util.find_spec("ctranslate2") is not None
    if importlib.util.find_spec("tokenizers") is None or not (has_torch or has_ctranslate2):
        raise NotReadyError(
            "Whisper needs the extra whisper (CTranslate2), or PyTorch with tokenizers; neither is here"
        )
    choice = [settings.model] if settings.model else [_GPU_MODEL, _CPU_MODEL]
    folders = files.find_any(choice, models_dir)
    ctranslate2_cuda = settings.device != "cpu" and settings.runtime != "torch" and _ctranslate2_has_cuda()
    # PyTorch takes seconds to be loaded, so it is only where it may be wanted.
    asks_torch = has_torch and settings.device != "cpu" and settings.runtime != "ctranslate2" and not ctranslate2_cuda
    torch_cuda = asks_torch and _torch_has_cuda(settings.device)
    folder = next(iter(folders.values()))
    if not (settings.model or ctranslate2_cuda or torch_cuda):
        if _CPU_MODEL not in folders:
            raise NotReadyError(f"Whisper {_GPU_MODEL} is too slow without a GPU; {_CPU_MODEL} is not in {models_dir}")
        folder = folders[_CPU_MODEL]
    if _takes_torch(settings, folder, has_ctranslate2=has_ctranslate2, torch_cuda=torch_cuda):
        return _load_torch(settings, folder, compiled, torch_cuda=torch_cuda)
    return _load_ctranslate2(settings, folder, cuda=ctranslate2_cuda)


def _takes_torch(settings: WhisperSettings, folder: ModelFolder, *, has_ctranslate2: bool, torch_cuda: bool) -> bool:
    """Which runtime reads the folder. Raises: NotReadyError if the one that was asked for cannot."""
    if settings.runtime == "ctranslate2" and "ctranslate2" not in folder.layouts:
        raise NotReadyError(f"{folder.path} has the layout of transformers, which CTranslate2 cannot read")
    if settings.runtime != "auto":
        return settings.runtime == "torch"
    if "ctranslate2" not in folder.layouts or not has_ctranslate2:
        return True
    # PyTorch reads both layouts: CTranslate2 where it reaches the best device that there is.
    return torch_cuda


def _load_torch(
    settings: WhisperSettings, folder: ModelFolder, compiled: Path | None, *, torch_cuda: bool
) -> WhisperEngine:
    if importlib.util.find_spec("torch") is None:
        raise NotReadyError(f"{folder.path} would be read by PyTorch, which is not installed")
    import torch

    from services.stt.engines.whisper import ctranslate_weights, torch_runtime, weights

    automatic = "cuda" if torch_cuda else "cpu"
    device = torch_runtime.device_of(automatic if settings.device == "auto" else settings.device)
    layout = files if "transformers" in folder.layouts else ctranslate_weights
    sizes = layout.read_sizes(folder.path)
    vocabulary = read_vocabulary(folder.tokenizer, is_multilingual=files.is_multilingual(sizes.vocabulary))
    if vocabulary.tokenizer.get_vocab_size() > sizes.vocabulary:
        raise NotReadyError(f"{folder.path} is of two models: its tokenizer has more tokens than its weights")
    generation = layout.read_generation(folder.path, sizes)
    half = settings.compute_type in ("auto", "float16") and device.type == "cuda"
    network = weights.load(folder, sizes, device, torch.float16 if half else torch.float32)
    batch = settings.max_batch if device.type == "cuda" else min(settings.max_batch, 4)
    batch = 1 << (batch.bit_length() - 1)
    return WhisperEngine(
        torch_runtime.TorchRuntime(network, vocabulary, generation, device, batch, compiled), vocabulary
    )


def _load_ctranslate2(settings: WhisperSettings, folder: ModelFolder, *, cuda: bool) -> WhisperEngine:
    from services.stt.engines.whisper.ctranslate import CTranslate2Runtime

    if settings.device.startswith("cuda") and not cuda:
        raise NotReadyError("CTranslate2 has no CUDA here; use the runtime torch, or the device cpu")
    compute_type = settings.compute_type
    if compute_type == "auto":
        compute_type = "float16" if cuda else "int8"
    config = files.read_json(folder.path / "config.json")
    vocabulary = read_vocabulary(folder.tokenizer, is_multilingual=len(config.get("lang_ids") or ()) > 1)
    threads = min(_CPU_THREADS, os.cpu_count() or 1)
    device = "cuda" if cuda else "cpu"
    return WhisperEngine(CTranslate2Runtime(folder, vocabulary, device, compute_type, threads), vocabulary)


def _torch_has_cuda(device: str) -> bool:
    from services.stt.engines.whisper.torch_runtime import device_of

    try:
        return device_of("cuda" if device == "auto" else device).type == "cuda"
    except NotReadyError:
        return False


def _ctranslate2_has_cuda() -> bool:
    if importlib.util.find_spec("ctranslate2") is None:
        return False
    from services.stt.engines.whisper.ctranslate import has_cuda

    return has_cuda()
