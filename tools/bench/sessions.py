"""Many conversations at one face service: what each of them gets, measured at the client over real gRPC.

It starts `python -m services.render` by itself, twice, so that a first start and one with compiled kernels are told
apart, and needs nothing else of the product: neither Envoy nor the orchestrator.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from avatar.media.v1 import media_pb2
from avatar.render.v1 import render_pb2, render_pb2_grpc

from services.common.timing import duration_of_s
from tools.bench import programs
from tools.bench.programs import Program
from tools.bench.record import Record, Row, row

_Request = render_pb2.StreamingRenderRequest
_FPS = 25
_VISEMES = (media_pb2.VISEME_AA, media_pb2.VISEME_PP, media_pb2.VISEME_E, media_pb2.VISEME_OU, media_pb2.VISEME_SS)
_HELD_S = 0.12
# What is sent ahead of visemes: an utterance lasts so long, and then the next one begins.
_UTTERANCE_S = 8.0
_READY_S = 600.0
_FAST_S = 300.0
# Sessions settle before anything is counted: rates are agreed, loops are asked for.
_SETTLE_S = 3.0


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--engine", default="liveportrait", choices=("liveportrait", "mesh", "auto"))
    parser.add_argument("--device", default="cuda", help="as the setting: cuda, cuda:1, cpu")
    parser.add_argument(
        "--weights", type=Path, help="official pretrained_weights; without it, random weights are written"
    )
    parser.add_argument("--narrow", action="store_true", help="random weights of a narrow network: to try the bench")
    parser.add_argument("--data-dir", type=Path, help="of the service; a new one by default")
    parser.add_argument(
        "--models", type=Path, help="folder with the set-up's model files, if the data directory lacks it"
    )
    parser.add_argument("--sessions", type=int, default=12, help="sessions that speak")
    parser.add_argument(
        "--idle", type=int, default=0, help="idle sessions beside as many speaking ones, in a run of its own"
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="of each run, after a few that are not counted")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument(
        "--useful-ms",
        type=float,
        default=100.0,
        help="frames are asked for so long before they are of no use any more, and are late after it; the orchestrator "
        "asks ahead by what drawing takes, and gives up on a frame half a frame after its time",
    )
    parser.add_argument("--in-flight", type=int, default=2, help="frames that a session waits for at most")
    parser.add_argument("--twice", action="store_true", help="another run with twice as many sessions as were admitted")
    parser.add_argument("--first-start", action="store_true", help="forget compiled kernels, and start a second time")


@dataclass
class Session:
    """One conversation, as its client saw it.

    Attributes:
        late_s: of each frame that came, how long after its time it was there; below 0 never.
        came_s: when, on the bench's clock.
        dropped: by reason.
        rate_hz: that was agreed last.
        engine: that drew last, and its path.
    """

    late_s: list[float] = field(default_factory=list)
    came_s: list[float] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)
    asked: int = 0
    rate_hz: int = _FPS
    engine: str = ""
    refused: str = ""


def started(
    given: argparse.Namespace, data_dir: Path, weights: Path | None
) -> contextlib.AbstractAsyncContextManager[Program]:
    """The service, ready. Raises: RuntimeError with the end of its log if it does not become so."""
    streams = 4 * (given.sessions + given.idle) + 8
    env = {
        "AVATAR_DATA_DIR": str(data_dir),
        "RENDER_ENGINE": given.engine,
        "RENDER_DEVICE": given.device,
        "RENDER_MAX_STREAMS": str(min(streams, 1000)),
        **({"RENDER_LIVEPORTRAIT_DIR": str(weights)} if weights else {}),
    }
    return programs.started("render", ["services.render"], env, data_dir, _READY_S)


async def engine_info(channel: grpc.aio.Channel) -> media_pb2.EngineInfo:
    """Which engine the service runs, and by which path."""
    answer = await render_pb2_grpc.RenderServiceStub(channel).GetHealth(render_pb2.GetHealthRequest())
    return answer.engine


async def fast_after_s(service: Program, channel: grpc.aio.Channel) -> tuple[float | None, str]:
    """How long after its start the fast path drew, and the path at the end; None if it never did."""
    path = (await engine_info(channel)).path
    while path == "eager" and time.perf_counter() - service.started_s < _FAST_S:
        await asyncio.sleep(0.05)
        path = (await engine_info(channel)).path
    fast = path.startswith("graph")
    return (time.perf_counter() - service.started_s if fast else None), path


async def converse(
    channel: grpc.aio.Channel, given: argparse.Namespace, begin_s: float, end_s: float, *, speaks: bool
) -> Session:
    """One session with a clock of its own, which asks for frames as the orchestrator does."""
    session = Session()
    call = render_pb2_grpc.RenderServiceStub(channel).StreamingRender()
    video = render_pb2.VideoFormat(
        codec=render_pb2.VIDEO_CODEC_I420, width=given.size, height=given.size, frame_rate_hertz=_FPS
    )
    asked_s: dict[int, float] = {}
    try:
        await call.write(_Request(config=render_pb2.RenderConfig(avatar="avatars/default", video_format=video)))
        answer: Any = await call.read()
        session.rate_hz = answer.started.config.video_format.frame_rate_hertz
        session.engine = _named(answer.started.engine)
        asking = asyncio.ensure_future(_ask(call, given, session, asked_s, begin_s, end_s, speaks=speaks))
        try:
            while (answer := await call.read()) is not grpc.aio.EOF:
                _take(session, answer, asked_s, begin_s)
        finally:
            asking.cancel()
            (failed,) = await asyncio.gather(asking, return_exceptions=True)
        if isinstance(failed, Exception):
            raise failed
    except grpc.aio.AioRpcError as refused:
        session.refused = f"{refused.code().name}: {refused.details()}"
    return session


async def _ask(
    call: Any,
    given: argparse.Namespace,
    session: Session,
    asked_s: dict[int, float],
    begin_s: float,
    end_s: float,
    *,
    speaks: bool,
) -> None:
    start_s, number, spoken = time.perf_counter(), 0, -1
    due_s = start_s
    try:
        while due_s < end_s:
            await asyncio.sleep(max(due_s - time.perf_counter(), 0.0))
            at_s = due_s - start_s
            utterance = int(at_s / _UTTERANCE_S)
            if speaks and utterance != spoken:
                spoken = utterance
                await call.write(_Request(visemes=_Request.Visemes(utterance_id=f"u{utterance}", visemes=_speech())))
            session.asked += due_s >= begin_s
            # Slots are skipped and never queue: a frame that would wait behind others is not asked for, and lost.
            if len(asked_s) < given.in_flight:
                frame = _Request.FrameRequest(
                    frame_index=number,
                    presentation_offset=duration_of_s(at_s),
                    useful_duration=duration_of_s(given.useful_ms / 1000),
                )
                if speaks:
                    frame.utterance_id = f"u{utterance}"
                    frame.utterance_offset.CopyFrom(duration_of_s(at_s - utterance * _UTTERANCE_S))
                asked_s[number] = due_s
                await call.write(_Request(frame=frame))
            number, due_s = number + 1, due_s + 1 / session.rate_hz
    finally:
        # Also after a mistake here: then whoever reads is told that nothing more will come.
        await call.done_writing()


def _speech() -> list[media_pb2.VisemeTiming]:
    return [
        media_pb2.VisemeTiming(
            viseme=_VISEMES[index % len(_VISEMES)],
            start_offset=duration_of_s(index * _HELD_S),
            end_offset=duration_of_s((index + 1) * _HELD_S),
            weight=1.0,
        )
        for index in range(int(_UTTERANCE_S / _HELD_S))
    ]


def _take(session: Session, answer: Any, asked_s: dict[int, float], begin_s: float) -> None:
    now_s = time.perf_counter()
    match answer.WhichOneof("response"):
        case "frame":
            due_s = asked_s.pop(answer.frame.frame_index)
            if due_s >= begin_s:
                session.late_s.append(now_s - due_s)
                session.came_s.append(now_s)
        case "frame_dropped":
            due_s = asked_s.pop(answer.frame_dropped.frame_index)
            if due_s >= begin_s:
                reason = type(answer.frame_dropped).Reason.Name(answer.frame_dropped.reason)
                session.dropped[reason] = session.dropped.get(reason, 0) + 1
        case "changed":
            session.engine = _named(answer.changed.engine)
            session.rate_hz = answer.changed.config.video_format.frame_rate_hertz


def _named(engine: media_pb2.EngineInfo) -> str:
    return f"{engine.name} {engine.path}".strip()


async def run(port: int, given: argparse.Namespace, speaking: int, idle: int) -> tuple[list[Session], float]:
    """Sessions at once, by a service's port. Returns: each, the speaking ones first; and the seconds counted."""
    # Each has a connection of its own, as replicas of an orchestrator would.
    async with contextlib.AsyncExitStack() as held:
        channels = [
            await held.enter_async_context(
                grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)])
            )
            for _ in range(speaking + idle)
        ]
        start_s = time.perf_counter()
        begin_s = start_s + _SETTLE_S
        end_s = begin_s + given.seconds

        async def one(number: int) -> Session:
            # Not all in the same moment: conversations are not in step.
            await asyncio.sleep(number / (speaking + idle) / _FPS)
            return await converse(channels[number], given, begin_s, end_s, speaks=number < speaking)

        sessions = await asyncio.gather(*(one(number) for number in range(speaking + idle)))
    return list(sessions), given.seconds


