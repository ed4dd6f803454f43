"""What can go wrong, in the words of the domain; `status.py` maps each to a gRPC status."""

from __future__ import annotations


class AvatarError(Exception):
    """Base of every error that this project raises on purpose."""

    reason = "INTERNAL"


class InvalidRequestError(AvatarError):
    """The caller sent something that can never succeed; retrying is useless."""

    reason = "INVALID_REQUEST"


class NotFoundError(AvatarError):
    """There is no such voice, avatar or conversation."""

    reason = "NOT_FOUND"


class UnsupportedError(AvatarError):
    """This engine cannot do it; another one may."""

    reason = "UNSUPPORTED"


class OverloadedError(AvatarError):
    """No free stream or slot now.

    Args:
        limit: what ran out, as `name=value`, for the caller's QuotaFailure.
        retry_after_s: when a retry may succeed.
    """

    reason = "OVERLOADED"

    def __init__(self, message: str, *, limit: str = "", retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.limit = limit
        self.retry_after_s = retry_after_s


class ProtocolError(AvatarError):
    """Messages in the wrong order, or an operation that the present state forbids."""

    reason = "WRONG_ORDER"


class ConfirmationNeededError(ProtocolError):
    """It can be done, but only once the caller has looked and said so."""

    reason = "CONFIRMATION_NEEDED"


class NotReadyError(AvatarError):
    """Loading or draining; another replica may serve."""

    reason = "NOT_READY"


class EngineError(AvatarError):
    """The model failed on good input."""

    reason = "ENGINE_FAILED"


def first_line(error: BaseException) -> str:
    """The first line of what a library says, which may go on for a screen; its kind where it says nothing."""
    return next(iter(str(error).splitlines()), type(error).__name__)
