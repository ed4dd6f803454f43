"""Whether each engine can run here: asked of those that serve, tried in a process of its own otherwise."""

from __future__ import annotations

import json
import sys
from typing import Any

import grpc
from avatar.render.v1 import render_pb2, render_pb2_grpc
from avatar.stt.v1 import stt_pb2, stt_pb2_grpc
from avatar.tts.v1 import tts_pb2, tts_pb2_grpc

from services.common.errors import AvatarError
from services.common.settings import address_of, read
from services.common.settings_file import SettingsError
from tools.cli.doctor.finding import Finding
from tools.cli.doctor.machine import output_of
from tools.cli.settings import StackSettings

_LOAD_TIMEOUT_S = 180.0
_ANSWER_TIMEOUT_S = 3.0


async def engines(settings: StackSettings, runs: bool) -> list[Finding]:  # noqa: FBT001
    """One finding per service. Loaded one at a time: together they would need the memory of all."""
    return [await engine_of(section, runs=runs) for section in settings.servers if section != "orchestrator"]


async def engine_of(section: str, *, runs: bool) -> Finding:
    """Whether the engine of one service serves, or would load."""
    if runs:
        try:
            engine = await _serving(section)
        except grpc.aio.AioRpcError as error:
            cure = f"read its log, {section}.log: `avatar status` says where the logs are"
            return Finding(section, "problem", f"it does not serve: {error.details()}", cure)
        path = f" by {engine.path}" if engine.path else ""
        return Finding(section, "ok", f"{engine.name} is running{path}: {engine.reason}")
    status, said = await output_of(_LOAD_TIMEOUT_S, sys.executable, "-m", "tools.cli.doctor.engines", section)
    try:
        loaded = json.loads(said.strip().splitlines()[-1])
    except (ValueError, IndexError):
        # Killed, or crashed in a library.
        message = f"its engine ends with status {status}: {said.strip()[-300:]}"
        return Finding(section, "problem", message, f"choose another engine as [{section}] engine in avatar.toml")
    if "error" in loaded:
        return Finding(section, "problem", f"its engine does not load: {loaded['error']}")
    return Finding(section, "ok", f"{loaded['engine']} can run: {loaded['reason']}")


async def _serving(section: str) -> Any:
    """The engine of a process that serves."""
    async with grpc.aio.insecure_channel(address_of(section)) as channel:
        match section:
            case "render":
                render = render_pb2_grpc.RenderServiceStub(channel)
                return (await render.GetHealth(render_pb2.GetHealthRequest(), timeout=_ANSWER_TIMEOUT_S)).engine
            case "tts":
                tts = tts_pb2_grpc.TextToSpeechServiceStub(channel)
                return (await tts.GetHealth(tts_pb2.GetHealthRequest(), timeout=_ANSWER_TIMEOUT_S)).engine
            case _:
                stt = stt_pb2_grpc.SpeechToTextServiceStub(channel)
                return (await stt.GetHealth(stt_pb2.GetHealthRequest(), timeout=_ANSWER_TIMEOUT_S)).engine


def _load(section: str) -> tuple[str, str]:
    """Load an engine here and end it. Returns: its name, and why it was chosen."""
    match section:
        case "render":
            from services.render import engines as render
            from services.render.settings import RenderSettings

            chosen = render.load(read(RenderSettings))
            chosen.engine.close()
            return chosen.engine.name, chosen.reason
        case "tts":
            from services.tts import engines as tts
            from services.tts.settings import TtsSettings

            selected = tts.load(read(TtsSettings))
            selected.engine.close()
            return selected.name, selected.reason
        case _:
            from services.stt import engines as stt
            from services.stt.settings import CanarySettings, SttSettings

            heard = stt.load(read(CanarySettings if section == "canary" else SttSettings))
            heard.engine.close()
            return heard.name, heard.reason


def main() -> None:
    try:
        name, reason = _load(sys.argv[1])
    except ImportError as error:
        print(json.dumps({"error": f"{error}; run `make setup`"}))
    except (AvatarError, SettingsError, OSError) as error:
        print(json.dumps({"error": str(error)}))
    else:
        print(json.dumps({"engine": name, "reason": reason}))


if __name__ == "__main__":
    main()