def rows_of(what: str, sessions: Sequence[Session], seconds: float, useful_s: float) -> list[Row]:
    """What a run gave: of all sessions that a production engine drew, and who was not."""
    served = [session for session in sessions if session.late_s and not session.engine.startswith("mesh")]
    embedded = sum(session.engine.startswith("mesh") for session in sessions)
    refused = sum(bool(session.refused) for session in sessions)
    rates = [len(session.late_s) / seconds for session in served]
    late = [100 * _late_share(session, useful_s) for session in served]
    engines = ", ".join(sorted({session.engine for session in sessions if session.engine}))
    note = f"{len(served)} of {len(sessions)}; {embedded} by mesh, {refused} refused; {engines}"
    if not served:
        return [Row(f"{what}: sessions served", "", len(sessions), 0, 0, 0, note=note)]
    return [
        row(f"{what}: frames per second of a session", "1/s", rates, "25", note=note),
        row(f"{what}: late or dropped frames of a session", "%", late, "0.1"),
        row(f"{what}: asked to there", "ms", [1000 * one for session in served for one in session.late_s]),
        row(f"{what}: most against least served", "", [max(rates) / max(min(rates), 1e-9)], "1.05"),
    ]


def _late_share(session: Session, useful_s: float) -> float:
    late = sum(one > useful_s for one in session.late_s)
    lost = max(session.asked - len(session.late_s), 0)
    # What was agreed to be drawn less often is neither.
    lost -= min(lost, sum(count for reason, count in session.dropped.items() if reason.endswith("RATE")))
    return (late + lost) / max(session.asked, 1)


