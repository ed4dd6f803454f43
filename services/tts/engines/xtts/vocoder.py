"""From latents to sound: HiFi-GAN (Kong et al. 2020) with the speaker's embedding in every stage, by exact pieces.

A piece of the sound depends on few latents around it. So a piece is made of a window of frames that is as much longer
as the network sees to either side, and what it says there is thrown away: pieces end to end are the sound that the
whole would have given, without a seam.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
import torch.nn.functional as nnf
from numpy.typing import NDArray
from torch import Tensor, nn

from services.tts.engines.xtts.graphs import Recorder
from services.tts.engines.xtts.sizes import CODE_RATE_HZ, SAMPLE_RATE_HZ, TOKEN_SAMPLES, XttsSizes

_RATES, _KERNELS = (8, 8, 2, 2), (16, 16, 4, 4)
_RESIDUAL_KERNELS, _DILATIONS = (3, 7, 11), (1, 3, 5)
_SLOPE = 0.1
# Windows that are voiced together.
_BATCHES = (1, 2, 4, 8)
# Samples of one frame, which is what the network upsamples.
FRAME_SAMPLES = 256
# Frames on either side that a sample depends on: 3 of the first convolution, 1 of the first upsampling, 60 / 8 of its
# residual blocks, and less than 2 of the stages after it.
REACH = 14


class Residual(nn.Module):
    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(
            nn.Conv1d(channels, channels, kernel, dilation=dilation, padding=(kernel - 1) * dilation // 2)
            for dilation in _DILATIONS
        )
        self.convs2 = nn.ModuleList(
            nn.Conv1d(channels, channels, kernel, padding=(kernel - 1) // 2) for _ in _DILATIONS
        )

    def forward(self, x: Tensor) -> Tensor:
        for first, second in zip(self.convs1, self.convs2, strict=True):
            x = x + second(nnf.leaky_relu(first(nnf.leaky_relu(x, _SLOPE)), _SLOPE))
        return x


class Vocoder(nn.Module):
    """The network, with its weight norm folded into the weights."""

    def __init__(self, sizes: XttsSizes) -> None:
        super().__init__()
        channels = [sizes.vocoder_channels // 2**stage for stage in range(len(_RATES) + 1)]
        self.conv_pre = nn.Conv1d(sizes.width, channels[0], 7, padding=3)
        self.cond_layer = nn.Conv1d(sizes.speaker_width, channels[0], 1)
        self.ups = nn.ModuleList(
            nn.ConvTranspose1d(wide, narrow, kernel, rate, padding=(kernel - rate) // 2)
            for wide, narrow, kernel, rate in zip(channels, channels[1:], _KERNELS, _RATES, strict=False)
        )
        self.conds = nn.ModuleList(nn.Conv1d(sizes.speaker_width, narrow, 1) for narrow in channels[1:])
        self.resblocks = nn.ModuleList(
            Residual(narrow, kernel) for narrow in channels[1:] for kernel in _RESIDUAL_KERNELS
        )
        self.conv_post = nn.Conv1d(channels[-1], 1, 7, padding=3, bias=False)

    def forward(self, frames: Tensor, speaker: Tensor) -> Tensor:
        """Args: frames: shape (batch, width, t); speaker: shape (batch, speaker width, 1).

        Returns: shape (batch, t * FRAME_SAMPLES), in [-1, 1].
        """
        x = self.conv_pre(frames) + self.cond_layer(speaker)
        for stage, (up, speak) in enumerate(zip(self.ups, self.conds, strict=True)):
            x = up(nnf.leaky_relu(x, _SLOPE)) + speak(speaker)
            blocks = self.resblocks[stage * len(_RESIDUAL_KERNELS) : (stage + 1) * len(_RESIDUAL_KERNELS)]
            x = sum(block(x) for block in blocks) / len(_RESIDUAL_KERNELS)
        return torch.tanh(self.conv_post(nnf.leaky_relu(x)))[:, 0]


def folded(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A published state dict without weight norm: each weight is g v / |v|.

    Source: Salimans and Kingma 2016; PyTorch keeps g and v as `parametrizations.weight.original0` and `original1`,
    older checkpoints as `weight_g` and `weight_v`.
    """
    plain: dict[str, Tensor] = {}
    for name, value in state.items():
        for size, direction in ((".parametrizations.weight.original0", "1"), (".weight_g", "v")):
            if name.endswith(size):
                v = state[name[: -len(direction)] + direction]
                norm = v.flatten(1).norm(dim=1).reshape(-1, *(1,) * (v.ndim - 1))
                plain[name.removesuffix(size) + ".weight"] = value * v / norm
                break
        else:
            if not name.endswith((".parametrizations.weight.original1", ".weight_v")):
                plain[name] = value
    return plain


