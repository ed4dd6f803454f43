"""A loaded voice: from ids to durations and, piece by piece, to sound."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from services.common.errors import EngineError, NotReadyError
from services.tts.engines.piper.graph import split
from services.tts.engines.piper.voice_files import VoiceFile

# Frames on either side that a frame's sound depends on. HiFi-GAN sees, at the rate of the frames, 3 by its first
# convolution, 1 by the first upsampling and at most 7.5 by the residual blocks behind it; the later ones add up to 1.
_REACH = 14
# Frames of the first piece, 0.28 s, so that it is heard soon; later ones are longer, as each costs its reach again.
_FIRST_PIECE, _LONGEST_PIECE = 24, 96
# Durations are rounded up to whole frames, half a frame more on average, whatever the pace.
_ROUNDING = 0.5
# Frames of a symbol or a pad, before a voice has said anything; how much of the average one more text counts.
_USUAL_FRAMES, _NEWEST = 3.0, 0.2
# Symbols, how many they are, how much to vary and to stretch, and who speaks.
_INPUTS = {"input", "input_lengths", "scales", "sid"}


class _Session(Protocol):
    def run(self, output_names: list[str], input_feed: Mapping[str, NDArray[Any]]) -> list[Any]:
        """The outputs."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a text will be spoken.

    Args:
        frames: of each id, shape (ids,), 1 or more.
        latents: shape (1, channels, sum of the frames).
        speaker: who speaks.
    """

    frames: NDArray[np.int64]
    latents: NDArray[np.float32]
    speaker: int


class VoiceModel:
    """Both halves of a voice. Many threads may use it at once; each computes on itself alone."""

    def __init__(self, voice: VoiceFile) -> None:
        """Raises: NotReadyError, in a sentence, if the file is no voice that can be read."""
        self._voice = voice
        halves = split(voice.path)
        self._seam = halves.seam
        if odd := {*self._seam.front_inputs, *self._seam.vocoder_inputs} - _INPUTS:
            raise NotReadyError(f"{voice.path} is not one of Piper's voices: it takes {', '.join(sorted(odd))}")
        # Of an id, not rounded, at the voice's own pace.
        self._mean_frames = _USUAL_FRAMES
        self._front = _open(halves.front, voice)
        self._vocoder = _open(halves.vocoder, voice)

    def plan(self, ids: tuple[int, ...], speaker: int, speaking_rate: float) -> Plan:
        """Decide how a text is spoken. Args: speaker: one of the voice's ids. Raises: EngineError."""
        noise, noise_of_rhythm = self._voice.noise
        stretch = self._stretch(speaking_rate)
        scales = np.array([noise, self._voice.length * stretch, noise_of_rhythm], np.float32)
        values: dict[str, NDArray[Any]] = {"input": np.array([ids]), "input_lengths": np.array([len(ids)])}
        values |= {"scales": scales, "sid": np.array([speaker])}
        feed = {name: values[name] for name in self._seam.front_inputs}
        durations, latents = self._run(self._front, [self._seam.durations, self._seam.latents], feed)
        frames = np.asarray(durations, np.float64).reshape(-1).astype(np.int64)
        if len(frames) != len(ids) or latents.shape[-1] != frames.sum():
            raise EngineError(f"{self._voice.name} gives {latents.shape[-1]} frames for durations of {frames.sum()}")
        seen = max(float(frames.mean()) - _ROUNDING, _ROUNDING) / stretch
        self._mean_frames += _NEWEST * (seen - self._mean_frames)
        return Plan(frames, latents, speaker)

    def _stretch(self, speaking_rate: float) -> float:
        """The factor for durations that are rounded up afterwards, so that they are as long as the rate asks for."""
        wanted = (self._mean_frames + _ROUNDING) / speaking_rate - _ROUNDING
        return max(wanted, _ROUNDING) / self._mean_frames

    def sound(self, plan: Plan, first: int, last: int) -> Iterator[NDArray[np.float32]]:
        """The sound of the frames `[first, last)`, in pieces of shape (n,) that are together what the whole would be.

        Raises: EngineError.
        """
        size = _FIRST_PIECE
        while first < last:
            end = min(first + size, last)
            yield self._piece(plan, first, end)
            first, size = end, min(size * 2, _LONGEST_PIECE)

    def _piece(self, plan: Plan, first: int, last: int) -> NDArray[np.float32]:
        begin, end = max(first - _REACH, 0), min(last + _REACH, plan.latents.shape[-1])
        feed: dict[str, NDArray[Any]] = {self._seam.latents: np.ascontiguousarray(plan.latents[..., begin:end])}
        feed |= {name: np.array([plan.speaker]) for name in self._seam.vocoder_inputs}
        (sound,) = self._run(self._vocoder, [self._seam.sound], feed)
        step = self._voice.frame_samples
        samples = np.asarray(sound, np.float32).reshape(-1)
        if len(samples) != (end - begin) * step:
            raise EngineError(f"{self._voice.name} makes {len(samples)} samples of {end - begin} frames of {step}")
        return samples[(first - begin) * step : (last - begin) * step]

    def _run(self, session: _Session, outputs: list[str], feed: Mapping[str, NDArray[Any]]) -> list[Any]:
        try:
            return session.run(outputs, feed)
        except _failures() as error:
            raise EngineError(f"{self._voice.name} failed: {str(error)[:300]}") from error


def _failures() -> tuple[type[Exception], ...]:
    """The errors of ONNX Runtime, which have no base of their own."""
    from onnxruntime.capi import onnxruntime_pybind11_state as runtime

    return tuple(kind for kind in vars(runtime).values() if isinstance(kind, type) and issubclass(kind, Exception))


def _open(model: bytes, voice: VoiceFile) -> _Session:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # A speaker computes on its own thread; more would take the cores of the other speakers.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    # What it would print is in the error too.
    options.log_severity_level = 4
    try:
        session: _Session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except _failures() as bad:
        raise NotReadyError(f"{voice.path} is no model that can be read; fetch the official file again") from bad
    return session


class LoadedVoices:
    """The voices that were used last, loaded when they are first asked for."""

    def __init__(self, most: int) -> None:
        """Args: most: how many are kept; one that is speaking stays as long as it does."""
        self._most = most
        self._loaded: OrderedDict[VoiceFile, VoiceModel] = OrderedDict()
        self._lock = threading.Lock()
        # Whoever wants a voice that is being loaded waits for it; the others do not.
        self._loading: dict[VoiceFile, threading.Lock] = {}

    def get(self, voice: VoiceFile) -> VoiceModel:
        """Raises: NotReadyError if it cannot be loaded."""
        with self._lock:
            if model := self._known(voice):
                return model
            loading = self._loading.setdefault(voice, threading.Lock())
        with loading:
            with self._lock:
                if model := self._known(voice):
                    return model
            model = VoiceModel(voice)
            with self._lock:
                self._loaded[voice] = model
                while len(self._loaded) > self._most:
                    self._loaded.popitem(last=False)
            return model

    def _known(self, voice: VoiceFile) -> VoiceModel | None:
        if voice in self._loaded:
            self._loaded.move_to_end(voice)
        return self._loaded.get(voice)

    def clear(self) -> None:
        """Free them."""
        with self._lock:
            self._loaded.clear()
