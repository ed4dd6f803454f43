"""What `avatar bench xtts` measures; it needs PyTorch and coqui-tts, and no weights."""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from services.common.compiled_kernels import UnavailableError
from services.tts.engine import resolve_style
from services.tts.engines.xtts.checkpoint import installed_library
from services.tts.engines.xtts.decoding import Decoding, Newcomer
from services.tts.engines.xtts.engine import XttsEngine
from services.tts.engines.xtts.fused import FusedStep
from services.tts.engines.xtts.gpt import Cache, Gpt
from services.tts.engines.xtts.graphs import Recorder
from services.tts.engines.xtts.random_weights import NARROW, OFFICIAL, write_official_folder
from services.tts.engines.xtts.sizes import SAMPLE_RATE_HZ
from services.tts.engines.xtts.vocoder import Waveforms, Window, usual_windows
from tools.bench.record import Row, row

TEXT = "When the sun rose over the harbour, the boats had left already, and nobody knew where."
_SPEAKERS = ("Random One", "Random Two")
# Steps before a step is measured, so that a row has said something, and steps that are measured.
_BEFORE, _MEASURED = 20, 40
_GAP_S = 0.1


def figures(given: argparse.Namespace, folder: Path) -> list[Row]:
    """All rows of the record."""
    device = torch.device(given.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    sizes = NARROW if given.random_weights == "narrow" else OFFICIAL
    if not (folder / "model.pth").is_file():
        write_official_folder(folder, sizes, tokens=given.tokens, speakers=_SPEAKERS)
    begin_s = time.perf_counter()
    engine = XttsEngine(folder, device.type, max(given.sessions))
    rows = [row("ready: weights, kernels and graphs", "s", [time.perf_counter() - begin_s])]
    print(f"path: {engine.capabilities.path}")
    try:
        rows += _memory(device)
        rows += _parts(engine, device, given)
        for sessions in given.sessions:
            rows += _sessions(engine, sessions, given)
    finally:
        engine.close()
    if given.library_repeat:
        rows += _library(folder, sizes.vocoder_channels, device, given.library_repeat)
    return rows


def _synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _times_ms(repeat: int, work: Callable[[], object], before: Callable[[], object] = lambda: None) -> list[float]:
    """Args: before: each time, and not measured."""
    times = []
    for _ in range(repeat + 2):
        before()
        _synchronise()
        begin_s = time.perf_counter()
        work()
        _synchronise()
        times.append(1000 * (time.perf_counter() - begin_s))
    # The first ones set things up.
    return times[2:]


def _memory(device: torch.device) -> list[Row]:
    if device.type != "cuda":
        return []
    return [row("memory of the engine on the device", "GiB", [torch.cuda.memory_allocated() / 1024**3])]


def _parts(engine: XttsEngine, device: torch.device, given: argparse.Namespace) -> list[Row]:
    """A step in each of its ways, what a newcomer costs, and the vocoder."""
    published = engine.published
    arrays = next(iter(published.speakers.values()))
    conditioning = torch.from_numpy(arrays.latent).to(device)
    text = published.tokens(published.words(TEXT, "en"), "en")
    rows: list[Row] = []

    def newcomers(count: int) -> list[Newcomer]:
        return [Newcomer(number, conditioning, text) for number in range(count)]

    for way, decoding in _ways(engine, device, max(given.rows)):
        for count in given.rows:

            def begin(decoding: Decoding = decoding, count: int = count) -> None:
                for number in range(decoding.rows):
                    decoding.leave(number)
                for first in range(0, count, 8):
                    decoding.join(newcomers(count)[first : first + 8])
                decoding.advance(_BEFORE)

            def go_on(decoding: Decoding = decoding) -> None:
                decoding.advance(_MEASURED)

            times = [each / _MEASURED for each in _times_ms(given.repeat, go_on, begin)]
            goal = ("1.3", "0.6") if (way, count) == (engine.capabilities.path, 1) else ("", "")
            rows.append(row(f"one step, {way}, {count} rows", "ms", times, *goal))
    for count in sorted({1, min(8, decoding.rows)}):
        join = _times_ms(given.repeat, lambda count=count: decoding.join(newcomers(count)))  # type: ignore[misc]
        rows.append(row(f"a text of {len(text)} tokens read, {count} at once", "ms", join))
    rows += _precision(published.gpt, conditioning, text, device)
    return rows + _vocoder(engine, device, given.repeat)


def _ways(engine: XttsEngine, device: torch.device, rows: int) -> Iterator[tuple[str, Decoding]]:
    """Every way in which a step runs here, the fastest last."""
    published = engine.published

    def fresh() -> Decoding:
        return Decoding(published.gpt, rows, published.sampling)

    if device.type == "cpu":
        yield "cpu plain", fresh()
        return
    yield "eager", fresh()
    try:
        graphs = fresh()
        graphs.warm_up(Recorder())
        yield "graph", graphs
        fused = fresh()
        fused.use(FusedStep(published.gpt))
        fused.warm_up(Recorder())
        yield "graph+triton", fused
    except (UnavailableError, RuntimeError) as failed:
        print(f"a way that does not run here: {failed}")


@torch.inference_mode()
def _precision(gpt: Gpt, conditioning: Tensor, text: Tensor, device: torch.device) -> list[Row]:
    """What half the bytes change in the latents of a whole prefix's last place."""
    if device.type == "cpu":
        return []
    exact = deepcopy(gpt).float()
    found = []
    for count in range(8, len(text), 8):
        prefixes = [each.prefix(conditioning, text[:count].to(device)) for each in (gpt, exact)]
        caches = [Cache.empty(each.sizes, 1, each.mel_head.weight) for each in (gpt, exact)]
        half, whole = (
            each.prefill([prefix], [0], cache).float()
            for each, prefix, cache in zip((gpt, exact), prefixes, caches, strict=True)
        )
        found.append(float((half - whole).norm() / whole.norm()))
    return [row("latents in float16 against float32, relative L2", "", found)]


@torch.inference_mode()
def _vocoder(engine: XttsEngine, device: torch.device, repeat: int) -> list[Row]:
    published = engine.published
    waveforms = Waveforms(published.vocoder)
    if device.type == "cuda":
        waveforms.warm_up(Recorder())
    speaker = torch.from_numpy(next(iter(published.speakers.values())).embedding).to(device)
    rows = []
    for length in sorted(usual_windows()):
        window = Window(torch.randn(published.sizes.width, length, device=device), speaker, 0, length)
        for count in (1, 8):
            times = _times_ms(repeat, lambda some=[window] * count: waveforms.of(some))  # type: ignore[misc]
            rows.append(row(f"vocoder, {length} frames, {count} at once", "ms", times))
    return rows


@dataclass(slots=True)
class _Heard:
    """What listeners heard."""

    first_ms: list[float] = field(default_factory=list)
    longest_gap_ms: list[float] = field(default_factory=list)
    factors: list[float] = field(default_factory=list)


def _sessions(engine: XttsEngine, sessions: int, given: argparse.Namespace) -> list[Row]:
    """Each hears its utterances one after the other, as fast as they are spoken; they begin within one of them."""
    heard, lock = _Heard(), threading.Lock()
    length_s = given.tokens * 1024 / 22_050
    begin_s = time.perf_counter() + 0.1
    with ThreadPoolExecutor(sessions) as pool:
        work = [
            pool.submit(_listen, engine, number, begin_s + length_s * number / sessions, given.utterances, heard, lock)
            for number in range(sessions)
        ]
        for each in work:
            each.result()
    name = f"{sessions} session{'s' * (sessions > 1)}"
    with_gap = [100.0 * (gap > 1000 * _GAP_S) for gap in heard.longest_gap_ms]
    first_goal = ("60", "30") if sessions == 1 else ("", "")
    gap_goal = ("0", "") if sessions == 32 else ("", "0") if sessions == 64 else ("", "")
    return [
        row(f"{name}: text to first sound", "ms", heard.first_ms, *first_goal),
        row(f"{name}: longest gap in an utterance", "ms", heard.longest_gap_ms),
        row(
            f"{name}: utterances with a gap over {1000 * _GAP_S:g} ms", "%", [sum(with_gap) / len(with_gap)], *gap_goal
        ),
        row(f"{name}: time over length of speech", "", heard.factors),
    ]


def _listen(
    engine: XttsEngine, number: int, start_s: float, utterances: int, heard: _Heard, lock: threading.Lock
) -> None:
    style = resolve_style(engine.capabilities, "", "en", 1.0)
    for _ in range(utterances):
        time.sleep(max(0.0, start_s - time.perf_counter()))
        begin_s = time.perf_counter()
        first_s, gap_s, until_s, length_s = 0.0, 0.0, 0.0, 0.0
        for chunk in engine.speakers[number].speak(TEXT, style):
            now_s = time.perf_counter()
            first_s = first_s or now_s
            until_s = until_s or now_s
            gap_s = max(gap_s, now_s - until_s)
            chunk_s = len(chunk.samples) / SAMPLE_RATE_HZ
            until_s = max(until_s, now_s) + chunk_s
            length_s += chunk_s
        with lock:
            heard.first_ms.append(1000 * (first_s - begin_s))
            heard.longest_gap_ms.append(1000 * gap_s)
            heard.factors.append((now_s - begin_s) / length_s)
        start_s = until_s


def _library(folder: Path, vocoder_channels: int, device: torch.device, repeat: int) -> list[Row]:
    """The library's own loop on the same weights: float32, as it loads them, in chunks of 20 tokens, its default."""
    library = installed_library()
    config = library.config()
    config.load_json(str(folder / "config.json"))
    model = library.model(config, library.tokenizer(vocab_file=str(folder / "vocab.json")), vocoder_channels)
    state = torch.load(folder / "model.pth", map_location="cpu", weights_only=False, mmap=True)["model"]
    model.load_state_dict(state, assign=True)
    model.gpt.init_gpt_for_inference(kv_cache=True)
    model.eval()
    model.to(device)
    voice = next(iter(torch.load(folder / "speakers_xtts.pth", weights_only=True).values()))
    latent, embedding = (voice[name].to(device) for name in ("gpt_cond_latent", "speaker_embedding"))
    first_ms, factors = [], []
    for _ in range(repeat + 1):
        begin_s = time.perf_counter()
        first_s, samples = 0.0, 0
        for chunk in model.inference_stream(TEXT, "en", latent, embedding):
            samples += len(chunk.cpu())
            first_s = first_s or time.perf_counter()
        first_ms.append(1000 * (first_s - begin_s))
        factors.append((time.perf_counter() - begin_s) / (samples / SAMPLE_RATE_HZ))
    text = torch.tensor(model.tokenizer.encode(TEXT.lower(), lang="en"), device=device)[None]
    return [
        row("the library: text to first sound", "ms", first_ms[1:]),
        row("the library: time over length of speech", "", factors[1:]),
        row("the library: one step, 1 row", "ms", _library_steps(model, latent, text)),
    ]


@torch.inference_mode()
def _library_steps(model: Any, latent: Tensor, text: Tensor) -> list[float]:
    made = model.gpt.get_generator(
        fake_inputs=model.gpt.compute_embeddings(latent, text),
        do_sample=True,
        num_beams=1,
        num_return_sequences=1,
        output_attentions=False,
        output_hidden_states=True,
        return_dict_in_generate=True,
        max_new_tokens=_BEFORE + _MEASURED,
    )
    times = []
    begin_s = time.perf_counter()
    for _ in made:
        _synchronise()
        now_s = time.perf_counter()
        times.append(1000 * (now_s - begin_s))
        begin_s = now_s
    return times[_BEFORE:]
