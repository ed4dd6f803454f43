"""A face that is not told anything lives: blinks, wanders, sways; the same seed lives the same life."""

from __future__ import annotations

import tracemalloc

import numpy as np

from services.render.idle_motion import BLINK_EVERY_S, IdleMotion

FRAME_S = 0.04


def blinks(motion: IdleMotion, until_s: float, step_s: float = 0.005) -> list[tuple[float, float]]:
    """Start and end of each blink."""
    times = np.arange(0.0, until_s, step_s)
    shut = np.array([motion.at(t).blink > 0.02 for t in times])
    edges = np.flatnonzero(np.diff(shut.astype(int)))
    pairs = edges[: len(edges) // 2 * 2].reshape(-1, 2)
    return [(float(times[a]), float(times[b])) for a, b in pairs]


def test_blinks_last_and_come_as_human_ones_do() -> None:
    found = blinks(IdleMotion(1), 120.0)
    lengths = np.array([end - start for start, end in found])
    gaps = np.diff([start for start, _ in found])
    assert lengths.min() > 0.10
    assert lengths.max() < 0.2
    assert gaps.min() > BLINK_EVERY_S[0] - 0.05
    assert gaps.max() < BLINK_EVERY_S[1] + 0.05
    assert gaps.std() > 0.5


def test_every_blink_shuts_the_eye_in_some_frame_at_any_phase() -> None:
    motion = IdleMotion(2)
    for start, end in blinks(motion, 40.0):
        for phase in np.arange(0.0, FRAME_S, 0.005):
            frames = np.arange(start - FRAME_S + phase, end + FRAME_S, FRAME_S)
            assert max(motion.at(t).blink for t in frames) > 0.97


def test_the_same_seed_moves_the_same_whatever_was_asked_before() -> None:
    one, other = IdleMotion(3), IdleMotion(3)
    times = np.arange(0.0, 30.0, 0.37)
    assert [one.at(t) for t in times] == [other.at(t) for t in times[::-1]][::-1]
    assert IdleMotion(4).at(12.3) != one.at(12.3)


def test_the_head_moves_slowly_and_a_little() -> None:
    motion = IdleMotion(5)
    poses = np.array([(p.yaw, p.pitch, p.roll) for p in (motion.at(t).pose for t in np.arange(0.0, 60.0, FRAME_S))])
    assert (np.abs(poses).max(0) < 2.5).all()
    assert (np.ptp(poses, axis=0) > 0.5).all()
    assert np.abs(np.diff(poses, axis=0)).max() / FRAME_S < 3.0


def test_eyes_jump_and_rest_near_the_viewer() -> None:
    motion = IdleMotion(6)
    gaze = np.array([(i.gaze_yaw, i.gaze_pitch) for i in (motion.at(t) for t in np.arange(0.0, 60.0, FRAME_S))])
    assert np.abs(gaze).max() <= 4.0
    moving = (np.abs(np.diff(gaze, axis=0)) > 1e-6).any(1)
    assert 0.01 < moving.mean() < 0.15


def test_a_clock_that_jumps_ahead_by_years_costs_an_hour_of_motion_at_most() -> None:
    motion = IdleMotion(7)
    motion.at(1.0)
    tracemalloc.start()
    for time_s in (3.0e7, 3.2e11, 9.2e18):
        idle = motion.at(time_s)
        assert abs(idle.gaze_yaw) <= 4.0
        assert 0.0 <= idle.blink <= 1.0
        assert IdleMotion(7).at(time_s) == idle
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Each second takes some 100 bytes.
    assert peak_bytes < 4 * 2**20
