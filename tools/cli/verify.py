"""`avatar verify`: whether a production model does on this machine what it should, in a report to look at."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from services.common.errors import InvalidRequestError
from tools.verify.check import Check, has_passed, summary


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and what it verifies."""
    verify = commands.add_parser("verify", help="see and measure what a production model does on this machine")
    actions = verify.add_subparsers(required=True, metavar="what")

    render = actions.add_parser("render", help="draw a face in every way, measure it, and fit how far its lips part")
    render.add_argument("--engine", choices=("liveportrait", "mesh"), default="liveportrait")
    render.add_argument(
        "--avatar", default="avatars/default", help="whose portrait, as `avatar portrait list` names it"
    )
    render.add_argument("--device", help="cuda, cuda:1, ... or cpu; without it, as the settings say")
    render.add_argument(
        "--random", choices=("narrow", "official"), help="random weights of that size: to try the command"
    )
    render.add_argument("--dry-run", action="store_true", help="do not keep the gain that was fitted")
    render.add_argument("-o", "--out", type=Path, default=Path("verify-render.html"), help="the report, one HTML file")
    render.set_defaults(run=_render)

    speech = actions.add_parser("speech", help="speak each language and read it back, and listen to what is no speech")
    speech.add_argument("--languages", nargs="+", metavar="TAG", help="only these; all 17 without it")
    speech.add_argument(
        "--reader", choices=("stt", "stt_second"), default="stt", help="which recogniser: of port 8083 or of 8084"
    )
    speech.add_argument(
        "--recordings", type=Path, metavar="FOLDER", help="recordings, each with what is said in a .txt beside it"
    )
    speech.add_argument("--language", default="", help="of the recordings; found out where the engine can")
    speech.add_argument("-o", "--out", type=Path, default=Path("verify-speech.html"), help="the report, one HTML file")
    speech.set_defaults(run=_speech)


def _render(given: argparse.Namespace) -> None:
    # The engines take seconds to import.
    from tools.verify.render import verify

    _conclude(verify(given), given.out)


def _speech(given: argparse.Namespace) -> None:
    from tools.verify.sentences import SENTENCES
    from tools.verify.speech import verify

    if unknown := [tag for tag in given.languages or () if tag not in SENTENCES]:
        raise InvalidRequestError(f"there is no sentence in {', '.join(unknown)}; there are {', '.join(SENTENCES)}")
    _conclude(asyncio.run(verify(given)), given.out)


def _conclude(checks: Sequence[Check], report: Path) -> None:
    """Print what was found; exits with 1 unless something was measured and nothing failed."""
    for check in checks:
        print(f"{check.verdict.value:12}  {check.name}: {check.found}")
    print(f"{report}: {summary(checks)}")
    if not has_passed(checks):
        sys.exit(1)
