"""The older stack's routes on port 8081: a portrait in, a picture of it with an expression out."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from avatar.render.v1 import legacy_pb2, legacy_pb2_grpc, render_pb2
from google.api.httpbody_pb2 import HttpBody
from pydantic import BaseModel, Field

from services.common.errors import OverloadedError
from services.common.legacy_http import (
    FormFile,
    HttpError,
    HttpReply,
    answer,
    form_of,
    health_reply,
    json_reply,
)
from services.render.engine import FRAME_EDGE, FaceState
from services.render.engine_host import Sitter
from services.render.expressions import ExpressionKind, expression_pose, expression_weights
from services.render.image_file import read_header
from services.render.servicer import RenderServicer
from services.render.stage import Stage

# The older stack's four, in its order.
EXPRESSIONS = {
    "neutral": "The face at rest.",
    "happy": "A smile, with the cheeks raised and the eyes narrowed.",
    "sad": "The corners of the mouth down, the inner brows up.",
    "surprised": "Brows up, eyes wide, the mouth a little open.",
}
# Twice the usual strength; every shape has reached its end by then.
MAX_INTENSITY = 2.0
# Clients of the older stack send the same portrait for each frame, ten times a second.
_MAX_KEPT = 4
# Calls that wait for a portrait to be looked at.
_MAX_WAITING = 16


class _PortraitForm(BaseModel):
    source_image: FormFile
    expression: str = "neutral"
    intensity: float = Field(default=1.0, allow_inf_nan=False)


class _VideoForm(BaseModel):
    character_image: FormFile
    audio: FormFile | None = None


class LegacyRenderServicer(legacy_pb2_grpc.LegacyRenderServiceServicer):
    """Draws on the stage that every call shares; portraits are kept in memory only, the last few of them."""

    def __init__(self, renderer: RenderServicer, stage: Stage) -> None:
        self._renderer = renderer
        self._stage = stage
        self._sitters: OrderedDict[bytes, Sitter] = OrderedDict()
        # Who sends a portrait that is being looked at waits for it, and does not have it looked at once more.
        self._looking = asyncio.Lock()
        self._waiting = 0

    async def GetServiceHealth(self, request: legacy_pb2.GetServiceHealthRequest, context: Any) -> HttpBody:
        return await answer(context, "GetServiceHealth", self._health(context))

    async def GetExpressions(self, request: legacy_pb2.GetExpressionsRequest, context: Any) -> HttpBody:
        return await answer(context, "GetExpressions", self._expressions())

    async def RenderPortrait(self, request: legacy_pb2.RenderPortraitRequest, context: Any) -> HttpBody:
        return await answer(context, "RenderPortrait", self._portrait(request.form))

    async def RenderVideo(self, request: legacy_pb2.RenderVideoRequest, context: Any) -> HttpBody:
        return await answer(context, "RenderVideo", self._video(request.form))

    async def _health(self, context: Any) -> HttpReply:
        return health_reply(await self._renderer.GetHealth(render_pb2.GetHealthRequest(), context))

    async def _expressions(self) -> HttpReply:
        return json_reply({"expressions": list(EXPRESSIONS), "description": EXPRESSIONS})

    async def _portrait(self, body: HttpBody) -> HttpReply:
        form = await form_of(_PortraitForm, body)
        if form.expression not in EXPRESSIONS:
            raise HttpError(400, f"Invalid expression {form.expression[:40]!r}. Available: {', '.join(EXPRESSIONS)}")
        kind = ExpressionKind[form.expression.upper()]
        intensity = min(max(form.intensity, 0.0), MAX_INTENSITY)
        weights = expression_weights(kind, intensity).clip(0.0, 1.0)
        state = FaceState(weights, expression_pose(kind, intensity))
        sitter = await self._looked_at(form.source_image.content)
        return HttpReply(await self._stage.still(sitter, state, FRAME_EDGE), "image/jpeg")

    async def _looked_at(self, file: bytes) -> Sitter:
        """Whom a portrait shows. Raises: InvalidRequestError if it is no picture of a face."""
        # What cannot be a portrait takes no place, and those that wait have 20 MiB each at most.
        await asyncio.to_thread(read_header, file)
        key = await asyncio.to_thread(lambda: hashlib.sha256(file).digest())
        if key not in self._sitters:
            with self._place():
                async with self._looking:
                    if key not in self._sitters:
                        portrait = await self._stage.looking.run(self._stage.store.portrait_of, file)
                        self._sitters[key] = Sitter(f"sent {key.hex()}", lambda: portrait)
        self._sitters.move_to_end(key)
        while len(self._sitters) > _MAX_KEPT:
            _, gone = self._sitters.popitem(last=False)
            self._stage.forget(gone)
        return self._sitters[key]

    @contextlib.contextmanager
    def _place(self) -> Iterator[None]:
        """A place among those who wait. Raises: OverloadedError if all are taken."""
        if self._waiting == _MAX_WAITING:
            raise OverloadedError(
                f"{_MAX_WAITING} portraits wait to be looked at; try again in a moment",
                limit=f"waiting_portraits={_MAX_WAITING}",
            )
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    async def _video(self, body: HttpBody) -> HttpReply:
        await form_of(_VideoForm, body)
        raise HttpError(
            501,
            "videos are not made by this route. Pictures are, by /api/render; a talking video by the command "
            "`avatar talk`; frames as they are made by the gRPC method avatar.render.v1.RenderService/StreamingRender",
        )
