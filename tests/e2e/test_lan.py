"""`avatar up --lan` with the real command: what other devices meet, and what this machine keeps to itself."""

from __future__ import annotations

import asyncio
import json
import ssl
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
import pytest_asyncio
from avatar.tts.v1 import tts_pb2 as tts
from avatar.tts.v1 import tts_pb2_grpc

from tests.e2e.avatar_command import Avatar
from tests.stack import config_file
from tools.cli import lan
from tools.cli.channel import channel_to
from tools.cli.settings import StackSettings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="module")]
ADDRESSES = lan.addresses()


@dataclass(frozen=True)
class Open:
    """A stack on the network. Args: said: what the command that started it said; host: this machine's own address."""

    avatar: Avatar
    settings: StackSettings
    said: str
    http: aiohttp.ClientSession
    host: str

    @property
    def token(self) -> str:
        return lan.read_token(self.settings)

    def url(self, listener: str, path: str) -> str:
        scheme = "https" if listener == "page" else "http"
        return f"{scheme}://{self.host}:{self.settings.public_ports[listener]}{path}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def opened(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Open]:
    if not ADDRESSES:
        pytest.skip("this machine has no address but loopback")
    avatar = Avatar(config_file(tmp_path_factory.mktemp("lan")))
    async with avatar.up("--lan") as said:
        settings = avatar.settings()
        trust = ssl.create_default_context(cafile=settings.data_dir / "tls" / "certificate.pem")
        connector = aiohttp.TCPConnector(ssl=trust)
        async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
            yield Open(avatar, settings, said, http, ADDRESSES[0])


LISTENERS = ("render", "tts", "stt", "stt_second", "page", "legacy")


@pytest.mark.parametrize("listener", LISTENERS)
async def test_every_port_answers_other_devices_with_the_token_and_no_one_without(opened: Open, listener: str) -> None:
    for host in ("127.0.0.1", opened.host):
        url = opened.url(listener, "/health").replace(opened.host, host)
        async with opened.http.get(url) as response:
            assert response.status == 401
            assert "`avatar token` prints it" in await response.text()
        async with opened.http.get(url, headers={"authorization": f"Bearer {opened.token}"}) as response:
            assert response.status == 200


async def test_a_native_call_from_another_device_needs_the_token(opened: Open) -> None:
    port = opened.settings.network.tts_port
    async with channel_to(port, None, opened.host) as stranger:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await tts_pb2_grpc.TextToSpeechServiceStub(stranger).ListVoices(tts.ListVoicesRequest())
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    async with channel_to(port, opened.token, opened.host) as friend:
        assert (await tts_pb2_grpc.TextToSpeechServiceStub(friend).ListVoices(tts.ListVoicesRequest())).voices


async def test_a_browser_comes_in_by_the_printed_address_and_stays(opened: Open) -> None:
    """By the address, over a certificate that names it."""
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(connector=opened.http.connector, connector_owner=False, cookie_jar=jar) as browser:
        async with browser.get(opened.url("page", "/")) as response:
            assert response.status == 401
        async with browser.get(opened.url("page", f"/?token={opened.token}")) as response:
            assert response.status == 200
            assert str(response.url) == opened.url("page", "/")
            assert "<html" in await response.text()
        async with browser.get(opened.url("page", "/v1/voices")) as response:
            assert (await response.json())["voices"]
        ours = {"origin": opened.url("page", "")}
        async with browser.ws_connect(opened.url("page", "/session"), headers=ours) as socket:
            assert (await socket.receive_json())["type"] == "config"
        theirs = {"origin": "https://evil.example"}
        with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
            await browser.ws_connect(opened.url("page", "/session"), headers=theirs)


async def test_an_old_client_carries_the_token_in_the_address_of_its_socket(opened: Open) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError, match="401"):
        await opened.http.ws_connect(opened.url("legacy", "/"))
    async with opened.http.ws_connect(opened.url("legacy", f"/?token={opened.token}")) as socket:
        assert (await socket.receive_json())["type"] == "config"


async def test_what_stands_behind_envoy_stays_on_loopback(opened: Open) -> None:
    own = [server.port for server in opened.settings.servers.values()]
    own += [opened.settings.orchestrator.http_port, opened.settings.network.admin_port]
    for port in own:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(opened.host, port)


async def test_the_commands_of_this_machine_send_the_token_by_themselves(opened: Open) -> None:
    state = json.loads((await opened.avatar.run("status", "--json")).out)
    assert (state["ready"], state["asks_for_token"]) == (True, True)
    listed = await opened.avatar.run("portrait", "list")
    assert listed.out.startswith("avatars/default"), listed.err
    # There is no conversation; that it knows is by a call on the legacy port.
    said = await opened.avatar.run("say", "hello")
    assert "no conversation runs" in said.err


async def test_the_token_stands_in_two_files_of_its_owner_and_nowhere_else(opened: Open) -> None:
    data = opened.settings.data_dir
    holders = {
        path.relative_to(data)
        for path in data.rglob("*")
        if path.is_file() and "models" not in path.parts and opened.token.encode() in path.read_bytes()
    }
    assert holders == {Path("token"), Path("run/envoy.json")}
    assert {stat.S_IMODE((data / path).stat().st_mode) for path in holders} == {0o600}
    # A pipe is no person: the command said where the page is, and not the token.
    assert opened.url("page", "/") in opened.said
    assert opened.token not in opened.said
    assert (await opened.avatar.run("token")).out == f"{opened.token}\n"
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert opened.token.encode() not in process.read_bytes()
        except OSError:  # it has ended
            continue


async def test_a_new_token_shuts_out_the_old_one(opened: Open) -> None:
    async def status(token: str) -> Any:
        try:
            async with opened.http.get(
                opened.url("tts", "/health"), headers={"authorization": f"Bearer {token}"}
            ) as response:
                return response.status
        except aiohttp.ClientError:  # between the old Envoy and the new one
            return None

    old = opened.token
    replaced = await opened.avatar.run("token", "--new", "--plain")
    assert replaced.status == 0, replaced.err
    new = replaced.out.splitlines()[-1]
    assert new == opened.token != old
    async with asyncio.timeout(30):
        while await status(new) != 200:  # noqa: ASYNC110 - Envoy tells nobody when it is ready
            await asyncio.sleep(0.05)
    assert await status(old) == 401


@pytest.mark.parametrize(("listener", "path"), [("render", "/expressions"), ("tts", "/languages"), ("stt", "/health")])
async def test_the_older_stacks_routes_are_served_with_the_token_and_refused_without(
    opened: Open, listener: str, path: str
) -> None:
    async with opened.http.get(opened.url(listener, path)) as response:
        assert (response.status, list(await response.json())) == (401, ["detail"])
    async with opened.http.get(
        opened.url(listener, path), headers={"authorization": f"Bearer {opened.token}"}
    ) as response:
        assert response.status == 200


async def test_an_upload_of_the_older_stack_needs_the_token(opened: Open) -> None:
    async def synthesise(headers: dict[str, str]) -> tuple[int, bytes]:
        request = {"text": "Hello.", "language": "en"}
        async with opened.http.post(opened.url("tts", "/synthesize"), json=request, headers=headers) as response:
            return response.status, await response.read()

    assert (await synthesise({}))[0] == 401
    status, audio = await synthesise({"authorization": f"Bearer {opened.token}"})
    assert (status, audio[:4]) == (200, b"RIFF")
