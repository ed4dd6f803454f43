"""Envoy's own port: it tells, and does nothing."""

from __future__ import annotations

import pytest

from tests.envoy.conftest import Behind

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def status(behind: Behind, method: str, path: str, host: str = "localhost") -> int:
    url = f"http://127.0.0.1:{behind.edge.ports.admin}{path}"
    async with behind.http.request(method, url, headers={"host": host}) as response:
        return response.status


@pytest.mark.parametrize("path", ["/ready", "/stats", "/stats/prometheus", "/stats?format=json&filter=downstream"])
@pytest.mark.parametrize("host", ["localhost:9901", "127.0.0.1"])
async def test_programs_of_this_machine_can_read(behind: Behind, path: str, host: str) -> None:
    assert await status(behind, "GET", path, host) == 200


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "path", ["/drain_listeners?graceful", "/quitquitquit", "/config_dump", "/certs", "/", "/../config_dump"]
)
async def test_nothing_is_changed_or_told_of_the_configuration(behind: Behind, method: str, path: str) -> None:
    # As any page that somebody has open can send it.
    assert await status(behind, method, path) == 404
    async with behind.http.get(behind.url("tts", "/v1/voices")) as response:
        assert response.status == 200
        # Listeners that drain end every connection.
        assert response.headers.get("connection") != "close"


async def test_a_page_that_points_its_name_here_reads_nothing(behind: Behind) -> None:
    assert await status(behind, "GET", "/stats", "evil.example:9901") == 404
