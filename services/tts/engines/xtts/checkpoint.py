"""The published files of a voice model, read into modules: config.json, model.pth, vocab.json, speakers_xtts.pth."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import pickle
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.common.errors import EngineError, NotReadyError
from services.tts.engine import Voice
from services.tts.engines.xtts import torchaudio_stand_in
from services.tts.engines.xtts.gpt import Gpt
from services.tts.engines.xtts.reading.expand import expand_figures
from services.tts.engines.xtts.sampling import Sampling
from services.tts.engines.xtts.sizes import CODE_RATE_HZ, XttsSizes
from services.tts.engines.xtts.vocoder import Vocoder, folded

FILES = ("config.json", "model.pth", "vocab.json", "speakers_xtts.pth")
# Of the library's languages, those whose script is read by packages that are not always there.
_READERS = {"zh-cn": "pypinyin", "ja": "cutlet"}
# What a trainer leaves in a checkpoint, and nobody speaks with.
_OF_TRAINING = ("torch_mel_spectrogram_style_encoder", "torch_mel_spectrogram_dvae", "dvae")
# What PyTorch raises for files that are cut off or are something else.
_DAMAGED = (
    *(RuntimeError, pickle.UnpicklingError, EOFError, OSError),
    *(KeyError, TypeError, AttributeError, ValueError),
)
_LATENT, _EMBEDDING = "gpt_cond_latent", "speaker_embedding"


@dataclass(frozen=True, slots=True)
class SpeakerArrays:
    """A voice for the model.

    Attributes: latent: shape (1, 32, width); embedding: shape (1, speaker width, 1); float32.
    """

    latent: NDArray[np.float32]
    embedding: NDArray[np.float32]

    def as_arrays(self) -> dict[str, NDArray[Any]]:
        """As they are stored."""
        return {_LATENT: self.latent, _EMBEDDING: self.embedding}

    @staticmethod
    def of_arrays(arrays: Mapping[str, NDArray[Any]], sizes: XttsSizes) -> SpeakerArrays:
        """Raises: EngineError if they are no voice of a model of these sizes."""
        shapes = {_LATENT: (1, 32, sizes.width), _EMBEDDING: (1, sizes.speaker_width, 1)}
        if any(name not in arrays or arrays[name].shape != shape for name, shape in shapes.items()):
            found = {name: array.shape for name, array in arrays.items()}
            raise EngineError(f"a voice of this model is {shapes}, not {found}")
        return SpeakerArrays(arrays[_LATENT].astype(np.float32), arrays[_EMBEDDING].astype(np.float32))


class Published:
    """A model as it was loaded, on the CPU.

    Attributes:
        gpt, vocoder: float32.
        voices: built in, in the order of the file.
        languages: BCP-47 tags that it speaks here.
        missing: languages that it could speak, with the package that reads them.
        fingerprint: of the weights that turn a recording into a voice.
    """

    def __init__(self, folder: Path) -> None:
        """Load. Raises: NotReadyError, in a sentence, if a file or the library is missing, or a file is damaged."""
        library = installed_library()
        if lacking := [name for name in FILES if not (folder / name).is_file()]:
            raise NotReadyError(
                f"XTTS reads {', '.join(FILES)}, and {folder} lacks {', '.join(lacking)}; "
                "`avatar models pull xtts` fetches them"
            )
        config = library.config()
        try:
            config.load_json(str(folder / "config.json"))
            arguments = {key: config.model_args[key] for key in config.model_args}
            tokenizer = library.tokenizer(vocab_file=str(folder / "vocab.json"))
        except (json.JSONDecodeError, KeyError, TypeError, ValueError, OSError) as damaged:
            raise NotReadyError(
                f"config.json or vocab.json in {folder} is damaged: {_first_line(damaged)}"
            ) from damaged
        except Exception as damaged:  # tokenizers raises nothing narrower
            raise NotReadyError(f"vocab.json in {folder} is damaged: {_first_line(damaged)}") from damaged
        state = _state(folder / "model.pth", library)
        channels = _channels_of(state, folder)
        try:
            model = library.model(config, tokenizer, channels)
            model.load_state_dict(state, strict=True)
            sizes = XttsSizes.of_arguments(arguments | _text_sizes(tokenizer), channels)
            gpt, vocoder = Gpt(sizes), Vocoder(sizes)
            of_gpt = model.gpt.state_dict()
            gpt.load_state_dict({name: of_gpt[name] for name in gpt.state_dict()}, assign=True)
            vocoder.load_state_dict(folded(model.hifigan_decoder.waveform_decoder.state_dict()), assign=True)
        except (RuntimeError, KeyError, TypeError) as other:
            raise NotReadyError(
                f"model.pth in {folder} is not the model that its config.json tells: {_first_line(other)}"
            ) from other
        self.sizes = sizes
        self.gpt = gpt.eval().requires_grad_(requires_grad=False)
        self.vocoder = vocoder.eval().requires_grad_(requires_grad=False)
        self.sampling = Sampling(config.temperature, config.top_k, config.top_p, config.repetition_penalty)
        self._tokenizer = tokenizer
        speakers = _speakers(folder / "speakers_xtts.pth", sizes)
        self.voices = tuple(Voice(_id_of(name), name) for name in speakers)
        self.speakers = {_id_of(name): arrays for name, arrays in speakers.items()}
        self.missing = {
            language: package
            for language, package in _READERS.items()
            if language in config.languages and importlib.util.find_spec(package) is None
        }
        self.languages = tuple(sorted(language for language in config.languages if language not in self.missing))
        limits: Mapping[str, int] = tokenizer.char_limits
        self.characters = {language: limits[language.split("-")[0]] for language in self.languages}
        self._listening = _Listening(model, config)
        self.fingerprint = self._listening.fingerprint

    def words(self, text: str, language: str) -> str:
        """A text as it is said: numbers, dates and abbreviations as words."""
        return expand_figures(text.strip(), language).lower()

    def tokens(self, words: str, language: str) -> Tensor:
        """What the model reads. Args: words: of `words`. Returns: shape (t,), int64."""
        return torch.tensor(self._tokenizer.encode(words, lang=language), dtype=torch.int64)

    def listen(self, samples: NDArray[np.float32]) -> SpeakerArrays:
        """A voice of a recording. Args: samples: shape (n,), in [-1, 1], at CODE_RATE_HZ, 3 to 30 s."""
        return self._listening(samples)


class _Listening:
    """The parts of the library's model that turn a recording into a voice; they stay on the CPU, in float32."""

    def __init__(self, model: Any, config: Any) -> None:
        for part in (model.gpt.conditioning_encoder, model.gpt.conditioning_perceiver, model.hifigan_decoder):
            part.eval()
        digest = hashlib.blake2b(digest_size=8)
        for tensor in (
            *model.gpt.conditioning_encoder.state_dict().values(),
            *model.hifigan_decoder.speaker_encoder.state_dict().values(),
        ):
            digest.update(tensor.numpy().tobytes())
        self.fingerprint = digest.hexdigest()
        # What only speaks is not needed a second time.
        del model.gpt.gpt, model.gpt.text_head, model.gpt.mel_head, model.hifigan_decoder.waveform_decoder
        self._model = model
        self._length_s, self._chunk_s = config.gpt_cond_len, config.gpt_cond_chunk_len

    def __call__(self, samples: NDArray[np.float32]) -> SpeakerArrays:
        audio = torch.from_numpy(samples)[None]
        latent = self._model.get_gpt_cond_latents(
            audio, CODE_RATE_HZ, length=self._length_s, chunk_length=self._chunk_s
        )
        embedding = self._model.get_speaker_embedding(audio, CODE_RATE_HZ)
        return SpeakerArrays(latent.numpy().copy(), embedding.numpy().copy())


