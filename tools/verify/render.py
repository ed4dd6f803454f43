"""`avatar verify render`: draws a face in every way that it can look, measures it by landmarks, and writes a report."""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from rich.console import Console

from services.common.settings import read
from services.render import engines
from services.render.avatars import AvatarStore, avatar_id_of
from services.render.engine import (
    MARGIN,
    MAX_SIZE,
    FaceState,
    FrameJob,
    FrameRgb,
    Portrait,
    PreparedAvatar,
    RenderEngine,
    VideoCodec,
)
from services.render.landmarks import FaceLandmarker
from services.render.settings import RenderSettings
from services.render.visemes import Viseme, shape_of
from tools.verify.check import Check, judged, not_measured
from tools.verify.face_measures import FaceMeasures, measures_of
from tools.verify.lip_gain import GAINS, LipGain, fit
from tools.verify.looks import Seen, looks
from tools.verify.render_checks import checks_of, lips_checks, lips_of
from tools.verify.report import Figure, Sheet, Table, write_report

if TYPE_CHECKING:
    from services.render.engines.liveportrait.engine import LivePortraitEngine

# Mouth shapes that part the lips far enough for a gain to be seen.
_OPEN_SHAPES = (Viseme.AA, Viseme.E, Viseme.OH, Viseme.IH)
_REAL_TIME_MS = 40.0
_SPEED_S, _SPEED_DRAWS = 1.0, 50
_MIN_PSNR_DB = 45.0
# What is behind on its way to the fast path: compiling on a first start takes a minute.
_SETTLE_S = 240.0


class Sitting:
    """One engine, one portrait, and the landmarks by which its pictures are measured."""

    def __init__(self, engine: RenderEngine, portrait: Portrait, landmarker: FaceLandmarker) -> None:
        self.engine = engine
        self.prepared = engine.prepare(portrait)
        self.landmarker = landmarker

    def draw(self, states: Sequence[FaceState], prepared: PreparedAvatar | None = None) -> list[FrameRgb]:
        """Pictures of these states, shape (512, 512, 3) each. Args: prepared: another than the portrait as it is."""
        jobs = [FrameJob(prepared or self.prepared, state, MAX_SIZE, VideoCodec.I420) for state in states]
        size = self.engine.capabilities.max_batch
        parts = (self.engine.draw(jobs[start : start + size]) for start in range(0, len(jobs), size))
        return [_rgb_of(frame) for part in parts for frame in part]

    def measure(self, picture: FrameRgb) -> FaceMeasures | None:
        """None where no face is found."""
        faces = self.landmarker.find(picture)
        return measures_of(faces[0].points) if faces else None

    def see(self) -> list[Seen]:
        """Every look, drawn and measured."""
        wanted = list(looks())
        pictures = self.draw([look.state for look in wanted])
        return [Seen(look, each, self.measure(each)) for look, each in zip(wanted, pictures, strict=True)]


