"""What one caller does in `avatar bench one_gpu` and measures, in a process of its own."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tools.bench.caller import Caller, calling
from tools.bench.speech import SAMPLE_RATE_HZ, SILENCE_DB, last_voiced_ms, levels_db

STAGES = ("end_of_turn", "transcript", "reply", "synthesis", "audio_sent", "video_sent")
# Typed, and echoed sentence by sentence: long enough to be spoken over.
_LONG = "One and two and three. Four and five and six. Seven and eight and nine. Ten and eleven and twelve."
_LEVEL_S = 0.01
GAP_S = 0.1
# Half of a slot: a picture that comes later is the next one's.
_LATE_S = 0.02
_SLOT_TICKS = 90_000 // 25
# Loops are fetched and rates are agreed on before media is judged.
_SETTLE_S = 3.0
# A turn, an answer and the rests around them.
LONGEST_TURN_S = 25.0
_ANSWER_S = 12.0


@dataclass
class Call:
    """What one caller measured.

    Attributes:
        gaps_ms: silences of more than GAP_S within an answer of one sentence, and stalls of the sound's packets.
        answered_s: length of the answers that were searched for gaps.
        skew_ms: sound against the picture of the same instant, as they came; above 0 sound was late.
        lateness: of each picture, whether it was late or missing.
        failed: why the call ended before its time; empty if it did not.
    """

    first_audio_ms: list[float] = field(default_factory=list)
    stop_ms: list[float] = field(default_factory=list)
    speech_to_silence_ms: list[float] = field(default_factory=list)
    stages_ms: dict[str, list[float]] = field(default_factory=lambda: {stage: [] for stage in STAGES})
    unanswered: list[bool] = field(default_factory=list)
    cut_off: list[bool] = field(default_factory=list)
    not_stopped: list[bool] = field(default_factory=list)
    gaps_ms: list[float] = field(default_factory=list)
    answered_s: float = 0.0
    skew_ms: list[float] = field(default_factory=list)
    rates_hz: list[float] = field(default_factory=list)
    late: list[bool] = field(default_factory=list)
    failed: str = ""


def call(
    address: str, speeches: Sequence[NDArray[np.float32]], over: NDArray[np.float32], wait_s: float, seconds: float
) -> Call:
    """Converse.

    Args:
        address: of the orchestrator's socket.
        speeches: what is said turn by turn; over: what is said over an answer; each shape (n,), 48 kHz.
        wait_s: before the first turn, so that callers are not in step.
        seconds: after which no further turn begins.
    """
    made = Call()
    try:
        asyncio.run(_converse(made, address, speeches, over, wait_s, seconds))
    except (OSError, TimeoutError, ValueError) as failed:
        made.failed = f"{type(failed).__name__}: {failed}"
    return made


async def _converse(
    made: Call,
    address: str,
    speeches: Sequence[NDArray[np.float32]],
    over: NDArray[np.float32],
    wait_s: float,
    seconds: float,
) -> None:
    async with asyncio.timeout(seconds + wait_s + 2 * LONGEST_TURN_S), calling(address) as caller:
        begun_s = time.monotonic()
        await asyncio.sleep(wait_s)
        for number in itertools.count():
            # One turn and one interruption at least.
            if number >= 2 and time.monotonic() - begun_s > seconds:
                break
            if number % 3 == 1:
                await _interrupt(made, caller, over)
            else:
                await _turn(made, caller, speeches[number % len(speeches)])
        _judge_media(made, caller, begun_s + _SETTLE_S)


async def _until(at_s: float) -> None:
    await asyncio.sleep(max(0.0, at_s - time.monotonic()))


async def _turn(made: Call, caller: Caller, speech: NDArray[np.float32]) -> None:
    """Speak, wait for the answer, measure."""
    at_s = caller.microphone.say(speech)
    end_s = at_s + last_voiced_ms(speech) / 1000
    ended = await caller.event("utterance_ended", at_s, len(speech) / SAMPLE_RATE_HZ + _ANSWER_S)
    made.unanswered.append(ended is None)
    if ended is None:
        return
    # A turn that was cut in two answers twice; wait until nothing more comes.
    await _until(max(ended[0], end_s) + 0.9)
    finals = [came_s for came_s, caption in caller.events("caption") if came_s > at_s and _is_final(caption)]
    made.cut_off.append(bool(finals) and finals[0] < end_s)
    samples, came_s = caller.heard.since(at_s)
    loud = np.flatnonzero(np.abs(samples) > 10 ** (SILENCE_DB / 20))
    if len(loud) and not made.cut_off[-1]:
        made.first_audio_ms.append(1000 * (_at(came_s, loud[0]) - end_s))
        answer = levels_db(samples[loud[0] : loud[-1] + 1]) > SILENCE_DB
        made.answered_s += len(answer) * _LEVEL_S
        made.gaps_ms += [1000 * length_s for length_s in _silences_s(answer) if length_s > GAP_S]
    report = await caller.event("turn_report", at_s, 2.0)
    for stage in STAGES:
        if report is not None and f"{stage}_duration" in report[1]:
            made.stages_ms[stage].append(1000 * float(report[1][f"{stage}_duration"].rstrip("s")))


async def _interrupt(made: Call, caller: Caller, over: NDArray[np.float32]) -> None:
    """Speak over a long answer, and measure until it is silent."""
    asked_s = time.monotonic()
    await caller.type(_LONG)
    begun = await caller.event("utterance_started", asked_s, _ANSWER_S)
    if begun is None:
        made.not_stopped.append(True)
        return
    await _until(begun[0] + 1.2)
    at_s = caller.microphone.say(over)
    stopped = await caller.event("utterance_ended", at_s, _ANSWER_S)
    made.not_stopped.append(stopped is None or not stopped[1].get("interrupted"))
    if stopped is None or made.not_stopped[-1]:
        return
    await _until(stopped[0] + 0.3)
    decided = [came_s for came_s, turn in caller.events("turn_changed") if came_s > at_s and _takes_floor(turn)]
    samples, came_s = caller.heard.since(at_s)
    loud = np.flatnonzero(levels_db(samples) > SILENCE_DB)
    if decided and len(loud):
        silent_s = _at(came_s, (int(loud[-1]) + 1) * round(_LEVEL_S * SAMPLE_RATE_HZ) - 1)
        made.stop_ms.append(1000 * (silent_s - decided[0]))
        made.speech_to_silence_ms.append(1000 * (silent_s - at_s))
    # The words spoken over it are a turn of their own, echoed.
    await caller.event("utterance_ended", stopped[0], _ANSWER_S)
    await _until(time.monotonic() + 0.9)


def _at(came_s: Sequence[float], index: int) -> float:
    """When a sample could be played. Args: came_s: of each frame of 20 ms."""
    frame, rest = divmod(int(index), SAMPLE_RATE_HZ // 50)
    return came_s[frame] + rest / SAMPLE_RATE_HZ


def _silences_s(loud: NDArray[np.bool_]) -> list[float]:
    """Lengths of the stretches between loud ones."""
    edges = np.flatnonzero(np.diff(loud.astype(np.int8)))
    return [(end - begin) * _LEVEL_S for begin, end in itertools.pairwise(edges) if not loud[begin + 1]]


def _is_final(caption: dict[str, Any]) -> bool:
    return caption.get("speaker") == "SPEAKER_USER" and bool(caption.get("is_final"))


def _takes_floor(turn: dict[str, Any]) -> bool:
    return bool(turn.get("state") == "TURN_STATE_USER_SPEAKING")


def _judge_media(made: Call, caller: Caller, from_s: float) -> None:
    """Rates, late pictures, stalls and skew of what came since a time. Raises: ValueError if too little did."""
    sound_s, picture_s = np.asarray(caller.audio.came_s), np.asarray(caller.video.came_s)
    sounds, pictures = sound_s >= from_s, picture_s >= from_s
    if sounds.sum() < 2 or pictures.sum() < 2:
        raise ValueError("no sound or no picture came in the time that counts")
    stalls_s = np.diff(sound_s[sounds])
    made.gaps_ms += [1000 * float(stall_s) for stall_s in stalls_s if stall_s > GAP_S]
    sound_late_s = sound_s - caller.audio.captured_s()
    picture_late_s = picture_s - caller.video.captured_s()
    nearest = np.searchsorted(caller.audio.captured_s()[sounds], caller.video.captured_s()[pictures])
    of_sound = sound_late_s[sounds][np.minimum(nearest, sounds.sum() - 1)]
    made.skew_ms = [1000 * float(skew_s) for skew_s in of_sound - picture_late_s[pictures]]
    came_s, late_s = picture_s[pictures], picture_late_s[pictures]
    begins = np.arange(came_s[0], came_s[-1] - 1, 1.0)
    made.rates_hz = [float(np.count_nonzero((came_s >= begin) & (came_s < begin + 1))) for begin in begins]
    stamps = np.asarray(caller.video.stamps)[pictures]
    missing = round((stamps[-1] - stamps[0]) / _SLOT_TICKS) + 1 - len(stamps)
    made.late = [bool(late) for late in late_s - np.median(late_s) > _LATE_S] + [True] * max(0, int(missing))
