"""What every call of the face service shares: the engine, its threads, and the avatars that are ready to be drawn."""

from __future__ import annotations

from collections import OrderedDict

from avatar.media.v1 import media_pb2

from services.common.inference import InferenceThread
from services.render.avatars import DEFAULT_ID, AvatarStore
from services.render.blendshapes import weights_of
from services.render.engine import MAX_SIZE, FaceState, PreparedAvatar
from services.render.engines import Chosen
from services.render.settings import RenderSettings
from services.render.video import VideoCodec, encode

# Each may take seconds and hold 20 MiB.
MAX_WAITING_PORTRAITS = 4


class Stage:
    """Owns three threads: `drawing` makes frames, `preparing` reads the faces that are kept, `looking` reads portraits.

    So a new face delays no frame, and a slow portrait no face.
    """

    def __init__(self, settings: RenderSettings, chosen: Chosen, store: AvatarStore) -> None:
        self.engine = chosen.engine
        self.store = store
        self.info = media_pb2.EngineInfo(name=chosen.engine.name, reason=chosen.reason)
        self.drawing = InferenceThread("draw", max_pending=4 * settings.max_streams + 16)
        self.preparing = InferenceThread("prepare", max_pending=2 * settings.max_streams + 16)
        self.looking = InferenceThread("portrait", max_pending=MAX_WAITING_PORTRAITS)
        self._max_prepared = settings.max_prepared
        self._prepared: OrderedDict[str, PreparedAvatar] = OrderedDict()
        self._seed = 0

    def next_seed(self) -> int:
        """Another idle motion for each stream."""
        self._seed += 1
        return self._seed

    async def prepared(self, avatar_id: str) -> PreparedAvatar:
        """An avatar that is ready to be drawn. Raises: NotFoundError if there is none of that id."""
        # Deleted avatars are not served from here, whoever still draws them.
        self.store.record(avatar_id)
        if avatar_id not in self._prepared:
            self._prepared[avatar_id] = await self.preparing.run(
                lambda: self.engine.prepare(self.store.portrait(avatar_id))
            )
            while len(self._prepared) > self._max_prepared:
                self._prepared.popitem(last=False)
        self._prepared.move_to_end(avatar_id)
        return self._prepared[avatar_id]

    def forget(self, avatar_id: str) -> None:
        """Streams that draw it go on; nobody else gets it."""
        self._prepared.pop(avatar_id, None)

    async def warm_up(self) -> None:
        """Draw and code one frame of the default avatar: everything is compiled after it."""
        prepared = await self.prepared(DEFAULT_ID)
        frame = await self.drawing.run(self.engine.draw, prepared, FaceState(weights_of({"jawOpen": 0.5})), MAX_SIZE)
        for codec in VideoCodec:
            await self.drawing.run(encode, frame, codec)

    def close(self) -> None:
        """Wait for what the threads are doing now."""
        for thread in (self.drawing, self.preparing, self.looking):
            thread.close()