async def _frames_ms(service: Program, size: int, count: int) -> list[float]:
    """One session's first frames, each asked for when the one before has come."""
    spent_ms = []
    async with grpc.aio.insecure_channel(f"127.0.0.1:{service.port}") as channel:
        call = render_pb2_grpc.RenderServiceStub(channel).StreamingRender()
        video = render_pb2.VideoFormat(codec=render_pb2.VIDEO_CODEC_I420, width=size, height=size)
        await call.write(_Request(config=render_pb2.RenderConfig(avatar="avatars/default", video_format=video)))
        await call.read()
        await call.write(_Request(visemes=_Request.Visemes(utterance_id="first", visemes=_speech())))
        for number in range(count):
            at = duration_of_s(number / _FPS)
            frame = _Request.FrameRequest(
                frame_index=number, presentation_offset=at, utterance_id="first", utterance_offset=at
            )
            start_s = time.perf_counter()
            await call.write(_Request(frame=frame))
            answer: Any = None
            while answer is None or answer.WhichOneof("response") != "frame":
                answer = await call.read()
            spent_ms.append(1000 * (time.perf_counter() - start_s))
        await call.done_writing()
    return spent_ms


async def _start(service: Program, given: argparse.Namespace, name: str) -> tuple[list[Row], str]:
    """What a start gave, once the fast path has come or has been given up."""
    rows = [row(f"{name} start: process to ready", "s", [service.ready_s - service.started_s], "20", "10")]
    first = await _frames_ms(service, given.size, 100)
    rows.append(row(f"{name} start: first frame, against the hundredth", "", [first[0] / first[-1]], "1.5"))
    rows.append(row(f"{name} start: first hundred frames, asked to there", "ms", first))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{service.port}") as channel:
        fast_s, path = await fast_after_s(service, channel)
        engine = _named(await engine_info(channel))
    if fast_s is not None:
        must = "20" if name == "second" else ""
        rows.append(row(f"{name} start: process to the fast path", "s", [fast_s], must, note=path))
        await calibrated(service, path)
    return rows, engine


