"""All settings of a stack, read once and checked together."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.settings import OrchestratorSettings
from services.common import settings_file
from services.common.network_settings import NetworkSettings
from services.common.settings import ServerSettings, Settings, origin, read, variable
from services.common.settings_file import SettingsError
from services.common.settings_words import leaves
from services.render.settings import RenderSettings
from services.stt.settings import CanarySettings, SttSettings
from services.tts.settings import TtsSettings

# In the order of the reference; the first are those above the sections.
KINDS: tuple[type[Settings], ...] = (
    Settings,
    NetworkSettings,
    RenderSettings,
    TtsSettings,
    SttSettings,
    CanarySettings,
    OrchestratorSettings,
)


@dataclass(frozen=True, slots=True)
class StackSettings:
    """The settings of every process of a stack, and of what stands in front of them."""

    network: NetworkSettings
    render: RenderSettings
    tts: TtsSettings
    stt: SttSettings
    canary: CanarySettings
    orchestrator: OrchestratorSettings

    @property
    def data_dir(self) -> Path:
        return self.network.data_dir

    @property
    def servers(self) -> dict[str, ServerSettings]:
        """Those of the processes that run, by the name of their section."""
        second = {"canary": self.canary} if self.canary.enabled else {}
        return {"render": self.render, "tts": self.tts, "stt": self.stt, **second, "orchestrator": self.orchestrator}

    @property
    def public_ports(self) -> dict[str, int]:
        """What Envoy listens on, by the name of the listener."""
        fields = (name for name in NetworkSettings.model_fields if name.endswith("_port"))
        return {name.removesuffix("_port"): getattr(self.network, name) for name in fields}

    @property
    def reach(self) -> str:
        """The address under which this machine reaches its own public ports."""
        bind = self.network.bind
        return "127.0.0.1" if bind is None or bind.is_unspecified else str(bind)


def listeners(settings: StackSettings) -> Iterator[tuple[str, str, int]]:
    """Setting, address under which this machine reaches it, and port of everything that listens."""
    for name, port in settings.public_ports.items():
        yield f"[network] {name}_port", "127.0.0.1" if name == "admin" else settings.reach, port
    for section, server in settings.servers.items():
        for key in ("port", "metrics_port", "http_port"):
            if hasattr(server, key):
                yield f"[{section}] {key}", server.host, getattr(server, key)


def read_all() -> StackSettings:
    """Everything.

    Raises: SettingsError if any of it is wrong, two things would listen on one port, or a port is left to chance that
        others must know.
    """
    read(Settings)
    settings = StackSettings(
        read(NetworkSettings),
        read(RenderSettings),
        read(TtsSettings),
        read(SttSettings),
        read(CanarySettings),
        read(OrchestratorSettings),
    )
    taken: dict[int, str] = {}
    for name, _, port in listeners(settings):
        if port == 0 and not name.endswith("metrics_port"):
            raise SettingsError(f"{name} is 0; the processes of a stack must know it: give a number from 1 to 65535")
        if port and port in taken:
            raise SettingsError(f"{taken[port]} and {name} are both {port}; give each a port of its own")
        taken[port] = name
    return settings


def misspelt() -> dict[str, str]:
    """Variables of the environment that are no setting and nearly the name of one, with that name."""
    known = {settings_file.VARIABLE}
    for kind in KINDS:
        known |= {variable(kind, keys[: end + 1]) for keys, _ in leaves(kind) for end in range(len(keys))}
    ours = tuple(f"{section.upper()}_" for section in (settings_file.TOP, *settings_file.SECTIONS))
    unknown = (name for name in sorted(os.environ) if name.startswith(ours) and name not in known)
    near = {name: difflib.get_close_matches(name, known, n=1, cutoff=0.85) for name in unknown}
    return {name: found[0] for name, found in near.items() if found}


def print_all() -> None:
    """Every setting, its value now, and what decides it. Raises: SettingsError."""
    read_all()
    file = settings_file.path()
    print(f"# file: {file}" if file.is_file() else f"# there is no file {file}")
    for kind in KINDS:
        values = read(kind)
        own = [
            (keys, field) for keys, field in leaves(kind) if kind is Settings or keys[0] not in Settings.model_fields
        ]
        if kind is not Settings:
            print(f"\n[{kind.section()}]")
        for keys, _ in own:
            value: Any = values
            for key in keys:
                value = getattr(value, key)
            where = origin(kind, keys)
            note = "" if where == "default" else f"  # {where}"
            name = ".".join(keys)
            print(f"# {name} is not set" if value is None else f"{name} = {json.dumps(value, default=str)}{note}")
