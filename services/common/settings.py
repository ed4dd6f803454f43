"""What the settings of every process have in common: defaults, then avatar.toml, then environment variables."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_origin

import platformdirs
from pydantic import AfterValidator, BaseModel, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings import SettingsError as SourceError

from services.common import settings_file
from services.common.log import LogLevel
from services.common.settings_file import TOP, SettingsError, meant
from services.common.settings_words import leaves, shown, takes
from services.common.start import refuse

# Where the processes listen unless their sections say otherwise.
PORTS = {"render": 50081, "tts": 50082, "stt": 50083, "canary": 50084, "orchestrator": 50086}


def absolute(path: Path) -> Path:
    """Validates a setting that is a path. Raises: ValueError if it depends on where a process starts."""
    path = path.expanduser()
    if not path.is_absolute():
        raise ValueError("processes start in different folders")
    return path


def _collector(endpoint: str) -> str:
    if endpoint and not re.fullmatch(r"https?://[^/\s]+:\d{1,5}/?", endpoint):
        raise ValueError("a collector's address, such as http://127.0.0.1:4317")
    return endpoint


class _Environment(EnvSettingsSource):
    """Environment variables, where a list may be written with commas."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        try:
            return super().decode_complex_value(field_name, field, value)
        except ValueError:
            if get_origin(field.annotation) is not tuple:
                raise
            return [part.strip() for part in value.split(",")]


class Settings(BaseSettings):
    """The settings that all processes share; they stand above the sections of avatar.toml.

    A subclass adds those of one process. Its environment prefix names its section: `RENDER_` is [render].
    """

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix=f"{TOP.upper()}_", env_nested_delimiter="__", env_ignore_empty=True
    )

    data_dir: Annotated[Path, AfterValidator(absolute)] = Field(
        default_factory=lambda: platformdirs.user_data_path("avatar"),
        validation_alias="AVATAR_DATA_DIR",
        description="Where models, avatars, logs, the certificate and the token are kept.",
    )
    otlp_endpoint: Annotated[str, AfterValidator(_collector)] = Field(
        default="",
        validation_alias="AVATAR_OTLP_ENDPOINT",
        description="OTLP collector that takes a trace per turn by gRPC, such as http://127.0.0.1:4317; "
        "empty for none.",
    )

    @classmethod
    def section(cls) -> str:
        """The name of its section in the file; TOP for what stands above the first."""
        return cls.model_config["env_prefix"].removesuffix("_").lower()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, _Environment(settings_cls), InitSettingsSource(settings_cls, _from_file(cls))


class DrainSettings(BaseModel, frozen=True, extra="forbid"):
    """How a server stops: it says so, waits until balancers have heard it, then lets running calls end."""

    announce_s: float = Field(
        default=0.5, ge=0, le=60, description="Seconds between the word that the process stops and its stop."
    )
    grace_s: float = Field(default=5.0, ge=0, le=3600, description="Seconds that running calls then have to end.")


class ServerSettings(Settings):
    """Settings of one gRPC server. A subclass sets its environment prefix and its default port."""

    host: str = Field(
        default="127.0.0.1",
        description="Address on which the process listens. Envoy stands in front of it and is the one to open up.",
    )
    port: int = Field(default=0, ge=0, le=65535, description="Port of its native gRPC; 0 takes a free one.")
    log_level: LogLevel = Field(default="info", description="What is logged; only debug may hold what people said.")
    max_streams: int = Field(
        default=8, ge=1, le=1000, description="Streams served at once; one more is refused with RESOURCE_EXHAUSTED."
    )
    idle_timeout_s: float = Field(
        default=300.0, gt=0, le=86_400, description="Seconds after which a stream ends whose caller sends nothing."
    )
    metrics_port: int = Field(
        default=0, ge=0, le=65535, description="HTTP port of /metrics for Prometheus, on `host`; 0 serves none."
    )
    drain: DrainSettings = DrainSettings()


def address_of(section: str) -> str:
    """Where the process of a section can be reached from this machine, as its own settings say.

    Raises: SettingsError if they cannot be read.
    """

    class Place(ServerSettings):
        model_config = SettingsConfigDict(env_prefix=f"{section.upper()}_", extra="ignore")
        port: int = Field(default=PORTS[section], ge=0, le=65535)

    place = read(Place)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(place.host, place.host)  # noqa: S104 - compared, not bound
    return f"[{host}]:{place.port}" if ":" in host else f"{host}:{place.port}"