class Stretch:
    """From a token's latent to frames, for an utterance whose latents come one after the other.

    Latents are stretched by the speaking rate, then to the frames of 22050 Hz, then to those of 24000 Hz, each time
    along straight lines between the middles of their places, as the library does with the whole.
    """

    def __init__(self, speaking_rate: float = 1.0) -> None:
        """Args: speaking_rate: 0.5 to 2, faster above 1."""
        slower = () if speaking_rate == 1.0 else (1 / speaking_rate,)
        self._scales = (*slower, TOKEN_SAMPLES / FRAME_SAMPLES, SAMPLE_RATE_HZ / CODE_RATE_HZ)

    def count(self, latents: int, *, is_whole: bool) -> int:
        """How many frames these latents give. Args: is_whole: False leaves out what one more latent would change."""
        count = latents
        for scale in self._scales:
            # A place is known once both of its neighbours are.
            count = int(count * scale) if is_whole else max(math.ceil((count - 0.5) * scale - 0.5), 0)
        return count

    def frames(self, latents: Tensor, begin: int, end: int) -> Tensor:
        """Args: latents: shape (n, width), all that there are; begin, end: frames that `count` says are there.

        Returns: float32, shape (width, end - begin).
        """
        lasts = [len(latents) - 1]
        for scale in self._scales[:-1]:
            lasts.append(int((lasts[-1] + 1) * scale) - 1)
        return self._between(latents, begin, end, lasts).T

    def _between(self, latents: Tensor, begin: int, end: int, lasts: Sequence[int]) -> Tensor:
        """Places of the last of these stretches. Args: lasts: the last place of what each of them begins with."""
        if not lasts:
            return latents[begin:end].float()
        scale = self._scales[len(lasts) - 1]
        at = ((torch.arange(begin, end, dtype=torch.float64) + 0.5) / scale - 0.5).clamp(min=0)
        left = at.floor()
        low, high = int(left[0]), min(int(left[-1]) + 1, lasts[-1])
        before: Tensor = self._between(latents, low, high + 1, lasts[:-1])
        share = (at - left).float().to(latents.device)[:, None]
        index = (left.long() - low).to(latents.device)
        following = (index + 1).clamp(max=high - low)
        between: Tensor = before[index] * (1 - share) + before[following] * share
        return between


@dataclass(frozen=True, slots=True)
class Window:
    """What the vocoder makes a piece of.

    Attributes:
        frames: shape (width, t); speaker: shape (1, speaker width, 1).
        begin, end: the frames that are heard; those around them are thrown away.
    """

    frames: Tensor
    speaker: Tensor
    begin: int
    end: int


class Pieces:
    """The sound of one utterance, piece by piece.

    A piece is given out as soon as nothing that follows can change it, in sizes that grow: the first one is short, so
    that it is heard soon, and the later ones are made with less work for each.
    """

    # Frames of a piece, 10.7 ms each; the last number is that of all that follow.
    SIZES = (12, 24, 48)

    def __init__(self, speaker: Tensor, speaking_rate: float = 1.0) -> None:
        """Args: speaker: shape (1, speaker width, 1)."""
        self._speaker = speaker
        self._stretch = Stretch(speaking_rate)
        self._given = 0
        self._number = 0

    @property
    def _size(self) -> int:
        return self.SIZES[min(self._number, len(self.SIZES) - 1)]

    def lacking(self, latents: int) -> int:
        """How many latents more it takes for the next piece, at least 1, if there are so many now."""
        more = 1
        while self._stretch.count(latents + more, is_whole=False) - REACH < self._given + self._size:
            more += 1
        return more

    def take(self, latents: Tensor, *, is_whole: bool) -> Window | None:
        """The next piece, if there is one.

        Args: latents: shape (n, width), all so far; is_whole: none will follow.
        """
        known = self._stretch.count(len(latents), is_whole=is_whole)
        ready = known if is_whole else known - REACH
        end = min(self._given + self._size, ready)
        # A crumb at the end is given out with the piece before it.
        if is_whole and ready - end < REACH:
            end = ready
        if end - self._given < (1 if is_whole else self._size):
            return None
        low, high = max(self._given - REACH, 0), min(end + REACH, known)
        # An end is made with more before it, so that it is as long as a window that comes often.
        low = max(high - min((each for each in usual_windows() if each >= high - low), default=high - low), 0)
        frames = self._stretch.frames(latents, low, high)
        window = Window(frames, self._speaker, self._given - low, end - low)
        self._given, self._number = end, self._number + 1
        return window

    def is_done(self, latents: int) -> bool:
        """Whether all pieces of a whole of so many latents were taken."""
        return self._given >= self._stretch.count(latents, is_whole=True)


