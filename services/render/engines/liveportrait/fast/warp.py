"""W, rewritten: 3-D convolutions as 2-D ones on slices, batch norm folded, the source's part worked out once.

Slices lie in the batch: a volume of shape (batch, channels, depth, h, w) is a tensor of shape (batch * depth, channels,
h, w). Each step is plain PyTorch, and runs on any device; `triton_warp` replaces some.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
import torch.nn.functional as nnf
from torch import Tensor

from services.render.engines.liveportrait.fast.folding import (
    fold_batch_norm,
    pad_to,
    padded,
    unroll_depth,
    upsampled_kernels,
)
from services.render.engines.liveportrait.warping import (
    KEYPOINT_VARIANCE,
    THIRD_SLOPE,
    DownBlock3d,
    UpBlock3d,
    WarpingNetwork,
    coordinate_grid,
    sample,
)


class Sources(NamedTuple):
    """What W needs of each source, in the type of the convolutions.

    Attributes:
        features: shape (n, depth, height, width, channels), of F.
        compressed: shape (n, depth, height, width, compress): what is warped for the hourglass.
    """

    features: Tensor
    compressed: Tensor


class Convolution(NamedTuple):
    """Args: weight: shape (out, in, h, w); bias: shape (out of the whole layer,), float32."""

    weight: Tensor
    bias: Tensor


class FastWarp:
    """The same function as `WarpingNetwork`, up to rounding."""

    def __init__(self, network: WarpingNetwork, dtype: torch.dtype) -> None:
        """Args: dtype: of the convolutions; keypoints, masks and the deformation are float32."""
        self.dtype = dtype
        dense = network.dense_motion_network
        encoder, decoder = dense.hourglass.encoder, dense.hourglass.decoder
        self.parts = dense.mask.out_channels  # one that stays, and one for each keypoint
        self.compress = Convolution(*(part.float() for part in fold_batch_norm(dense.compress, dense.norm)))
        downs = [cast("DownBlock3d", block) for block in encoder.down_blocks]
        ups = [cast("UpBlock3d", block) for block in decoder.up_blocks]
        self.volume_channels = downs[0].conv.in_channels
        # The hourglass's input holds one feature of all parts after the other, not one part after the other.
        order = torch.arange(self.volume_channels).reshape(self.parts, -1).T.flatten()
        self.down = [self._down(block, order if block is downs[0] else None) for block in downs]
        self.up = [self._up(block) for block in ups]

        # The last layer reads what the way up ends with, and the hourglass's input.
        above = decoder.out_channels - self.volume_channels
        self.outputs = decoder.out_channels
        self.predicted = padded(self.outputs)
        order = torch.cat([torch.arange(above), above + order])
        weight, bias = fold_batch_norm(decoder.conv, decoder.norm)
        self.last_weight = pad_to(weight[:, order], self.predicted, above + padded(self.volume_channels))
        self.last_bias = nnf.pad(bias, (0, self.predicted - len(bias))).float()
        assert dense.mask.bias is not None
        self.mask_weight = pad_to(dense.mask.weight.double(), self.parts, self.predicted)
        self.mask_bias = dense.mask.bias.float()
        assert dense.occlusion.bias is not None
        # By channel and then slice, as published: (1, channels, depth, 7, 7).
        occlusion = torch.unflatten(dense.occlusion.weight.double(), 1, (decoder.out_channels, -1))
        self.occlusion_weight = pad_to(occlusion, 1, self.predicted)
        self.occlusion_bias = dense.occlusion.bias.float()
        weight, bias = fold_batch_norm(network.third.conv, network.third.norm)
        self.third = self._convolution(_by_slice(weight, network.third.conv.in_channels // self.depth), bias)
        assert network.fourth.bias is not None
        self.fourth = self._convolution(network.fourth.weight, network.fourth.bias)
        self._prepare()

    @property
    def depth(self) -> int:
        """Slices of a volume."""
        return self.occlusion_weight.shape[2]

    def _prepare(self) -> None:
        """Bring the last layers' weights into the form in which they run."""
        self.last = self._convolution(unroll_depth(self.last_weight), self.last_bias)
        self.mask = self._convolution(unroll_depth(self.mask_weight), self.mask_bias)
        # By slice and then channel, as slices lie in memory.
        self.occlusion = self._convolution(self.occlusion_weight.transpose(1, 2).flatten(1, 2), self.occlusion_bias)

    def _convolution(self, weight: Tensor, bias: Tensor) -> Convolution:
        return Convolution(
            weight.detach().to(self.dtype).contiguous(memory_format=torch.channels_last), bias.detach().float()
        )

    def _down(self, block: DownBlock3d, order: Tensor | None) -> Convolution:
        weight, bias = fold_batch_norm(block.conv, block.norm)
        if order is not None:
            weight = pad_to(weight[:, order], len(bias), padded(len(order)))
        return self._convolution(unroll_depth(weight), bias)

    def _up(self, block: UpBlock3d) -> Convolution:
        weight, bias = fold_batch_norm(block.conv, block.norm)  # (out, in, 3, 3, 3)
        kernels = upsampled_kernels(weight, 2)  # (2, 2, out, in, 3, 2, 2)
        # Outputs by slice of the kernel, class of rows, class of columns, channel.
        return self._convolution(kernels.permute(4, 0, 1, 2, 3, 5, 6).flatten(0, 3), bias)

    def source(self, feature: Tensor) -> Sources:
        """What is needed of one source. Args: feature: of F, shape (1, channels, depth, height, width)."""
        weight = self.compress.weight.flatten(1)  # (compress, channels)
        by_voxel = feature.float().movedim(1, -1)  # (1, depth, height, width, channels)
        compressed = nnf.relu(by_voxel @ weight.T + self.compress.bias)
        return Sources(by_voxel.to(self.dtype).contiguous(), compressed.to(self.dtype).contiguous())

    def __call__(self, sources: Sources, slots: Tensor, kp_source: Tensor, kp_driving: Tensor) -> Tensor:
        """Move the features of each frame's source.

        Args: slots: shape (batch,), int64, rows of `sources`; kp_source, kp_driving: shape (batch, num_kp, 3), float32.
        Returns: shape (batch, out_channels, height, width).
        """
        x = self.hourglass_input(sources, slots, kp_source, kp_driving)
        levels = [x]
        for convolution in self.down:
            levels.append(self.halve(convolution, levels[-1]))
        x = levels.pop()
        for convolution in self.up:
            x = self.double(convolution, x, levels.pop())
        prediction = self.predict(x)
        moved = self.move(prediction, sources, slots, kp_source, kp_driving)
        return self.finish(moved, self.occlude(prediction))

    def hourglass_input(self, sources: Sources, slots: Tensor, kp_source: Tensor, kp_driving: Tensor) -> Tensor:
        """The difference of the keypoints' bumps, and the compressed features moved with each keypoint.

        Returns: shape (batch * depth, channels, height, width): all parts' bumps, then of each feature all parts.
        """
        compressed = sources.compressed[slots].movedim(-1, 1).float()  # (b, compress, d, h, w)
        depth, height, width = compressed.shape[2:]
        grid = coordinate_grid((depth, height, width), compressed.device)  # (d, h, w, 3)
        bumps = _bumps(grid, kp_driving) - _bumps(grid, kp_source)  # (b, num_kp, d, h, w)
        shift = nnf.pad(kp_source - kp_driving, (0, 0, 1, 0))  # (b, parts, 3)
        places = grid + shift[:, :, None, None, None, :]  # (b, parts, d, h, w, 3)
        # The parts as further slices: one volume is read by all of them.
        moved = sample(compressed, places.flatten(1, 2))  # (b, compress, parts * d, h, w)
        moved = torch.unflatten(moved, 2, (self.parts, depth)).flatten(1, 2)  # (b, compress * parts, d, h, w)
        x = torch.cat([nnf.pad(bumps, (0, 0) * 3 + (1, 0)), moved], dim=1)  # (b, volume_channels, d, h, w)
        x = nnf.pad(x, (0, 0) * 3 + (0, padded(self.volume_channels) - self.volume_channels))
        return self._sliced(x)

    def halve(self, convolution: Convolution, x: Tensor) -> Tensor:
        """A block of the way down. Args: x: shape (batch * depth, in, h, w)."""
        return nnf.avg_pool2d(self._convolved(convolution, x), 2)

    def double(self, convolution: Convolution, x: Tensor, skip: Tensor) -> Tensor:
        """A block of the way up, joined with what the way down gave at its size.

        Args: x: shape (batch * depth, in, h, w); skip: shape (batch * depth, others, 2 h, 2 w).
        """
        height, width = x.shape[2:]
        windows = nnf.conv2d(x, convolution.weight, padding=1)  # (n, 3 * 2 * 2 * out, h + 1, w + 1)
        windows = torch.unflatten(windows, 1, (3, 2, 2, -1))
        rows = [
            torch.stack([windows[:, :, r, c, :, r : r + height, c : c + width] for c in (0, 1)], dim=-1) for r in (0, 1)
        ]
        partial = torch.stack(rows, dim=-3)  # (n, 3, out, h, 2, w, 2)
        partial = partial.flatten(1, 2).flatten(-2).flatten(-3, -2)  # (n, 3 * out, 2 h, 2 w)
        summed = nnf.relu(self._summed(partial, 3) + convolution.bias.to(x.dtype)[:, None, None])
        return torch.cat([summed, skip], dim=1)

    def predict(self, x: Tensor) -> Tensor:
        """The hourglass's last layer. Args: x, returns: shape (batch * depth, predicted, height, width)."""
        return self._convolved(self.last, x)

    def occlude(self, prediction: Tensor) -> Tensor:
        """How much of the source shows. Returns: shape (batch, 1, height, width), float32, in [0, 1]."""
        slices = torch.unflatten(prediction, 0, (-1, self.depth)).flatten(1, 2)  # (b, depth * predicted, h, w)
        weight, bias = self.occlusion
        return torch.sigmoid(nnf.conv2d(slices, weight, padding=3).float() + bias)

    def move(
        self, prediction: Tensor, sources: Sources, slots: Tensor, kp_source: Tensor, kp_driving: Tensor
    ) -> Tensor:
        """Warp the features by the keypoints' shifts, mixed for each voxel.

        Returns: shape (batch, depth * channels, height, width): slices first, then channels.
        """
        weight, bias = self.mask
        partial = nnf.conv2d(prediction, weight, padding=3).float()  # (b * d, 7 * parts, h, w)
        logits = self._summed(partial, 7) + bias[:, None, None]
        mask = torch.unflatten(logits.softmax(dim=1), 0, (-1, self.depth))  # (b, d, parts, h, w)
        shift = nnf.pad(kp_source - kp_driving, (0, 0, 1, 0))  # (b, parts, 3)
        grid = coordinate_grid((self.depth, *mask.shape[-2:]), mask.device)
        # A mask's parts sum to 1: their motions, mixed, are the grid and their shifts, mixed.
        deformation = grid + torch.einsum("bdkhw,bka->bdhwa", mask, shift)
        features = sources.features[slots].movedim(-1, 1).float()  # (b, c, d, h, w)
        moved = sample(features, deformation).transpose(1, 2).flatten(1, 2).to(self.dtype)
        return moved.contiguous(memory_format=torch.channels_last)

    def finish(self, moved: Tensor, occlusion: Tensor) -> Tensor:
        """The two layers after the warp. Returns: shape (batch, out_channels, height, width)."""
        x = nnf.conv2d(moved, self.third.weight, self.third.bias.to(self.dtype), padding=1)
        x = nnf.leaky_relu(x, THIRD_SLOPE)
        return nnf.conv2d(x, self.fourth.weight, self.fourth.bias.to(self.dtype)) * occlusion.to(self.dtype)

    def _convolved(self, convolution: Convolution, x: Tensor) -> Tensor:
        weight, bias = convolution
        partial = nnf.conv2d(x, weight, padding=1)  # (n, 3 * out, h, w)
        return nnf.relu(self._summed(partial, 3) + bias.to(x.dtype)[:, None, None])

    def _summed(self, partial: Tensor, taps: int) -> Tensor:
        """Sum what each slice gives to its neighbours.

        Args: partial: shape (batch * depth, taps * out, h, w): of each slice, by tap.
        Returns: shape (batch * depth, out, h, w).
        """
        by_tap = torch.unflatten(
            torch.unflatten(partial, 0, (-1, self.depth)), 2, (taps, -1)
        )  # (b, d, taps, out, h, w)
        total = by_tap[:, :, taps // 2].clone()
        for tap in range(taps):
            shift = tap - taps // 2
            to, beyond = max(0, -shift), self.depth - max(0, shift)
            if shift and to < beyond:
                total[:, to:beyond] += by_tap[:, to + shift : beyond + shift, tap]
        return total.flatten(0, 1)

    def _sliced(self, volume: Tensor) -> Tensor:
        slices = volume.transpose(1, 2).flatten(0, 1).to(self.dtype)
        return slices.contiguous(memory_format=torch.channels_last)


def _bumps(grid: Tensor, keypoints: Tensor) -> Tensor:
    """As `keypoint_heatmap`; a bump is the product of one along each axis."""
    depth, height, width = grid.shape[:3]
    axes = grid[0, 0, :, 0], grid[0, :, 0, 1], grid[:, 0, 0, 2]
    x, y, z = (
        torch.exp(-0.5 / KEYPOINT_VARIANCE * (axis - keypoints[..., index, None]) ** 2)
        for index, axis in enumerate(axes)
    )  # (b, num_kp, width), (b, num_kp, height), (b, num_kp, depth)
    shape = keypoints.shape[:2]
    return x.reshape(*shape, 1, 1, width) * y.reshape(*shape, 1, height, 1) * z.reshape(*shape, depth, 1, 1)


def _by_slice(weight: Tensor, channels: int) -> Tensor:
    """Inputs in the order of `move`, slices first. Args: weight: shape (out, channels * depth, h, w)."""
    return torch.unflatten(weight, 1, (channels, -1)).transpose(1, 2).flatten(1, 2)
