"""A face, a voice or a language that there is not is refused once its service is there, with those that there are."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from avatar.tts.v1 import tts_pb2

from orchestrator.settings import OrchestratorSettings
from services.common.errors import NotFoundError
from services.common.settings import ServerSettings
from tests.fakes.recordings import speech_like, wav
from tests.fakes.speaking_engine import SpeakingEngine
from tests.services.tts.serving import served, serving
from tests.stack import Program, free_ports, started
from tests.tools.cli.test_supervisor import Told
from tools.cli import chosen, processes, supervisor
from tools.cli.processes import Process
from tools.cli.settings import StackSettings, read_all

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


@dataclass(frozen=True)
class Services:
    """gRPC ports of real services, by name."""

    ports: dict[str, int]

    async def check(self, name: str, **settings: str) -> str:
        return await chosen.check(name, self.ports[name], OrchestratorSettings(**settings))  # type: ignore[arg-type]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def services(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Services]:
    folder = tmp_path_factory.mktemp("services")
    (folder / "models").symlink_to(ServerSettings().data_dir / "models")
    ports = dict(zip(("render", "tts", "stt"), free_ports(3), strict=True))
    async with contextlib.AsyncExitStack() as held:
        running = []
        for name, port in ports.items():
            env = {f"{name.upper()}_PORT": str(port), f"{name.upper()}_METRICS_PORT": "0"}
            env |= {"AVATAR_DATA_DIR": str(folder), "AVATAR_CONFIG": "", f"{name.upper()}_DRAIN__ANNOUNCE_S": "0"}
            program = Program(name, (sys.executable, "-m", f"services.{name}"), env, port)
            running.append(await held.enter_async_context(started(program, folder)))
        for one in running:
            await one.ready()
        yield Services(ports)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("render", {"avatar": "avatars/default"}),
        ("tts", {"voice": "", "language_code": "en"}),
        ("tts", {"voice": "voices/paul", "language_code": "de-AT"}),
        ("stt", {"language_code": "en-US"}),
        ("orchestrator", {}),
    ],
)
async def test_what_there_is_is_taken_without_a_word(name: str, given: dict[str, str], services: Services) -> None:
    services.ports.setdefault("orchestrator", 1)
    assert await services.check(name, **given) == ""


@pytest.mark.parametrize(
    ("name", "given", "sentence"),
    [
        (
            "render",
            {"avatar": "avatars/nobody"},
            "there is no face avatars/nobody; --avatar takes one of avatars/default",
        ),
        ("render", {"avatar": "default"}, r"no face default \(did you mean avatars/default\?\)"),
        ("tts", {"voice": "paul"}, r"no voice paul \(did you mean voices/paul\?\); --voice takes one of voices/"),
        ("tts", {"language_code": "german"}, "there is no language german.*; --language takes one of .*, de, "),
        ("tts", {"voice": "voices/paul", "language_code": "xx"}, "there is no language xx"),
    ],
)
async def test_what_there_is_not_is_refused_by_name(
    name: str, given: dict[str, str], sentence: str, services: Services
) -> None:
    with pytest.raises(NotFoundError, match=sentence):
        await services.check(name, **given)


async def test_a_language_that_is_only_spoken_is_said_beforehand(services: Services) -> None:
    assert await services.check("stt", language_code="de-AT") == (
        "Speech is recognised in en only, not in de-AT: people type, and hear the answers."
    )


async def test_the_stack_does_not_start_with_a_voice_that_there_is_not(
    services: Services, settings: StackSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Args: services: stand for those that it would start."""
    monkeypatch.setattr(processes, "envoy_files", lambda _: [])
    monkeypatch.setenv("ORCHESTRATOR_VOICE", "voices/nobody")
    waits = Process("tts", (sys.executable, "-c", "import time; time.sleep(60)"), services.ports["tts"])
    told = Told()
    with pytest.raises(supervisor.StackError, match="there is no voice voices/nobody"):
        await supervisor.Supervisor(read_all(), [waits], told).run()
    assert told.lines == []


async def test_a_voice_that_cannot_be_spoken_with_now_is_refused_with_the_reason(tmp_path: Path) -> None:
    async with serving(SpeakingEngine(clones_as="fake-1"), data_dir=tmp_path) as tts:
        consent = tts_pb2.Voice.Consent(given=True, statement="It is mine")
        voice = tts_pb2.Voice(recording=wav(speech_like(5)), consent=consent)
        await tts.CreateVoice(tts_pb2.CreateVoiceRequest(voice_id="ada", voice=voice))
    async with served(SpeakingEngine(clones_as="fake-2"), data_dir=tmp_path) as port:
        with pytest.raises(NotFoundError, match="was made for fake-1, and this engine speaks those of fake-2"):
            await chosen.check("tts", port, OrchestratorSettings(voice="voices/ada", language_code="en"))