class Library:
    """What is used of coqui-tts."""

    def __init__(self) -> None:
        torchaudio_stand_in.install()
        from TTS.tts.configs.xtts_config import XttsArgs, XttsConfig
        from TTS.tts.layers.xtts.tokenizer import VoiceBpeTokenizer
        from TTS.tts.models import xtts

        self.config, self.arguments, self.tokenizer, self._xtts = XttsConfig, XttsArgs, VoiceBpeTokenizer, xtts

    def model(self, config: Any, tokenizer: Any, vocoder_channels: int) -> Any:
        """The library's model for a configuration, with fresh weights.

        Args: tokenizer: None if the configuration names the numbers of its tokens.
        """
        with self.vocoders_of(vocoder_channels):
            model = self._xtts.Xtts(config)
            if tokenizer is not None:
                model.tokenizer = tokenizer
                model.init_models()
        return model

    @contextlib.contextmanager
    def vocoders_of(self, channels: int) -> Iterator[None]:
        """While it lasts, the library builds vocoders of that width, which no configuration says."""
        decoder = self._xtts.HifiDecoder

        def of_that_width(**arguments: Any) -> Any:
            return decoder(**arguments, upsample_initial_channel_decoder=channels)

        self._xtts.HifiDecoder = of_that_width
        try:
            yield
        finally:
            self._xtts.HifiDecoder = decoder

    def safe_globals(self) -> list[Any]:
        """Classes that the published checkpoint holds a configuration of, by the names that they had then."""
        from TTS.config.shared_configs import BaseDatasetConfig
        from TTS.tts.configs.xtts_config import XttsArgs, XttsAudioConfig, XttsConfig

        older = "TTS.tts.models.xtts"
        moved = [(XttsArgs, f"{older}.XttsArgs"), (XttsAudioConfig, f"{older}.XttsAudioConfig")]
        return [XttsConfig, XttsArgs, XttsAudioConfig, BaseDatasetConfig, *moved]


