"""curl, as in the README: JSON, and JSON that arrives while it is made."""

from __future__ import annotations

import asyncio
import base64
import json

import pytest

from tests.clients.conftest import HeldVoice, Voice, run


@pytest.mark.slow
@pytest.mark.asyncio(loop_scope="package")
async def test_a_text_becomes_a_wav_file(voice: Voice) -> None:
    url = f"http://127.0.0.1:{voice.edge.ports.tts}/v1/speech:synthesize"
    status, out, err = await run("curl", "--silent", "--fail", "--json", '{"text": "Hello world."}', url)
    assert status == 0, err
    assert base64.b64decode(json.loads(out)["audio"]).startswith(b"RIFF")


@pytest.mark.slow
@pytest.mark.asyncio(loop_scope="package")
async def test_the_pages_port_is_believed_with_its_certificate_and_not_without(voice: Voice) -> None:
    url = f"{voice.edge.page_url}/v1/voices"
    status, out, err = await run("curl", "--silent", "--fail", "--cacert", voice.edge.certificate, url)
    assert status == 0, err
    assert json.loads(out)["voices"]
    untrusted = 60
    assert (await run("curl", "--silent", url))[0] == untrusted


async def test_the_first_line_of_a_stream_arrives_before_the_last_is_made(held_voice: HeldVoice) -> None:
    url = f"http://127.0.0.1:{held_voice.edge.ports.tts}/v1/speech:synthesizeStream"
    curl = await asyncio.create_subprocess_exec(
        *("curl", "--silent", "--no-buffer", "--json", '{"text": "slowly"}', url), stdout=asyncio.subprocess.PIPE
    )
    assert curl.stdout is not None
    async with asyncio.timeout(20):
        assert "started" in json.loads(await curl.stdout.readline())
        # The service has not made more than this yet.
        held_voice.speech.streams["slowly"].go_on.set()
        rest = [json.loads(line) for line in (await curl.stdout.read()).splitlines()]
        assert await curl.wait() == 0
    assert base64.b64decode(rest[0]["audio"]["data"]) == b"slowly"
    assert rest[1]["utterance_end"]["reason"] == "REASON_COMPLETED"


async def test_interrupting_curl_cancels_the_call(held_voice: HeldVoice) -> None:
    url = f"http://127.0.0.1:{held_voice.edge.ports.tts}/v1/speech:synthesizeStream"
    curl = await asyncio.create_subprocess_exec(
        *("curl", "--silent", "--no-buffer", "--json", '{"text": "never"}', url), stdout=asyncio.subprocess.PIPE
    )
    assert curl.stdout is not None
    stream = held_voice.speech.streams["never"]
    async with asyncio.timeout(20):
        await curl.stdout.readline()
        curl.terminate()
        await stream.left.wait()
        await curl.wait()
    assert not stream.completed
