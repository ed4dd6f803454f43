"""W with Triton's kernels: tensor-core convolutions of its widest layers, and one pass for each step between them."""

from __future__ import annotations

import torch
import torch.nn.functional as nnf
from torch import Tensor

from services.render.engines.liveportrait.fast.folding import pad_to, unroll_depth
from services.render.engines.liveportrait.fast.kernels import volume
from services.render.engines.liveportrait.fast.kernels.convolve import After, Term, convolve, terms_of
from services.render.engines.liveportrait.fast.warp import Convolution, FastWarp, Sources
from services.render.engines.liveportrait.warping import KEYPOINT_VARIANCE, THIRD_SLOPE

_MASK_TAPS = 7
_OCCLUSION_TAPS = 7
# What a program of the passes takes.
_ELEMENTS = 1024
_PIXELS = 32
_PARTS = 8
_OUTPUTS = 64


class TritonWarp(FastWarp):
    """The same function as `FastWarp`, up to rounding."""

    def _prepare(self) -> None:
        # What each slice gives to its neighbours: (3 * predicted, inputs, 1, 3, 3).
        self.last_terms = self._terms(unroll_depth(self.last_weight)[:, :, None])
        # What each voxel gives to the masks of the slices and rows around: (taps * parts, predicted, 1, 1, 7).
        mask = self.mask_weight.permute(2, 3, 0, 1, 4).flatten(0, 2)[:, :, None, None]
        self.mask_terms = self._terms(mask)
        # What each pixel gives, from all slices, to the occlusion of the pixels around: (taps, predicted, depth, 1, 1).
        occlusion = self.occlusion_weight[0].flatten(2).movedim(2, 0)[..., None, None]
        self.occlusion_terms = self._terms(occlusion, origin=0)
        self.third_terms = terms_of(self.third.weight[:, :, None], self.dtype)
        self.fourth_terms = terms_of(self.fourth.weight[:, :, None], self.dtype)

    def _terms(self, weight: Tensor, origin: int | None = None) -> tuple[Term, ...]:
        """As `terms_of`, with outputs up to a multiple of the smallest tile that is fast."""
        outputs = -(-len(weight) // _OUTPUTS) * _OUTPUTS
        return terms_of(pad_to(weight, outputs, weight.shape[1]), self.dtype, origin)

    def hourglass_input(self, sources: Sources, slots: Tensor, kp_source: Tensor, kp_driving: Tensor) -> Tensor:
        _, depth, height, width, _ = sources.compressed.shape
        images = len(slots)
        channels = self.down[0].weight.shape[1]
        out = sources.features.new_empty((images * depth, height, width, channels))
        volume.hourglass_input_kernel[(images * depth * height, -(-self.parts // _PARTS))](
            sources.compressed.view(torch.int64),
            slots,
            kp_source,
            kp_driving,
            out,
            depth,
            height,
            self.parts,
            channels,
            width,
            0.5 / KEYPOINT_VARIANCE,
            _PARTS,
        )
        return out.permute(0, 3, 1, 2)

    def halve(self, convolution: Convolution, x: Tensor) -> Tensor:
        partial = _channels_last(nnf.conv2d(x, convolution.weight, padding=1))
        return self._summed_slices(partial, convolution.bias, 2)

    def predict(self, x: Tensor) -> Tensor:
        volume_ = self._volume(x)
        partial, _ = convolve([(volume_, term) for term in self.last_terms], After())
        return self._summed_slices(partial[0].flatten(0, 1), self.last_bias, 1)

    def _summed_slices(self, partial: Tensor, bias: Tensor, pool: int) -> Tensor:
        """Args: partial: shape (batch * depth, h, w, 3 * out or more)."""
        slices, height, width, stride = partial.shape
        height, width, channels = height // pool, width // pool, len(bias)
        out = partial.new_empty((slices, height, width, channels))
        volume.slices_kernel[(-(-out.numel() // _ELEMENTS),)](
            partial, bias, out, out.numel(), self.depth, height, width, stride, channels, pool, _ELEMENTS
        )
        return out.permute(0, 3, 1, 2)

    def double(self, convolution: Convolution, x: Tensor, skip: Tensor) -> Tensor:
        partial = nnf.conv2d(x, convolution.weight, padding=1)
        slices, skip_channels, height, width = skip.shape
        channels = len(convolution.bias)
        out = x.new_empty((slices, height, width, channels + skip_channels))
        volume.join_kernel[(-(-out.numel() // _ELEMENTS),)](
            _channels_last(partial),
            convolution.bias,
            _channels_last(skip),
            out,
            out.numel(),
            self.depth,
            height,
            width,
            channels,
            skip_channels,
            _ELEMENTS,
        )
        return out.permute(0, 3, 1, 2)

    def occlude(self, prediction: Tensor) -> Tensor:
        volume_ = self._volume(prediction)
        partial, _ = convolve([(volume_, term) for term in self.occlusion_terms], After(dtype=torch.float32), depth=1)
        images, height, width, outputs = partial[0].squeeze(1).shape
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

    def move(
        self, prediction: Tensor, sources: Sources, slots: Tensor, kp_source: Tensor, kp_driving: Tensor
    ) -> Tensor:
        volume_ = self._volume(prediction)
        partial, _ = convolve([(volume_, term) for term in self.mask_terms], After())
        images, depth, height, width, _ = volume_.shape
        channels = sources.features.shape[-1]
        out = prediction.new_empty((images, height, width, depth * channels))
        partial = partial.view(torch.int32)
        volume.move_kernel[(images * depth * height * width // _PIXELS,)](
            partial,
            self.mask_bias,
            sources.features.view(torch.int32),
            slots,
            kp_source,
            kp_driving,
            out,
            depth,
            height,
            width,
            partial.shape[-1],
            self.parts,
            _MASK_TAPS,
            channels,
            _power_of_2(self.parts // 2),
            _PIXELS,
        )
        return out.permute(0, 3, 1, 2)

    def finish(self, moved: Tensor, occlusion: Tensor) -> Tensor:
        x = _channels_last(moved)[:, None]  # (b, 1, h, w, depth * channels)
        x, _ = convolve([(x, term) for term in self.third_terms], After(bias=self.third.bias, slope=THIRD_SLOPE))
        after = After(bias=self.fourth.bias, pixel_scale=occlusion)
        x, _ = convolve([(x[0], term) for term in self.fourth_terms], after)
        return x[0, :, 0].permute(0, 3, 1, 2)

    def _volume(self, slices: Tensor) -> Tensor:
        """(batch * depth, channels, h, w) as (batch, depth, h, w, channels)."""
        return torch.unflatten(_channels_last(slices), 0, (-1, self.depth))


def _channels_last(x: Tensor) -> Tensor:
    """(n, channels, h, w) as (n, h, w, channels), which is how cuDNN leaves it in memory: nothing is moved."""
    return x.permute(0, 2, 3, 1).contiguous()


def _power_of_2(number: int) -> int:
    return 1 << (number - 1).bit_length()
