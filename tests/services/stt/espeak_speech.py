"""Speech for tests, made by espeak-ng in a process of its own, which its licence and its thread safety ask for."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import tempfile
from pathlib import Path

import espeakng_loader
import numpy as np
import soxr
from numpy.typing import NDArray

RATE_HZ = 16_000
_ESPEAK_RATE_HZ = 22_050
_SYNCHRONOUS, _NO_EXIT, _UTF8, _WORDS_PER_MINUTE = 2, 0x8000, 1, 1


def speech(text: str, voice: str = "en-us", words_per_minute: int = 150) -> NDArray[np.float32]:
    """The spoken text. Returns: shape (n,), in [-1, 1], 16 kHz, without silence around it."""
    command = [sys.executable, __file__, text, voice, str(words_per_minute)]
    pcm = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=60).stdout
    samples = np.frombuffer(pcm, "<i2").astype(np.float32) / 32768
    resampled: NDArray[np.float32] = soxr.resample(samples, _ESPEAK_RATE_HZ, RATE_HZ)
    audible = np.flatnonzero(np.abs(resampled) > 0.01)
    return resampled[audible[0] : audible[-1]]


def _main(text: str, voice: str, words_per_minute: str) -> None:
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    with tempfile.TemporaryDirectory() as folder:
        # The library takes a data path of at most 159 characters.
        data = Path(folder, "data")
        data.symlink_to(espeakng_loader.get_data_path())
        assert library.espeak_Initialize(_SYNCHRONOUS, 0, bytes(data), _NO_EXIT) == _ESPEAK_RATE_HZ

        def take(samples: int | None, count: int, _: int) -> int:
            if samples:
                sys.stdout.buffer.write(ctypes.string_at(samples, 2 * count))
            return 0

        callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)(take)
        library.espeak_SetSynthCallback(callback)
        assert library.espeak_SetVoiceByName(voice.encode()) == 0, voice
        library.espeak_SetParameter(_WORDS_PER_MINUTE, int(words_per_minute), 0)
        spoken = text.encode()
        library.espeak_Synth(spoken, ctypes.c_size_t(len(spoken) + 1), 0, 1, 0, _UTF8, None, None)


if __name__ == "__main__":
    _main(*sys.argv[1:])
