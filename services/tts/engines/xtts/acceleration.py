"""The fast path on a GPU, as much of it as runs there: Triton's kernels, and graphs of what comes again and again."""

from __future__ import annotations

from pathlib import Path

import torch

from services.common.compiled_kernels import UnavailableError, attempted
from services.common.log import get_logger
from services.tts.engines.xtts.decoding import Decoding
from services.tts.engines.xtts.fused import FusedStep
from services.tts.engines.xtts.gpt import Gpt
from services.tts.engines.xtts.graphs import Recorder
from services.tts.engines.xtts.vocoder import Waveforms

log = get_logger(__name__)


def accelerate(gpt: Gpt, decoding: Decoding, waveforms: Waveforms, device: torch.device, compiled: Path | None) -> str:
    """Prepare everything before anybody speaks.

    Args: compiled: as of `XttsEngine`.
    Returns: "graph+triton", "graph", "triton" or "eager", the fastest that runs.
    """
    with torch.cuda.device(device):
        kernels = "triton"
        try:
            with attempted(compiled / f"attempts-xtts-{_device_name()}" if compiled is not None else None):
                decoding.use(FusedStep(gpt, compiled))
        except UnavailableError as missing:
            log.warning("xtts_without_kernels", reason=str(missing))
            kernels = ""
        try:
            recorder = Recorder()
            decoding.warm_up(recorder)
            waveforms.warm_up(recorder)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as failed:
            log.warning("xtts_without_graphs", reason=next(iter(str(failed).splitlines()), ""))
            decoding.forget_graphs()
            waveforms.forget_graphs()
            return kernels or "eager"
        return f"graph+{kernels}" if kernels else "graph"


def _device_name() -> str:
    major, minor = torch.cuda.get_device_capability()
    return f"sm{major}{minor}-torch{torch.__version__}"
