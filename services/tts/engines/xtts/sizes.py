"""The sizes of a model, as its config.json says them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Samples at the rate of the model's own codes that one token stands for, and the rate of the waveform.
TOKEN_SAMPLES, CODE_RATE_HZ, SAMPLE_RATE_HZ = 1024, 22_050, 24_000
# Latents that tell the voice, from the perceiver.
CONDITIONING = 32
_ALIGNED = 16


@dataclass(frozen=True, slots=True)
class XttsSizes:
    """Attributes:
    max_text, max_audio: tokens of a text without its marks, and of what is said.
    vocoder_channels: of HiFi-GAN before its first upsampling; config.json does not name them.
    """

    layers: int = 30
    width: int = 1024
    heads: int = 16
    text_tokens: int = 6681
    audio_tokens: int = 1026
    start_text: int = 261
    stop_text: int = 0
    start_audio: int = 1024
    stop_audio: int = 1025
    max_text: int = 401
    max_audio: int = 602
    speaker_width: int = 512
    vocoder_channels: int = 512

    @property
    def max_length(self) -> int:
        """Positions of the cache: conditioning, the text between its two marks, and what is said with its start."""
        return CONDITIONING + self.max_text + 2 + self.max_audio + 1

    @property
    def cache_length(self) -> int:
        """Positions that the cache has: `max_length`, and some more so that attention's kernels need not pad."""
        return -(-self.max_length // _ALIGNED) * _ALIGNED

    @staticmethod
    def of_arguments(arguments: Mapping[str, Any], vocoder_channels: int = 512) -> XttsSizes:
        """Of config.json's `model_args`. Raises: KeyError for one that is missing."""
        return XttsSizes(
            layers=arguments["gpt_layers"],
            width=arguments["gpt_n_model_channels"],
            heads=arguments["gpt_n_heads"],
            text_tokens=arguments["gpt_number_text_tokens"],
            audio_tokens=arguments["gpt_num_audio_tokens"],
            start_text=arguments["gpt_start_text_token"],
            stop_text=arguments["gpt_stop_text_token"],
            start_audio=arguments["gpt_start_audio_token"],
            stop_audio=arguments["gpt_stop_audio_token"],
            # One more is counted there, and of what is said three: marks, and the conditioning.
            max_text=arguments["gpt_max_text_tokens"] - 1,
            max_audio=arguments["gpt_max_audio_tokens"] - 3,
            speaker_width=arguments["d_vector_dim"],
            vocoder_channels=vocoder_channels,
        )
