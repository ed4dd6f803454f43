"""What every stream owes the others: it ends when its caller neither reads nor goes away."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc

from services.common.errors import ProtocolError


async def write_within(context: Any, response: Any, limit_s: float) -> None:
    """Send a message.

    Raises: ProtocolError if the caller does not read for so long that it will not fit in; CancelledError if the caller
        has gone.
    """
    try:
        async with asyncio.timeout(limit_s):
            await context.write(response)
    except TimeoutError as error:
        raise ProtocolError(f"nothing was read for {limit_s:g} s; read what the call sends") from error
    except grpc.aio.InternalError as error:
        # A message to a caller who has gone cannot be sent; gRPC is about to cancel the whole handler.
        raise asyncio.CancelledError from error
