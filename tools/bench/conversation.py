"""Whole conversations in a real Chromium with the echo reply: latency, skew, stop time, cut-offs and false stops.

Speech end is the last voiced 10 ms of the injected speech on the page's clock; first avatar audio is the first sample
above -50 dBFS that the same page decodes. The stack must not run yet; it is started with the echo and ended.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tools.bench.browser import Browser, Sound, browsing
from tools.bench.record import Record, Row, row
from tools.bench.sounds import cough, hum
from tools.bench.speech import SILENCE_DB, last_voiced_ms, levels_db, synthesise, to_page
from tools.cli.channel import channel_to
from tools.cli.stack import running_stack

SENTENCES = (
    "hello my friend",
    "what is the time now",
    "please open the window",
    "i would like to go home",
    "the weather is good today",
    "can you tell me a story",
    "my mother is in the garden",
    "we have three more days",
    "this is the best one, i think",
    "where is the old house",
)
# Callers differ: each sentence is spoken by each voice.
VOICES = ("voices/martin", "voices/clara", "voices/paul", "voices/anna")
LONG = "one and two and three and four and five and six and seven and eight and nine and ten and eleven and twelve"
OVER = "no please stop that now and listen to me"
_STAGES = ("end_of_turn", "transcript", "reply", "synthesis", "audio_sent", "video_sent")


@dataclass
class _Figures:
    first_audio_ms: list[float] = field(default_factory=list)
    stop_ms: list[float] = field(default_factory=list)
    speech_to_silence_ms: list[float] = field(default_factory=list)
    stages_ms: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in _STAGES})
    cut_off: list[bool] = field(default_factory=list)
    unanswered: list[bool] = field(default_factory=list)
    not_stopped: list[bool] = field(default_factory=list)
    false_stops: list[bool] = field(default_factory=list)


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--turns", type=int, default=100, help="turns whose latency is measured")
    parser.add_argument("--interruptions", type=int, default=20)
    parser.add_argument("--sounds", type=int, default=20, help="coughs and mhms over answers")


async def measure(given: argparse.Namespace) -> Record:
    """Talk. Returns: the record."""
    async with running_stack({"ORCHESTRATOR_REPLY": "echo"}) as settings, channel_to(settings.tts.port) as tts:
        sentences = [await synthesise(tts, text, voice) for text in SENTENCES for voice in VOICES]
        over = await synthesise(tts, OVER)
        async with browsing(scripted_microphone=True) as browser:
            await browser.start(f"https://localhost:{settings.network.page_port}")
            caller = _Caller(browser)
            for index in range(given.turns):
                await caller.turn(sentences[index % len(sentences)])
            for _ in range(given.interruptions):
                await caller.interrupt(over)
            for index in range(given.sounds):
                await caller.make_sound((cough, hum)[index % 2](index))
            skew = [-float(value) for value in await browser.page.evaluate("capture.skew")]
            shown = np.asarray(await browser.shown_ms())
    return Record("conversation", _rows(caller.figures, skew, shown), vars(given), _raw(caller.figures, skew))


class _Caller:
    """Speaks on the page and measures what comes back."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self.figures = _Figures()

    async def _speak(self, speech: NDArray[np.float32]) -> float:
        """Returns: performance time of the first sample."""
        at: float = await self._browser.page.evaluate("speech => capture.speak(speech)", to_page(speech))
        return at

    async def _count(self, kind: str) -> int:
        count: int = await self._browser.page.evaluate(
            "kind => capture.events.filter(({event}) => kind in event).length", kind
        )
        return count

    async def _next(self, kind: str, after: int, timeout_s: float = 12.0) -> dict[str, Any] | None:
        """The next event of a kind; None when none comes."""
        try:
            return await self._browser.event(kind, after + 1, timeout_s)
        except Exception as failed:
            if "Timeout" not in str(failed):
                raise
            return None

    async def _sound(self) -> Sound:
        """What was heard since the last call."""
        sound = await self._browser.sound()
        await self._browser.page.evaluate("capture.audio.splice(0, capture.audio.length - 1)")
        return sound

    async def _rest(self) -> None:
        await self._browser.wait_until(await self._browser.now_ms() + 700)

    async def turn(self, speech: NDArray[np.float32]) -> None:
        """One turn: speak, wait for the echo, measure."""
        await self._sound()
        ended, reports = await self._count("utterance_ended"), await self._count("turn_report")
        at = await self._speak(speech)
        speech_end = at + last_voiced_ms(speech)
        over = await self._next("utterance_ended", ended)
        self.figures.unanswered.append(over is None)
        if over is None:
            return
        # A turn that was cut in two answers twice; wait until nothing more comes.
        await self._browser.wait_until(max(over["at"], speech_end) + 900)
        sound = await self._sound()
        events = await self._browser.events()
        turns = [e["at"] for e in events if e["at"] > at and _is_final(e["event"])]
        self.figures.cut_off.append(bool(turns and turns[0] < speech_end))
        loud = np.flatnonzero(np.abs(sound.samples) > 10 ** (SILENCE_DB / 20))
        heard = [sound.at(int(index)) for index in loud[:1]]
        if heard and not self.figures.cut_off[-1]:
            self.figures.first_audio_ms.append(heard[0] - speech_end)
        report = await self._next("turn_report", reports, 2.0)
        for stage in _STAGES:
            if report and f"{stage}_duration" in report:
                self.figures.stages_ms[stage].append(float(report[f"{stage}_duration"].rstrip("s")) * 1000)
        await self._rest()

    async def _long_answer(self) -> dict[str, Any] | None:
        """Have a long text said, by typing it. Returns: its start."""
        started = await self._count("utterance_started")
        await self._browser.page.evaluate(
            "text => capture.socket.send(JSON.stringify({type: 'text', data: {text}}))", LONG
        )
        return await self._next("utterance_started", started)

    async def interrupt(self, over: NDArray[np.float32]) -> None:
        """Speak over a long answer and measure until silence."""
        await self._sound()
        ended = await self._count("utterance_ended")
        begun = await self._long_answer()
        if begun is None:
            return
        await self._browser.wait_until(begun["at"] + 1200)
        at = await self._speak(over)
        stopped = await self._next("utterance_ended", ended)
        self.figures.not_stopped.append(stopped is None or not stopped.get("interrupted"))
        if stopped is None or self.figures.not_stopped[-1]:
            return
        await self._browser.wait_until(stopped["at"] + 300)
        sound = await self._sound()
        events = await self._browser.events()
        decided = [e["at"] for e in events if e["at"] > at and _is_floor_taken(e["event"])]
        loud = np.flatnonzero(levels_db(sound.samples) > SILENCE_DB)
        silent = sound.start_ms + float(loud[-1] + 1) * 10
        if decided and silent > at:
            self.figures.stop_ms.append(silent - decided[0])
            self.figures.speech_to_silence_ms.append(silent - at)
        # The words spoken over it are a turn of their own, echoed.
        await self._next("utterance_ended", ended + 1)
        await self._rest()

    async def make_sound(self, noise: NDArray[np.float32]) -> None:
        """Cough or hum over a long answer: it must go on."""
        ended = await self._count("utterance_ended")
        begun = await self._long_answer()
        if begun is None:
            return
        await self._browser.wait_until(begun["at"] + 1200)
        await self._speak(noise)
        over = await self._next("utterance_ended", ended)
        if over is not None:
            self.figures.false_stops.append(bool(over.get("interrupted")))
        await self._rest()


