"""What stands in for torchaudio computes what torchaudio does."""

from __future__ import annotations

import sys
from typing import Literal

import librosa
import numpy as np
import pytest
import torch

from services.tts.engines.xtts import torchaudio_stand_in
from services.tts.engines.xtts.torchaudio_stand_in import MelSpectrogram, resample


@pytest.mark.parametrize(("norm", "power", "window"), [("slaney", 2.0, 1024), (None, 1.0, 400)])
def test_mel_spectrograms_are_what_their_definition_says(
    norm: Literal["slaney"] | None, power: float, window: int
) -> None:
    n_fft, hop = 2048, 256
    sound = np.random.default_rng(1).normal(0, 0.1, 8_000).astype(np.float32)
    ours = MelSpectrogram(
        sample_rate=22_050,
        n_fft=n_fft,
        win_length=window,
        hop_length=hop,
        f_max=8000.0,
        n_mels=80,
        norm=norm,
        power=power,
    )
    hann = np.zeros(n_fft)
    hann[(n_fft - window) // 2 :][:window] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    padded = np.pad(sound, n_fft // 2, mode="reflect")
    frames = np.stack([padded[at : at + n_fft] * hann for at in range(0, len(sound) + 1, hop)])
    bank = librosa.filters.mel(sr=22_050, n_fft=n_fft, n_mels=80, fmax=8000.0, htk=True, norm=norm)
    wanted = bank @ (np.abs(np.fft.rfft(frames)) ** power).T
    made = ours(torch.from_numpy(sound)[None])[0].numpy()
    assert made.shape == wanted.shape
    assert np.abs(made - wanted).max() < 1e-4 * wanted.max()
    assert set(ours.state_dict()) == {"spectrogram.window", "mel_scale.fb"}


def test_another_rate_keeps_the_tone() -> None:
    t = np.arange(22_050) / 22_050
    tone = torch.from_numpy(np.sin(2 * np.pi * 440 * t).astype(np.float32))[None]
    changed = resample(tone, 22_050, 16_000)
    assert changed.shape == (1, 16_000)
    assert int(np.abs(np.fft.rfft(changed[0].numpy())).argmax()) == 440
    assert resample(tone, 22_050, 22_050) is tone


def test_it_is_found_where_there_is_no_torchaudio_and_asking_twice_changes_nothing() -> None:
    is_ours = torchaudio_stand_in.install()
    before = sys.modules["torchaudio"]
    assert torchaudio_stand_in.install() is is_ours
    assert sys.modules["torchaudio"] is before
