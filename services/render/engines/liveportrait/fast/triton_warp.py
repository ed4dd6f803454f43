"""W with Triton's kernels: tensor-core convolutions of its widest layers, and one pass for each step between them."""

from __future__ import annotations

import torch
import torch.nn.functional as nnf
from torch import Tensor

from services.render.engines.liveportrait.fast.folding import pad_to, unroll_depth
from services.render.engines.liveportrait.fast.kernels import volume
from services.render.engines.liveportrait.fast.kernels.convolve import After, convolve, terms_of
from services.render.engines.liveportrait.fast.warp import Convolution, FastWarp, Sources
from services.render.engines.liveportrait.warping import KEYPOINT_VARIANCE, THIRD_SLOPE

_MASK_TAPS = 7
_OCCLUSION_TAPS = 7
# What a program of the passes takes: voxels, and channels at most.
_BLOCK_M = 32
_BLOCK_C = 64


class TritonWarp(FastWarp):
    """The same function as `FastWarp`, up to rounding."""

    def _prepare(self) -> None:
        self.last = self._convolution(unroll_depth(self.last_weight), self.last_bias)
        # What each voxel gives to the masks of the slices and rows around: (taps * parts, predicted, 1, 1, 7).
        mask = self.mask_weight.permute(2, 3, 0, 1, 4).flatten(0, 2)[:, :, None, None]
        self.mask_outputs = -(-len(mask) // 128) * 128
        self.mask_terms = terms_of(pad_to(mask, self.mask_outputs, self.predicted), self.dtype)
        # What each pixel gives, from all slices, to the occlusion of the pixels around: (taps, predicted, depth, 1, 1).
        occlusion = self.occlusion_weight[0].flatten(2).movedim(2, 0)[..., None, None]
        self.occlusion_terms = terms_of(pad_to(occlusion, 64, self.predicted), self.dtype, origin=0)
        self.third_terms = terms_of(self.third.weight[:, :, None], self.dtype)
        self.fourth_terms = terms_of(self.fourth.weight[:, :, None], self.dtype)

    def hourglass_input(self, sources: Sources, slots: Tensor, kp_source: Tensor, kp_driving: Tensor) -> Tensor:
        _, depth, height, width, features = sources.compressed.shape
        images = len(slots)
        channels = self.down[0].weight.shape[1]
        out = sources.features.new_empty((images * depth, height, width, channels))
        block_x = 16
        volume.hourglass_input_kernel[(images * depth * height, width // block_x)](
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
            _power_of_2(self.parts),
            block_x,
        )
        return out.permute(0, 3, 1, 2)

    def halve(self, convolution: Convolution, x: Tensor) -> Tensor:
        return self._summed_slices(nnf.conv2d(x, convolution.weight, padding=1), convolution.bias, 2)

    def predict(self, x: Tensor) -> Tensor:
        return self._summed_slices(nnf.conv2d(x, self.last.weight, padding=1), self.last.bias, 1)

    def _summed_slices(self, partial: Tensor, bias: Tensor, pool: int) -> Tensor:
        slices, channels, height, width = len(partial), len(bias), partial.shape[2] // pool, partial.shape[3] // pool
        out = partial.new_empty((slices, height, width, channels))
        voxels = slices * height * width
        block_c = min(_BLOCK_C, _power_of_2(channels))
        volume.slices_kernel[(-(-voxels // _BLOCK_M), -(-channels // block_c))](
            _channels_last(partial), bias, out, voxels, self.depth, height, width, channels, pool, _BLOCK_M, block_c
        )
        return out.permute(0, 3, 1, 2)

    def double(self, convolution: Convolution, x: Tensor, skip: Tensor) -> Tensor:
        partial = nnf.conv2d(x, convolution.weight, padding=1)
        slices, skip_channels, height, width = skip.shape
        channels = len(convolution.bias)
        out = x.new_empty((slices, height, width, channels + skip_channels))
        voxels = slices * height * width
        volume.join_kernel[(-(-voxels // _BLOCK_M), -(-out.shape[3] // _BLOCK_C))](
            _channels_last(partial),
            convolution.bias,
            _channels_last(skip),
            out,
            voxels,
            self.depth,
            height,
            width,
            channels,
            skip_channels,
            _BLOCK_M,
            _BLOCK_C,
        )
        return out.permute(0, 3, 1, 2)

    def occlude(self, prediction: Tensor) -> Tensor:
        volume_ = self._volume(prediction)
        partial, _ = convolve([(volume_, term) for term in self.occlusion_terms], After(dtype=torch.float32), depth=1)
        images, height, width, outputs = partial[0].squeeze(1).shape
        out = partial.new_empty((images, 1, height, width))
        volume.occlusion_kernel[(-(-out.numel() // _BLOCK_M),)](
            partial,
            self.occlusion_bias,
            out,
            out.numel(),
            height,
            width,
            outputs,
            _OCCLUSION_TAPS,
            _BLOCK_M,
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
        block_x = 32
        volume.move_kernel[(images * depth * height * width // block_x,)](
            partial,
            self.mask_bias,
            sources.features,
            slots,
            kp_source,
            kp_driving,
            out,
            depth,
            height,
            width,
            self.parts,
            self.mask_outputs,
            _MASK_TAPS,
            channels,
            _power_of_2(self.parts),
            block_x,
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