def installed_library() -> Library:
    """What reads the model. Raises: NotReadyError, in a sentence, where it is not installed."""
    if importlib.util.find_spec("TTS") is None:
        raise NotReadyError("XTTS is read by coqui-tts, which is not installed: `pip install 'avatar[xtts]'`")
    try:
        return Library()
    except (ImportError, OSError) as broken:
        raise NotReadyError(f"XTTS is read by coqui-tts, which cannot be imported here: {broken}") from broken


def _state(path: Path, library: Library) -> dict[str, Tensor]:
    """The weights, without what training left. Nothing in the file is executed."""
    try:
        with torch.serialization.safe_globals(library.safe_globals()):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        state = {name.removeprefix("xtts."): value for name, value in content["model"].items()}
    except _DAMAGED as damaged:
        raise NotReadyError(f"{path} is damaged, or no checkpoint of XTTS: {_first_line(damaged)}") from damaged
    return {name: value for name, value in state.items() if name.split(".")[0] not in _OF_TRAINING}


def _channels_of(state: Mapping[str, Tensor], folder: Path) -> int:
    bias = state.get("hifigan_decoder.waveform_decoder.conv_pre.bias")
    if bias is None:
        raise NotReadyError(f"model.pth in {folder} holds no vocoder of XTTS v2")
    return len(bias)


def _text_sizes(tokenizer: Any) -> dict[str, int]:
    """As the library takes them from the vocabulary."""
    return {
        "gpt_number_text_tokens": tokenizer.get_number_tokens(),
        "gpt_start_text_token": tokenizer.tokenizer.token_to_id("[START]"),
        "gpt_stop_text_token": tokenizer.tokenizer.token_to_id("[STOP]"),
    }


def _speakers(path: Path, sizes: XttsSizes) -> dict[str, SpeakerArrays]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        arrays = {
            str(name): {key: value.float().numpy() for key, value in voice.items()} for name, voice in content.items()
        }
        speakers = {name: SpeakerArrays.of_arrays(voice, sizes) for name, voice in arrays.items()}
    except (*_DAMAGED, EngineError) as damaged:
        raise NotReadyError(f"{path} is damaged, or of another model: {_first_line(damaged)}") from damaged
    if not speakers:
        raise NotReadyError(f"{path} holds no speaker")
    return speakers


def _id_of(name: str) -> str:
    """A name as the id of a voice."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:63] or "voice"


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]
