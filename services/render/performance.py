"""What one stream's face does: speech, expression, gaze and idle motion become one FaceState for each moment."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from services.common.errors import InvalidRequestError
from services.render.audio_visemes import AudioMotion
from services.render.blendshapes import BLENDSHAPE_NAMES, INDEX, Weights, rest
from services.render.engine import Driving, FaceState, HeadPose, RecordedMotion
from services.render.expressions import (
    MAX_GAZE_PITCH,
    MAX_GAZE_YAW,
    ExpressionKind,
    expression_pose,
    expression_weights,
    gaze_weights,
)
from services.render.idle_motion import Idle, IdleLoop, IdleMotion, loop_motion
from services.render.speech_motion import SILENT, MouthPose, SpeechMotion, VisemeCue

# From one source of mouth shapes to another (also to none, after an interruption), without a jump.
_RELEASE_S = 0.12
# The caller's clock and the place in the utterance run together; a larger difference is a jump.
_JUMP_S = 0.1
_GAZE_SHIFT_S = 0.12
# Recorded motion begins where the face is, takes over from idle motion so fast, and goes so fast when it has ended.
_TAKE_OVER_S, _LET_GO_S = 0.3, 0.6
# Head and brows follow the speech at this pace, and are back this long after the mouth came to rest.
_FOLLOW_S, _CALM_S = 0.25, 0.2
DEFAULT_TRANSITION_S = 0.2
# Utterances that are known at once; the oldest is forgotten first.
_MAX_UTTERANCES = 8
_MAX_INTERRUPTED = 1000
_HEAD_FOLLOWS_GAZE = 0.16
# Shapes that part the lips: they give way where speech shuts them.
_PARTING = np.array(
    [
        name.startswith(("jawOpen", "mouthFunnel", "mouthUpperUp", "mouthLowerDown", "mouthShrugUpper", "noseSneer"))
        for name in BLENDSHAPE_NAMES
    ]
)
_OF_MOUTH = np.array([name.startswith(("jaw", "mouth", "tongue")) for name in BLENDSHAPE_NAMES])


@dataclass(slots=True)
class _Utterance:
    spoken: SpeechMotion
    heard: AudioMotion | None
    last_offset_s: float = 0.0

    def at(self, offset_s: float) -> MouthPose:
        if self.spoken:
            return self.spoken.at(offset_s)
        return self.heard.at(offset_s) if self.heard else SILENT


@dataclass(frozen=True, slots=True)
class Moment:
    """The face at one moment.

    Attributes:
        is_spoken: it shows the utterance that was asked for; False for one that is unknown or was interrupted.
        loop_s: the place in the idle loop where the face looks the same, None if it does anything else than idle.
    """

    state: FaceState
    is_spoken: bool
    loop_s: float | None


@dataclass(slots=True)
class _Change:
    """A value on its way to another; it sets out at the frame after it was asked for."""

    before: NDArray[np.float64]
    after: NDArray[np.float64]
    lasts_s: float
    since_s: float | None = None

    def at(self, time_s: float) -> NDArray[np.float64]:
        if self.since_s is None:
            return self.before
        t = 1.0 if self.lasts_s <= 0 else min(max((time_s - self.since_s) / self.lasts_s, 0.0), 1.0)
        return self.before + (self.after - self.before) * (t * t * (3 - 2 * t))

    def rests_at(self, value: NDArray[np.float64], time_s: float) -> bool:
        """Whether it has reached its end, which is `value`."""
        done = self.since_s is not None and time_s >= self.since_s + self.lasts_s
        return done and bool((self.after == value).all())


@dataclass(frozen=True, slots=True)
class _Speech:
    """What head and brows have of the speech: how much is being spoken, and how far the jaw opens, both smoothed."""

    activity: float = 0.0
    emphasis: float = 0.0


@dataclass(slots=True)
class _Recording:
    """Recorded motion, since it began and until it ended, on the clock of the caller; None before that."""

    motion: RecordedMotion
    since_s: float | None = None
    ended_s: float | None = None

    def share(self, time_s: float) -> float:
        """How much of it moves the face."""
        return 1.0 if self.ended_s is None else 1.0 - _eased((time_s - self.ended_s) / _LET_GO_S)


def _eased(t: float) -> float:
    t = min(max(t, 0.0), 1.0)
    return t * t * (3.0 - 2.0 * t)


_CALM = _Speech()
# Weights, then yaw, pitch and roll of the head.
_NEUTRAL = np.zeros(len(BLENDSHAPE_NAMES) + 3)
# Yaw, pitch, and how much of the natural wandering is left.
_NATURAL = np.array([0.0, 0.0, 1.0])
# No idle motion at all.
_STILL = Idle(0.0, 0.0, 0.0, HeadPose())


@dataclass(slots=True)
class _Shown:
    """What the last frame showed."""

    time_s: float = 0.0
    utterance_id: str = ""
    offset_s: float = 0.0
    mouth: Weights = field(default_factory=rest)
    speech: _Speech = _Speech()


class Performance:
    """One face from the start of a stream to its end. Its clock is the caller's presentation time."""

    def __init__(self, idle: IdleMotion | IdleLoop, frame_rate_hz: int, sample_rate_hz: int | None = None) -> None:
        """Args: sample_rate_hz: of the audio, None when there will be none."""
        self._idle = idle
        self._frame_interval_s = 1 / frame_rate_hz
        self._sample_rate_hz = sample_rate_hz
        self._utterances: OrderedDict[str, _Utterance] = OrderedDict()
        self._interrupted: OrderedDict[str, None] = OrderedDict()
        self._expression = _Change(_NEUTRAL, _NEUTRAL, 0.0, 0.0)
        self._gaze = _Change(_NATURAL, _NATURAL, 0.0, 0.0)
        self._shown = _Shown()
        self._release: tuple[Weights, float] | None = None
        # What head and brows had of the speech when the mouth came to rest, and when.
        self._calming: tuple[_Speech, float] | None = None
        # The one that moves the face is the last; those before it are letting go.
        self._recordings: list[_Recording] = []
        # How far idle motion has given way to recordings, and their lips to speech, which is that of an utterance.
        self._given_way, self._speaks, self._spoken_id = 0.0, 0.0, ""

    def set_frame_rate(self, frame_rate_hz: int) -> None:
        """Closures of what is said from now on are held for a frame at this rate."""
        self._frame_interval_s = 1 / frame_rate_hz

    def is_interrupted(self, utterance_id: str) -> bool:
        return utterance_id in self._interrupted

    def knows(self, utterance_id: str) -> bool:
        return utterance_id in self._utterances

    def _utterance(self, utterance_id: str) -> _Utterance:
        if utterance_id not in self._utterances:
            heard = AudioMotion(self._sample_rate_hz) if self._sample_rate_hz else None
            self._utterances[utterance_id] = _Utterance(SpeechMotion(self._frame_interval_s), heard)
            while len(self._utterances) > _MAX_UTTERANCES:
                self._utterances.popitem(last=False)
        return self._utterances[utterance_id]

    def add_visemes(self, utterance_id: str, cues: Sequence[VisemeCue]) -> None:
        """Raises: InvalidRequestError if they are out of order. Of an interrupted utterance they are dropped."""
        if not self.is_interrupted(utterance_id):
            self._utterance(utterance_id).spoken.add(cues)

    def add_audio(self, utterance_id: str, samples: NDArray[np.float32]) -> None:
        """Args: samples: shape (n,), in [-1, 1]. Of an interrupted utterance they are dropped."""
        if not self.is_interrupted(utterance_id):
            heard = self._utterance(utterance_id).heard
            assert heard is not None
            heard.push(samples)

    def finish(self, utterance_id: str) -> None:
        """All of an utterance was sent."""
        utterance = self._utterances.get(utterance_id)
        if utterance is not None and utterance.heard is not None:
            utterance.heard.finish()

    def interrupt(self, utterance_id: str) -> float:
        """Stop an utterance for good. Returns: the last place of it that a frame showed, in seconds."""
        utterance = self._utterances.pop(utterance_id, None)
        self._interrupted[utterance_id] = None
        while len(self._interrupted) > _MAX_INTERRUPTED:
            self._interrupted.popitem(last=False)
        return utterance.last_offset_s if utterance is not None else 0.0

    def set_expression(self, kind: ExpressionKind, intensity: float, transition_s: float) -> None:
        """Change the expression from the next frame on. Args: intensity: 0 to 1."""
        pose = expression_pose(kind, intensity)
        target = np.concatenate([expression_weights(kind, intensity), [pose.yaw, pose.pitch, pose.roll]])
        self._expression = _Change(self._expression.at(self._shown.time_s), target.astype(np.float64), transition_s)

    def set_gaze(self, gaze: tuple[float, float] | None) -> None:
        """Change where the eyes look from the next frame on: (yaw, pitch) in degrees, or None for natural motion."""
        target = _NATURAL if gaze is None else np.array([*gaze, 0.25])
        self._gaze = _Change(self._gaze.at(self._shown.time_s), target, _GAZE_SHIFT_S)

    def drive(self, motion: RecordedMotion | None) -> None:
        """Let recorded motion move the face from the next frame on, once; None ends what does.

        Speech keeps the lips, from the first sound of an utterance to its end. What moved the face before lets go.
        """
        for recording in self._recordings:
            if recording.ended_s is None:
                recording.ended_s = self._shown.time_s
        if motion is not None:
            self._recordings.append(_Recording(motion))
        # Who sends one after another without a frame between them keeps no more than are shown.
        del self._recordings[:-2]

    def state(self, time_s: float, utterance_id: str = "", offset_s: float = 0.0) -> Moment:
        """The face of the next frame.

        Args: time_s: presentation time, never less than the last one; offset_s: what is heard then of the utterance.
        Raises: InvalidRequestError if `time_s` goes back.
        """
        shown = self._shown
        if time_s < shown.time_s:
            raise InvalidRequestError(
                f"presentation_offset went back from {shown.time_s:.3f} s to {time_s:.3f} s; it may only rise"
            )
        for change in (self._expression, self._gaze):
            if change.since_s is None:
                change.since_s = shown.time_s
        utterance = self._utterances.get(utterance_id)
        target = utterance.at(offset_s) if utterance is not None else SILENT
        mouth = self._mouth(time_s, utterance_id if utterance else "", offset_s, target)
        speech = self._speech(time_s, mouth, target.activity)
        driven = self._driven(time_s, utterance_id if utterance else "", is_voiced=target.activity > 0.0)
        self._shown = _Shown(time_s, utterance_id if utterance else "", offset_s, mouth, speech)
        idle, expression, gaze = self._idle.at(time_s), self._expression.at(time_s), self._gaze.at(time_s)
        state = _compose(idle, expression, gaze, mouth, target.closure, speech)
        is_driven = bool(driven or self._given_way)
        if is_driven:
            alone = _compose(_STILL, _NEUTRAL, _NATURAL, mouth, target.closure, _CALM)
            state = _mixed(state, alone, self._given_way, driven)
        return Moment(state, utterance is not None, None if is_driven else self._loop_s(time_s))

    def _driven(self, time_s: float, utterance_id: str, *, is_voiced: bool) -> tuple[Driving, ...]:
        """What recorded motion moves the face; how far idle motion and its lips give way moves on."""
        step_s = time_s - self._shown.time_s
        driven = []
        for recording in list(self._recordings):
            if recording.since_s is None:
                recording.since_s = time_s
            offset_s = time_s - recording.since_s
            if recording.ended_s is None and offset_s >= recording.motion.duration_s:
                recording.ended_s = recording.since_s + recording.motion.duration_s
            share = recording.share(time_s)
            if share <= 0.0:
                self._recordings.remove(recording)
                continue
            driven.append((recording.motion, offset_s, share))
        moves = any(recording.ended_s is None for recording in self._recordings)
        self._given_way = _nearer(self._given_way, step_s, _TAKE_OVER_S if moves else _LET_GO_S, is_wanted=moves)
        # A silent utterance leaves the lips to the recording; one that was heard keeps them through its pauses.
        self._spoken_id = utterance_id if is_voiced or utterance_id == self._spoken_id else ""
        self._speaks = _nearer(self._speaks, step_s, _RELEASE_S, is_wanted=bool(self._spoken_id))
        return tuple(Driving(*each, self._speaks) for each in driven)

    def was_shown(self) -> None:
        """The last state became a frame that was sent; one that was not shows nothing of its utterance."""
        utterance = self._utterances.get(self._shown.utterance_id)
        if utterance is not None:
            utterance.last_offset_s = self._shown.offset_s

    def _loop_s(self, time_s: float) -> float | None:
        is_idle = not self._shown.mouth.any() and self._shown.speech == _CALM
        if not is_idle or not isinstance(self._idle, IdleLoop):
            return None
        if not self._expression.rests_at(_NEUTRAL, time_s) or not self._gaze.rests_at(_NATURAL, time_s):
            return None
        return self._idle.position_s(time_s)

    def _speech(self, time_s: float, mouth: Weights, activity: float) -> _Speech:
        shown = self._shown
        if mouth.any() or activity:
            self._calming = None
            step = 1.0 - math.exp(-(time_s - shown.time_s) / _FOLLOW_S)
            jaw = float(mouth[INDEX["jawOpen"]])
            last = shown.speech
            return _Speech(
                last.activity + (activity - last.activity) * step, last.emphasis + (jaw - last.emphasis) * step
            )
        if self._calming is None:
            self._calming = (shown.speech, shown.time_s)
        held, since_s = self._calming
        t = (time_s - since_s) / _CALM_S
        if t >= 1.0:
            return _CALM
        left = 1.0 - t * t * (3.0 - 2.0 * t)
        return _Speech(held.activity * left, held.emphasis * left)

    def _mouth(self, time_s: float, utterance_id: str, offset_s: float, target: MouthPose) -> Weights:
        shown = self._shown
        jump = abs((offset_s - shown.offset_s) - (time_s - shown.time_s)) > _JUMP_S
        if (utterance_id != shown.utterance_id or (utterance_id and jump)) and shown.mouth.any():
            self._release = (shown.mouth, shown.time_s)
        if self._release is None:
            return target.weights
        before, since_s = self._release
        t = (time_s - since_s) / _RELEASE_S
        if t >= 1.0:
            self._release = None
            return target.weights
        left = (1.0 - t * t * (3.0 - 2.0 * t)) * (1.0 - target.closure)
        return np.asarray(target.weights * (1.0 - left) + before * left, np.float32)


