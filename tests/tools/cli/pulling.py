"""`avatar`, as a process, with models that are small: python -m tests.tools.cli.pulling models pull tiny."""

from __future__ import annotations

import sys

from services.common import model_manifest
from tests.fakes.hub import BOUND, content_of, model_of

FILES = {path: content_of(path, 400_000) for path in ("nets/one.pth", "two.onnx")}
MORE = {"more/three.onnx": content_of("three", 50_000)}
TINY = model_of(FILES)
EXTRA = model_of(MORE, BOUND, name="extra", companion_of="tiny", without="the small one serves")
MODELS = (TINY, EXTRA)

if __name__ == "__main__":
    from tools.cli.__main__ import main

    model_manifest.MODELS = MODELS
    main(sys.argv[1:])
