"""Whole conversations on one GPU: LivePortrait, XTTS and Whisper at full size with random weights, 1, 4 and 8 at once.

It starts the services and the orchestrator by itself, without Envoy: callers (WebRTC clients of aiortc, not browsers)
speak to the orchestrator's own socket. Work is that of official weights, what is said is scripted: Whisper writes a
script at the pace of speech, the echo answers with it, and XTTS says each sentence in `--reply-s` seconds of noise. Of
each number of callers it also measures every engine alone and all three at once, over gRPC. It wants
`pip install '.[stt,tts,render,liveportrait,xtts,orchestrator]'` (PyTorch's build for the GPU first; CTranslate2 is not
needed), the generated modules (tools/gen_proto.py), and set-up's small models (tools/fetch_models.py), for which
`--models` names a folder where there is no network. Six minutes: `python -m tools.bench one_gpu --keep`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import grpc
import numpy as np
from numpy.typing import NDArray

from tools.bench import one_gpu_calls, one_gpu_loads, programs, sessions
from tools.bench.one_gpu_calls import STAGES, Call
from tools.bench.programs import Program
from tools.bench.record import Record, Row, row
from tools.bench.speech import synthesise
from tools.cli.health import engine_of

_T = TypeVar("_T")
_READY_S = 240.0
# Of XTTS, per second of speech.
_TOKENS_PER_S = 22_050 / 1024
# What callers say: two and a half seconds each.
_SENTENCES = (
    "please tell me what you have seen down at the harbour",
    "i would like to know how many boats are there today",
    "can you tell me a story about the old house by the sea",
)
_OVER = "no please stop that now and listen to me"
_VOICES = ("voices/martin", "voices/clara", "voices/paul", "voices/anna")
_COUNTED = "avatar_"
_HELD = "pictures leave 25 ms after their sound, which browsers keep for longer"


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--callers", type=int, nargs="+", default=[1, 4, 8], help="conversations at once, run by run")
    parser.add_argument("--seconds", type=float, default=35.0, help="that callers begin new turns, of each run")
    parser.add_argument(
        "--alone-s", type=float, default=6.0, help="that each engine is measured alone, and all at once"
    )
    parser.add_argument("--reply-s", type=float, default=3.0, help="length of each sentence that is answered")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1 or cpu")
    parser.add_argument("--narrow", action="store_true", help="narrow networks, to try the bench on a CPU")
    parser.add_argument("--size", type=int, default=512, help="of the pictures, for the face alone")
    parser.add_argument("--data-dir", type=Path, help="of the services; a new one by default")
    parser.add_argument(
        "--models", type=Path, help="folder with the set-up's model files, if the data directory lacks it"
    )
    parser.add_argument("--limit-s", type=float, default=480.0, help="what has not begun by then is left out")


@dataclass
class _Run:
    """What a bench has, and what it has found so far.

    Attributes:
        pool: processes for callers and loads.
        address: of the orchestrator's socket.
        failed: by what was tried: why there is no figure of it.
        metrics: by number of callers and service, what its counters grew by meanwhile.
    """

    given: argparse.Namespace
    data_dir: Path
    pool: ProcessPoolExecutor
    began_s: float = field(default_factory=time.monotonic)
    rows: list[Row] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    running: dict[str, Program] = field(default_factory=dict)
    address: str = ""
    metrics: dict[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)

    def say(self, what: str) -> None:
        """Tell how far it is."""
        print(f"{time.monotonic() - self.began_s:5.0f} s  {what}", flush=True)

    async def attempt(self, name: str, work: Callable[[], Awaitable[_T]], limit_s: float) -> _T | None:
        """Do a part of the bench. Returns: None if it failed, took too long, or has no time left; the rest goes on."""
        self.say(name)
        left_s = self.given.limit_s - (time.monotonic() - self.began_s)
        try:
            if left_s <= 0:
                raise TimeoutError(f"no time was left of {self.given.limit_s:g} s")
            async with asyncio.timeout(min(limit_s, left_s + one_gpu_calls.LONGEST_TURN_S)):
                return await work()
        except Exception as failed:
            # Whatever it was: what has been measured before and what comes after is worth its record.
            self.failed[name] = f"{type(failed).__name__}: {failed}"
            self.say(f"{name}: {self.failed[name]}")
            return None

    async def elsewhere(self, work: Callable[..., _T], *arguments: Any) -> _T:
        """Call a function in a process of its own."""
        return await asyncio.get_running_loop().run_in_executor(self.pool, partial(work, *arguments))


async def measure(given: argparse.Namespace) -> Record:
    """Start everything; then, for each number of callers, the engines alone, all at once, and the conversations."""
    context = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory(prefix="avatar-one-gpu-") as made,
        ProcessPoolExecutor(max(3, *given.callers), mp_context=context) as pool,
    ):
        data_dir = (given.data_dir or Path(made)).resolve()
        data_dir.mkdir(parents=True, exist_ok=True)
        if given.models is not None and not (data_dir / "models").exists():
            (data_dir / "models").symlink_to(given.models.resolve())
        run = _Run(given, data_dir, pool)
        async with contextlib.AsyncExitStack() as held:
            speeches = await _prepare(run)
            await _start(run, held)
            if speeches is not None:
                for count in given.callers:
                    await _measure_loads(run, count, speeches[0])
                    await _measure_calls(run, count, speeches)
            engines = await run.attempt("which engines drew, spoke and heard", partial(_engines, run), 10.0)
            run.say("ending the processes")
        logs = {name: _complaints(program.log) for name, program in run.running.items()}
    settings = {key: str(value) if isinstance(value, Path) else value for key, value in vars(given).items()}
    settings |= {
        "weights_are": "random, narrow" if given.narrow else "random, full size",
        "edge": "none: callers reach the orchestrator's own socket, loads the services' own ports",
        "gpu": await asyncio.to_thread(_gpu),
        "engines": engines or {},
    }
    raw = {"failed": run.failed, "metrics": run.metrics, "logs": logs}
    return Record("one_gpu", run.rows, settings, raw)


# --- start ---------------------------------------------------------------------------------------------------


async def _prepare(run: _Run) -> list[NDArray[np.float32]] | None:
    """Weights on disk, and speech for the callers, the last one to be said over an answer."""
    weights, speeches = await asyncio.gather(
        run.attempt("random weights", partial(_write_weights, run), _READY_S),
        run.attempt("what callers say", partial(_speeches, run), _READY_S),
    )
    del weights
    return speeches


async def _write_weights(run: _Run) -> None:
    tokens = round(run.given.reply_s * _TOKENS_PER_S)
    await asyncio.gather(
        run.elsewhere(_write_face, run.data_dir / "face", run.given.narrow),
        run.elsewhere(_write_voice, run.data_dir / "voice", run.given.narrow, tokens),
    )


def _write_face(folder: Path, narrow: bool) -> None:  # noqa: FBT001 - called by position in another process
    from services.render.engines.liveportrait.config import NARROW, OFFICIAL
    from services.render.engines.liveportrait.random_weights import write_official_folder

    if not folder.exists():
        write_official_folder(folder, NARROW if narrow else OFFICIAL, seed=1)


def _write_voice(folder: Path, narrow: bool, tokens: int) -> None:  # noqa: FBT001 - as above
    from services.tts.engines.xtts.random_weights import NARROW, OFFICIAL, write_official_folder

    if not folder.exists():
        write_official_folder(folder, NARROW if narrow else OFFICIAL, tokens=tokens)


async def _speeches(run: _Run) -> list[NDArray[np.float32]]:
    """By the embedded voice, in a process that ends before anything is measured."""
    folder = run.data_dir / "callers"
    folder.mkdir(exist_ok=True)
    env = {"AVATAR_DATA_DIR": str(run.data_dir), "TTS_ENGINE": "espeak"}
    async with (
        programs.started("tts", ["services.tts"], env, folder, _READY_S) as service,
        grpc.aio.insecure_channel(f"127.0.0.1:{service.port}") as channel,
    ):
        spoken = [(text, voice) for text in _SENTENCES for voice in _VOICES]
        return [await synthesise(channel, text, voice) for text, voice in [*spoken, (_OVER, _VOICES[0])]]


def _environments(run: _Run) -> dict[str, tuple[list[str], dict[str, str]]]:
    """Module and settings of each service."""
    given = run.given
    # A stream that has just ended may still hold its place.
    streams = str(2 * max(given.callers) + 2)
    common = {"AVATAR_DATA_DIR": str(run.data_dir), "OMP_NUM_THREADS": "1"}
    whisper = ["tools.bench.scripted_whisper", "--size", "narrow" if given.narrow else "large-v3"]
    return {
        "render": (
            ["services.render"],
            {
                "RENDER_ENGINE": "liveportrait",
                "RENDER_DEVICE": given.device,
                "RENDER_LIVEPORTRAIT_DIR": str(run.data_dir / "face"),
                "RENDER_MAX_STREAMS": streams,
            }
            | common,
        ),
        "tts": (
            ["services.tts"],
            {
                "TTS_ENGINE": "xtts",
                "TTS_XTTS__DEVICE": given.device,
                "TTS_XTTS__DIR": str(run.data_dir / "voice"),
                "TTS_MAX_STREAMS": streams,
            }
            | common,
        ),
        "stt": (whisper, {"STT_WHISPER__DEVICE": given.device, "STT_MAX_STREAMS": streams} | common),
    }


async def _start(run: _Run, held: contextlib.AsyncExitStack) -> None:
    """Whatever comes up is in `run.running`."""

    async def one(name: str, module: Sequence[str], env: Mapping[str, str]) -> None:
        program = await held.enter_async_context(programs.started(name, module, env, run.data_dir, _READY_S))
        run.running[name] = program
        ready_s = program.ready_s - program.started_s
        run.rows.append(row(f"{name}: process to ready, all three at once", "s", [ready_s], "20", "10"))

    services = _environments(run)
    await asyncio.gather(
        *(run.attempt(f"start of {name}", partial(one, name, *how), _READY_S + 30) for name, how in services.items())
    )
    if "render" in run.running and run.given.device != "cpu":
        await run.attempt("the face's fast path", partial(_fast_face, run), _READY_S)
    if run.running.keys() >= services.keys():
        addresses = {f"ORCHESTRATOR_{name.upper()}_ADDRESS": f"127.0.0.1:{run.running[name].port}" for name in services}
        http_port = programs.free_port()
        env = addresses | {
            "AVATAR_DATA_DIR": str(run.data_dir),
            "ORCHESTRATOR_HTTP_PORT": str(http_port),
            "ORCHESTRATOR_REPLY": "echo",
            "ORCHESTRATOR_MAX_STREAMS": str(2 * max(run.given.callers)),
        }
        run.address = f"http://127.0.0.1:{http_port}/session"
        await run.attempt("start of the orchestrator", partial(one, "orchestrator", ["orchestrator"], env), 60.0)


async def _fast_face(run: _Run) -> None:
    service = run.running["render"]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{service.port}") as channel:
        fast_s, path = await sessions.fast_after_s(service, channel)
    if fast_s is None:
        raise RuntimeError(f"it is still on the path {path}")
    run.rows.append(row("render: process to the fast path", "s", [fast_s], note=path))
    await sessions.calibrated(service, path)


# --- the engines ---------------------------------------------------------------------------------------------


async def _measure_loads(run: _Run, count: int, speech: NDArray[np.float32]) -> None:
    """Each engine alone, and all three at once, under the same loads."""
    of_service: dict[str, tuple[Callable[..., dict[str, list[float]]], tuple[Any, ...]]] = {
        "render": (one_gpu_loads.face, (run.given.size,)),
        "tts": (one_gpu_loads.voice, ()),
        "stt": (one_gpu_loads.ears, (speech,)),
    }

    async def load(service: str, how: str) -> dict[str, list[float]]:
        function, more = of_service[service]
        work = partial(run.elsewhere, function, run.running[service].port, count, run.given.alone_s, *more)
        return await run.attempt(f"{count}: {service} {how}", work, run.given.alone_s + 45) or {}

    services = [service for service in of_service if service in run.running]
    alone = _joined([await load(service, "alone") for service in services])
    beside = _joined(await asyncio.gather(*(load(service, "beside the others") for service in services)))
    for measure, unit in one_gpu_loads.UNITS.items():
        by_itself, shared = alone.get(measure, []), beside.get(measure, [])
        if by_itself:
            run.rows.append(row(f"{count}: {measure}, alone", unit, by_itself))
        if shared:
            run.rows.append(row(f"{count}: {measure}, beside the others", unit, shared))
        if by_itself and shared:
            p50, p95 = np.percentile(shared, [50, 95]) / np.percentile(by_itself, [50, 95])
            worst = max(shared) / max(by_itself)
            run.rows.append(Row(f"{count}: {measure}, times slower", "x", len(shared), p50, p95, worst, "1.3"))


def _joined(found: Sequence[dict[str, list[float]]]) -> dict[str, list[float]]:
    return {measure: values for each in found for measure, values in each.items()}


# --- the conversations ---------------------------------------------------------------------------------------


async def _measure_calls(run: _Run, count: int, speeches: Sequence[NDArray[np.float32]]) -> None:
    name = f"{count}: conversations"
    if "orchestrator" not in run.running:
        run.failed[name] = "the orchestrator does not run"
        return
    calls = await run.attempt(name, partial(_call, run, count, speeches), run.given.seconds + 90)
    if calls is not None:
        run.rows += _rows(count, calls)
        run.failed |= {f"{name}, caller {number}": made.failed for number, made in enumerate(calls) if made.failed}


async def _call(run: _Run, count: int, speeches: Sequence[NDArray[np.float32]]) -> list[Call]:
    *turns, over = speeches
    async with _counted(run, str(count)):
        return await asyncio.gather(
            *(
                run.elsewhere(
                    one_gpu_calls.call, run.address, _from(turns, number), over, 5.0 * number / count, run.given.seconds
                )
                for number in range(count)
            )
        )


def _from(speeches: Sequence[NDArray[np.float32]], number: int) -> list[NDArray[np.float32]]:
    """All of them, each caller beginning with another."""
    begin = number % len(speeches)
    return [*speeches[begin:], *speeches[:begin]]


@contextlib.asynccontextmanager
async def _counted(run: _Run, name: str) -> AsyncIterator[None]:
    """Keep what every process counted meanwhile."""

    async def all_series() -> dict[str, Mapping[str, float]]:
        return {name: await asyncio.to_thread(program.metrics) for name, program in run.running.items()}

    before = await all_series()
    yield
    after = await all_series()
    run.metrics[name] = {
        service: {
            series: round(value - before[service].get(series, 0.0), 6)
            for series, value in found.items()
            if series.startswith(_COUNTED) and "_bucket" not in series and value != before[service].get(series, 0.0)
        }
        for service, found in after.items()
    }


def _row(
    count: int, measure: str, unit: str, values: Sequence[float], must: str = "", aim: str = "", note: str = ""
) -> list[Row]:
    """Nothing where nothing was measured."""
    return [row(f"{count}: {measure}", unit, values, must, aim, note)] if values else []


def _rows(count: int, calls: Sequence[Call]) -> list[Row]:
    def of(name: str) -> list[Any]:
        return [value for made in calls for value in getattr(made, name)]

    def in_stage(stage: str) -> list[float]:
        return [value for made in calls for value in made.stages_ms[stage]]

    failed = sum(bool(made.failed) for made in calls)
    note = f"{failed} of {count} callers failed" if failed else ""
    answered_s = sum(made.answered_s for made in calls)
    rows = [
        *_row(count, "speech end to first avatar audio", "ms", of("first_audio_ms"), "600/900", "350/550", note),
        *(
            one
            for stage in STAGES
            for one in _row(count, f"  of which until {stage.replace('_', ' ')}", "ms", in_stage(stage))
        ),
        *_row(count, "decision to silence at the caller", "ms", of("stop_ms"), "200", "60/100"),
        *_row(count, "first sound of the caller to silence", "ms", of("speech_to_silence_ms")),
        *_row(count, "skew as they come, + is sound late", "ms", of("skew_ms"), "+-80 p95", "-15..+45", _HELD),
        *_row(count, "|skew|", "ms", [abs(skew_ms) for skew_ms in of("skew_ms")], "80"),
        *_row(count, "frames of a face per second", "1/s", of("rates_hz"), "24"),
    ]
    shares = [
        ("late or missing frames", of("late"), "0.1", ""),
        ("turns without an answer", of("unanswered"), "", ""),
        ("interruptions that stopped nothing", of("not_stopped"), "", ""),
        ("cut off in mid-sentence", of("cut_off"), "5", "2"),
    ]
    for what, cases, must, aim in shares:
        if cases:
            share = 100 * float(np.mean(cases))
            rows.append(Row(f"{count}: {what}", "%", len(cases), share, share, share, must, aim, "share"))
    if answered_s:
        gaps, said = of("gaps_ms"), f"in {answered_s:.0f} s of answers"
        note = f"{said}; the longest {max(gaps):.0f} ms" if gaps else said
        number = float(len(gaps))
        rows.append(Row(f"{count}: audio gaps over 100 ms", "", len(gaps), number, number, number, "0", note=note))
    return rows


# --- the record ----------------------------------------------------------------------------------------------


async def _engines(run: _Run) -> dict[str, str]:
    return {
        name: await engine_of(name, program.port) for name, program in run.running.items() if name != "orchestrator"
    }


def _gpu() -> str:
    asked = ("nvidia-smi", "--query-gpu=name,driver_version,memory.total,memory.used", "--format=csv,noheader")
    try:
        return subprocess.run(asked, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "none"


def _complaints(log: Path) -> list[str]:
    return [line[:500] for line in log.read_text(errors="replace").splitlines() if '"info"' not in line][-20:]
