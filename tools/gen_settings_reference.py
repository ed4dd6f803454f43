"""Writes docs/settings.md from the settings classes; with --check, compares it and changes nothing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from services.common.settings import Settings, variable
from services.common.settings_file import VARIABLE
from services.common.settings_words import leaves, takes
from tools.cli.settings import KINDS

OUT = Path(__file__).resolve().parent.parent / "docs" / "settings.md"
_HEAD = f"""# Settings

Generated from the settings classes by `tools/gen_settings_reference.py`; edit those.

Settings stand in one file, `avatar.toml`, and environment variables override them. The file is the one given by
`avatar --config FILE`, else the one that `{VARIABLE}` names, else `avatar.toml` in the platform's usual place
(`~/.config/avatar/avatar.toml` on Linux); it may be missing. `avatar settings` prints every value and what decides it.
An unknown key or section, or a value that does not fit, stops the start with a sentence that says so.

```toml
data_dir = "/srv/avatar"

[network]
lan = true
names = ["avatar.home"]

[orchestrator]
reply = "assistant"

[stt.turn]
max_silence_s = 1.5
```

An environment variable is the section and the key, with two underscores before each key of a table within a section:
`ORCHESTRATOR_REPLY=assistant`, `STT_TURN__MAX_SILENCE_S=1.5`. A list is written with commas, and an empty variable
counts as none. A variable that no setting has is ignored, and `avatar doctor` names one that is nearly right.

## Two stacks on one machine

Each has its own file with its own data directory and its own ports. Where a process listens is said once, in its
section: the orchestrator and Envoy follow. `avatar --config other.toml up --detach` starts the stack of that file, and
`avatar --config other.toml status`, `down`, `say` and all other commands find it. What the environment sets, such as
`AVATAR_DATA_DIR`, holds for both: leave it out.

```toml
{{second}}
```
"""


def _second_file() -> str:
    """Settings for a stack beside one that has the defaults: every port moved by 1000."""
    lines = ['data_dir = "/srv/avatar-2"']
    for kind in KINDS[1:]:
        ports = [(keys, field) for keys, field in _own(kind) if keys[-1].endswith("port") and field.default]
        lines += ["", f"[{kind.section()}]", *(f"{keys[-1]} = {field.default + 1000}" for keys, field in ports)]
    return "\n".join(lines)


def _own(kind: type[Settings]) -> list[tuple[tuple[str, ...], FieldInfo]]:
    """The settings of one section; those that all share belong to the first."""
    found = leaves(kind)
    return found if kind is Settings else [one for one in found if one[0][0] not in Settings.model_fields]


def _default(keys: tuple[str, ...], field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "the platform's usual place" if keys == ("data_dir",) else "follows"
    return _toml(field.default)


def _toml(value: Any) -> str:
    match value:
        case None | ():
            return "none"
        case bool():
            return f"`{str(value).lower()}`"
        case str():
            return f'`"{value}"`' if value else "empty"
        case _:
            return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def reference() -> str:
    """The whole page."""
    parts = [_HEAD.replace("{second}", _second_file())]
    for kind in KINDS:
        title = "Above the sections" if kind is Settings else f"[{kind.section()}]"
        parts.append(f"## {title}\n\n{kind.__doc__ if kind is not Settings else 'For every process the same.'}\n")
        parts.append("| key | environment | takes | default | what it does |\n|---|---|---|---|---|")
        rows = (
            f"| `{'.'.join(keys)}` | `{variable(kind, keys)}` | {takes(field)} | {_default(keys, field)} | "
            f"{field.description} |"
            for keys, field in _own(kind)
        )
        parts.append("\n".join(rows) + "\n")
    return "\n".join(parts)


def main() -> None:
    wanted = reference()
    if "--check" not in sys.argv[1:]:
        OUT.parent.mkdir(exist_ok=True)
        OUT.write_text(wanted)
    elif not OUT.is_file() or OUT.read_text() != wanted:
        sys.exit(f"{OUT.name} is not what the settings classes say; run tools/gen_settings_reference.py")


if __name__ == "__main__":
    main()