@dataclass(frozen=True, slots=True)
class _Recorded:
    """A graph of the vocoder, with what it reads and writes; `frames` and `speakers` as of `Vocoder.forward`."""

    frames: Tensor
    speakers: Tensor
    sound: Tensor
    replay: Callable[[], None]


class Waveforms:
    """The vocoder for pieces of several utterances at once: those of windows as long as each other go together."""

    def __init__(self, vocoder: Vocoder) -> None:
        self._vocoder = vocoder
        self._graphs: dict[tuple[int, int], _Recorded] = {}

    def forget_graphs(self) -> None:
        """Go on without; for a device that replays none."""
        self._graphs.clear()

    @torch.inference_mode()
    @torch.inference_mode()
    def warm_up(self, recorder: Recorder) -> None:
        """Record the usual windows, on a GPU."""
        weight = self._vocoder.conv_pre.weight
        speaker_width = self._vocoder.cond_layer.weight.shape[1]
        for length in sorted(usual_windows(), reverse=True):
            for batch in reversed(_BATCHES):
                frames = weight.new_zeros(batch, weight.shape[1], length)
                speakers = weight.new_zeros(batch, speaker_width, 1)
                sound = weight.new_zeros(batch, length * FRAME_SAMPLES)

                def voice(frames: Tensor = frames, speakers: Tensor = speakers, sound: Tensor = sound) -> None:
                    sound.copy_(self._vocoder(frames, speakers))

                self._graphs[batch, length] = _Recorded(frames, speakers, sound, recorder.record(voice))

    def rehearse(self) -> None:
        """Make a sound that nobody hears, of a length that comes first, and of one that comes seldom."""
        weight, speaker_width = self._vocoder.conv_pre.weight, self._vocoder.cond_layer.weight.shape[1]
        for length in (min(usual_windows()), 9):
            self.of(
                [Window(weight.new_zeros(weight.shape[1], length), weight.new_zeros(1, speaker_width, 1), 0, length)]
            )

    @torch.inference_mode()
    def of(self, windows: Sequence[Window]) -> list[NDArray[np.float32]]:
        """Their sounds, float32, shape (samples,) each, in [-1, 1]. Waits for the device."""
        by_length: dict[int, list[int]] = {}
        for index, window in enumerate(windows):
            by_length.setdefault(window.frames.shape[1], []).append(index)
        sounds: dict[int, NDArray[np.float32]] = {}
        for alike in by_length.values():
            for first in range(0, len(alike), _BATCHES[-1]):
                together = alike[first : first + _BATCHES[-1]]
                whole = self._voiced([windows[index] for index in together]).cpu().numpy()
                for index, sound in zip(together, whole, strict=False):
                    window = windows[index]
                    sounds[index] = sound[window.begin * FRAME_SAMPLES : window.end * FRAME_SAMPLES].copy()
        return [sounds[index] for index in range(len(windows))]

    def _voiced(self, windows: Sequence[Window]) -> Tensor:
        """Args: windows: as long as each other. Returns: a row for each, and maybe more."""
        frames = torch.stack([window.frames for window in windows])
        speakers = torch.cat([window.speaker for window in windows])
        count, _, length = frames.shape
        batch = next(size for size in _BATCHES if size >= count)
        if (recorded := self._graphs.get((batch, length))) is None:
            return self._vocoder(frames, speakers)  # type: ignore[no-any-return]
        recorded.frames[:count], recorded.speakers[:count] = frames, speakers
        recorded.replay()
        return recorded.sound


@cache
def usual_windows() -> frozenset[int]:
    """Frames of all windows but those of very short utterances."""
    sizes = (*Pieces.SIZES, Pieces.SIZES[-1])
    begins = [sum(sizes[:number]) for number in range(len(sizes))]
    return frozenset(size + REACH + min(begin, REACH) for begin, size in zip(begins, sizes, strict=True))
