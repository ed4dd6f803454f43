"""What a verification found: passed, failed, or not measured and why. Nothing else counts as a pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class Verdict(Enum):
    """How a check ended, in the word that people read."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. Attributes: found: what was measured against what, or why nothing was."""

    name: str
    verdict: Verdict
    found: str


def judged(name: str, *, passed: bool, found: str) -> Check:
    """A check that was measured."""
    return Check(name, Verdict.PASSED if passed else Verdict.FAILED, found)


def not_measured(name: str, why: str) -> Check:
    """A check that could not be made."""
    return Check(name, Verdict.NOT_MEASURED, why)


def summary(checks: Sequence[Check]) -> str:
    """One line: how many ended how."""
    counts = {verdict: sum(check.verdict is verdict for check in checks) for verdict in Verdict}
    return ", ".join(f"{count} {verdict.value}" for verdict, count in counts.items())


def has_passed(checks: Sequence[Check]) -> bool:
    """Whether something was measured and nothing failed."""
    verdicts = {check.verdict for check in checks}
    return Verdict.PASSED in verdicts and Verdict.FAILED not in verdicts
