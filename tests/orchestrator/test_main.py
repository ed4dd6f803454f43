"""The process: what its addresses may ask for, and how it stops."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import aiohttp
import grpc
import pytest
from avatar.conversation.v1 import conversation_pb2 as pb
from avatar.conversation.v1.conversation_pb2_grpc import ConversationServiceStub

from orchestrator.__main__ import session_config
from orchestrator.settings import OrchestratorSettings
from services.common.errors import InvalidRequestError
from tests.fakes.browser import socket_at
from tests.stack import free_ports
from tools.cli.health import wait_until_serving


def test_an_address_says_what_is_otherwise_than_in_the_settings() -> None:
    settings = OrchestratorSettings(reply="demo", language_code="de")
    config = session_config(settings, "superfast", {"reply": "echo", "voice": "voices/x"})
    assert (config.reply, config.voice, config.language_code, config.avatar) == (
        "echo",
        "voices/x",
        "de",
        "avatars/default",
    )


def test_a_reply_that_there_is_not_is_refused_with_those_there_are() -> None:
    with pytest.raises(InvalidRequestError, match="demo, echo, assistant"):
        session_config(OrchestratorSettings(), "superfast", {"reply": "oracle"})


@pytest.mark.slow
async def test_sigterm_ends_conversations_and_their_watchers_and_the_process() -> None:
    grpc_port, http_port, nobody = free_ports(3)
    env = dict(os.environ) | {
        "ORCHESTRATOR_PORT": str(grpc_port),
        "ORCHESTRATOR_HTTP_PORT": str(http_port),
        "ORCHESTRATOR_DRAIN__ANNOUNCE_S": "0.2",
    }
    env |= {f"ORCHESTRATOR_{name}_ADDRESS": f"127.0.0.1:{nobody}" for name in ("STT", "TTS", "RENDER")}
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "orchestrator", env=env)
    try:
        async with asyncio.timeout(30):
            await wait_until_serving(grpc_port)
            async with (
                socket_at(f"http://127.0.0.1:{http_port}/session") as socket,
                grpc.aio.insecure_channel(f"127.0.0.1:{grpc_port}") as channel,
            ):
                name = (await socket.next("config"))["data"]["conversation"]
                watch = ConversationServiceStub(channel).WatchConversation(pb.WatchConversationRequest(name=name))
                await watch.initial_metadata()
                process.send_signal(signal.SIGTERM)
                await socket.rest()
                assert socket.connection.close_code == aiohttp.WSCloseCode.GOING_AWAY
                assert [event async for event in watch][-1].HasField("ended")
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
