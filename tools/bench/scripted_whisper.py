"""The recogniser on a Whisper with random weights that hears a script: `python -m tools.bench.scripted_whisper`.

It does all of the work that official weights of its size take, on every sound, and then writes as many words of the
script as speech of that length has.
"""

from __future__ import annotations

import argparse

from services.common import start
from services.common.log import configure
from services.common.settings import read_or_exit
from services.stt.__main__ import serve
from services.stt.engines import Selection
from services.stt.settings import SttSettings

# No marks: an echo of it is one sentence.
SCRIPT = (
    "so i went down to the old harbour this morning because my brother wanted to see how many boats had come back from "
    "the storm and we counted nearly forty of them before it began to rain again which nobody there had expected"
)
WORDS_PER_S = 4.0


def loaded(settings: SttSettings, size: str) -> Selection:
    """The engine. Args: size: an official one, or "narrow"."""
    # PyTorch is there only where this engine is installed.
    import torch

    from services.stt.engines.whisper.engine import WhisperEngine
    from tools.bench.whisper_figures import Paced, made_up_vocabulary, random_runtime

    vocabulary = made_up_vocabulary(SCRIPT.split())
    device = torch.device("cpu" if settings.whisper.device == "cpu" else "cuda")
    runtime = random_runtime(size, device, settings.whisper.max_batch, vocabulary)
    return Selection(WhisperEngine(Paced(runtime, WORDS_PER_S), vocabulary), "whisper", f"random weights, {size}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="large-v3", help="official size of the network, or narrow")
    size = parser.parse_args().size
    settings = read_or_exit(SttSettings)
    configure("stt", settings.log_level)
    start.run(serve(settings, lambda given: loaded(given, size)))


if __name__ == "__main__":
    main()
