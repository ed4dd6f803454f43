"""Real gRPC servers between the orchestrator and a service: they note what passes, and may spoil it on purpose."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import numpy as np
from avatar.media.v1 import media_pb2
from avatar.render.v1 import render_pb2
from avatar.tts.v1 import tts_pb2
from numpy.typing import NDArray

from services.common.audio import samples_of_pcm16
from tools.bench.taps import passing


@dataclass
class Spoken:
    """What the voice service was asked and gave. Args: sound: shape (n,), 48 kHz, as it left the service."""

    text: str = ""
    pcm: bytearray = field(default_factory=bytearray)
    visemes: list[media_pb2.VisemeTiming] = field(default_factory=list)

    @property
    def sound(self) -> NDArray[np.float32]:
        return samples_of_pcm16(bytes(self.pcm))


_FRAME_MS = 40


@dataclass
class Spoilt:
    """What is done to what passes, until it is set back.

    Args:
        swap_in: sound at 48 kHz that is heard instead of what is said, from the first sample on.
        is_frozen: every frame shows the same picture.
        late_ms: every frame shows what was due before.
    """

    swap_in: NDArray[np.int16] | None = None
    is_frozen: bool = False
    late_ms: int = 0
    _held: deque[bytes] = field(default_factory=deque)

    def set_back(self) -> None:
        """Let everything pass as it is."""
        self.swap_in, self.is_frozen, self.late_ms = None, False, 0

    def picture(self, due: bytes) -> bytes:
        """What a frame shows."""
        if not self.is_frozen or not self._held:
            self._held.append(due)
        while len(self._held) > self.late_ms // _FRAME_MS + 1:
            self._held.popleft()
        return self._held[0]


@contextlib.asynccontextmanager
async def tapped_tts(port: int, target: int, spoilt: Spoilt) -> AsyncIterator[list[Spoken]]:
    """A voice service at `port` that is the one at `target`; yields what it spoke, by utterance in order."""
    spoken: dict[str, Spoken] = {}
    heard: list[Spoken] = []

    def of(utterance_id: str) -> Spoken:
        if utterance_id not in spoken:
            spoken[utterance_id] = Spoken()
            heard.append(spoken[utterance_id])
        return spoken[utterance_id]

    def asked(method: str, raw: bytes) -> None:
        if method.endswith("StreamingSynthesize"):
            request = tts_pb2.StreamingSynthesizeRequest.FromString(raw)
            if request.HasField("text"):
                of(request.text.utterance_id).text += request.text.text

    def change(method: str, raw: bytes) -> bytes:
        if not method.endswith("StreamingSynthesize"):
            return raw
        answer = tts_pb2.StreamingSynthesizeResponse.FromString(raw)
        if answer.HasField("timing"):
            of(answer.timing.utterance_id).visemes.extend(answer.timing.visemes)
        if answer.HasField("audio"):
            noted = of(answer.audio.utterance_id)
            if spoilt.swap_in is not None:
                start = len(noted.pcm) // 2
                count = len(answer.audio.data) // 2
                other = np.zeros(count, "<i2")
                piece = spoilt.swap_in[start : start + count]
                other[: len(piece)] = piece
                noted.pcm += answer.audio.data
                answer.audio.data = other.tobytes()
                return answer.SerializeToString()
            noted.pcm += answer.audio.data
        return raw

    async with passing(port, target, asked, change):
        yield heard


@contextlib.asynccontextmanager
async def tapped_render(port: int, target: int, spoilt: Spoilt) -> AsyncIterator[list[render_pb2.VideoFrame]]:
    """A face service at `port` that is the one at `target`; yields the frames that passed, without their pixels."""
    frames: list[render_pb2.VideoFrame] = []

    def change(method: str, raw: bytes) -> bytes:
        if not method.endswith("StreamingRender"):
            return raw
        answer = render_pb2.StreamingRenderResponse.FromString(raw)
        if not answer.HasField("frame"):
            return raw
        picture = spoilt.picture(answer.frame.data)
        answer.frame.data = b""
        noted = render_pb2.VideoFrame()
        noted.CopyFrom(answer.frame)
        frames.append(noted)
        answer.frame.data = picture
        return answer.SerializeToString()

    async with passing(port, target, lambda *_: None, change):
        yield frames
