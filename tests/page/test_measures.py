"""What the page computes from times and levels, without a conversation around it."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Browser

from tests.page.browser import person_at
from tests.page.fake_orchestrator import FakeOrchestrator

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="package")]

# Feeds [who, level in dBFS, seconds] to the timer; "typed" has no level. Answers with what it measured, in whole ms.
HEARD = """async (steps) => {
    const { HeardTimer } = await import("/levels.js");
    const heard = [];
    const timer = new HeardTimer((ms) => heard.push(Math.round(ms)));
    for (const [who, level, seconds] of steps) {
        if (who === "typed") timer.typed(seconds); else timer[who](level, seconds);
    }
    return heard;
}"""
BARS = """async ([report, heard]) => {
    const { barsOf } = await import("/turns.js");
    return barsOf(report, heard ?? undefined).map(({ stage, fromMs, toMs }) => [stage, fromMs, toMs]);
}"""


async def test_heard_is_from_the_last_voiced_sound_to_the_answers_first_one(browser: Browser) -> None:
    voice = [["microphone", -20, 1.0], ["microphone", -30, 1.5], ["microphone", -70, 1.6]]
    cases: list[tuple[list[list[Any]], list[int]]] = [
        ([*voice, ["avatar", -120, 1.9], ["avatar", -30, 2.0]], [500]),
        # The sound that follows belongs to the same answer.
        ([*voice, ["avatar", -30, 2.0], ["avatar", -60, 2.1], ["avatar", -30, 2.2]], [500]),
        # A second sentence without a turn between them is no answer.
        ([*voice, ["avatar", -30, 2.0], ["avatar", -30, 4.0]], [500]),
        # Nothing was said, so nothing is answered.
        ([["avatar", -30, 2.0]], []),
        ([["typed", 0, 3.0], ["avatar", -30, 3.25]], [250]),
        # Typed over an answer: the next one cannot be told from it, and its second sentence is no onset.
        ([["avatar", -30, 2.9], ["typed", 0, 3.0], ["avatar", -30, 3.1], ["avatar", -30, 3.9]], []),
        # Too late to be the answer.
        ([*voice, ["avatar", -30, 40.0]], []),
    ]
    async with person_at(browser, FakeOrchestrator()) as person:
        for steps, wanted in cases:
            assert await person.page.evaluate(HEARD, steps) == wanted, steps


async def test_bars_begin_where_the_stage_before_them_ended(browser: Browser) -> None:
    cases: list[tuple[dict[str, str], float | None, list[list[Any]]]] = [
        ({}, None, []),
        (
            {"end_of_turn_duration": "0.400s", "transcript_duration": "0.450s", "audio_sent_duration": "0.6s"},
            700,
            [["end_of_turn", 0, 400], ["transcript", 400, 450], ["audio_sent", 450, 600], ["heard", 600, 700]],
        ),
        # A transcript that was there before the end of the turn was sure.
        (
            {"end_of_turn_duration": "0.4s", "transcript_duration": "0.3s", "reply_duration": "0.41s"},
            None,
            [["end_of_turn", 0, 400], ["transcript", 0, 300], ["reply", 400, 410]],
        ),
    ]
    async with person_at(browser, FakeOrchestrator()) as person:
        for report, heard, wanted in cases:
            bars = await person.page.evaluate(BARS, [report, heard])
            assert [[stage, round(start), round(end)] for stage, start, end in bars] == wanted, report
