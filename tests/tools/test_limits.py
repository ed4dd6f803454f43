"""A limit is stated once: the contract, the page and the table say what the code enforces."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from services.render import avatars, image_file
from services.tts import voice_recording, voice_store
from tools.limits import PAGE, ROOT, Limit, limits, markdown


def contract(area: str) -> str:
    """The comments of a contract in one line."""
    text = (ROOT / f"proto/avatar/{area}/v1/{area}.proto").read_text()
    return " ".join(re.sub(r"^ *// ?", "", line) for line in text.splitlines())


@pytest.mark.parametrize("limit", [limit for limit in limits() if limit.contract], ids=lambda limit: limit.what)
def test_the_contract_states_it(limit: Limit) -> None:
    assert limit.contract is not None
    area, words = limit.contract
    assert words in contract(area)


def test_the_table_is_what_the_code_says() -> None:
    assert PAGE.read_text() == markdown(), "run python -m tools.limits"


def number_of_the_page(name: str) -> int:
    """A product of three factors in the page's scripts."""
    number = re.search(rf"{name} = ([0-9]+) \* ([0-9]+) \* ([0-9]+);", (ROOT / "orchestrator/page/api.js").read_text())
    assert number is not None
    return int(number[1]) * int(number[2]) * int(number[3])


def test_the_page_asks_for_no_more_than_the_service_takes() -> None:
    page: Path = ROOT / "orchestrator/page"
    assert number_of_the_page("MAX_PORTRAIT_BYTES") == image_file.MAX_BYTES
    assert number_of_the_page("MAX_RECORDING_BYTES") == voice_recording.MAX_FILE_BYTES
    assert f"MAX_RECORDING_S = {voice_recording.MAX_S:g};" in (page / "voice-dialog.js").read_text()
    assert f"MAX_PIXELS = {image_file.MAX_PIXELS:_};" in (page / "portrait.js").read_text()
    html = (page / "index.html").read_text()
    assert f'id="portrait-name" maxlength="{avatars.MAX_NAME}"' in html
    assert f'id="consent" maxlength="{avatars.MAX_CONSENT}"' in html
    assert f'id="voice-name" maxlength="{voice_store.MAX_NAME}"' in html
    assert f'id="voice-consent" maxlength="{voice_store.MAX_CONSENT}"' in html


def test_the_page_about_voices_says_what_is_enforced() -> None:
    text = (ROOT / "docs/voices.md").read_text()
    rows = (
        f"| length | under {voice_recording.MIN_S:g} s, over {voice_recording.MAX_S:g} s, over "
        f"{voice_recording.MAX_FILE_BYTES // 2**20} MiB | under {2 * voice_recording.MIN_S:g} s of speech |",
        f"| speech in it | under {voice_recording.MIN_SPEECH_S:g} s | |",
        f"| level of the speech | under {voice_recording.TOO_QUIET_DB:g} dB | under {voice_recording.QUIET_DB:g} dB |",
        f"| speech over the background | under {voice_recording.TOO_NOISY_DB:g} dB | "
        f"under {voice_recording.NOISY_DB:g} dB |",
        f"| clipped samples | over {100 * voice_recording.TOO_CLIPPED:g} % | "
        f"over {100 * voice_recording.CLIPPED:g} % |",
    )
    for row in rows:
        assert row in text
