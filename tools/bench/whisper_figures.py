"""What `avatar bench whisper` measures; it needs PyTorch, and neither a tokenizer nor weights."""

from __future__ import annotations

import argparse
import functools
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from services.stt.engine import Hearing
from services.stt.engines.whisper import files, weights
from services.stt.engines.whisper.engine import WhisperEngine
from services.stt.engines.whisper.files import OFFICIAL, Sizes
from services.stt.engines.whisper.network import Products
from services.stt.engines.whisper.runtime import SAMPLE_RATE_HZ, STATE_SAMPLES, Decoded, Prompt, Runtime
from services.stt.engines.whisper.torch_mel import Spectrograms
from services.stt.engines.whisper.torch_runtime import TorchRuntime, device_of
from services.stt.engines.whisper.vocabulary import Vocabulary
from tools.bench.record import Row, row

_NARROW = Sizes(64, 2, 2, 64, 2, 2, 64, 51_866, 80)
_FRAME_SAMPLES = 512
# The listener waits at least so long before a turn is over, and says meanwhile that nobody speaks.
_PAUSE_FRAMES = 6
_ALIGNMENT_HEADS = 10
_FIRST_SPECIAL = 50_257
_PLACES_COUNT = 5.0


@dataclass(frozen=True, slots=True)
class _Encoding:
    ids: list[int]


