"""A limit is stated once: the contract, the page and the table say what the code enforces."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from services.render import avatars, image_file
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


def test_the_page_asks_for_no_more_than_the_service_takes() -> None:
    page: Path = ROOT / "orchestrator/page"
    number = re.search(r"MAX_PORTRAIT_BYTES = ([0-9 *]+);", (page / "api.js").read_text())
    assert number is not None
    factors = [int(factor) for factor in number[1].split("*")]
    assert factors[0] * factors[1] * factors[2] == image_file.MAX_BYTES
    assert f"MAX_PIXELS = {image_file.MAX_PIXELS:_};" in (page / "portrait.js").read_text()
    html = (page / "index.html").read_text()
    assert f'id="portrait-name" maxlength="{avatars.MAX_NAME}"' in html
    assert f'id="consent" maxlength="{avatars.MAX_CONSENT}"' in html
