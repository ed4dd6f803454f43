"""What a caller meets at the edge, with a real Envoy between real sockets."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import grpc
import pytest
from avatar.conversation.v1 import conversation_pb2_grpc
from avatar.conversation.v1.conversation_pb2 import ListConversationsRequest
from avatar.tts.v1 import tts_pb2 as tts
from avatar.tts.v1 import tts_pb2_grpc
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status

from tests.envoy.conftest import Behind
from tests.fakes.edge_services import FLOOD, LONG_BYTES, TTS

pytestmark = pytest.mark.asyncio(loop_scope="module")
MIB = 1024 * 1024


def channel(port: int) -> grpc.aio.Channel:
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    return grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options)


async def answer(response: aiohttp.ClientResponse) -> tuple[int, Any]:
    """Status and JSON of an answer, which must say that it is JSON."""
    assert response.content_type == "application/json"
    return response.status, await response.json()


async def test_json_and_grpc_are_served_on_the_same_port(behind: Behind) -> None:
    async with behind.http.get(behind.url("tts", "/v1/voices?language_code=de")) as response:
        status, body = await answer(response)
    assert status == 200
    assert body["voices"][0]["language_codes"] == ["de"]
    assert body["voices"][0]["natural_sample_rate_hertz"] == 22050
    async with channel(behind.edge.ports.tts) as port:
        voices = await tts_pb2_grpc.TextToSpeechServiceStub(port).ListVoices(tts.ListVoicesRequest(language_code="de"))
    assert voices.voices[0].name == body["voices"][0]["name"]


async def test_a_bidirectional_stream_answers_each_message_before_the_next_is_sent(behind: Behind) -> None:
    async with channel(behind.edge.ports.tts) as port:
        call = tts_pb2_grpc.TextToSpeechServiceStub(port).StreamingSynthesize()
        replies = aiter(call)
        for text in ("a", "b"):
            await call.write(tts.StreamingSynthesizeRequest(text=tts.StreamingSynthesizeRequest.TextChunk(text=text)))
            assert (await anext(replies)).audio.data == text.encode()
        await call.done_writing()


async def test_health_and_reflection_pass(behind: Behind) -> None:
    port = behind.edge.ports.tts
    async with channel(port) as open_channel:
        health = await health_pb2_grpc.HealthStub(open_channel).Check(health_pb2.HealthCheckRequest(service=TTS))
    assert health.status == health_pb2.HealthCheckResponse.SERVING

    def names() -> Any:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as plain:
            return list(ProtoReflectionDescriptorDatabase(plain).get_services())

    assert TTS in await asyncio.to_thread(names)


@pytest.mark.parametrize(
    ("listener", "path"),
    [("tts", "/v1/nothing"), ("page", "/v1/nothing"), ("legacy", "/v1/nothing")],
)
async def test_an_unknown_path_is_404_in_json(behind: Behind, listener: str, path: str) -> None:
    async with behind.http.get(behind.url(listener, path)) as response:
        status, body = await answer(response)
    assert status == 404
    assert body == {"code": 5, "message": "there is no such method, path or host here", "details": []}


async def test_an_unknown_native_method_is_unimplemented(behind: Behind) -> None:
    async with channel(behind.edge.ports.tts) as port:
        nothing = port.unary_unary(
            f"/{TTS}/Nothing", tts.ListVoicesRequest.SerializeToString, tts.ListVoicesResponse.FromString
        )
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await nothing(tts.ListVoicesRequest())
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(
    ("body", "says"),
    [(b'{"text": ', "Unexpected end"), (b'{"text": 5, "config": {"speaking_rate": "fast"}}', "fast")],
)
async def test_bad_json_is_400_and_says_what_is_wrong(behind: Behind, body: bytes, says: str) -> None:
    async with behind.http.post(behind.url("tts", "/v1/speech:synthesize"), data=body) as response:
        status, error = await answer(response)
    assert status == 400
    assert error["code"] == 3
    assert says in error["message"]


async def test_an_unknown_query_parameter_is_400(behind: Behind) -> None:
    async with behind.http.get(behind.url("tts", "/v1/voices?langauge=de")) as response:
        status, error = await answer(response)
    assert status == 400
    assert "langauge" in error["message"]


async def test_a_domain_error_keeps_its_sentence_and_its_details_in_json(behind: Behind) -> None:
    request = {"text": "hello", "config": {"voice": "voices/busy"}}
    async with behind.http.post(behind.url("tts", "/v1/speech:synthesize"), json=request) as response:
        status, error = await answer(response)
    assert status == 429
    assert (error["code"], error["message"]) == (8, "all 8 streams are taken")
    info, retry, quota = error["details"]
    assert (info["@type"], info["reason"]) == ("type.googleapis.com/google.rpc.ErrorInfo", "OVERLOADED")
    assert retry["retry_delay"] == "1.500s"
    assert quota["violations"][0]["subject"] == "max_streams=8"


@pytest.mark.parametrize(
    ("request_body", "status", "code"),
    [({"text": ""}, 400, 3), ({"text": "x", "config": {"voice": "voices/none"}}, 404, 5)],
)
async def test_a_grpc_status_becomes_an_http_status(
    behind: Behind, request_body: dict[str, Any], status: int, code: int
) -> None:
    async with behind.http.post(behind.url("tts", "/v1/speech:synthesize"), json=request_body) as response:
        found, error = await answer(response)
    assert (found, error["code"]) == (status, code)


async def test_native_grpc_gets_the_details_untouched(behind: Behind) -> None:
    request = tts.SynthesizeRequest(text="x", config=tts.SynthesisConfig(voice="voices/busy"))
    async with channel(behind.edge.ports.tts) as port:
        with pytest.raises(grpc.aio.AioRpcError, match="8 streams") as refused:
            await tts_pb2_grpc.TextToSpeechServiceStub(port).Synthesize(request)
    status = rpc_status.from_call(refused.value)
    assert status is not None
    assert status.details[0].Is(error_details_pb2.ErrorInfo.DESCRIPTOR)


@pytest.mark.slow
async def test_answers_near_the_limit_of_64_mib_pass_in_json_and_messages_in_grpc(behind: Behind) -> None:
    request = {"text": "a", "config": {"voice": "voices/long"}}
    async with behind.http.post(behind.url("tts", "/v1/speech:synthesize"), json=request) as response:
        assert response.status == 200
        # As base64.
        assert len(await response.read()) > LONG_BYTES * 4 / 3
    text = "a" * (63 * MIB)
    async with channel(behind.edge.ports.tts) as port:
        spoken = await tts_pb2_grpc.TextToSpeechServiceStub(port).Synthesize(tts.SynthesizeRequest(text=text))
    assert len(spoken.audio) == len(text)


@pytest.mark.slow
async def test_a_service_runs_less_than_a_mebibyte_ahead_of_a_reader_who_stands_still(behind: Behind) -> None:
    """Or a cancelled utterance would go on in the pipes for seconds."""
    window = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 64 * 1024)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{behind.edge.ports.tts}", options=window) as still:
        call = tts_pb2_grpc.TextToSpeechServiceStub(still).StreamingSynthesize()
        await call.write(tts.StreamingSynthesizeRequest(text=tts.StreamingSynthesizeRequest.TextChunk(text=FLOOD)))
        async with asyncio.timeout(20):
            ran_ahead = await behind.speech.ran_ahead
        call.cancel()
    assert 0 < ran_ahead < MIB


async def test_a_streams_first_line_arrives_before_the_next_is_made(behind: Behind) -> None:
    stream = behind.speech.streams["lines"]
    url = behind.url("tts", "/v1/speech:synthesizeStream")
    async with behind.http.post(url, json={"text": "lines"}) as response:
        first = json.loads(await response.content.readline())
        assert "started" in first
        assert not stream.go_on.is_set()
        stream.go_on.set()
        rest = [json.loads(line) async for line in response.content]
    assert [next(iter(message)) for message in rest] == ["audio", "utterance_end"]


async def test_a_caller_who_leaves_a_streamed_json_answer_cancels_the_call(behind: Behind) -> None:
    stream = behind.speech.streams["leaves"]
    url = behind.url("tts", "/v1/speech:synthesizeStream")
    response = await behind.http.post(url, json={"text": "leaves"})
    await response.content.readline()
    response.close()
    async with asyncio.timeout(5):
        await stream.left.wait()
    assert not stream.completed


async def test_a_watched_conversation_is_a_line_of_json_per_event(behind: Behind) -> None:
    async with behind.http.get(behind.url("legacy", "/v1/conversations/one:watch")) as response:
        assert json.loads(await response.content.readline())["turn_changed"] == {"state": "TURN_STATE_LISTENING"}
        behind.conversations.may_end.set()
        assert json.loads(await response.content.readline())["ended"]["reason"] == "the test is over"
        assert await response.content.read() == b""


async def test_the_pages_port_serves_files_json_and_grpc_over_verified_tls(behind: Behind) -> None:
    async with behind.http.get(behind.url("page", "/")) as response:
        assert (response.status, response.content_type) == (200, "text/html")
    async with behind.http.get(behind.url("page", "/v1/voices")) as response:
        assert (await answer(response))[0] == 200
    async with behind.http.get(behind.url("page", "/v1/conversations")) as response:
        assert (await answer(response))[1]["conversations"][0]["name"] == "conversations/one"
    credentials = grpc.ssl_channel_credentials(behind.edge.certificate.read_bytes())
    async with grpc.aio.secure_channel(f"localhost:{behind.edge.ports.page}", credentials) as secure:
        conversations = await conversation_pb2_grpc.ConversationServiceStub(secure).ListConversations(
            ListConversationsRequest()
        )
        voices = await tts_pb2_grpc.TextToSpeechServiceStub(secure).ListVoices(tts.ListVoicesRequest())
    assert conversations.conversations[0].name == "conversations/one"
    assert voices.voices


async def test_the_pages_health_is_the_conversations_alone(behind: Behind) -> None:
    async with behind.http.get(behind.url("page", "/health")) as response:
        assert (await answer(response)) == (200, {"status": "healthy", "missing_services": []})


@pytest.mark.parametrize("path", ["/", "/?avatar=avatars/x&reply=echo"])
async def test_the_pages_address_without_its_https_leads_there(behind: Behind, path: str) -> None:
    plain = behind.url("page", path).replace("https://", "http://")
    async with behind.http.get(plain, allow_redirects=False) as response:
        assert (response.status, response.headers["location"]) == (307, behind.url("page", path))
    async with behind.http.get(plain) as response:
        assert (response.status, response.content_type) == (200, "text/html")


async def test_nothing_but_the_way_to_tls_is_served_without_it(behind: Behind) -> None:
    plain = behind.url("page", "/v1/conversations").replace("https://", "http://")
    for method in ("GET", "POST"):
        async with behind.http.request(method, plain, allow_redirects=False) as response:
            assert (response.status, await response.read()) == (307, b"")
    async with grpc.aio.insecure_channel(f"localhost:{behind.edge.ports.page}") as channel_without_tls:
        with pytest.raises(grpc.aio.AioRpcError):
            await conversation_pb2_grpc.ConversationServiceStub(channel_without_tls).ListConversations(
                ListConversationsRequest(), timeout=5
            )


async def test_a_client_that_does_not_know_the_certificate_is_not_served(behind: Behind) -> None:
    async with aiohttp.ClientSession() as stranger:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await stranger.get(behind.url("page", "/"))


@pytest.mark.parametrize(("listener", "path"), [("page", "/session"), ("legacy", "/"), ("legacy", "/v1/any/path")])
async def test_a_websocket_reaches_the_orchestrator_and_is_told_its_listener(
    behind: Behind, listener: str, path: str
) -> None:
    forged = {"x-avatar-listener": "forged"}
    async with behind.http.ws_connect(behind.url(listener, path), headers=forged) as socket:
        assert await socket.receive_json() == {"path": path, "listener": [listener]}
        await socket.send_str("ha")
        assert await socket.receive_str() == "haha"


@pytest.mark.parametrize(
    ("listener", "path"),
    [("page", "/health"), ("page", "/v1/voices"), ("page", "/"), ("tts", "/v1/voices"), ("tts", "/health")],
)
async def test_where_there_is_no_websocket_the_path_is_unknown(behind: Behind, listener: str, path: str) -> None:
    headers = {"upgrade": "websocket", "connection": "upgrade", "sec-websocket-key": "a" * 22 + "=="}
    async with asyncio.timeout(5), behind.http.get(behind.url(listener, path), headers=headers) as response:
        status, error = await answer(response)
    assert status == 404
    assert error == {"detail": "Not Found"} or error["message"] == "there is no such method, path or host here"


PREFLIGHT = {"access-control-request-method": "POST", "access-control-request-headers": "content-type,x-grpc-web"}


async def test_the_page_may_call_a_service_from_its_own_origin(behind: Behind) -> None:
    origin = behind.edge.page_url
    url = behind.url("tts", "/v1/speech:synthesize")
    async with behind.http.options(url, headers={"origin": origin} | PREFLIGHT) as response:
        assert response.status == 200
        assert response.headers["access-control-allow-origin"] == origin
        assert "x-grpc-web" in response.headers["access-control-allow-headers"]
    async with behind.http.post(url, json={"text": "x"}, headers={"origin": origin}) as response:
        assert response.status == 200
        assert "grpc-status" in response.headers["access-control-expose-headers"]


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "https://localhost.evil.example", "http://evil.example:8085", "null"]
)
async def test_a_foreign_page_gets_no_leave_and_no_effect(behind: Behind, origin: str) -> None:
    url = behind.url("tts", "/v1/speech:synthesize")
    async with behind.http.options(url, headers={"origin": origin} | PREFLIGHT) as response:
        assert "access-control-allow-origin" not in response.headers
    async with behind.http.post(url, data=b'{"text": "x"}', headers={"origin": origin}) as response:
        status, error = await answer(response)
        assert (status, error["code"]) == (403, 7)
    with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
        await behind.http.ws_connect(behind.url("legacy", "/"), headers={"origin": origin})


async def test_a_foreign_host_name_that_points_here_is_not_served(behind: Behind) -> None:
    headers = {"host": f"evil.example:{behind.edge.ports.tts}"}
    async with behind.http.get(behind.url("tts", "/v1/voices"), headers=headers) as response:
        assert (await answer(response))[0] == 404


async def test_a_deadline_of_the_caller_is_kept_over_json(behind: Behind) -> None:
    stream = behind.speech.streams["late"]
    url = behind.url("tts", "/v1/speech:synthesizeStream")
    async with behind.http.post(url, json={"text": "late"}, headers={"grpc-timeout": "200m"}) as response:
        await response.content.readline()
        async with asyncio.timeout(5):
            await stream.left.wait()
    assert not stream.completed
