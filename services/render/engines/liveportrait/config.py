"""Sizes of the networks: OFFICIAL as they are published, NARROW for tests that take milliseconds on a CPU."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AppearanceConfig:
    """F, the appearance extractor: an image to a volume of `reshape_channel` features in `reshape_depth` slices."""

    block_expansion: int = 64
    num_down_blocks: int = 2
    max_features: int = 512
    reshape_channel: int = 32
    reshape_depth: int = 16
    num_resblocks: int = 6


@dataclass(frozen=True, slots=True)
class MotionConfig:
    """M, the motion extractor: a ConvNeXt V2 with four stages, and a linear head for each quantity."""

    num_kp: int = 21
    depths: tuple[int, int, int, int] = (3, 3, 9, 3)
    dims: tuple[int, int, int, int] = (96, 192, 384, 768)


@dataclass(frozen=True, slots=True)
class DenseMotionConfig:
    """The part of W that finds the deformation: an hourglass over the features, deformed for each keypoint."""

    block_expansion: int = 32
    max_features: int = 1024
    num_blocks: int = 5
    reshape_depth: int = 16
    compress: int = 4


@dataclass(frozen=True, slots=True)
class WarpingConfig:
    """W, the warping network: the feature volume, moved from the source's keypoints to the driven ones."""

    num_kp: int = 21
    block_expansion: int = 64
    max_features: int = 512
    num_down_blocks: int = 2
    reshape_channel: int = 32
    dense_motion: DenseMotionConfig = DenseMotionConfig()

    @property
    def out_channels(self) -> int:
        return self.block_expansion << self.num_down_blocks


@dataclass(frozen=True, slots=True)
class GeneratorConfig:
    """G, the SPADE generator: warped features to an image of eight times their edge."""

    block_expansion: int = 64
    max_features: int = 512
    num_down_blocks: int = 2
    out_channels: int = 64
    # Of each SPADE layer's own two convolutions. The official code knows no other, so NARROW has it too.
    spade_hidden: int = 128

    @property
    def in_channels(self) -> int:
        return min(self.max_features, self.block_expansion << self.num_down_blocks)


@dataclass(frozen=True, slots=True)
class MlpConfig:
    """One of the three small networks on keypoints: stitching, eyes, lip."""

    input_size: int
    hidden_sizes: tuple[int, ...]
    output_size: int


@dataclass(frozen=True, slots=True)
class LivePortraitConfig:
    """All networks. Raises: ValueError if one does not fit the next.

    Attributes:
        image_size: edge of the image that F and M read; the networks are convolutional, no weight depends on it.
    """

    image_size: int = 256
    appearance: AppearanceConfig = AppearanceConfig()
    motion: MotionConfig = MotionConfig()
    warping: WarpingConfig = WarpingConfig()
    generator: GeneratorConfig = GeneratorConfig()
    # Both sets of keypoints to a shift of each driven one, and of all together in x and y.
    stitching: MlpConfig = MlpConfig(2 * 63, (128, 128, 64), 63 + 2)
    # Keypoints, the two ratios of the source's eyes and the wanted one.
    eye: MlpConfig = MlpConfig(63 + 3, (256, 256, 128, 128, 64), 63)
    # Keypoints, the ratio of the source's lips and the wanted one.
    lip: MlpConfig = MlpConfig(63 + 2, (128, 128, 64), 63)

    @property
    def feature_size(self) -> int:
        """Height and width of the feature volume."""
        return self.image_size >> self.appearance.num_down_blocks

    @property
    def output_size(self) -> int:
        """Edge of the image that G draws: doubled by each of `up_0`, `up_1` and the last shuffle of pixels."""
        return 8 * self.feature_size

    @property
    def volume(self) -> tuple[int, int, int, int]:
        """(channels, depth, height, width) of the feature volume."""
        f = self.appearance
        return f.reshape_channel, f.reshape_depth, self.feature_size, self.feature_size

    def __post_init__(self) -> None:
        f, w, g = self.appearance, self.warping, self.generator
        width = 3 * self.motion.num_kp
        fits = {
            "F's max_features are its volume's channels times depth": f.max_features
            == f.reshape_channel * f.reshape_depth,
            "W reads F's volume": (w.reshape_channel, w.max_features, w.dense_motion.reshape_depth)
            == (f.reshape_channel, f.max_features, f.reshape_depth),
            "G reads what W gives": g.in_channels == w.out_channels,
            "W takes M's keypoints": w.num_kp == self.motion.num_kp,
            "stitching takes two sets of keypoints and gives one and a shift": (
                self.stitching.input_size,
                self.stitching.output_size,
            )
            == (2 * width, width + 2),
            "the eyes' network takes keypoints and three ratios": (self.eye.input_size, self.eye.output_size)
            == (width + 3, width),
            "the lip's network takes keypoints and two ratios": (self.lip.input_size, self.lip.output_size)
            == (width + 2, width),
            "the image's edge is a multiple of 32, the stride of M": self.image_size % 32 == 0 < self.image_size,
            "the hourglass halves the volume's edge without a rest": self.feature_size
            % (1 << w.dense_motion.num_blocks)
            == 0,
        }
        wrong = [rule for rule, holds in fits.items() if not holds]
        if wrong:
            raise ValueError(f"these sizes do not fit together: {'; '.join(wrong)}")


OFFICIAL = LivePortraitConfig()

# Shaped as the official one, with as few channels, slices and pixels as keep every layer's work visible.
NARROW = LivePortraitConfig(
    image_size=32,
    appearance=AppearanceConfig(4, 2, 32, 8, 4, 2),
    motion=MotionConfig(21, (1, 1, 2, 1), (8, 16, 24, 32)),
    warping=WarpingConfig(21, 4, 32, 2, 8, DenseMotionConfig(4, 12, 2, 4, 3)),
    generator=GeneratorConfig(4, 32, 2, 4),
    stitching=MlpConfig(126, (16, 16, 8), 65),
    eye=MlpConfig(66, (16, 16, 8, 8, 8), 63),
    lip=MlpConfig(65, (16, 16, 8), 63),
)
