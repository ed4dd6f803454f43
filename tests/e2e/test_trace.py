"""A turn of the whole product is one trace, with the voice's own call in it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest

from services.common.settings import Settings
from tests.e2e.conftest import product
from tests.fakes.browser import Socket, browser
from tests.fakes.collector import collecting

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

SYNTHESIS = "avatar.tts.v1.TextToSpeechService/StreamingSynthesize"
DRAWING = "avatar.render.v1.RenderService/StreamingRender"


async def test_the_voices_call_is_in_the_turns_trace_and_the_faces_in_the_conversations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    (data_dir / "models").symlink_to(Settings().data_dir / "models")
    async with collecting() as collector:
        monkeypatch.setenv("AVATAR_OTLP_ENDPOINT", collector.endpoint)
        async with product(data_dir) as whole:
            connector = aiohttp.TCPConnector(ssl=whole.stack.edge.trust())
            async with (
                aiohttp.ClientSession(connector=connector) as http,
                browser(microphone=True, face=True) as person,
                http.ws_connect(f"{whole.address}/session") as connection,
            ):
                page = Socket(connection)
                await page.answer_to(person.peer)
                await person.connected.wait()
                await person.sees()
                await page.send("text", text="good morning")
                await page.event("utterance_ended")
            async with asyncio.timeout(30):
                turn, synthesis, drawing, conversation = [
                    await collector.named(name) for name in ("turn", SYNTHESIS, DRAWING, "conversation")
                ]
    assert (synthesis.trace_id, synthesis.parent_span_id) == (turn.trace_id, turn.span_id)
    assert (drawing.trace_id, drawing.parent_span_id) == (conversation.trace_id, conversation.span_id)
    assert conversation.trace_id in {link.trace_id for link in turn.links}
    stages = collector.of_trace(turn.trace_id)
    assert {"reply", "tts.first_chunk", "audio.sent", "render.first_frame"} <= set(stages)
    # The call began within the turn by the clocks of both processes.
    assert turn.start_time_unix_nano <= synthesis.start_time_unix_nano <= turn.end_time_unix_nano
    assert {"avatar.conversation", "avatar.tts", "avatar.render"} <= collector.processes
