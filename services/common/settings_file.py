"""Finds and reads avatar.toml: a table per process, one for what is shared, and a few keys above them."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import platformdirs

VARIABLE = "AVATAR_CONFIG"
# The keys above the first table; every process reads them.
TOP = "avatar"
SECTIONS = ("network", "render", "tts", "stt", "canary", "orchestrator")


class SettingsError(Exception):
    """The settings cannot be used; the message names place, key and what would be right."""


def path() -> Path:
    """Which file holds the settings, whether it exists or not: AVATAR_CONFIG, or the platform's usual place."""
    given = os.environ.get(VARIABLE)
    return Path(given).absolute() if given else platformdirs.user_config_path("avatar") / "avatar.toml"


def read() -> dict[str, Any]:
    """The whole file. Raises: SettingsError if it is no TOML, has an unknown section, or was named and is not there."""
    file = path()
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if os.environ.get(VARIABLE):
            raise SettingsError(f"there is no settings file {file}; {VARIABLE} or --config names it") from None
        return {}
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error.strerror}") from None
    except ValueError as error:  # bad TOML and bad UTF-8
        raise SettingsError(f"{file} is not TOML: {error}") from None
    for name, value in content.items():
        if name in SECTIONS and not isinstance(value, dict):
            raise SettingsError(f"{file}: {name} is a section; write [{name}] on a line of its own, and its keys below")
        if name not in SECTIONS and isinstance(value, dict):
            sections = ", ".join(f"[{section}]" for section in SECTIONS)
            raise SettingsError(f"{file}: there is no section [{name}]{meant(name, SECTIONS)}; there are {sections}")
    return content


def table(section: str) -> dict[str, Any]:
    """One section of the file; TOP is what stands above the first. Raises: SettingsError as `read` does."""
    content = read()
    if section == TOP:
        return {key: value for key, value in content.items() if key not in SECTIONS}
    found: dict[str, Any] = content.get(section, {})
    return found


def meant(name: str, known: Iterable[str]) -> str:
    """What somebody who wrote `name` may have meant, as the end of a sentence."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]}?)" if close else ""