S = TypeVar("S", bound=Settings)


def read(kind: type[S]) -> S:
    """The settings of a process. Raises: SettingsError if a value is wrong, or the file holds what nobody reads."""
    try:
        return kind()
    except ValidationError as error:
        raise SettingsError("; ".join(dict.fromkeys(_sentence(kind, one) for one in error.errors()))) from None
    except SourceError as error:  # a variable of a table, or of a list, that is no JSON
        raise SettingsError(f"the environment: {error}") from None


def read_or_exit(kind: type[S]) -> S:
    """As `read`, for the start of a process: what is wrong is its last word."""
    try:
        return read(kind)
    except SettingsError as error:
        refuse(str(error))


def variable(kind: type[Settings], keys: tuple[str, ...]) -> str:
    """The environment variable of a setting."""
    shared = _shared_variables()
    return shared[keys[0]] if keys[0] in shared else kind.model_config["env_prefix"] + "__".join(keys).upper()


def origin(kind: type[Settings], keys: tuple[str, ...]) -> str:
    """What decides a setting now: its environment variable, by name, the file, or "default"."""
    if used := _variable_in_use(kind, keys):
        return used
    found: Any = _from_file(kind)
    for key in (_shared_variables().get(keys[0], keys[0]), *keys[1:]):
        if not isinstance(found, dict) or key not in found:
            return "default"
        found = found[key]
    return str(settings_file.path())


def _shared_variables() -> dict[str, str]:
    """The settings above the sections, and the environment variable of each."""
    return {name: str(field.validation_alias) for name, field in Settings.model_fields.items()}


def _variable_in_use(kind: type[Settings], keys: tuple[str, ...]) -> str | None:
    """The environment variable that sets it now: its own, or one that holds the whole table around it."""
    present = {name.upper() for name, value in os.environ.items() if value}
    names = (variable(kind, keys[: end + 1]) for end in reversed(range(len(keys))))
    return next((name for name in names if name in present), None)


def _from_file(kind: type[Settings]) -> dict[str, Any]:
    """What the file says of a section, and what stands above all. Raises: SettingsError on a key in a wrong place."""
    shared = _shared_variables()
    above = settings_file.table(TOP)
    for key in above:
        if key not in shared:
            raise SettingsError(
                f"{settings_file.path()}: no setting {key} stands above the sections"
                f"{meant(key, (*shared, *settings_file.SECTIONS))}; there are {', '.join(shared)}"
            )
    own = settings_file.table(kind.section()) if kind.section() in settings_file.SECTIONS else {}
    for key in own:
        if key in shared or key in shared.values():
            raise SettingsError(
                f"{settings_file.path()}, [{kind.section()}]: {key} is the same for all; "
                "write it above the first section"
            )
    return own | {shared[key]: value for key, value in above.items()}


def _sentence(kind: type[Settings], error: ErrorDetails) -> str:
    """What is wrong with one setting, where it stands, and what would be right."""
    names = {alias: name for name, alias in _shared_variables().items()}
    keys = tuple(names.get(str(part), str(part)) for part in error["loc"])
    if not keys:  # said of several settings together
        return f"{settings_file.path()}, [{kind.section()}]: {error['ctx']['error']}"
    fields = dict(leaves(kind))
    # The place of an item in a list is no key.
    keys = next((keys[:end] for end in range(len(keys), 0, -1) if keys[:end] in fields), keys)
    table = ".".join((kind.section(), *keys[:-1]))
    place = str(settings_file.path()) if keys[0] in names.values() else f"{settings_file.path()}, [{table}]"
    if error["type"] == "extra_forbidden":
        known = [found[-1] for found in fields if found[:-1] == keys[:-1] and found[0] not in names.values()]
        return f"{place}: there is no setting {keys[-1]}{meant(keys[-1], known)}; there are {', '.join(known)}"
    used = _variable_in_use(kind, keys)
    where = f"the environment: {used}" if used else f"{place}: {keys[-1]}"
    given = shown(fields.get(keys), error["input"])
    if keys not in fields:
        return f"{where} is {given}; it is a table of settings"
    reason = f" ({error['ctx']['error']})" if error["type"] == "value_error" else ""
    return f"{where} is {given}; give {takes(fields[keys])}{reason}"