def _rgb_of(i420: bytes) -> FrameRgb:
    planes = np.frombuffer(i420, np.uint8).reshape(MAX_SIZE * 3 // 2, MAX_SIZE)
    return cv2.cvtColor(planes, cv2.COLOR_YUV2RGB_I420).astype(np.uint8)


def speed(sitting: Sitting) -> tuple[Check, Table]:
    """Milliseconds of a frame in batches of each size, and whether one face keeps up with its sound."""
    rows: list[tuple[float, float, float]] = []
    for size in sitting.engine.capabilities.batch_sizes:
        jobs = [FrameJob(sitting.prepared, FaceState(), MAX_SIZE, VideoCodec.I420)] * size
        sitting.engine.draw(jobs)
        spent_s: list[float] = []
        while sum(spent_s) < _SPEED_S and len(spent_s) < _SPEED_DRAWS:
            begin_s = time.perf_counter()
            sitting.engine.draw(jobs)
            spent_s.append(time.perf_counter() - begin_s)
        each_s = statistics.median(spent_s) / size
        rows.append((size, 1000 * each_s, 1 / each_s))
    found = f"a frame alone takes {rows[0][1]:.1f} ms (median); 25 frames per second leave {_REAL_TIME_MS:g} ms for it"
    check = judged("one face keeps up with its sound", passed=rows[0][1] <= _REAL_TIME_MS, found=found)
    return check, Table("Speed", ("frames drawn at once", "ms a frame", "frames/s"), rows)


def precision(sitting: Sitting, portrait: Portrait, folder: Path, compiled: Path) -> Check:
    """Pictures of the engine as it draws, against those of float32 on the CPU; takes seconds for each."""
    from services.render.engines.liveportrait.engine import LivePortraitEngine

    name = "float16 shows what float32 shows"
    if sitting.engine.path == "cpu plain":
        return not_measured(name, "the CPU draws in float32 itself; it takes a GPU")
    exact = LivePortraitEngine(folder, "cpu", 2, compiled)
    try:
        states = [FaceState(), FaceState(shape_of(Viseme.AA)), FaceState(shape_of(Viseme.OU))]
        wanted = Sitting(exact, portrait, sitting.landmarker).draw(states)
    finally:
        exact.close()
    worst = min(psnr_db(a, b) for a, b in zip(sitting.draw(states), wanted, strict=True))
    found = f"{worst:.1f} dB at worst over {len(states)} pictures; at least {_MIN_PSNR_DB:g}"
    return judged(name, passed=worst >= _MIN_PSNR_DB, found=found)


def psnr_db(a: FrameRgb, b: FrameRgb) -> float:
    """Peak signal to noise ratio of two pictures; infinite for equal ones."""
    error = float(((a.astype(np.float64) - b) ** 2).mean())
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def fitted_gain(sitting: Sitting, engine: LivePortraitEngine) -> LipGain | None:
    """How far the portrait's lips must be driven to part as far as is asked; None where it cannot be measured."""
    from services.render.engines.liveportrait.engine import LivePortraitAvatar
    from services.render.engines.liveportrait.expression import asked_lip_ratio

    assert isinstance(sitting.prepared, LivePortraitAvatar)
    shapes = [shape_of(viseme) for viseme in _OPEN_SHAPES]
    measured = np.full((len(GAINS), len(shapes)), np.nan)
    for row, gain in enumerate(GAINS):
        pictures = sitting.draw([FaceState(shape) for shape in shapes], engine.with_gain(sitting.prepared, gain))
        for column, picture in enumerate(pictures):
            if found := sitting.measure(picture):
                measured[row, column] = found.lips
    return fit(measured, [asked_lip_ratio(shape) for shape in shapes])


def _gain_check(gain: LipGain | None, *, is_kept: bool) -> Check:
    name = "how far the lips are driven fits this portrait"
    if gain is None:
        return not_measured(name, "lips cannot be measured, or do not follow; the gain stays as it was")
    kept = "kept: streams that begin after the service's next start use it" if is_kept else "not kept, as asked"
    found = (
        f"gain {gain.gain:.2f} ({kept}): lip ratios are {gain.error:.3f} off what is asked, root mean square, "
        f"and {gain.error_before:.3f} with a gain of 1"
    )
    return judged(name, passed=gain.error <= gain.error_before, found=found)


@contextmanager
def _engine(given: argparse.Namespace, settings: RenderSettings) -> Iterator[tuple[RenderEngine, RenderSettings, str]]:
    """The engine, what it was loaded by, and of whom its weights are."""
    if given.engine == "mesh":
        yield engines.load_mesh(settings), settings, "none: it has no weights"
        return
    with ExitStack() as held:
        weights = "those of the settings"
        if given.random:
            from services.render.engines.liveportrait.config import NARROW, OFFICIAL
            from services.render.engines.liveportrait.random_weights import write_official_folder

            folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="avatar-verify-")))
            write_official_folder(folder, NARROW if given.random == "narrow" else OFFICIAL, seed=1)
            settings = settings.model_copy(update={"liveportrait_dir": folder})
            weights = f"random, {given.random}: they draw no face"
        engine = engines.load_liveportrait(settings)
        held.callback(engine.close)
        if not engine.settled(_SETTLE_S):
            print(f"the fast path is not ready after {_SETTLE_S:g} s; what draws now is verified", file=sys.stderr)
        yield engine, settings, weights


