"""What stands in a log line, and what never does."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.stack import ROOT

SECRET = "xylophone"


def lines_of(program: str, level: str = "info") -> list[dict[str, Any]]:
    """What a process with our logging prints."""
    whole = (
        f"from services.common import log\nlog.configure('tts', {level!r})\nlogger = log.get_logger('here')\n{program}"
    )
    done = subprocess.run(
        [sys.executable, "-c", whole], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30
    )
    return [json.loads(line) for line in done.stderr.splitlines()]


BUG = f"""
def speak(text):
    raise KeyError(text)
try:
    speak('{SECRET[:4]}' + '{SECRET[4:]}')
except KeyError:
    logger.error('call_failed', method='/x', exc_info=True)
"""
GROUP = f"""
try:
    raise ExceptionGroup('several', [ValueError('{SECRET[:4]}' + '{SECRET[4:]}')])
except ExceptionGroup as error:
    logger.error('call_failed', exc_info=error)
"""
LIBRARY = f"""
import logging
logging.getLogger('aiortc').warning('cannot read %s', '{SECRET}')
logging.getLogger('asyncio').error('Task failed: {SECRET}')
logging.getLogger('av').info('{SECRET}')
"""


@pytest.mark.parametrize("program", [BUG, GROUP, LIBRARY, f"logger.info('said', pii_text='{SECRET}')"])
def test_what_people_said_is_in_no_line_above_debug(program: str) -> None:
    assert SECRET not in json.dumps(lines_of(program))


def test_a_traceback_names_places_and_kinds() -> None:
    (line,) = lines_of(BUG)
    assert (line["event"], line["method"], line["level"], line["process"]) == ("call_failed", "/x", "error", "tts")
    assert "in speak" in line["exception"]
    assert line["exception"].endswith("builtins.KeyError")
    (group,) = lines_of(GROUP)
    assert "ValueError" in group["exception"]


def test_at_debug_level_the_words_are_there() -> None:
    (line,) = lines_of(f"logger.debug('said', pii_text='{SECRET}')", level="debug")
    assert line["pii_text"] == SECRET


def test_what_a_library_says_is_an_event_with_its_place() -> None:
    first, second = lines_of(LIBRARY)
    assert (first["event"], first["module"], first["message"]) == ("library_message", "aiortc", "cannot read %s")
    assert (second["module"], second["message"], second["level"]) == ("asyncio", None, "error")
    assert second["at"]