class _NumberedWords:
    """A tokenizer for which each token is a word: those that were given, and then over again."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words = words
        self._numbers = {word: number for number, word in enumerate(words)}

    def encode(self, sequence: str, *, add_special_tokens: bool) -> _Encoding:
        assert not add_special_tokens
        return _Encoding([self._numbers[word] for word in sequence.split() if word in self._numbers])

    def decode(self, ids: list[int]) -> str:
        return "".join(f" {self._words[number % len(self._words)]}" for number in ids)

    def get_vocab_size(self) -> int:
        return _FIRST_SPECIAL


_WORDS = tuple(f"w{number}" for number in range(_FIRST_SPECIAL))


def made_up_vocabulary(words: Sequence[str] = _WORDS) -> Vocabulary:
    """The special tokens of large-v3, with one language. Args: words: what the others stand for, in their order."""
    return Vocabulary(
        tokenizer=_NumberedWords(words),
        end=_FIRST_SPECIAL,
        start=50_258,
        languages={"en": 50_259},
        transcribe=50_360,
        translate=50_359,
        context=50_362,
        no_speech=50_363,
        no_timestamps=50_364,
        first_special=_FIRST_SPECIAL,
    )


class Paced:
    """A runtime whose texts are as long as speech is: it does all of the work, and then writes number after number."""

    def __init__(self, runtime: Runtime, tokens_per_second: float) -> None:
        self._runtime = runtime
        self._rate = tokens_per_second
        self.description = runtime.description
        self.max_batch = runtime.max_batch
        self.batches: list[int] = []

    def encode(self, sounds: Sequence[NDArray[np.float32]]) -> Any:
        """As `Runtime.encode`."""
        self.batches.append(len(sounds))
        return self._runtime.encode(sounds)

    def language_probabilities(self, encoded: Any) -> list[dict[int, float]]:
        """As `Runtime.language_probabilities`."""
        return self._runtime.language_probabilities(encoded)

    def decode(self, encoded: Any, prompts: Sequence[Prompt], windows: Sequence[int] | None = None) -> list[Decoded]:
        """As `Runtime.decode`."""
        wanted = [int(prompt.states * STATE_SAMPLES * self._rate / SAMPLE_RATE_HZ) for prompt in prompts]
        # The end is a token, too.
        paced = [
            replace(prompt, max_new=max(1, count + 1 - len(prompt.text)))
            for prompt, count in zip(prompts, wanted, strict=True)
        ]
        decoded = self._runtime.decode(encoded, paced, windows)
        return [self._as_spoken(prompt, count) for prompt, count, _ in zip(prompts, wanted, decoded, strict=True)]

    def _as_spoken(self, prompt: Prompt, count: int) -> Decoded:
        per_token = SAMPLE_RATE_HZ / self._rate / STATE_SAMPLES
        starts = tuple(min(round(number * per_token), prompt.states - 1) for number in range(count + 1))
        return Decoded(tuple(range(count)), (0.9,) * (count - len(prompt.text)), starts, -0.2, 0.01, is_complete=True)

    def close(self) -> None:
        """As `Runtime.close`."""
        self._runtime.close()


def figures(given: argparse.Namespace) -> tuple[list[Row], dict[str, str]]:
    """All rows of the record, and what was left out, with its reason."""
    device = device_of(given.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    start_s = time.perf_counter()
    if given.model:
        folder = files.find(str(given.model), Path())
        sizes = files.read_sizes(folder.path)
        network = weights.load(folder, sizes, device, _number_on(device))
        heads = files.read_generation(folder.path, sizes).alignment_heads
        runtime = TorchRuntime(
            network, made_up_vocabulary(), files.Generation((), (), heads), device, _power_of_two(given.max_batch)
        )
    else:
        runtime = random_runtime(given.random_weights, device, given.max_batch, made_up_vocabulary())
    rows = [row("ready: networks and graphs", "s", [time.perf_counter() - start_s], note=runtime.description)]
    left_out = {"CUDA graphs": runtime.recorder.failure, "Triton": runtime.without_fused}
    left_out = {what: reason for what, reason in left_out.items() if reason}
    sound = _voice(given.seconds)
    rows += _alone(runtime, sound, given)
    if given.plain_repeat:
        rows += _others(runtime, sound, given, left_out)
    paced = Paced(runtime, given.tokens_per_second)
    engine = WhisperEngine(paced, runtime.vocabulary)
    try:
        for streams in given.streams:
            rows += _live(engine, paced, sound, streams, given)
    finally:
        engine.close()
    return rows, left_out


def random_runtime(size: str, device: torch.device, max_batch: int, vocabulary: Vocabulary) -> TorchRuntime:
    """A runtime with random weights. Args: size: an official one, or "narrow"; max_batch: windows at once, or fewer."""
    sizes = _NARROW if size == "narrow" else OFFICIAL[size]
    network = weights.random_network(sizes, device, _number_on(device))
    # Else the first token follows itself for ever, and texts that are alike say little.
    network.decoder.embed_positions.weight.data.mul_(_PLACES_COUNT)
    last = range(sizes.decoder_layers * sizes.decoder_heads)[-_ALIGNMENT_HEADS:]
    heads = tuple(divmod(number, sizes.decoder_heads) for number in last)
    return TorchRuntime(network, vocabulary, files.Generation((), (), heads), device, _power_of_two(max_batch))


def _number_on(device: torch.device) -> torch.dtype:
    return torch.float16 if device.type == "cuda" else torch.float32


def _power_of_two(most: int) -> int:
    return 1 << (most.bit_length() - 1)


def _voice(seconds: float) -> NDArray[np.float32]:
    """Sound that no guard takes for silence or for a tone: noise that swells four times a second."""
    time_s = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    swell = 0.05 + np.sin(np.pi * 4 * time_s) ** 2
    return (0.1 * swell * np.random.default_rng(0).standard_normal(len(time_s))).astype(np.float32)


def _times_ms(repeat: int, work: Callable[[], object]) -> list[float]:
    times = []
    for _ in range(repeat + 2):
        begin_s = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(1000 * (time.perf_counter() - begin_s))
    # The first ones set things up.
    return times[2:]


def _alone(runtime: TorchRuntime, sound: NDArray[np.float32], given: argparse.Namespace) -> list[Row]:
    """A final by itself and in batches, and its parts."""
    tokens = round(given.seconds * given.tokens_per_second)
    start = runtime.vocabulary.start_of("en", translate=False)
    prompt = Prompt(start, 0, (), len(sound) // STATE_SAMPLES, tokens)
    what, rows = f"{given.seconds:g} s of speech, {tokens} tokens", []
    batch = 1
    while batch <= runtime.max_batch:
        sounds, prompts = [sound] * batch, [prompt] * batch

        def final(sounds: list[NDArray[np.float32]] = sounds, prompts: list[Prompt] = prompts) -> None:
            runtime.decode(runtime.encode(sounds), prompts)

        def one_token(prompts: list[Prompt] = prompts) -> None:
            runtime.decode(len(prompts), [replace(one, max_new=1) for one in prompts])

        encoding = _times_ms(given.repeat, functools.partial(runtime.encode, sounds))
        filling = _times_ms(given.repeat, one_token)
        whole = _times_ms(given.repeat, final)
        steps = [(a - b - c) / (tokens - 1) for a, b, c in zip(whole, encoding, filling, strict=True)]
        goal = ("80", "40") if batch == 1 else ("", "")
        rows += [
            row(f"{what} to final, batch {batch}", "ms", whole, *goal),
            row(f"  spectrogram and encoder, batch {batch}", "ms", encoding),
            row(f"  prompt, first token and word times, batch {batch}", "ms", filling),
            row(f"  each further token, batch {batch}", "ms", steps),
        ]
        batch *= 2
    return rows


def _others(
    runtime: TorchRuntime, sound: NDArray[np.float32], given: argparse.Namespace, left_out: dict[str, str]
) -> list[Row]:
    """The same final by other ways, and how many of their tokens are those of ours; `left_out` gets what cannot run."""
    tokens = round(given.seconds * given.tokens_per_second)
    prompt = Prompt(runtime.vocabulary.start_of("en", translate=False), 0, (), len(sound) // STATE_SAMPLES, tokens)
    (ours,) = runtime.decode(runtime.encode([sound]), [prompt])

    def library(*, is_compiled: bool) -> tuple[str, Callable[[], list[int]]]:
        from tools.bench import whisper_library

        final = whisper_library.final_of(
            runtime.network, runtime.vocabulary, sound, tokens, runtime.device, is_compiled=is_compiled
        )
        return f"by {whisper_library.NAME}" + (", compiled" if is_compiled else ""), final

    ways: dict[str, Callable[[], tuple[str, Callable[[], list[int]]]]] = {
        "plain loop": lambda: ("by a plain loop without a cache", _plain(runtime, sound, tokens)),
        "library": lambda: library(is_compiled=False),
    }
    if given.library_compiled:
        ways["library, compiled"] = lambda: library(is_compiled=True)
    rows = []
    for name, way in ways.items():
        try:
            what, final = way()
            alike = sum(one == other for one, other in zip(ours.tokens, final(), strict=False))
            times = _times_ms(given.plain_repeat, final)
        # The edge to a library of any version: what it cannot do costs no other figure.
        except Exception as failed:
            left_out[name] = f"{type(failed).__name__}: {failed}"
            continue
        rows += [
            row(f"{given.seconds:g} s of speech, {tokens} tokens, {what}", "ms", times),
            row(f"  tokens like ours, of {tokens}", "", [alike]),
        ]
    return rows


def _plain(runtime: TorchRuntime, sound: NDArray[np.float32], tokens: int) -> Callable[[], list[int]]:
    """A loop that knows no cache and no graph: each token takes in the whole text again."""
    network, device = runtime.network, runtime.device
    spectrograms = Spectrograms(network.sizes.bands, device, 1)
    start = runtime.vocabulary.start_of("en", translate=False)

    @torch.inference_mode()
    def final() -> list[int]:
        states = network.encoder(spectrograms.of([sound]).to(network.decoder.embed_tokens.weight.dtype))
        cache = network.new_cache(1, 0)
        network.decoder.listen(states, cache, torch.zeros(1, dtype=torch.long, device=device))
        text = torch.tensor([start], device=device)
        for _ in range(tokens):
            length = text.shape[1]
            positions = torch.arange(length, device=device)[None]
            scores = network.scores(network.decoder(text, positions, cache, length, (), Products())[:, -1])
            text = torch.cat([text, (scores + runtime.suppressed).argmax(-1, keepdim=True)], dim=1)
            int(text[0, -1])
        return [int(token) for token in text[0, len(start) :].tolist()]

    return final


@dataclass(slots=True)
class _Seen:
    """What live streams saw, in milliseconds."""

    first_ms: list[float] = field(default_factory=list)
    lag_ms: list[float] = field(default_factory=list)
    final_ms: list[float] = field(default_factory=list)
    at_once_ms: list[float] = field(default_factory=list)
    behind_ms: list[float] = field(default_factory=list)


def _live(
    engine: WhisperEngine, paced: Paced, sound: NDArray[np.float32], streams: int, given: argparse.Namespace
) -> list[Row]:
    """Streams at the pace of speech, begun evenly over one stretch, each on its own thread as in the service."""
    seen, lock, before = _Seen(), threading.Lock(), len(paced.batches)
    with ThreadPoolExecutor(streams) as pool:
        begin_s = time.perf_counter() + 0.2
        starts = [begin_s + given.seconds * number / streams for number in range(streams)]
        for work in [pool.submit(_speak, engine, sound, start_s, given, seen, lock) for start_s in starts]:
            work.result()
    name, taken = f"{streams} streams", paced.batches[before:]
    goal = ("700", "") if streams == 64 else ("", "700") if streams == 128 else ("", "")
    return [
        row(f"{name}: first sample to first interim", "ms", seen.first_ms),
        row(f"{name}: word spoken to word in an interim", "ms", seen.lag_ms, *goal),
        row(f"{name}: speech end to final, asked for at once", "ms", seen.at_once_ms),
        row(f"{name}: final asked for after {_PAUSE_FRAMES * 32} ms of silence", "ms", seen.final_ms),
        row(f"{name}: a caller's own thread behind its sound", "ms", seen.behind_ms),
        row(f"{name}: windows per batch", "", taken),
    ]


def _speak(
    engine: WhisperEngine,
    sound: NDArray[np.float32],
    start_s: float,
    given: argparse.Namespace,
    seen: _Seen,
    lock: threading.Lock,
) -> None:
    """One stream, stretch after stretch."""
    stream = engine.open_stream(engine.capabilities.check(Hearing("en")))
    mine = _Seen()
    for stretch in range(given.stretches):
        told = 0

        def take(partials: Sequence[Any], begin_s: float) -> None:
            nonlocal told
            now_s = time.perf_counter()
            for partial in partials:
                if not told:
                    mine.first_ms.append(1000 * (now_s - begin_s))
                while told < len(partial.words):
                    told += 1
                    mine.lag_ms.append(1000 * (now_s - begin_s - told / given.tokens_per_second))

        for begin in range(0, len(sound), _FRAME_SAMPLES):
            frame = sound[begin : begin + _FRAME_SAMPLES]
            due_s = start_s + (begin + len(frame)) / SAMPLE_RATE_HZ
            time.sleep(max(0.0, due_s - time.perf_counter()))
            mine.behind_ms.append(1000 * max(0.0, time.perf_counter() - due_s))
            take(stream.push(frame), start_s)
        pauses = stretch % 2
        for _ in range(_PAUSE_FRAMES * pauses):
            take(stream.push(sound[:0]), start_s)
            time.sleep(_FRAME_SAMPLES / SAMPLE_RATE_HZ)
        asked_s = time.perf_counter()
        stream.finish()
        (mine.final_ms if pauses else mine.at_once_ms).append(1000 * (time.perf_counter() - asked_s))
        start_s = time.perf_counter() + 0.1
        time.sleep(0.1)
    stream.close()
    with lock:
        for name in ("first_ms", "lag_ms", "final_ms", "at_once_ms", "behind_ms"):
            getattr(seen, name).extend(getattr(mine, name))
