"""Structured logs: constant event names and fields, never what people said above debug level."""

from __future__ import annotations

import logging
import sys
from typing import Any, Literal

import structlog

LogLevel = Literal["debug", "info", "warning", "error"]
_PERSONAL_PREFIX = "pii_"


def _drop_personal(_: Any, level: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    if level == "debug":
        return event
    return {key: value for key, value in event.items() if not key.startswith(_PERSONAL_PREFIX)}


def configure(process: str, level: LogLevel) -> None:
    """Write one JSON line per event to stderr; fields named `pii_*` only at debug level."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _drop_personal,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
    )
    structlog.contextvars.bind_contextvars(process=process)


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger whose events carry `module=name` and whatever is bound to the running call."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(module=name)
    return logger
