"""What happens in a conversation, handed to everyone who follows it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

from avatar.conversation.v1.conversation_pb2 import ConversationEvent

# A follower who is this far behind is let go: what it misses could not be told from what happened.
MAX_BEHIND = 512


class Follower:
    """One reader's events, in order."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[ConversationEvent | None] = asyncio.Queue(MAX_BEHIND + 1)

    def put(self, event: ConversationEvent) -> bool:
        """Returns: False when the reader is too far behind; it gets no more."""
        if self._queue.qsize() >= MAX_BEHIND:
            self._queue.put_nowait(None)
            return False
        self._queue.put_nowait(event)
        return True

    async def events(self) -> AsyncIterator[ConversationEvent]:
        """Every event until the conversation's last, or until the reader was let go."""
        while (event := await self._queue.get()) is not None:
            yield event
            if event.HasField("ended"):
                return


class Events:
    """Publishes to every follower."""

    def __init__(self) -> None:
        self._followers: set[Follower] = set()
        self._ended: ConversationEvent | None = None

    def publish(self, event: ConversationEvent) -> None:
        if event.HasField("ended"):
            self._ended = event
        self._followers = {follower for follower in self._followers if follower.put(event)}

    @contextlib.contextmanager
    def follow(self) -> Iterator[Follower]:
        """Follow from now on; after the end there is only the last event."""
        follower = Follower()
        if self._ended is not None:
            follower.put(self._ended)
        self._followers.add(follower)
        try:
            yield follower
        finally:
            self._followers.discard(follower)