async def calibrated(service: Program, path: str) -> None:
    """Return once the service has measured what it can draw by that path."""
    limit_s = time.perf_counter() + _FAST_S
    while not any(
        '"engine_calibrated"' in line and f'"{path}"' in line for line in service.log.read_text().splitlines()
    ):
        if time.perf_counter() > limit_s:
            raise RuntimeError(f"the service has not measured its path {path}; see {service.log}")
        await asyncio.sleep(0.1)


_MEMORY = ("process_resident_memory_bytes", 'avatar_render_device_bytes{kind="used"}')


async def _load(service: Program, given: argparse.Namespace, name: str, speaking: int, idle: int) -> list[Row]:
    """What so many sessions get, and how the service's memory grows meanwhile."""
    held: list[Mapping[str, float]] = []

    async def look() -> None:
        # Once all sessions are there, and before the first of them goes.
        await asyncio.sleep(2 * _SETTLE_S)
        held.append(await asyncio.to_thread(service.metrics))
        await asyncio.sleep(max(given.seconds - 2 * _SETTLE_S, 1.0))
        held.append(await asyncio.to_thread(service.metrics))

    (sessions, seconds), _ = await asyncio.gather(run(service.port, given, speaking, idle), look())
    rows = rows_of(f"{name}, speaking", sessions[:speaking], seconds, given.useful_ms / 1000)
    if idle:
        rows += rows_of(f"{name}, idle", sessions[speaking:], seconds, given.useful_ms / 1000)
    for series in _MEMORY:
        if series in held[0]:
            grown = 100 * (held[1][series] / held[0][series] - 1)
            note = f"{held[1][series] / 2**20:.0f} MiB at the end"
            rows.append(row(f"{name}: growth of {series}", "%", [grown], "1", note=note))
    capacity = f'avatar_render_capacity_frames_per_second{{engine="{given.engine}"}}'
    if capacity in held[1]:
        rows.append(row(f"{name}: what the service says it can draw", "1/s", [held[1][capacity]], "300", "500"))
    return rows


def face_weights(given: argparse.Namespace, data_dir: Path) -> tuple[Path | None, str]:
    """The folder of weights, and what they are."""
    if given.engine == "mesh":
        return None, "none"
    if given.weights is not None:
        return given.weights.resolve(), f"of {given.weights.name}"
    from services.render.engines.liveportrait.config import NARROW, OFFICIAL
    from services.render.engines.liveportrait.random_weights import write_official_folder

    folder = data_dir / ("narrow" if given.narrow else "random")
    if not folder.exists():
        write_official_folder(folder, NARROW if given.narrow else OFFICIAL, seed=1)
    return folder, "random, narrow" if given.narrow else "random, full size"


async def measure(given: argparse.Namespace) -> Record:
    """Start the service and load it."""
    with tempfile.TemporaryDirectory(prefix="avatar-sessions-") as made:
        data_dir = (given.data_dir or Path(made)).resolve()
        data_dir.mkdir(parents=True, exist_ok=True)
        if given.models is not None and not (data_dir / "models").exists():
            (data_dir / "models").symlink_to(given.models.resolve())
        weights, words = await asyncio.to_thread(face_weights, given, data_dir)
        rows: list[Row] = []
        if given.first_start:
            shutil.rmtree(data_dir / "compiled", ignore_errors=True)
            async with started(given, data_dir, weights) as service:
                rows += (await _start(service, given, "first"))[0]
        async with started(given, data_dir, weights) as service:
            start_rows, engine = await _start(service, given, "second" if given.first_start else "this")
            rows += start_rows
            rows += await _load(service, given, f"{given.sessions} sessions", given.sessions, 0)
            if given.idle:
                rows += await _load(service, given, "mixed", given.sessions, given.idle)
            if given.twice:
                rows += await _load(service, given, "twice as many", 2 * given.sessions, 0)
            log = service.log.read_text()
        settings = {key: str(value) if isinstance(value, Path) else value for key, value in vars(given).items()}
        raw = {"log": [line for line in log.splitlines() if '"info"' not in line][-50:]}
        return Record("sessions", rows, settings | {"weights_are": words, "engine_was": engine}, raw)
