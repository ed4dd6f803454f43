"""One HTML file with everything that a verification found: no script, no other file, pictures inside."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2

from services.render.engine import FrameRgb
from services.render.video import jpeg_of
from tools.verify.check import Check, Verdict, has_passed, summary

_SHOWN_EDGE = 224
_MARK = {Verdict.PASSED: "✓", Verdict.FAILED: "✗", Verdict.NOT_MEASURED: "?"}
_STYLE = """
:root { color-scheme: light dark; --line: #8884; --good: #1a7f37; --bad: #c0272d; --open: #8a6d00; }
@media (prefers-color-scheme: dark) { :root { --good: #4ac26b; --bad: #ff7b72; --open: #d4a72c; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 1240px; margin: 2rem auto; padding: 0 1rem; }
h1 { margin-bottom: 0; } h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
.verdict { font-size: 1.25rem; font-weight: 600; } .passed { color: var(--good); } .failed { color: var(--bad); }
.not-measured { color: var(--open); }
table { border-collapse: collapse; margin: 1rem 0; }
td, th { text-align: left; padding: .3rem 1rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
td.mark { white-space: nowrap; font-weight: 600; }
.sheet { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: .75rem; }
figure { margin: 0; } figure img { width: 100%; border-radius: 6px; display: block; }
figcaption { font-size: .85rem; } figcaption small { opacity: .75; }
"""


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture with its name and a line of figures."""

    picture: FrameRgb
    name: str
    note: str


@dataclass(frozen=True, slots=True)
class Sheet:
    """Pictures that belong together."""

    title: str
    figures: Sequence[Figure]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of words and numbers; numbers stand right."""

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str | float]]


def write_report(
    path: Path,
    title: str,
    facts: Sequence[tuple[str, str]],
    checks: Sequence[Check],
    parts: Sequence[Sheet | Table],
) -> None:
    """Write the report. Args: facts: what was verified, by what and when. Raises: OSError."""
    word, style = ("Passed", "passed") if has_passed(checks) else ("Not passed", "failed")
    body = [
        f"<h1>{html.escape(title)}</h1>",
        f'<p class="verdict {style}">{word}: {summary(checks)}.</p>',
        _facts(facts),
        "<h2>Checks</h2>",
        _checks(checks),
        *(_sheet(part) if isinstance(part, Sheet) else _table(part) for part in parts),
    ]
    head = (
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{html.escape(title)}</title>'
    )
    path.write_text(f"<!doctype html>\n<html lang=en>{head}<style>{_STYLE}</style>\n" + "\n".join(body) + "\n</html>\n")


def _facts(facts: Sequence[tuple[str, str]]) -> str:
    lines = (f"<tr><td>{html.escape(what)}</td><td>{html.escape(fact)}</td></tr>" for what, fact in facts)
    return "<table>" + "".join(lines) + "</table>"


def _checks(checks: Sequence[Check]) -> str:
    def line(check: Check) -> str:
        word = check.verdict.value
        mark = f'<td class="mark {word.replace(" ", "-")}">{_MARK[check.verdict]} {word}</td>'
        return f"<tr>{mark}<td>{html.escape(check.name)}</td><td>{html.escape(check.found)}</td></tr>"

    return "<table>" + "".join(map(line, checks)) + "</table>"


def _table(table: Table) -> str:
    def cell(value: str | float, tag: str = "td") -> str:
        if isinstance(value, str):
            return f"<{tag}>{html.escape(value)}</{tag}>"
        return f'<{tag} class="number">{value:.3g}</{tag}>'

    rows = ["".join(cell(head, "th") for head in table.heads), *("".join(map(cell, row)) for row in table.rows)]
    return f"<h2>{html.escape(table.title)}</h2><table>" + "".join(f"<tr>{row}</tr>" for row in rows) + "</table>"


def _sheet(sheet: Sheet) -> str:
    figures = (
        f'<figure><img alt="{html.escape(figure.name)}" src="data:image/jpeg;base64,{_inline(figure.picture)}">'
        f"<figcaption>{html.escape(figure.name)}<br><small>{html.escape(figure.note)}</small></figcaption></figure>"
        for figure in sheet.figures
    )
    return f'<h2>{html.escape(sheet.title)}</h2><div class="sheet">' + "".join(figures) + "</div>"


def _inline(picture: FrameRgb) -> str:
    small = cv2.resize(picture, (_SHOWN_EDGE, _SHOWN_EDGE), interpolation=cv2.INTER_AREA).astype(picture.dtype)
    return base64.b64encode(jpeg_of(small)).decode()
