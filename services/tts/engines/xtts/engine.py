"""XTTS v2 as a speech engine: speakers that share one model, and voices made of recordings."""

from __future__ import annotations

import contextlib
import unicodedata
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.common.errors import EngineError, NotReadyError
from services.common.log import get_logger
from services.tts.engine import Capabilities, Cloning, Conditioning, SpeechChunk, Style
from services.tts.engines.xtts.acceleration import accelerate
from services.tts.engines.xtts.checkpoint import Published, SpeakerArrays
from services.tts.engines.xtts.conductor import Conductor, Piece
from services.tts.engines.xtts.decoding import Decoding
from services.tts.engines.xtts.sizes import CODE_RATE_HZ, SAMPLE_RATE_HZ
from services.tts.engines.xtts.vocoder import Waveforms
from services.tts.estimated_timing import RunningTiming
from services.tts.pronunciation import Pronouncer, Pronouncers

log = get_logger(__name__)


class XttsSpeaker:
    """One of the speakers; it waits on its own thread for what the model makes for it."""

    def __init__(self, engine: XttsEngine, pronouncer: Pronouncer) -> None:
        self._engine = engine
        self._pronouncer = pronouncer

    def speak(self, text: str, style: Style) -> Generator[SpeechChunk, None, None]:
        """As of `Speaker`."""
        pronunciation = self._pronouncer.pronounce(text, style.language)
        if pronunciation is None:
            return
        timing = RunningTiming(pronunciation, SAMPLE_RATE_HZ, style.speaking_rate)
        with contextlib.closing(self._engine.recite(text, style)) as pieces:
            for piece in pieces:
                yield timing.advance(piece.samples, is_last=piece.is_last)


class XttsEngine:
    """The model on its device, with a row of the cache for each speaker.

    Attributes: published: as it was loaded; `gpt` and `vocoder` are on the device since.
    """

    def __init__(self, folder: Path, device: str, speakers: int, compiled: Path | None = None) -> None:
        """Args:
            folder: the published files; device: cpu, cuda, cuda:1 and so on; speakers: at once.
            compiled: keeps compiled kernels from one start to the next; by default Triton's own.

        Raises: NotReadyError, in a sentence, if something is missing, damaged, or does not fit.
        """
        self._device = _device_of(device)
        published = Published(folder)
        # Half the bytes are half the time of a step. The vocoder adds up hundreds of times more, and keeps float32.
        number = torch.float16 if self._device.type == "cuda" else torch.float32
        try:
            gpt = published.gpt.to(self._device, number)
            vocoder = published.vocoder.to(self._device)
            decoding, waveforms = Decoding(gpt, speakers, published.sampling), Waveforms(vocoder)
            on_gpu = self._device.type == "cuda"
            path = accelerate(gpt, decoding, waveforms, self._device, compiled) if on_gpu else "cpu plain"
        except torch.OutOfMemoryError as full:
            raise NotReadyError(f"XTTS needs more memory than {self._device} has free: {full}") from full
        self.published = published
        self._speakers_of: WeakKeyDictionary[Conditioning, tuple[Tensor, Tensor]] = WeakKeyDictionary()
        self._built_in = {voice: self._on_device(arrays) for voice, arrays in published.speakers.items()}
        self._conductor = Conductor(decoding, waveforms, self._device)
        self._pronouncers = Pronouncers(speakers)
        self._max_tokens = published.sizes.max_text
        self.capabilities = Capabilities(
            languages=published.languages,
            voices=published.voices,
            sample_rate_hz=SAMPLE_RATE_HZ,
            has_exact_timing=False,
            segment_unit="sentence",
            first_segment_unit="clause",
            max_segment_characters=min(published.characters.values()),
            segment_characters_by_language=published.characters,
            cloning=Cloning(f"xtts-v2-{published.fingerprint}", CODE_RATE_HZ, self._condition),
            path=path,
            gpu_name=torch.cuda.get_device_name(self._device) if on_gpu else "",
        )
        self.speakers = tuple(XttsSpeaker(self, each) for each in self._pronouncers.each)
        log.info("xtts_loaded", device=str(self._device), path=path, rows=speakers, without=published.missing)

    def recite(self, text: str, style: Style) -> Generator[Piece, None, None]:
        """The sound of a text. Raises: EngineError."""
        conditioning, speaker = self._voice_of(style)
        parts = self._parts(text, style.language)
        for index, tokens in enumerate(parts):
            pieces = self._conductor.recite(tokens, conditioning, speaker, style.speaking_rate)
            with contextlib.closing(pieces):
                for piece in pieces:
                    yield Piece(piece.samples, is_last=piece.is_last and index == len(parts) - 1)

    def _parts(self, text: str, language: str) -> list[Tensor]:
        """A text in as many parts as the model needs to say all of it: figures are longer as words."""
        words = self.published.words(text, language)
        tokens = self.published.tokens(words, language)
        if len(tokens) <= self._max_tokens and len(words) <= self.published.characters[language]:
            return [tokens]
        at = _middle(text)
        if at is None:
            return [tokens[: self._max_tokens]]
        return [*self._parts(text[:at], language), *self._parts(text[at:], language)]

    def _voice_of(self, style: Style) -> tuple[Tensor, Tensor]:
        if style.conditioning is None:
            return self._built_in[style.voice]
        if style.conditioning not in self._speakers_of:
            arrays = SpeakerArrays.of_arrays(style.conditioning.arrays, self.published.sizes)
            self._speakers_of[style.conditioning] = self._on_device(arrays)
        return self._speakers_of[style.conditioning]

    def _on_device(self, arrays: SpeakerArrays) -> tuple[Tensor, Tensor]:
        latent, embedding = (torch.from_numpy(part).to(self._device) for part in (arrays.latent, arrays.embedding))
        return latent, embedding

    def _condition(self, samples: NDArray[np.float32]) -> Mapping[str, NDArray[Any]]:
        """As of `Cloning`."""
        try:
            return self.published.listen(samples).as_arrays()
        except RuntimeError as failed:
            raise EngineError(f"the model could not listen to the recording: {failed}") from failed

    def close(self) -> None:
        """As of `SpeechEngine`."""
        self._conductor.close()
        self._pronouncers.close()


def _middle(text: str) -> int | None:
    """Where to cut a text in two: at the blank or mark that is nearest to its middle, else inside a word.

    Returns: None for one character.
    """
    inside = [at for at in range(1, len(text)) if text[:at].strip() and text[at:].strip()]
    apart = [at for at in inside if text[at].isspace() or unicodedata.category(text[at - 1]).startswith("P")]
    return min(apart or inside, key=lambda at: abs(at - len(text) / 2), default=None)


def _device_of(name: str) -> torch.device:
    device = torch.device(name)
    if device.type == "cpu":
        return device
    if not torch.cuda.is_available():
        raise NotReadyError(f"XTTS speaks on a GPU, and there is none that PyTorch {torch.__version__} can use")
    index = device.index or 0
    if index >= torch.cuda.device_count():
        raise NotReadyError(f"there is no {name}: this machine has {torch.cuda.device_count()} CUDA device(s)")
    return torch.device("cuda", index)
