"""Runs a process from its settings to its end; what keeps it from serving is its last word, in one sentence."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Coroutine
from typing import Any, NoReturn

from services.common.errors import AvatarError, EngineError
from services.common.log import get_logger

# Somebody has to repair something first: whoever starts the process again is told the same. <sysexits.h>, EX_CONFIG.
NEEDS_REPAIR = 78
log = get_logger(__name__)


def refuse(sentence: str) -> NoReturn:
    """End this process: a setting is wrong, or a file or a package is missing."""
    print(sentence, file=sys.stderr)
    sys.exit(NEEDS_REPAIR)


def run(serving: Coroutine[Any, Any, None]) -> None:
    """Serve to the end. A process that cannot begin exits with a sentence; only a bug leaves with a traceback."""
    # Set before an engine loads onnxruntime, this keeps it from telling its maker what runs, as it does since 1.29.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    try:
        asyncio.run(serving)
    except EngineError as failed:
        # The same model may load the next time, once there is memory for it.
        log.error("engine_failed", exc_info=failed)
        sys.exit(str(failed))
    except AvatarError as error:
        refuse(str(error))
