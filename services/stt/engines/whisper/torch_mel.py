"""The spectrogram of `mel` for a batch, on the device that the network runs on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.stt.engines.whisper import mel
from services.stt.engines.whisper.runtime import WINDOW_SAMPLES


class Spectrograms:
    """Computes them."""

    def __init__(self, bands: int, device: torch.device, most: int) -> None:
        """Args: most: sounds at once."""
        self._device = device
        self._filters = torch.from_numpy(mel.filters(bands)).to(device)
        self._window = torch.hann_window(mel.FFT_SAMPLES, device=device)
        # Page-locked for a GPU, which then reads it by itself.
        self._staged = torch.empty(most * WINDOW_SAMPLES, pin_memory=device.type == "cuda")

    def of(self, sounds: Sequence[NDArray[np.float32]]) -> Tensor:
        """As `mel.log_mel` for each: shape (batch, bands, 3000)."""
        longest = max(map(len, sounds))
        staged = self._staged[: len(sounds) * longest].view(len(sounds), longest)
        for row, sound in zip(staged.numpy(), sounds, strict=True):
            row[: len(sound)] = sound
            row[len(sound) :] = 0
        padded = torch.nn.functional.pad(staged.to(self._device), (0, WINDOW_SAMPLES - longest))
        transformed = torch.stft(padded, mel.FFT_SAMPLES, mel.HOP_SAMPLES, window=self._window, return_complex=True)
        power = transformed[..., :-1].abs().square()
        columns = (self._filters @ power).clamp(min=mel.FLOOR).log10()
        loudest = columns.amax(dim=(1, 2), keepdim=True)
        return (torch.maximum(columns, loudest - 8) + 4) / 4
