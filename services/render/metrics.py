"""What the face service counts besides its calls: batches, frames that came too late, and what its engines can draw."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_ENGINE = ("engine",)
BATCH_FRAMES = Histogram(
    "avatar_render_batch_frames", "Frames that were drawn in one go.", _ENGINE, buckets=(1, 2, 4, 8, 16, 32)
)
FRAMES_DRAWN = Counter("avatar_render_frames_drawn", "Frames that an engine drew.", _ENGINE)
FRAMES_LATE = Counter("avatar_render_frames_late", "Frames that were drawn after they were due.", _ENGINE)
FRAMES_DROPPED = Counter(
    "avatar_render_frames_dropped",
    "Frames that were not drawn, by why: late (they would have been) or rate (more than the stream may have now).",
    ("reason",),
)
IDLE_FRAMES = Counter("avatar_render_idle_frames", "Frames of idle faces that were played from a stored loop.")
FACES_REFUSED = Counter("avatar_render_faces_refused", "Streams that found no engine with room for them.")
FACES = Gauge("avatar_render_faces", "Live streams that an engine draws.", _ENGINE)
CAPACITY = Gauge(
    "avatar_render_capacity_frames_per_second", "What an engine draws at most, by what its last batches took.", _ENGINE
)
RATE_LIMIT = Gauge("avatar_render_rate_limit_hertz", "The most frames per second that a live face has now.", _ENGINE)
ENGINE_UP = Gauge("avatar_render_engine_up", "1 while an engine draws, 0 while its device is lost.", _ENGINE)
PREPARED_BYTES = Gauge("avatar_render_prepared_bytes", "Memory of the avatars that are ready to be drawn.", _ENGINE)
DEVICE_BYTES = Gauge(
    "avatar_render_device_bytes",
    "Memory of the GPU that this process uses for tensors, and that it holds for them.",
    ("kind",),
)
