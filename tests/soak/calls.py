"""A call of somebody who may go away in the middle of it, and how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import Message

# A call that takes longer is stuck: a busy machine needs a tenth of it.
LONGEST_CALL_S = 60.0
# Each channel has connections of its own, so that to open one is to connect anew.
OPTIONS = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1)]


# What a caller sends, and what he waits for before he goes on.
Sent: TypeAlias = Message | bytes | asyncio.Event


@dataclass(frozen=True)
class Method:
    """One method. Args: path: as gRPC has it."""

    path: str
    response: type[Message]


@dataclass
class Ended:
    """How a call ended; CANCELLED where the caller went away."""

    responses: list[Any] = field(default_factory=list)
    code: grpc.StatusCode = grpc.StatusCode.OK
    details: str = ""


def _serialized(message: Message | bytes) -> bytes:
    return message if isinstance(message, bytes) else message.SerializeToString()


async def call(
    channel: grpc.aio.Channel,
    method: Method,
    messages: Iterable[Sent],
    *,
    leaves_after: int | None = None,
    hangs_up: bool = False,
    on_response: Callable[[Any], None] = lambda _: None,
) -> Ended:
    """Make a call and see it to its end.

    Args:
        messages: sent one after the other, those after the first once it has been answered; an event among them is
            waited for.
        leaves_after: goes away once so many responses have come; None stays to the end.
        hangs_up: goes away by closing the channel instead of cancelling the call.
    Raises: TimeoutError if the call is stuck.
    """
    ended = Ended()

    open_call = channel.stream_stream(
        method.path, request_serializer=_serialized, response_deserializer=method.response.FromString
    )()

    is_answered = asyncio.Event()

    async def send() -> None:
        for number, message in enumerate(messages):
            await (message.wait() if isinstance(message, asyncio.Event) else open_call.write(message))
            if number == 0:
                await is_answered.wait()
        await open_call.done_writing()

    sending = asyncio.create_task(send())
    try:
        async with asyncio.timeout(LONGEST_CALL_S):
            while len(ended.responses) != leaves_after:
                response = await open_call.read()
                if response is grpc.aio.EOF:
                    ended.code = await open_call.code()
                    ended.details = str(await open_call.details())
                    return ended
                is_answered.set()
                ended.responses.append(response)
                on_response(response)
            if hangs_up:
                await channel.close()
            ended.code = grpc.StatusCode.CANCELLED
    except grpc.aio.AioRpcError as error:
        ended.code, ended.details = error.code(), str(error.details())
    except asyncio.CancelledError:
        # This is how gRPC tells of a call that was cancelled; a task that is to end is told so too.
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        ended.code = grpc.StatusCode.CANCELLED
    finally:
        sending.cancel()
        open_call.cancel()
        # What ended the call ends the sending too, in one way or another.
        await asyncio.gather(sending, return_exceptions=True)
    return ended


async def fill(
    channel: grpc.aio.Channel, method: Method, calls: Sequence[tuple[Sequence[Sent], Callable[[Ended], None]]]
) -> None:
    """Good calls that are all open at the same time. Args: calls: what each sends, and what checks it.

    Raises: AssertionError, TimeoutError.
    """
    all_open = asyncio.Event()
    opened: set[int] = set()

    async def one(number: int, first: Sent, rest: Sequence[Sent], check: Callable[[Ended], None]) -> None:
        def on_response(_: object) -> None:
            opened.add(number)
            if len(opened) == len(calls):
                all_open.set()

        while True:
            ended = await call(channel, method, [first, all_open, *rest], on_response=on_response)
            # A call that was cut off gives its place back a moment later.
            if number in opened or ended.code is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                return check(ended)

    async with asyncio.timeout(LONGEST_CALL_S), asyncio.TaskGroup() as tasks:
        for number, ((first, *rest), check) in enumerate(calls):
            tasks.create_task(one(number, first, rest, check))


async def ask(channel: grpc.aio.Channel, method: Method, message: Message | bytes, *, leaves: bool = False) -> Ended:
    """A call with one message and one answer. Args: leaves: goes away as soon as it has asked."""
    asked = channel.unary_unary(
        method.path, request_serializer=_serialized, response_deserializer=method.response.FromString
    )(message)
    try:
        async with asyncio.timeout(LONGEST_CALL_S):
            if leaves:
                await asked.wait_for_connection()
                return Ended(code=grpc.StatusCode.CANCELLED)
            return Ended([await asked])
    except grpc.aio.AioRpcError as error:
        return Ended(code=error.code(), details=str(error.details()))
    finally:
        asked.cancel()


def assert_refused(ended: Ended, code: grpc.StatusCode, words: str) -> None:
    """It was refused so, or for want of a place."""
    if ended.code is not grpc.StatusCode.RESOURCE_EXHAUSTED and not is_cut_short(ended):
        assert ended.code is code, f"{ended.code} {ended.details}"
        assert words in ended.details


def is_cut_short(ended: Ended) -> bool:
    """The client's own error: it was sending when the refusal came."""
    return ended.details == "Internal error from Core"
