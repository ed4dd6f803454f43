"""`avatar verify`: whether a production model does on this machine what it should, in a report to look at."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


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


def _render(given: argparse.Namespace) -> None:
    # The engines take seconds to import.
    from tools.verify.check import has_passed, summary
    from tools.verify.render import verify

    checks = verify(given)
    for check in checks:
        print(f"{check.verdict.value:12}  {check.name}: {check.found}")
    print(f"{given.out}: {summary(checks)}")
    if not has_passed(checks):
        sys.exit(1)
