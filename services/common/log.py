"""Structured logs: constant event names and fields, never what people said above debug level."""

from __future__ import annotations

import logging
import sys
import traceback
from typing import Any, Literal

import structlog

LogLevel = Literal["debug", "info", "warning", "error"]
_PERSONAL_PREFIX = "pii_"


def _drop_personal(_: Any, level: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    if level == "debug":
        return event
    return {key: value for key, value in event.items() if not key.startswith(_PERSONAL_PREFIX)}


def _frames(error: BaseException) -> str:
    """Where an error came from, and of what kind it is; its words may be somebody's."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    parts = [_frames(error.__cause__)] if error.__cause__ is not None else []
    parts.append(f"{frames}{type(error).__module__}.{type(error).__qualname__}")
    if isinstance(error, BaseExceptionGroup):
        parts += [_frames(member) for member in error.exceptions]
    return "\n".join(parts)


def _split_exception(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """The traceback for all to see, the error's own words for the debug level."""
    given = event.pop("exc_info", None)
    error = given if isinstance(given, BaseException) else sys.exc_info()[1] if given else None
    if error is not None:
        event["exception"] = _frames(error)
        event[f"{_PERSONAL_PREFIX}exception"] = str(error)
    return event


class _LibraryMessages(logging.Handler):
    """What libraries say, as events of ours; their sentences may repeat what they work on, so they are personal."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        structlog.get_logger(module=record.name).log(
            record.levelno,
            "library_message",
            at=f"{record.module}:{record.lineno}",
            # Without its arguments it is constant.
            message=str(record.msg) if record.args else None,
            pii_message=record.getMessage(),
            exc_info=error,
        )


def configure(process: str, level: LogLevel) -> None:
    """Write one JSON line per event to stderr; fields named `pii_*` only at debug level.

    Libraries are heard from warnings on, whatever the level.
    """
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _split_exception,
            _drop_personal,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
    )
    structlog.contextvars.bind_contextvars(process=process)
    logging.basicConfig(handlers=[_LibraryMessages()], level=logging.WARNING, force=True)


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger whose events carry `module=name` and whatever is bound to the running call."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(module=name)
    return logger
