"""Hold our LivePortrait against the official code.

Both sides load the same random weights, written as the official ones are published, and answer the same questions in
float32. Exits with 1 if an answer differs. CHECKOUT is one of https://github.com/KwaiVGI/LivePortrait.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from services.render.engines.liveportrait.checkpoint import load_networks
from services.render.engines.liveportrait.config import NARROW, OFFICIAL, LivePortraitConfig
from services.render.engines.liveportrait.pipeline import Pipeline, to_rgb
from services.render.engines.liveportrait.random_weights import write_official_folder
from tools.liveportrait_parity import ours
from tools.liveportrait_parity.figures import golden_text, manifest_text
from tools.liveportrait_parity.official import Official, check_checkout
from tools.liveportrait_parity.probe import make_probe

SIZES = {"official": OFFICIAL, "narrow": NARROW}
LIMIT = 1e-4


@dataclass(frozen=True, slots=True)
class Compared:
    """One quantity. Attributes: relative_l2: the norm of the difference over the norm of the official answer."""

    name: str
    shape: tuple[int, ...]
    relative_l2: float

    @property
    def is_equal(self) -> bool:
        return self.relative_l2 < LIMIT


def relative_l2(answer: Tensor, official: Tensor) -> float:
    """Returns: infinity if the shapes differ, so that nothing is compared by broadcasting."""
    if answer.shape != official.shape:
        return float("inf")
    exact = official.double()
    return float((answer.double() - exact).norm() / exact.norm())


def compare(
    checkout: Path, config: LivePortraitConfig, device: str, seed: int
) -> tuple[list[Compared], float, Official, dict[str, Tensor]]:
    """Ask both sides.

    Returns: every quantity, the share of the frames' bytes that are equal, and the official side with its answers.
    """
    probe = make_probe(config.image_size, seed)
    with tempfile.TemporaryDirectory() as folder:
        write_official_folder(Path(folder), config, seed)
        official = Official(checkout, Path(folder), config, device)
        pipeline = Pipeline(load_networks(Path(folder), config, device))
    theirs = official.answers(probe)
    answers = ours.answers(pipeline, probe, theirs)
    if answers.keys() != theirs.keys():
        raise AssertionError(f"only one side answers {sorted(answers.keys() ^ theirs.keys())}")
    compared = [
        Compared(name, tuple(answer.shape), relative_l2(answers[name], answer))
        for name, answer in sorted(theirs.items())
    ]
    lone = ours.alone(pipeline, probe)
    compared.append(Compared("frame, drawn alone", tuple(lone.shape), relative_l2(lone, theirs["frame"][1:])))
    same_bytes = float((to_rgb(answers["frame"]) == to_rgb(theirs["frame"])).mean())
    return compared, same_bytes, official, theirs


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns: the exit status."""
    options = _options()
    given = options.parse_args(arguments)
    try:
        check_checkout(given.checkout)
    except FileNotFoundError as error:
        options.error(str(error))
    # Two exact sums in another order differ by 1e-6; TF32 would by 1e-3.
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    config = SIZES[given.size]
    reports = []
    for device in given.device or (["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]):
        compared, same_bytes, official, answers = compare(given.checkout, config, device, given.seed)
        reports.append(
            {
                "device": torch.cuda.get_device_name() if device == "cuda" else platform.machine() + " CPU",
                "size": given.size,
                "seed": given.seed,
                "torch": torch.__version__,
                "limit": LIMIT,
                "is_equal": all(one.is_equal for one in compared),
                "same_bytes": same_bytes,
                "compared": [asdict(one) for one in compared],
            }
        )
        if not given.json:
            _print(reports[-1]["device"], compared, same_bytes)
        if given.golden:
            given.golden.write_text(golden_text(answers, given.size, given.seed))
        if given.manifest:
            given.manifest.write_text(manifest_text(official.networks))
    if given.json:
        print(json.dumps(reports, indent=1))
    return 0 if all(report["is_equal"] for report in reports) else 1


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.liveportrait_parity", description=__doc__)
    parser.add_argument("checkout", type=Path, help="folder of the official code")
    parser.add_argument("--size", choices=SIZES, default="official", help="narrow takes seconds")
    parser.add_argument("--device", action="append", choices=("cpu", "cuda"), help="default: all that are there")
    parser.add_argument("--seed", type=int, default=1, help="of weights and inputs")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--golden", type=Path, help="write figures of the official answers for the tests")
    parser.add_argument("--manifest", type=Path, help="write the official weights' names and shapes for the tests")
    return parser


def _print(device: object, compared: Sequence[Compared], same_bytes: float) -> None:
    print(device)
    for one in compared:
        verdict = "equal" if one.is_equal else "DIFFERS"
        print(f"  {one.name:20} {one.relative_l2:9.1e}  {verdict}  {'x'.join(map(str, one.shape))}")
    print(f"  {same_bytes:.4%} of the frames' bytes are the same")


if __name__ == "__main__":
    sys.exit(main())
