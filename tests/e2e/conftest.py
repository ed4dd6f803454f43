"""The whole product for a test: real services, taps between them, the orchestrator, Envoy and a browser."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
import pytest
import pytest_asyncio
from avatar.media.v1 import media_pb2
from avatar.render.v1 import render_pb2, render_pb2_grpc
from avatar.tts.v1 import tts_pb2, tts_pb2_grpc
from numpy.typing import NDArray

from services.common.settings import Settings
from tests.e2e.taps import Spoilt, Spoken, tapped_render, tapped_tts
from tests.stack import Program, Stack, free_ports, running_stack

SAMPLE_RATE_HZ = 48_000


@dataclass(frozen=True)
class Product:
    """Real processes, with taps before the voice and the face.

    Args:
        data_dir: where it keeps its data.
        spoken: what the voice made, by utterance.
        frames: what the face service sent, without pixels.
        spoilt: what the taps do to it.
    """

    stack: Stack
    data_dir: Path
    spoken: list[Spoken]
    frames: list[render_pb2.VideoFrame]
    spoilt: Spoilt

    @property
    def address(self) -> str:
        return self.stack.edge.page_url

    async def create_avatar(self, portrait: bytes, avatar_id: str) -> str:
        """Make a face from a picture. Returns: its name."""
        async with grpc.aio.insecure_channel(f"127.0.0.1:{self.stack.native['render']}") as channel:
            avatar = render_pb2.Avatar(portrait=portrait, consent="a test on a painting")
            request = render_pb2.CreateAvatarRequest(avatar=avatar, avatar_id=avatar_id)
            return str((await render_pb2_grpc.AvatarServiceStub(channel).CreateAvatar(request)).name)

    async def synthesise(self, text: str, rate: float = 1.0) -> NDArray[np.int16]:
        """Speech at 48 kHz, for a microphone or to be swapped in."""
        return await synthesise(self.stack.native["tts"], text, rate)


async def synthesise(port: int, text: str, rate: float = 1.0) -> NDArray[np.int16]:
    """Speech at 48 kHz from the voice service at a port."""
    config = tts_pb2.SynthesisConfig(
        language_code="en",
        speaking_rate=rate,
        audio_format=media_pb2.AudioFormat(
            encoding=media_pb2.AUDIO_ENCODING_LINEAR16, sample_rate_hertz=SAMPLE_RATE_HZ, channel_count=1
        ),
    )
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        request = tts_pb2.SynthesizeRequest(text=text, config=config)
        wav = (await tts_pb2_grpc.TextToSpeechServiceStub(channel).Synthesize(request)).audio
    return np.frombuffer(wav[44:], "<i2").astype(np.int16)


def new_data_dir(folder: Path) -> Path:
    """A data directory of a test's own, with the models as set-up left them."""
    data_dir = folder / "data"
    data_dir.mkdir()
    (data_dir / "models").symlink_to(Settings().data_dir / "models")
    return data_dir


@contextlib.asynccontextmanager
async def product(
    data_dir: Path,
    reply: str = "echo",
    services: tuple[str, ...] = ("render", "tts", "stt"),
    settings: Mapping[str, str] | None = None,
    *,
    has_second: bool = False,
) -> AsyncIterator[Product]:
    """Everything, ready.

    Args: settings: more of the orchestrator's, as environment variables; has_second: a second recogniser runs.
    """
    tts_port, render_port, grpc_port, http_port = free_ports(4)

    def programs(native: Mapping[str, int]) -> list[Program]:
        conversation = {
            "ORCHESTRATOR_PORT": str(grpc_port),
            "ORCHESTRATOR_HTTP_PORT": str(http_port),
            "ORCHESTRATOR_TTS_ADDRESS": f"127.0.0.1:{tts_port}",
            "ORCHESTRATOR_RENDER_ADDRESS": f"127.0.0.1:{render_port}",
            "ORCHESTRATOR_STT_ADDRESS": f"127.0.0.1:{native.get('stt', 1)}",
            "ORCHESTRATOR_REPLY": reply,
            "ORCHESTRATOR_DRAIN__ANNOUNCE_S": "0",
        } | dict(settings or {})
        made = [Program("conversation", (sys.executable, "-m", "orchestrator"), conversation, grpc_port)]
        if has_second:
            (port,) = free_ports(1)
            second = env | {"CANARY_PORT": str(port), "CANARY_DRAIN__ANNOUNCE_S": "0"}
            made.append(Program("stt_second", (sys.executable, "-m", "services.stt", "canary"), second, port))
        return made

    env = {"AVATAR_DATA_DIR": str(data_dir), "OMP_NUM_THREADS": "1"}
    async with (
        running_stack(services, env, programs, {"page": [http_port]}) as stack,
        contextlib.AsyncExitStack() as held,
    ):
        spoilt = Spoilt()
        spoken = await held.enter_async_context(tapped_tts(tts_port, stack.native["tts"], spoilt))
        frames = await held.enter_async_context(tapped_render(render_port, stack.native["render"], spoilt))
        yield Product(stack, data_dir, spoken, frames, spoilt)


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Product]:
    """A product with settings as they come, for all tests that change none; it echoes what it hears."""
    async with product(new_data_dir(tmp_path_factory.mktemp("product"))) as whole:
        yield whole
