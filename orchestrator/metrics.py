"""What the orchestrator counts besides its calls: conversations, turns, and what of sound and picture came too late."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

# The targets of a turn lie between 0.35 and 1.3 s.
_TURN_BUCKETS_S = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.3, 1.6, 2.0, 3.0, 5.0, 10.0)

CONVERSATIONS_ACTIVE = Gauge("avatar_conversations_active", "Conversations that run now.")
CONVERSATIONS = Counter("avatar_conversations", "Conversations that began.")
CONVERSATIONS_REFUSED = Counter("avatar_conversations_refused", "Conversations that found the server full.")
TURN_SECONDS = Histogram(
    "avatar_turn_seconds",
    "From the end of the person's speech to a stage's first result, where audio_sent is what the person waits for.",
    ("stage",),
    buckets=_TURN_BUCKETS_S,
)
UTTERANCES = Counter(
    "avatar_utterances", "What the avatar said, by how it ended: completed, cut or unspoken.", ("end",)
)
FRAMES_SENT = Counter("avatar_video_frames_sent", "Pictures that went to browsers.")
FRAMES_SKIPPED = Counter("avatar_video_frames_skipped", "Video slots without a picture, because drawing took too long.")
FRAMES_DROPPED = Counter("avatar_video_frames_dropped", "Pictures that were drawn and not sent in time.")
AUDIO_GAP_SECONDS = Counter("avatar_audio_gap_seconds", "Silence within speech, because it was not there in time.")
AUDIO_SKIPPED_SECONDS = Counter(
    "avatar_audio_skipped_seconds", "Sound that was left out after a stall of this process."
)
MICROPHONE_DROPPED_SECONDS = Counter(
    "avatar_microphone_dropped_seconds", "Sound of the person that the recogniser was too slow to take."
)
SERVICE_LOST = Counter("avatar_service_lost", "How often a conversation lost a service.", ("service",))
