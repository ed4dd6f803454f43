"""What one check of the doctor came to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's report.

    Args:
        name: what was checked.
        state: a problem keeps something from working; a warning is worth knowing.
        message: what was found.
        cure: what to do about it.
    """

    name: str
    state: Literal["ok", "warning", "problem", "not checked"]
    message: str
    cure: str = ""
