"""One Envoy for the tests of a module, with fakes behind it that they can see into."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
import pytest_asyncio

from tests.fakes.edge_services import (
    FakeConversations,
    FakeSpeech,
    serving_conversations,
    serving_page,
    serving_speech,
)
from tests.stack import Edge, running_envoy


@dataclass(frozen=True)
class Behind:
    """A running Envoy, what stands behind it, and an HTTP client that trusts its certificate."""

    edge: Edge
    speech: FakeSpeech
    conversations: FakeConversations
    http: aiohttp.ClientSession
    speech_port: int

    def url(self, listener: str, path: str) -> str:
        scheme = "https" if listener == "page" else "http"
        return f"{scheme}://localhost:{getattr(self.edge.ports, listener)}{path}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def behind() -> AsyncIterator[Behind]:
    speech, conversations = FakeSpeech(), FakeConversations()
    async with contextlib.AsyncExitStack() as held:
        tts = await held.enter_async_context(serving_speech(speech))
        conversation = await held.enter_async_context(serving_conversations(conversations))
        page = await held.enter_async_context(serving_page())
        edge = await held.enter_async_context(
            running_envoy({"tts": [tts.port], "conversation": [conversation.port], "page": [page]})
        )
        connector = aiohttp.TCPConnector(ssl=edge.trust())
        http = await held.enter_async_context(aiohttp.ClientSession(connector=connector))
        yield Behind(edge, speech, conversations, http, tts.port)
