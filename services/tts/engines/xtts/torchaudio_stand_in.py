"""What XTTS needs of torchaudio, where torchaudio cannot be: it has builds for CUDA only, and torchcodec likewise.

The library asks for both when it is imported, and uses two things of them for a voice: mel spectrograms, whose buffers
are in the published checkpoint under torchaudio's names, and a change of the sample rate. Nothing of it runs while a
text is spoken.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.machinery
import math
import sys
import types
from typing import Any

import numpy as np
import soxr
import torch
from torch import Tensor, nn


def install() -> bool:
    """Let `import torchaudio` find this where there is none that works. Returns: whether it does now.

    Nothing happens where torchaudio and torchcodec can be imported.
    """
    try:
        for name in ("torchaudio", "torchcodec"):
            importlib.import_module(name)
    except (ImportError, OSError, RuntimeError):
        # What a failed import has left behind would be found again.
        for name in [name for name in sys.modules if name.split(".")[0] in ("torchaudio", "torchcodec")]:
            del sys.modules[name]
    else:
        return sys.modules["torchaudio"].__spec__ is not None and sys.modules["torchaudio"].__spec__.origin == __name__
    # It asks for torchcodec's version wherever it finds that, and is to find none.
    with contextlib.suppress(ImportError):
        importlib.import_module("transformers.audio_utils")
    torchaudio, functional, transforms = map(_module, ("torchaudio", "torchaudio.functional", "torchaudio.transforms"))
    _module("torchcodec")
    functional.resample = resample  # type: ignore[attr-defined]
    transforms.MelSpectrogram = MelSpectrogram  # type: ignore[attr-defined]
    torchaudio.functional, torchaudio.transforms = functional, transforms  # type: ignore[attr-defined]
    return True


def _module(name: str) -> types.ModuleType:
    module = types.ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, loader=None, origin=__name__, is_package=True)
    module.__path__ = []
    module.__version__ = "0"  # type: ignore[attr-defined]
    sys.modules[name] = module
    return module


def resample(waveform: Tensor, orig_freq: int, new_freq: int, *_: Any, **__: Any) -> Tensor:
    """As `torchaudio.functional.resample`, by soxr. Args: waveform: shape (..., time)."""
    if orig_freq == new_freq:
        return waveform
    rows = waveform.detach().cpu().float().reshape(-1, waveform.shape[-1]).numpy()
    changed = np.stack([soxr.resample(row, orig_freq, new_freq) for row in rows])
    return torch.from_numpy(changed).reshape(*waveform.shape[:-1], -1).to(waveform.device)


class MelSpectrogram(nn.Module):
    """As `torchaudio.transforms.MelSpectrogram` on HTK's mel scale, with the same buffers.

    Source: power of the short-time Fourier transform, through triangles that are as wide as their neighbours are apart
    on the scale of HTK (Young et al.), of equal area if `norm` is "slaney".
    """

    def __init__(
        self,
        sample_rate: int = 16_000,
        n_fft: int = 400,
        win_length: int | None = None,
        hop_length: int | None = None,
        f_min: float = 0.0,
        f_max: float | None = None,
        n_mels: int = 128,
        window_fn: Any = torch.hann_window,
        power: float = 2.0,
        norm: str | None = None,
        **_: Any,
    ) -> None:
        super().__init__()
        self._n_fft, self._power = n_fft, power
        self._window_samples = win_length or n_fft
        self._hop = hop_length or self._window_samples // 2
        self.spectrogram, self.mel_scale = nn.Module(), nn.Module()
        self.spectrogram.register_buffer("window", window_fn(self._window_samples))
        bank = _mel_bank(n_fft // 2 + 1, f_min, f_max or sample_rate / 2, n_mels, sample_rate, norm)
        self.mel_scale.register_buffer("fb", bank)

    def forward(self, waveform: Tensor) -> Tensor:
        """Args: waveform: shape (..., time). Returns: shape (..., n_mels, frames)."""
        window: Any = self.spectrogram.window
        bank: Any = self.mel_scale.fb
        flat = waveform.reshape(-1, waveform.shape[-1])
        spectrum = torch.stft(
            flat, self._n_fft, self._hop, self._window_samples, window.to(flat.device), return_complex=True
        )
        mels = spectrum.abs().pow(self._power).transpose(-1, -2) @ bank.to(flat.device)
        return mels.transpose(-1, -2).reshape(*waveform.shape[:-1], *mels.shape[:0:-1])  # type: ignore[no-any-return]


def _mel_bank(bins: int, low_hz: float, high_hz: float, count: int, rate_hz: int, norm: str | None) -> Tensor:
    """Shape (bins, count)."""

    def mel(hertz: float) -> float:
        return 2595.0 * math.log10(1.0 + hertz / 700.0)

    edges = 700.0 * (10.0 ** (torch.linspace(mel(low_hz), mel(high_hz), count + 2) / 2595.0) - 1.0)
    apart = edges.diff()
    distance = edges - torch.linspace(0, rate_hz // 2, bins)[:, None]  # (bins, count + 2)
    rising, falling = -distance[:, :-2] / apart[:-1], distance[:, 2:] / apart[1:]
    bank = torch.minimum(rising, falling).clamp(min=0.0)
    return bank * (2.0 / (edges[2:] - edges[:-2])) if norm == "slaney" else bank