def _nearer(share: float, step_s: float, lasts_s: float, *, is_wanted: bool) -> float:
    """A share on its way to 1 or to 0."""
    return min(share + step_s / lasts_s, 1.0) if is_wanted else max(share - step_s / lasts_s, 0.0)


def _mixed(state: FaceState, other: FaceState, share: float, driven: tuple[Driving, ...]) -> FaceState:
    """A part of one face and a part of another. Args: share: of the other."""
    t = np.float32(_eased(share))
    mine, its = state.pose, other.pose
    pose = HeadPose(
        *(float(a + (b - a) * t) for a, b in ((mine.yaw, its.yaw), (mine.pitch, its.pitch), (mine.roll, its.roll)))
    )
    return FaceState(state.weights + (other.weights - state.weights) * t, pose, driven)


def idle_state(position_s: float) -> FaceState:
    """The face that does nothing but idle, at a place of the idle loop in seconds."""
    return _compose(loop_motion(position_s), _NEUTRAL, _NATURAL, rest(), 0.0, _CALM)


def _compose(
    idle: Idle,
    expression: NDArray[np.float64],
    gaze: NDArray[np.float64],
    mouth: Weights,
    closure: float,
    speech: _Speech,
) -> FaceState:
    weights, (yaw, pitch, roll) = expression[:-3].copy(), expression[-3:]
    # Speech takes the mouth over from the expression, and closures take all of it.
    weights[_OF_MOUTH] *= 1.0 - 0.35 * speech.activity
    weights[_PARTING] *= 1.0 - closure
    weights += mouth
    weights[INDEX["browInnerUp"]] += 0.35 * speech.emphasis
    gaze_yaw, gaze_pitch, wander = gaze
    eyes_yaw = float(np.clip(gaze_yaw + wander * idle.gaze_yaw, -MAX_GAZE_YAW, MAX_GAZE_YAW))
    eyes_pitch = float(np.clip(gaze_pitch + wander * idle.gaze_pitch, -MAX_GAZE_PITCH, MAX_GAZE_PITCH))
    weights += gaze_weights(eyes_yaw, eyes_pitch)
    for name in ("eyeBlinkLeft", "eyeBlinkRight"):
        weights[INDEX[name]] = max(weights[INDEX[name]], idle.blink)
    pose = HeadPose(
        float(idle.pose.yaw * (1.0 + 0.5 * speech.activity) + yaw + _HEAD_FOLLOWS_GAZE * gaze_yaw),
        float(idle.pose.pitch + pitch + _HEAD_FOLLOWS_GAZE * gaze_pitch - 3.0 * speech.emphasis),
        float(idle.pose.roll + roll),
    )
    return FaceState(np.clip(weights, 0.0, 1.0).astype(np.float32), pose)
