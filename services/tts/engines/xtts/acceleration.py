"""The fast path on a GPU, as much of it as runs there: Triton's kernels, and graphs of what comes again and again."""

from __future__ import annotations

from pathlib import Path

import torch

from services.common.compiled_kernels import UnavailableError, attempted, device_kind
from services.common.errors import first_line
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
    # cuDNN's attention makes a plan for each shape that it has not seen, 30 ms of the CPU's time, and texts have many.
    torch.backends.cuda.enable_cudnn_sdp(False)  # noqa: FBT003 - PyTorch's own
    with torch.cuda.device(device):
        kernels = "triton"
        try:
            with attempted(compiled / f"attempts-xtts-{device_kind()}" if compiled is not None else None):
                decoding.use(FusedStep(gpt, compiled))
        except UnavailableError as missing:
            log.warning("xtts_without_kernels", reason=str(missing))
            kernels = ""
        has_graphs = _recorded(decoding)
        _recorded(waveforms)
    return "+".join([*["graph"] * has_graphs, *[kernels] * bool(kernels)]) or "eager"


def _recorded(of: Decoding | Waveforms) -> bool:
    """Whether its graphs could be recorded; else it goes on without."""
    try:
        of.warm_up(Recorder())
        torch.cuda.synchronize()
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as failed:
        log.warning("xtts_without_graphs", of=type(of).__name__, reason=first_line(failed))
        of.forget_graphs()
        _end_capture_of_chance()
        return False
    return True


def _end_capture_of_chance() -> None:
    """A capture that failed leaves the generator as if it went on, and then nothing can be drawn any more."""
    generator = torch.cuda.default_generators[torch.cuda.current_device()]
    fresh = torch.Generator(generator.device)
    fresh.seed()
    generator.graphsafe_set_state(fresh.graphsafe_get_state())
