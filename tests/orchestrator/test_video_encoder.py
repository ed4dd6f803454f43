"""H.264 whose bitrate changes without a restart and whose key frames come on request."""

from __future__ import annotations

import av
import numpy as np
import pytest

from orchestrator.video_encoder import MAX_BITRATE, PRESETS, VideoEncoder, choose_preset

SIZE, FPS = 256, 25


def noisy_pictures(count: int) -> list[bytes]:
    """Pictures that cost bits: every one has grain of its own."""
    rng = np.random.default_rng(1)
    return [rng.integers(60, 190, SIZE * SIZE * 3 // 2, np.uint8).tobytes() for _ in range(count)]


def test_a_change_of_bitrate_takes_effect_without_a_key_frame() -> None:
    encoder = VideoEncoder(SIZE, FPS, "superfast")
    packets = []
    for index, picture in enumerate(noisy_pictures(80)):
        if index == 40:
            encoder.set_bitrate(300_000)
        packets.append(encoder.encode(picture, index * 3600, key_frame=False))
    kbits = [sum(p.size for p in part) * 8 * FPS / len(part) / 1000 for part in (packets[10:40], packets[55:])]
    assert kbits[0] == pytest.approx(MAX_BITRATE / 1000, rel=0.3)
    assert kbits[1] == pytest.approx(300, rel=0.4)
    assert [p.is_keyframe for p in packets] == [True] + 79 * [False]


def test_a_key_frame_comes_when_it_is_asked_for_and_can_be_decoded_alone() -> None:
    encoder = VideoEncoder(SIZE, FPS, "superfast")
    packets = [
        encoder.encode(picture, index * 3600, key_frame=index == 7) for index, picture in enumerate(noisy_pictures(10))
    ]
    assert [index for index, p in enumerate(packets) if p.is_keyframe] == [0, 7]
    decoder = av.CodecContext.create("h264", "r")
    shown = [frame for packet in packets[7:] for frame in decoder.decode(packet)] + list(decoder.decode(None))
    assert len(shown) == 3
    assert [p.pts for p in packets] == [index * 3600 for index in range(10)]


def test_the_preset_is_chosen_by_what_was_measured() -> None:
    preset, measured_ms = choose_preset(SIZE, FPS)
    assert preset in PRESETS
    assert preset == list(measured_ms)[-1]
    assert all(time_ms > 0 for time_ms in measured_ms.values())