def _is_final(event: dict[str, Any]) -> bool:
    caption = event.get("caption", {})
    return caption.get("speaker") == "SPEAKER_USER" and bool(caption.get("is_final"))


def _is_floor_taken(event: dict[str, Any]) -> bool:
    return bool(event.get("turn_changed", {}).get("state") == "TURN_STATE_USER_SPEAKING")


def _rows(figures: _Figures, skew: list[float], shown: NDArray[np.float64]) -> list[Row]:
    seconds = [np.count_nonzero((shown >= s) & (shown < s + 1000)) for s in np.arange(shown[0], shown[-1] - 1000, 1000)]
    rows = [row("speech end to first avatar audio", "ms", figures.first_audio_ms, "900/1300", "500/800")]
    rows += [
        row(f"  of which until {stage.replace('_', ' ')}", "ms", values)
        for stage, values in figures.stages_ms.items()
        if values
    ]
    shares: list[tuple[str, list[bool], str, str, Callable[[list[bool]], float]]] = [
        ("turns without an answer", figures.unanswered, "", "", np.mean),
        ("interruptions that stopped nothing", figures.not_stopped, "", "", np.mean),
        ("cut off in mid-sentence", figures.cut_off, "5 %", "2 %", np.mean),
        ("false stops (synthetic cough, hum)", figures.false_stops, "5 %", "2 %", np.mean),
    ]
    rows.append(row("lip-sync skew, + is sound late", "ms", skew, "+-80 p95", "-15..+45"))
    rows.append(row("|skew|", "ms", [abs(value) for value in skew], "80"))
    if figures.stop_ms:
        rows.append(row("decision to silence in the browser", "ms", figures.stop_ms, "200", "60/100"))
        rows.append(row("first sound of the caller to silence", "ms", figures.speech_to_silence_ms))
    for measure, values, must, aim, mean in shares:
        if values:
            share = 100 * float(mean(values))
            rows.append(Row(measure, "%", len(values), share, share, share, must, aim, "share"))
    rows.append(row("frames painted per second", "1/s", [float(count) for count in seconds], "24"))
    return rows


def _raw(figures: _Figures, skew: list[float]) -> dict[str, Any]:
    return {
        "first_audio_ms": [round(value, 1) for value in figures.first_audio_ms],
        "stop_ms": [round(value, 1) for value in figures.stop_ms],
        "skew_ms": [round(value, 1) for value in skew],
        "unanswered": sum(figures.unanswered),
    }