def verify(given: argparse.Namespace) -> list[Check]:
    """Verify and write the report. Raises: NotReadyError, NotFoundError, InvalidRequestError in a sentence; OSError."""
    settings = read(RenderSettings)
    if given.device:
        settings = settings.model_copy(update={"device": given.device})
    store = AvatarStore(settings.data_dir, settings.max_avatars)
    avatar = avatar_id_of(given.avatar)
    portrait = store.portrait(avatar)
    if given.random:
        # What random weights make of a portrait is not for keeping.
        portrait = replace(portrait, kept_in=None)
    console = Console(stderr=True)
    with console.status("loading the engine") as status, _engine(given, settings) as (engine, loaded, weights):
        sitting = Sitting(engine, portrait, FaceLandmarker(settings.data_dir))
        checks: list[Check] = []
        if given.engine == "liveportrait":
            from services.render.engines.liveportrait.engine import LivePortraitEngine

            assert isinstance(engine, LivePortraitEngine)
            status.update("fitting how far the lips part")
            gain = fitted_gain(sitting, engine)
            keeps = gain is not None and not given.dry_run and portrait.kept_in is not None
            checks.append(_gain_check(gain, is_kept=keeps))
            if gain is not None and keeps:
                engine.keep_gain(portrait, gain.gain)
            as_it_was = sitting.prepared
            if gain is not None:
                # What is replaced lives on: the other one shares its place on the device.
                sitting.prepared = engine.with_gain(as_it_was, gain.gain)  # type: ignore[arg-type]
        status.update("drawing and measuring every look")
        seen = sitting.see()
        checks = [*checks_of(seen), *lips_checks(seen), *checks]
        status.update("measuring the speed")
        fast, speeds = speed(sitting)
        checks.append(fast)
        if given.engine == "liveportrait":
            status.update("drawing in float32 on the CPU, which takes seconds for a picture")
            folder = engines.weights_folder(loaded)
            checks.append(precision(sitting, portrait, folder, settings.data_dir / "compiled" / "triton"))
        device = getattr(engine, "device_name", "the CPU")
        facts = [
            ("engine", f"{engine.name} {engine.path}".strip()),
            ("device", f"{device} ({platform.machine()})"),
            ("weights", weights),
            ("portrait", f"avatars/{avatar}"),
            ("when", datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")),
        ]
        write_report(
            given.out,
            f"What {engine.name} draws here",
            facts,
            checks,
            [_lips_table(seen), speeds, *_sheets(seen, _face_in(portrait))],
        )
    return checks


def _lips_table(seen: Sequence[Seen]) -> Table:
    rows = [(viseme.name, asked, measured) for viseme, (asked, measured) in lips_of(seen).items()]
    return Table("Lips: their height over the mouth's width", ("mouth shape", "asked", "measured"), rows)


def _face_in(portrait: Portrait) -> tuple[slice, slice]:
    """The square of a frame that shows the portrait's face and some of what is around it."""
    points = portrait.points[:, :2] - MARGIN
    low, high = points.min(axis=0), points.max(axis=0)
    edge = min(round(float((high - low).max()) * 1.35), MAX_SIZE)
    left, top = (int(np.clip(middle - edge / 2, 0, MAX_SIZE - edge)) for middle in (low + high) / 2)
    return slice(top, top + edge), slice(left, left + edge)


def _sheets(seen: Sequence[Seen], face: tuple[slice, slice]) -> Iterator[Sheet]:
    for group, members in groupby(seen, key=lambda one: one.look.group):
        figures = [Figure(one.picture[face], one.look.name, _note(one.measures)) for one in members]
        yield Sheet(group.capitalize(), figures)


def _note(measures: FaceMeasures | None) -> str:
    if measures is None:
        return "no face is found"
    return f"lips {measures.lips:.2f}, eyes {measures.eye_left:.2f} {measures.eye_right:.2f}"
