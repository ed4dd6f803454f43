"""Callers by chance for minutes: nothing leaks, nothing is stuck, nobody hears another.

The production engines serve them as processes, tiny and with random weights, on the CPU. More callers than there are
places stream, cancel, hang up, connect anew and send what nobody should; whoever stays to the end must get what he gets
when he is alone. `AVATAR_SOAK_S=600` is the whole of it, and `AVATAR_SOAK_KEEP=1` keeps its figures as a record.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import grpc
import pytest

from services.stt.engines.nemo.model import LANGUAGES
from tests.fakes.nemo_models import build_canary
from tests.fakes.until import until
from tests.limits.world import FAULTS
from tests.services.stt.espeak_speech import speech
from tests.soak.calls import OPTIONS, is_cut_short
from tests.soak.ears import Ears
from tests.soak.usage import Usage, usage_of
from tests.soak.voice import Voice
from tests.stack import Program, Started, free_ports, started
from tools.bench.record import Record, Row, row
from tools.cli.processes import FRUGAL

SOAK_S = float(os.environ.get("AVATAR_SOAK_S", "40"))
SEED = int(os.environ.get("AVATAR_SOAK_SEED", "1"))
ROUNDS = max(3, int(SOAK_S // 60))
MAX_STREAMS, CALLERS = 4, 6
IDLE_S = 5.0
MAX_GROWTH_MIB = 24.0
# gRPC's own threads come and go with the work, and each has a descriptor or two.
MAX_MORE = 6
QUIET_S = 30.0
_WELL = {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
# How calls of a kind may end; what nobody should send has its own answers. Who falls silent is idle in the end.
ENDS = {
    **dict.fromkeys(("sentence", "noise", "utterance", "interrupt"), _WELL),
    **dict.fromkeys(("recording", "whole", "leave"), _WELL | {grpc.StatusCode.CANCELLED}),
    **dict.fromkeys(("cancel", "hang up"), _WELL | {grpc.StatusCode.CANCELLED, grpc.StatusCode.FAILED_PRECONDITION}),
}
SENTENCES = ("Good morning.", "What is the weather like?", "I have no idea.", "Seven and eleven.")


@dataclass
class Target:
    """A process and those who call it.

    Attributes: calls: how many of a kind ended how; took_s: of each call, in seconds; quiet: what the process held when
        nobody called, after each round.
    """

    name: str
    port: int
    callers: Ears | Voice
    calls: Counter[tuple[str, grpc.StatusCode]] = field(default_factory=Counter)
    took_s: list[float] = field(default_factory=list)
    quiet: list[Usage] = field(default_factory=list)


def connected(target: Target) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(f"127.0.0.1:{target.port}", options=OPTIONS)


def programs(folder: Path) -> Iterator[tuple[Target, Program]]:
    """XTTS, Whisper and Canary, each in its process."""
    from services.tts.engines.xtts import torchaudio_stand_in
    from tests.services.stt.whisper.tiny_models import build_ctranslate2
    from tests.services.tts.xtts import tiny

    def program(
        name: str, module: str, section: str, callers: Ears | Voice, **settings: object
    ) -> tuple[Target, Program]:
        (port,) = free_ports(1)
        settings |= {"HOST": "127.0.0.1", "PORT": port, "MAX_STREAMS": MAX_STREAMS, "IDLE_TIMEOUT_S": IDLE_S}
        settings |= {"ENGINE": name, "DRAIN__ANNOUNCE_S": 0}
        env = {f"{section.upper()}_{key}": str(value) for key, value in settings.items()}
        command = [sys.executable, "-m", f"services.{module}", *([section] if section != module else [])]
        return Target(name, port, callers), Program(name, command, env | FRUGAL, port)

    torchaudio_stand_in.install()
    tiny.write_official_folder(folder / "xtts", temperature=0.0)
    voice = Voice(SENTENCES, MAX_STREAMS)
    yield program("xtts", "tts", "tts", voice, XTTS__DIR=folder / "xtts", XTTS__DEVICE="cpu")
    sounds = [speech(sentence) for sentence in SENTENCES]
    ears = Ears(sounds, MAX_STREAMS, recites=True)
    yield program("whisper", "stt", "stt", ears, WHISPER__MODEL=build_ctranslate2(folder / "whisper"))
    ears = Ears(sounds, MAX_STREAMS, recites=False)
    yield program("canary", "stt", "canary", ears, CANARY__DIR=build_canary(folder / "canary", LANGUAGES))


@contextlib.asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[dict[str, tuple[Target, Started]]]:
    """All of them, ready."""
    async with contextlib.AsyncExitStack() as held:
        running = {
            target.name: (target, await held.enter_async_context(started(program, folder)))
            for target, program in programs(folder)
        }
        await asyncio.gather(*(process.ready() for _, process in running.values()))
        yield running


async def keep_calling(target: Target, seeds: Iterator[int], until_s: float) -> None:
    """One caller after the other, each on a connection of his own for a few calls."""
    while time.monotonic() < until_s:
        async with connected(target) as channel:
            for _ in range(Random(next(seeds)).randrange(1, 6)):
                seed = next(seeds)
                rng = Random(seed)
                began_s = time.monotonic()
                try:
                    kind, ended = await target.callers.one(channel, rng)
                    assert kind == "malformed" or is_cut_short(ended) or ended.code in ENDS[kind], ended
                except (AssertionError, TimeoutError) as wrong:
                    raise AssertionError(f"{target.name}, seed {seed}: {wrong!r}") from wrong
                target.took_s.append(time.monotonic() - began_s)
                target.calls[kind, ended.code] += 1
                if ended.code is grpc.StatusCode.RESOURCE_EXHAUSTED:
                    # As a caller does who reads when to come again.
                    await asyncio.sleep(rng.random())
                if kind == "hang up":
                    break


async def soak(targets: Mapping[str, Target], seeds: Iterator[int], seconds: float) -> None:
    until_s = time.monotonic() + seconds
    async with asyncio.TaskGroup() as callers:
        for target in targets.values():
            for _ in range(CALLERS):
                callers.create_task(keep_calling(target, seeds, until_s))


async def quiet(target: Target, pid: int) -> Usage:
    """What is held once nobody calls, which is waited for: no more threads and files than at first, or `QUIET_S`."""
    first = target.quiet[0] if target.quiet else None

    def is_tidy() -> bool:
        now = usage_of(pid)
        return first is None or (now.threads <= first.threads + MAX_MORE and now.files <= first.files + MAX_MORE)

    with contextlib.suppress(TimeoutError):
        await until(is_tidy, QUIET_S)
    return usage_of(pid)


def figures(targets: Mapping[str, Target]) -> Record:
    """What the soak found, as a record."""
    rows: list[Row] = []
    parts = {"memory": ("memory_mib", "MiB"), "files": ("files", ""), "threads": ("threads", "")}
    for name, target in targets.items():
        rows.append(row(f"{name}: length of a call", "s", target.took_s, must=f"< {IDLE_S:g} idle + its work"))
        for what, (attribute, unit) in parts.items():
            values = [float(getattr(usage, attribute)) for usage in target.quiet]
            note = f"{values[0]:.0f} after the first round, {values[-1]:.0f} after the last"
            rows.append(row(f"{name}: {what} while nobody calls", unit, values, note=note))
    calls = {
        name: {f"{kind}: {code.name}": count for (kind, code), count in sorted(target.calls.items(), key=str)}
        for name, target in targets.items()
    }
    usage = {name: [vars(each) for each in target.quiet] for name, target in targets.items()}
    settings = {"seconds": SOAK_S, "seed": SEED, "max_streams": MAX_STREAMS, "callers": CALLERS, "rounds": ROUNDS}
    return Record("soak", rows, settings, {"calls": calls, "quiet": usage})


@pytest.mark.slow
@pytest.mark.timeout(SOAK_S * 2 + 300)
async def test_callers_by_chance_leave_nothing_behind_and_never_meet(tmp_path: Path) -> None:
    seeds = itertools.count(SEED * 1_000_000)
    async with serving(tmp_path) as running:
        targets = {name: target for name, (target, _) in running.items()}
        for target in targets.values():
            async with connected(target) as channel:
                await target.callers.alone(channel)
        for _ in range(ROUNDS + 1):
            await soak(targets, seeds, SOAK_S / (ROUNDS + 1))
            for name, target in targets.items():
                async with connected(target) as channel:
                    await target.callers.fill(channel)
                target.quiet.append(await quiet(target, running[name][1].process.pid))
        faults = [
            f"{name}: {line[:300]}"
            for name, (_, process) in running.items()
            for line in process.log.read_text().splitlines()
            if any(fault in line for fault in FAULTS)
        ]
    record = figures(targets)
    record.print()
    if os.environ.get("AVATAR_SOAK_KEEP"):
        record.write()
    assert faults == []
    for name, target in targets.items():
        # The first round is the warm-up.
        first, last = target.quiet[0], target.quiet[-1]
        assert last.memory_mib - first.memory_mib < MAX_GROWTH_MIB, f"{name}: {target.quiet}"
        assert last.threads - first.threads <= MAX_MORE, f"{name}: {target.quiet}"
        assert last.files - first.files <= MAX_MORE, f"{name}: {target.quiet}"
        # The noise reaches what it is to reach.
        ways = {"malformed", "cancel", "hang up", "leave"} | (
            {"utterance", "whole", "interrupt"} if isinstance(target.callers, Voice) else {"sentence", "recording"}
        )
        assert ways <= {kind for kind, _ in target.calls}
        assert {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED} <= {code for _, code in target.calls}
