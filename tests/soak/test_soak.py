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
from tests.soak.calls import OPTIONS
from tests.soak.ears import Ears
from tests.soak.usage import Usage, usage_of
from tests.soak.voice import Voice
from tests.stack import Program, Started, free_ports, started
from tools.bench.record import Record, Row, row

SOAK_S = float(os.environ.get("AVATAR_SOAK_S", "40"))
SEED = int(os.environ.get("AVATAR_SOAK_SEED", "1"))
ROUNDS = max(3, int(SOAK_S // 60))
MAX_STREAMS, CALLERS = 4, 6
IDLE_S = 5.0
# What an allocator keeps of its busiest moment differs by some MiB from round to round.
MAX_GROWTH_MIB = 24.0
# gRPC's own threads come and go with the work, and each has a descriptor or two.
MAX_MORE = 6
QUIET_S = 30.0
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


@contextlib.asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[dict[str, tuple[Target, Started]]]:
    """XTTS, Whisper and Canary, each in its process, ready."""
    from services.tts.engines.xtts import torchaudio_stand_in
    from tests.services.stt.whisper.tiny_models import build_ctranslate2
    from tests.services.tts.xtts import tiny

    torchaudio_stand_in.install()
    tiny.write_official_folder(folder / "xtts", temperature=0.0)
    sounds = [speech(sentence) for sentence in SENTENCES]
    engines: dict[str, tuple[str, tuple[str, ...], dict[str, str], Ears | Voice]] = {
        "xtts": (
            "TTS",
            ("services.tts",),
            {"ENGINE": "xtts", "XTTS__DIR": str(folder / "xtts"), "XTTS__DEVICE": "cpu"},
            Voice(SENTENCES, MAX_STREAMS),
        ),
        "whisper": (
            "STT",
            ("services.stt",),
            {"ENGINE": "whisper", "WHISPER__MODEL": str(build_ctranslate2(folder / "whisper"))},
            Ears(sounds, MAX_STREAMS, recites=True),
        ),
        "canary": (
            "CANARY",
            ("services.stt", "canary"),
            {"ENGINE": "canary", "CANARY__DIR": str(build_canary(folder / "canary", LANGUAGES))},
            Ears(sounds, MAX_STREAMS, recites=False),
        ),
    }
    async with contextlib.AsyncExitStack() as held:
        running = {}
        for (name, (prefix, module, own, callers)), port in zip(engines.items(), free_ports(len(engines)), strict=True):
            shared = {
                "HOST": "127.0.0.1",
                "PORT": str(port),
                "MAX_STREAMS": str(MAX_STREAMS),
                "IDLE_TIMEOUT_S": str(IDLE_S),
            }
            env = {f"{prefix}_{key}": value for key, value in {**shared, "DRAIN__ANNOUNCE_S": "0", **own}.items()}
            program = Program(name, (sys.executable, "-m", *module), env | {"OMP_NUM_THREADS": "1"}, port)
            running[name] = Target(name, port, callers), await held.enter_async_context(started(program, folder))
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
    for name, target in targets.items():
        rows.append(row(f"{name}: length of a call", "s", target.took_s, must=f"< {IDLE_S:g} idle + its work"))
        for what, unit in (("memory", "MiB"), ("files", ""), ("threads", "")):
            values = [float(getattr(usage, what if unit == "" else "memory_mib")) for usage in target.quiet]
            rows.append(
                row(f"{name}: {what} while nobody calls", unit, values, note=f"{values[0]:.0f} → {values[-1]:.0f}")
            )
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
