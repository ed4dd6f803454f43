"""AvatarService: makes, shows and forgets faces."""

from __future__ import annotations

from functools import partial
from typing import Any

from avatar.render.v1 import render_pb2, render_pb2_grpc
from google.protobuf.empty_pb2 import Empty

from services.common.log import get_logger
from services.render.avatars import AvatarRecord, avatar_id_of
from services.render.stage import Stage

log = get_logger(__name__)


def _to_message(record: AvatarRecord, *, with_landmarks: bool) -> render_pb2.Avatar:
    avatar = render_pb2.Avatar(
        name=f"avatars/{record.avatar_id}",
        display_name=record.display_name,
        consent=record.consent,
        width=record.width,
        height=record.height,
        detection_score=record.score,
        warnings=record.warnings,
        doubts=record.doubts,
    )
    avatar.create_time.FromDatetime(record.created_at)
    if with_landmarks:
        avatar.landmarks.extend(render_pb2.Point(x=x, y=y) for x, y in record.landmarks.tolist())
    return avatar


class AvatarServicer(render_pb2_grpc.AvatarServiceServicer):
    """The store does the work, on the stage's threads."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    async def CreateAvatar(self, request: render_pb2.CreateAvatarRequest, context: Any) -> render_pb2.Avatar:
        avatar = request.avatar
        sent = (request.avatar_id, avatar.display_name, avatar.consent, avatar.portrait)
        if request.validate_only:
            look = partial(self._stage.store.look, *sent)
        else:
            look = partial(self._stage.store.create, *sent, confirmed=request.confirm_doubtful_face)
        record = await self._stage.looking.run(look)
        log.info(
            "portrait_looked_at" if request.validate_only else "avatar_created",
            width=record.width,
            height=record.height,
            warnings=len(record.warnings),
            doubts=len(record.doubts),
        )
        return _to_message(record, with_landmarks=True)

    async def GetAvatar(self, request: render_pb2.GetAvatarRequest, context: Any) -> render_pb2.Avatar:
        return _to_message(self._stage.store.record(avatar_id_of(request.name)), with_landmarks=True)

    async def ListAvatars(self, request: render_pb2.ListAvatarsRequest, context: Any) -> render_pb2.ListAvatarsResponse:
        records = self._stage.store.records()
        return render_pb2.ListAvatarsResponse(avatars=[_to_message(record, with_landmarks=False) for record in records])

    async def DeleteAvatar(self, request: render_pb2.DeleteAvatarRequest, context: Any) -> Empty:
        avatar_id = avatar_id_of(request.name)
        sitter = self._stage.sitter(avatar_id)
        await self._stage.preparing.run(self._stage.store.delete, avatar_id)
        self._stage.forget(sitter)
        log.info("avatar_deleted")
        return Empty()
