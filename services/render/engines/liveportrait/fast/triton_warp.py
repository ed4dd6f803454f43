"""W with Triton's kernels: tensor-core convolutions of its widest layers, and one pass for each step between them."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as nnf
from torch import Tensor

from services.render.engines.liveportrait.fast.folding import pad_to
from services.render.engines.liveportrait.fast.kernels import volume
from services.render.engines.liveportrait.fast.kernels.convolve import (
    NEIGHBOUR_CHANNELS,
    QUAD,
    After,
    Term,
    convolve,
    neighbours_term,
    term_of,
)
from services.render.engines.liveportrait.fast.warp import Convolution, FastWarp, Sources
from services.render.engines.liveportrait.warping import KEYPOINT_VARIANCE, THIRD_SLOPE

_MASK_TAPS = 7
_LAST_TAPS = 3
_OCCLUSION_TAPS = 7
# What a program of the passes takes.
_ELEMENTS = 1024
_PIXELS = 32
_PARTS = 8
# The smallest tile of outputs that is fast.
_OUTPUTS = 64
# Inputs that are read at once; the others are few, and are read with their neighbours'.
_WHOLE = 64


class Volume(NamedTuple):
    """Slices of many channels.

    Attributes:
        main: shape (batch, depth, height, width, a multiple of 64), the first channels.
        rest: shape (batch, depth, height, width + 8, 4 * 16), the others as `neighbours_kernel` lays them out.
    """

    main: Tensor
    rest: Tensor


class TritonWarp(FastWarp):
    """The same function as `FastWarp`, up to rounding."""

    def _prepare(self) -> None:
        # Of the last layer, what comes first is computed as it is, (main, inputs, 3, 3, 3). Of the others it is what
        # each row gives to slices and rows around, (3 * 3 * others, inputs, 1, 1, 3).
        self.main = self.last_weight.shape[0] // _WHOLE * _WHOLE
        self.others = self.outputs - self.main
        self.last_main = self._terms(self.last_weight[: self.main])
        self.last_main_bias = self.last_bias[: self.main].contiguous()
        self.last_others = self._terms(_by_line(self.last_weight[self.main : self.outputs]))
        self.last_others_bias = self.last_bias[self.main : self.outputs].contiguous()
        # The mask as `move_kernel` has it: what each voxel gives to slices around, by tap of slices and part.
        mask = self.mask_weight.movedim(2, 0).flatten(0, 1)  # (7 * parts, predicted, 7, 7)
        self.near = len(mask) // _WHOLE * _WHOLE
        self.mask_near = self._terms(mask[: self.near, :, None])
        self.mask_far = self._terms(_by_line(mask[self.near :, :, None]))
        # What each pixel gives, from all slices, to the occlusion of the pixels around: (taps, predicted, depth, 1, 1).
        occlusion = self.occlusion_weight[0].flatten(2).movedim(2, 0)[..., None, None]
        self.occlusion_terms = self._terms(occlusion, origin_d=0)
        self.third_term = term_of(self.third.weight[:, :, None], self.dtype)
        self.fourth_term = term_of(self.fourth.weight[:, :, None], self.dtype)

    def _terms(self, weight: Tensor, origin_d: int | None = None) -> tuple[Term, Term]:
        """For a `Volume`, with outputs up to a multiple of the smallest tile.

        Args: weight: shape (out, in, depth, height, width).
        """
        weight = pad_to(weight, -(-len(weight) // _OUTPUTS) * _OUTPUTS, weight.shape[1])
        whole = weight.shape[1] // _WHOLE * _WHOLE
        return (
            term_of(weight[:, :whole], self.dtype, origin_d),
            neighbours_term(weight[:, whole:], self.dtype, origin_d),
        )

    def __call__(self, sources: Sources, slots: Tensor, kp_source: Tensor, kp_driving: Tensor) -> Tensor:
        x = self.hourglass_input(sources, slots, kp_source, kp_driving)
        levels = [x]
        for convolution in self.down:
            levels.append(self.halve(convolution, levels[-1]))
        x = levels.pop()
        for convolution in self.up[:-1]:
            x = self.double(convolution, x, levels.pop())
        prediction = self._predicted(self._top(self.up[-1], x, levels.pop()))
        moved = self._moved(prediction, sources, slots, kp_source, kp_driving)
        return self.finish(moved, self._occlusion_of(prediction))

    def hourglass_input(self, sources: Sources, slots: Tensor, kp_source: Tensor, kp_driving: Tensor) -> Tensor:
        _, depth, height, width, features = sources.compressed.shape
        images = len(slots)
        channels = self.down[0].weight.shape[1]
        out = sources.features.new_empty((images * depth, height, width, channels))
        volume.hourglass_input_kernel[(-(-self.parts // _PARTS), images * depth * height)](
            sources.compressed,
            slots,
            kp_source,
            kp_driving,
            out,
            depth,
            height,
            self.parts,
            channels,
            width,
            features,
            0.5 / KEYPOINT_VARIANCE,
            _PARTS,
        )
        return out.permute(0, 3, 1, 2)

    def halve(self, convolution: Convolution, x: Tensor) -> Tensor:
        partial = _channels_last(nnf.conv2d(x, convolution.weight, padding=1))
        slices, height, width, _ = partial.shape
        height, width, channels = height // 2, width // 2, len(convolution.bias)
        out = partial.new_empty((slices, height, width, channels))
        volume.halve_kernel[(-(-out.numel() // _ELEMENTS),)](
            partial, convolution.bias, out, out.numel(), self.depth, height, width, channels, _ELEMENTS
        )
        return out.permute(0, 3, 1, 2)

    def double(self, convolution: Convolution, x: Tensor, skip: Tensor) -> Tensor:
        return self._joined(convolution, x, skip, len(convolution.bias) + skip.shape[1]).permute(0, 3, 1, 2)

    def _joined(self, convolution: Convolution, x: Tensor, skip: Tensor, joined: int) -> Tensor:
        """The first channels of `double`. Returns: shape (batch * depth, h, w, joined)."""
        partial = nnf.conv2d(x, convolution.weight, padding=1)
        slices, skip_channels, height, width = skip.shape
        out = x.new_empty((slices, height, width, joined))
        volume.join_kernel[(-(-out.numel() // _ELEMENTS),)](
            _channels_last(partial),
            convolution.bias,
            _channels_last(skip),
            out,
            out.numel(),
            self.depth,
            height,
            width,
            len(convolution.bias),
            skip_channels,
            joined,
            _ELEMENTS,
        )
        return out

    def _top(self, convolution: Convolution, x: Tensor, skip: Tensor) -> Volume:
        """As `double`, for the last layer."""
        channels = len(convolution.bias) + skip.shape[1]
        main = channels // _WHOLE * _WHOLE
        rest = self._neighbours(_channels_last(skip), None, main - len(convolution.bias), channels - main, 1)
        return Volume(self._by_image(self._joined(convolution, x, skip, main)), self._by_image(rest))

    def _predicted(self, x: Volume) -> Volume:
        main, _ = convolve(list(zip(x, self.last_main, strict=True)), After(bias=self.last_main_bias, slope=0.0))
        given, _ = convolve(list(zip(x, self.last_others, strict=True)), After())
        rest = self._neighbours(given.flatten(0, 1), self.last_others_bias, 0, self.others, _LAST_TAPS)
        return Volume(main, self._by_image(rest))

    def _neighbours(self, source: Tensor, bias: Tensor | None, channel: int, channels: int, taps: int) -> Tensor:
        """Args: source: shape (batch * depth, h, w, stride). Returns: shape (batch * depth, h, w + 8, 4 * 16)."""
        slices, height, width, stride = source.shape
        wide = width + 2 * QUAD
        out = source.new_empty((slices, height, wide, QUAD * NEIGHBOUR_CHANNELS))
        block_x = 16
        volume.neighbours_kernel[(-(-(wide + QUAD) // block_x), slices * height)](
            source, bias, out, self.depth, height, width, stride, channel, channels, taps, QUAD, block_x,
            NEIGHBOUR_CHANNELS,
        )  # fmt: skip
        return out

    def _occlusion_of(self, prediction: Volume) -> Tensor:
        """Returns: shape (batch, 1, h, w), float32."""
        parts = list(zip(prediction, self.occlusion_terms, strict=True))
        partial, _ = convolve(parts, After(dtype=torch.float32), depth=1)
        images, _, height, width, outputs = partial.shape
        out = partial.new_empty((images, 1, height, width))
        volume.occlusion_kernel[(-(-out.numel() // _PIXELS),)](
            partial,
            self.occlusion_bias,
            out,
            out.numel(),
            height,
            width,
            outputs,
            _OCCLUSION_TAPS,
            _PIXELS,
            _power_of_2(_OCCLUSION_TAPS**2),
        )
        return out

    def _moved(
        self, prediction: Volume, sources: Sources, slots: Tensor, kp_source: Tensor, kp_driving: Tensor
    ) -> Tensor:
        near, _ = convolve(list(zip(prediction, self.mask_near, strict=True)), After())
        far, _ = convolve(list(zip(prediction, self.mask_far, strict=True)), After())
        images, depth, height, width, _ = near.shape
        channels = sources.features.shape[-1]
        out = near.new_empty((images, height, width, depth * channels))
        volume.move_kernel[(images * depth * height * width // _PIXELS,)](
            near.view(torch.int32),
            far.view(torch.int32),
            self.mask_bias,
            sources.features.view(torch.int32),
            slots,
            kp_source,
            kp_driving,
            out,
            depth,
            height,
            width,
            near.shape[-1] // 2,
            far.shape[-1] // 2,
            self.parts,
            _MASK_TAPS,
            channels,
            _power_of_2(self.parts // 2),
            _PIXELS,
        )
        return out.permute(0, 3, 1, 2)

    def finish(self, moved: Tensor, occlusion: Tensor) -> Tensor:
        x = _channels_last(moved)[:, None]  # (b, 1, h, w, depth * channels)
        x, _ = convolve([(x, self.third_term)], After(bias=self.third.bias, slope=THIRD_SLOPE))
        x, _ = convolve([(x, self.fourth_term)], After(bias=self.fourth.bias, pixel_scale=occlusion))
        return x[:, 0].permute(0, 3, 1, 2)

    def _by_image(self, slices: Tensor) -> Tensor:
        """(batch * depth, ...) as (batch, depth, ...)."""
        return torch.unflatten(slices, 0, (-1, self.depth))


def _by_line(weight: Tensor) -> Tensor:
    """What each row gives to slices and rows around. Args: weight: shape (out, in, depth, height, width).

    Returns: shape (depth * height * out, in, 1, 1, width).
    """
    return weight.permute(2, 3, 0, 1, 4).flatten(0, 2)[:, :, None, None]


def _channels_last(x: Tensor) -> Tensor:
    """(n, channels, h, w) as (n, h, w, channels), which is how cuDNN leaves it in memory: nothing is moved."""
    return x.permute(0, 2, 3, 1).contiguous()


def _power_of_2(number: int) -> int:
    return 1 << (number - 1).bit_length()
