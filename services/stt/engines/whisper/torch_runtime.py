"""Whisper by PyTorch: a static cache, and on a GPU one CUDA graph for each of its parts and batch sizes.

The model was trained on windows of 30 s, so every sound is filled up to one, however short. Fewer states would save
most of the encoder's work, but weights that were not tuned for it then repeat themselves or miss the end of the text
(https://github.com/ggml-org/whisper.cpp/issues/1951). What is saved instead: no more rows are encoded than there are
sounds, keys and values of a sound are computed once, and text that is settled is taken in at once.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.common.compiled_kernels import attempted, device_kind
from services.common.errors import EngineError, NotReadyError, first_line
from services.common.log import get_logger
from services.stt.engines.whisper.alignment import token_starts
from services.stt.engines.whisper.files import Generation
from services.stt.engines.whisper.network import Cache, Products, Whisper
from services.stt.engines.whisper.runtime import MAX_TOKENS, Decoded, Prompt
from services.stt.engines.whisper.torch_mel import Spectrograms
from services.stt.engines.whisper.vocabulary import Vocabulary

log = get_logger(__name__)

_MEDIAN_STATES = 7
# Prompts are filled up to one of these, so that few graphs serve all of them; whole multiples of 16, as masks for half
# precision are fastest.
_PROMPT_TOKENS = (16, 48, 128, 256, MAX_TOKENS)
# How much of the cache a step looks at.
_REACHES = (128, MAX_TOKENS)
# The encoder is limited by arithmetic: larger batches gain nothing, and rows that are filled up cost as much as sounds.
_MOST_ENCODED = 8
# Products of more rows are what libraries are made for.
_MOST_FUSED_ROWS = 1


def device_of(name: str) -> torch.device:
    """The device of a setting: cpu, cuda, or cuda:1 and so on. Raises: NotReadyError if it is not there."""
    device = torch.device(name)
    if device.type == "cpu":
        return device
    if torch.version.cuda is None:
        raise NotReadyError(f"PyTorch {torch.__version__} was built without CUDA: install its build for this GPU")
    if not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count():
        raise NotReadyError(f"there is no {name} here that PyTorch {torch.__version__} can use")
    return torch.device("cuda", device.index or 0)


def _products(network: Whisper, device: torch.device, compiled: Path | None) -> tuple[Products, str]:
    """The products for few rows, and on a GPU why they are not Triton's, if they are not."""
    if device.type != "cuda":
        return Products(), ""
    try:
        import triton

        from services.stt.engines.whisper import fused

        if compiled is not None:
            triton.knobs.cache.dir = str(compiled)
        with (
            torch.cuda.device(device),
            attempted(compiled / f"attempts-whisper-{device_kind()}" if compiled is not None else None),
        ):
            return fused.tried(network.sizes.width, network.sizes.decoder_ffn, network.decoder.embed_tokens.weight), ""
    # A compiler's edge: it is missing, finds none of its tools, or does not know the device.
    except Exception as failed:
        reason = first_line(failed)
        log.warning("whisper_without_triton", reason=f"Triton cannot be used, so it runs slower: {reason}")
        return Products(), reason


class _Recorder:
    """Makes CUDA graphs of pieces of work on fixed buffers. Where there are none, a piece stays a plain call.

    Attributes:
        failure: why there are none on a GPU; empty as long as there are.
    """

    def __init__(self, device: torch.device) -> None:
        self.failure = ""
        self._device = device
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)
            # Scratch memory that all graphs share, because only one of them runs at a time.
            self._pool = torch.cuda.graph_pool_handle()

    @property
    def way(self) -> str:
        """How the work runs, for people; empty on a CPU."""
        if self._device.type != "cuda":
            return ""
        return "CUDA graphs" if not self.failure else "no CUDA graphs"

    def of(self, work: Callable[[], None]) -> Callable[[], None]:
        """What does the work: a graph's replay, or the work itself."""
        if self._stream is None or self.failure:
            return work
        try:
            return self._recorded(work, self._stream)
        except RuntimeError as failed:
            self.failure = first_line(failed)
            log.warning(
                "whisper_without_graphs", reason=f"no CUDA graph could be made, so it runs slower: {self.failure}"
            )
            return work

    def _recorded(self, work: Callable[[], None], stream: torch.cuda.Stream) -> Callable[[], None]:
        current = torch.cuda.current_stream(self._device)
        stream.wait_stream(current)
        graph = torch.cuda.CUDAGraph()
        # Left also when the capture fails, which by itself does not leave its stream.
        with torch.cuda.stream(stream):
            # What a library sets up at its first calls is not to be in the graph.
            for _ in range(2):
                work()
            stream.synchronize()
            with torch.cuda.graph(graph, pool=self._pool, stream=stream, capture_error_mode="thread_local"):
                work()
        current.wait_stream(stream)
        # The first replay brings it to the device, which takes longer.
        graph.replay()
        return graph.replay


@dataclass(slots=True)
class _Row:
    """The state of a decoding, one entry for each window of a batch, in buffers that never move.

    Attributes:
        token, position: (batch, 1): what was written last, and where it stands.
        logits: (batch, vocabulary): of the next token.
        noise: (batch, vocabulary): added to the log-probabilities before the largest is taken; zero for the likeliest.
        written, log_probabilities: (batch, 448): what has been written, and how likely it was.
        total: (batch,): the sum of the log-probabilities, the end's included.
        no_speech: (batch,): the probability that nobody speaks.
        finished: (batch,).
        are_finished: (): whether all of them are.
        limit: (batch,): how many tokens may be written.
        step: (1,): how many were.
    """

    token: Tensor
    position: Tensor
    logits: Tensor
    noise: Tensor
    written: Tensor
    log_probabilities: Tensor
    total: Tensor
    no_speech: Tensor
    finished: Tensor
    are_finished: Tensor
    limit: Tensor
    step: Tensor


@dataclass(frozen=True, slots=True)
class _Start:
    """What the decoding of one row begins with.

    Attributes:
        tokens: of the prompt, 1 to 447.
        transcript_at: where <|startoftranscript|> is among them.
        limit: how many tokens may follow.
        is_first: no text stands in the prompt.
    """

    tokens: Sequence[int]
    transcript_at: int
    limit: int
    is_first: bool


class _Encoding:
    """The encoder for one batch size."""

    def __init__(self, owner: TorchRuntime, batch: int) -> None:
        self._owner = owner
        self.batch = batch
        self.columns = owner.columns[:batch]
        # Where in the cache the sounds belong.
        self.rows = torch.arange(batch, device=owner.device)
        self.run = owner.recorder.of(self._run)

    def _run(self) -> None:
        network = self._owner.network
        network.decoder.listen(network.encoder(self.columns), self._owner.cache, self.rows)


class _Decoding:
    """The decoder for one batch size. Its buffers are its own, but for the cache: it has the first rows of that."""

    def __init__(self, owner: TorchRuntime, batch: int) -> None:
        self._owner = owner
        self.batch = batch
        self._cache = owner.cache.of(batch)
        device, vocabulary = owner.device, owner.network.sizes.vocabulary

        def zeros(*shape: int, dtype: torch.dtype) -> Tensor:
            return torch.zeros(shape, dtype=dtype, device=device)

        self.row = _Row(
            token=zeros(batch, 1, dtype=torch.long),
            position=zeros(batch, 1, dtype=torch.long),
            logits=zeros(batch, vocabulary, dtype=torch.float32),
            noise=zeros(batch, vocabulary, dtype=torch.float32),
            written=zeros(batch, MAX_TOKENS, dtype=torch.long),
            log_probabilities=zeros(batch, MAX_TOKENS, dtype=torch.float32),
            total=zeros(batch, dtype=torch.float32),
            no_speech=zeros(batch, dtype=torch.float32),
            finished=zeros(batch, dtype=torch.bool),
            are_finished=zeros(dtype=torch.bool),
            limit=zeros(batch, dtype=torch.long),
            step=zeros(1, dtype=torch.long),
        )
        self._is_noisy = False
        self._prompts = {length: zeros(batch, length, dtype=torch.long) for length in _PROMPT_TOKENS}
        # For each row, as of `_Start`: transcript_at, the place of the last token, limit, is_first.
        self._asked = zeros(batch, 4, dtype=torch.long)
        recorder = owner.recorder
        self._fills = {length: recorder.of(functools.partial(self._fill, length)) for length in _PROMPT_TOKENS}
        self._steps = {reach: recorder.of(functools.partial(self._step, reach)) for reach in _REACHES}

    def begin(self, starts: Sequence[_Start]) -> None:
        """Take in a prompt for each row and choose the first tokens."""
        longest = max(len(start.tokens) for start in starts)
        length = next(size for size in _PROMPT_TOKENS if size >= longest)
        prompts = torch.full((self.batch, length), self._owner.vocabulary.end)
        for row, start in zip(prompts, starts, strict=True):
            row[: len(start.tokens)] = torch.tensor(start.tokens)
        self._prompts[length].copy_(prompts)
        asked = [[one.transcript_at, len(one.tokens) - 1, one.limit, one.is_first] for one in starts]
        self._asked.copy_(torch.tensor(asked))
        self._fills[length]()

    def go_on(self, position: int) -> None:
        """Take in what was chosen, and choose the next. Args: position: the largest of where it stands."""
        self._steps[next(reach for reach in _REACHES if position < reach)]()

    def shake(self, temperatures: Sequence[float]) -> None:
        """Let chance have a part in the next choice; by temperature 0 it has none.

        Source: the largest of log-probabilities at a temperature plus Gumbel noise is a sample of their distribution.
        """
        if any(temperatures):
            factors = torch.tensor(temperatures, device=self._owner.device)[:, None]
            self.row.noise.exponential_().log_().mul_(-factors)
        elif self._is_noisy:
            self.row.noise.zero_()
        self._is_noisy = any(temperatures)

    def _fill(self, length: int) -> None:
        row, owner = self.row, self._owner
        tokens = self._prompts[length]
        rows = torch.arange(self.batch, device=tokens.device)
        positions = torch.arange(length, device=tokens.device).expand(self.batch, length)
        hidden = owner.decoded(tokens, positions, self._cache, length)
        # Of the start of the transcript and of the prompt's last token.
        of_start, of_last = owner.network.scores(hidden[rows[:, None], self._asked[:, :2]]).unbind(1)
        _, last, limit, is_first = self._asked.unbind(1)
        row.no_speech.copy_(of_start.softmax(dim=-1)[:, owner.vocabulary.no_speech])
        row.logits.copy_(of_last)
        row.position.copy_(last[:, None] + 1)
        row.limit.copy_(limit)
        row.finished.copy_(limit == 0)
        row.total.zero_()
        row.step.zero_()
        self._choose(torch.where(is_first[:, None] == 1, owner.suppressed_first, owner.suppressed))

    def _step(self, reach: int) -> None:
        row, owner = self.row, self._owner
        hidden = owner.decoded(row.token, row.position, self._cache, reach)
        row.logits.copy_(owner.network.scores(hidden[:, -1]))
        row.position.add_(1).clamp_(max=MAX_TOKENS - 1)
        self._choose(owner.suppressed)

    def _choose(self, suppressed: Tensor) -> None:
        """Write a token for each row. Args: suppressed: (vocabulary,) or (batch, vocabulary), to add to the logits."""
        row, end = self.row, self._owner.vocabulary.end
        log_probabilities = (row.logits + suppressed).log_softmax(dim=-1)
        token = (log_probabilities + row.noise).argmax(dim=-1, keepdim=True)
        likely = log_probabilities.gather(1, token)
        row.total.add_(likely[:, 0].masked_fill(row.finished, 0.0))
        token = token.masked_fill(row.finished[:, None], end)
        row.written.index_copy_(1, row.step, token)
        row.log_probabilities.index_copy_(1, row.step, likely)
        row.step.add_(1)
        row.finished.logical_or_(token[:, 0] == end).logical_or_(row.step >= row.limit)
        row.are_finished.copy_(row.finished.all())
        row.token.copy_(token)


class TorchRuntime:
    """A network, as `Runtime`. What was encoded last is what is decoded."""

    def __init__(
        self,
        network: Whisper,
        vocabulary: Vocabulary,
        generation: Generation,
        device: torch.device,
        max_batch: int,
        compiled: Path | None = None,
    ) -> None:
        """Args:
        network: on the device; max_batch: windows at once, a power of two.
        compiled: keeps compiled kernels from one start to the next; by default Triton's own.
        """
        network.fuse()
        self.network = network
        self.vocabulary = vocabulary
        self.device = device
        self.max_batch = max_batch
        self._alignment_heads = tuple(sorted(generation.alignment_heads))
        self.suppressed = self._minus_infinity(generation.suppressed)
        self.suppressed_first = self._minus_infinity((*generation.suppressed, *generation.suppressed_first))
        self.products, self.without_fused = _products(network, device, compiled)
        self._languages = torch.tensor(sorted(vocabulary.languages.values()), device=device, dtype=torch.long)
        powers = [1 << power for power in reversed(range(max_batch.bit_length()))]
        with self._working():
            self.recorder = _Recorder(device)
            self._spectrograms = Spectrograms(network.sizes.bands, device, max_batch)
            self.cache = network.new_cache(max_batch, len(self._alignment_heads))
            most = min(max_batch, _MOST_ENCODED)
            self.columns = self.cache.own.new_zeros(most, network.sizes.bands, 2 * network.sizes.states)
            # The largest first: the others' scratch memory then fits into its.
            self._decodings = [_Decoding(self, batch) for batch in powers]
            self._encodings = [_Encoding(self, batch) for batch in powers if batch <= most]
            if device.type == "cuda":
                torch.cuda.synchronize(device)
        dtype = str(network.decoder.embed_tokens.weight.dtype).removeprefix("torch.")
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
        triton = "Triton" if device.type == "cuda" and not self.without_fused else ""
        parts = (f"PyTorch {torch.__version__}", name, dtype, self.recorder.way, triton)
        self.description = ", ".join(part for part in parts if part)

    def decoded(self, tokens: Tensor, positions: Tensor, cache: Cache, reach: int) -> Tensor:
        """As `Decoder.forward`."""
        products = self.products if tokens.numel() <= _MOST_FUSED_ROWS else Products()
        states = self.network.decoder(tokens, positions, cache, reach, self._alignment_heads, products)
        assert isinstance(states, Tensor)
        return states

    def encode(self, sounds: Sequence[NDArray[np.float32]]) -> int:
        """As `Runtime.encode`. Returns: how many."""
        with self._working():
            columns = self._spectrograms.of(sounds)
            begin = 0
            while begin < len(sounds):
                encoding = next(one for one in self._encodings if one.batch <= len(sounds) - begin)
                end = begin + encoding.batch
                encoding.columns.copy_(columns[begin:end])
                encoding.rows.copy_(torch.arange(begin, end, device=self.device))
                encoding.run()
                begin = end
        return len(sounds)

    def language_probabilities(self, encoded: int) -> list[dict[int, float]]:
        """As `Runtime.language_probabilities`."""
        decoding = self._decoding_of(encoded)
        with self._working():
            start = _Start([self.vocabulary.start], 0, 1, is_first=False)
            decoding.begin([start] * decoding.batch)
            shares = decoding.row.logits[:encoded, self._languages].softmax(dim=-1).tolist()
        return [dict(zip(self._languages.tolist(), row, strict=True)) for row in shares]

    def decode(self, encoded: int, prompts: Sequence[Prompt], windows: Sequence[int] | None = None) -> list[Decoded]:
        """As `Runtime.decode`."""
        places = range(encoded) if windows is None else windows
        decoding = self._decoding_of(encoded)
        starts = [_Start([self.vocabulary.end], 0, 0, is_first=False)] * decoding.batch
        temperatures = [0.0] * decoding.batch
        for place, prompt in zip(places, prompts, strict=True):
            tokens = (*prompt.start, *prompt.text)
            limit = min(prompt.max_new, MAX_TOKENS - len(tokens))
            starts[place] = _Start(tokens, prompt.transcript_at, limit, is_first=not prompt.text)
            temperatures[place] = prompt.temperature
        longest, most = (
            max(numbers) for numbers in zip(*((len(one.tokens), one.limit) for one in starts), strict=True)
        )
        with self._working():
            decoding.shake(temperatures)
            decoding.begin(starts)
            steps = 1
            # Asked for after each token: that waits for less than a step that nobody wanted takes.
            while steps < most and not bool(decoding.row.are_finished):
                decoding.shake(temperatures)
                decoding.go_on(min(longest + steps, MAX_TOKENS) - 1)
                steps += 1
            return self._collect(decoding, list(places), prompts, steps)

    def _collect(self, decoding: _Decoding, places: list[int], prompts: Sequence[Prompt], steps: int) -> list[Decoded]:
        row, end = decoding.row, self.vocabulary.end
        written, likely = row.written[:, :steps].tolist(), row.log_probabilities[:, :steps].exp().tolist()
        total, no_speech = torch.stack([row.total, row.no_speech]).tolist()
        texts, lasts = [], []
        for place, prompt in zip(places, prompts, strict=True):
            new = written[place][: prompt.max_new]
            is_complete = end in new
            new = new[: new.index(end)] if is_complete else new
            texts.append((new, is_complete))
            taken = len(prompt.start) + len(prompt.text) + len(new)
            # A last token that is no end was chosen, but never taken in: nothing was looked at behind it.
            lasts.append(taken - (bool(new) and not is_complete))
        costs, known = [], []
        for prompt, cost in zip(prompts, self._costs(places, prompts, lasts), strict=True):
            # Of the tokens whose place is known the last one is looked for again, from there on.
            before, begin = prompt.places[:-1], prompt.places[-1] if prompt.places else 0
            # From the row by which the first of the others was written.
            costs.append(cost[len(prompt.start) - 1 - prompt.transcript_at + len(before) :, begin:])
            known.append((before, begin))
        decoded = []
        for place, prompt, (new, is_complete), (before, begin), found in zip(
            places, prompts, texts, known, token_starts(costs), strict=True
        ):
            tokens = (*prompt.text, *new)
            starts = (*before, *(begin + state for state in found))
            starts += (prompt.states - 1,) * (len(tokens) + 1 - len(starts))
            average = total[place] / (len(new) + is_complete) if new or is_complete else 0.0
            likely_new = tuple(min(share, 1.0) for share in likely[place][: len(new)])
            decoded.append(Decoded(tokens, likely_new, starts, average, no_speech[place], is_complete))
        return decoded

    def _costs(self, places: list[int], prompts: Sequence[Prompt], lasts: Sequence[int]) -> list[NDArray[np.float64]]:
        """For each window how little its tokens look at its states, (tokens, states), from its transcript on.

        Args: lasts: one more than the place of the last token that was taken in.
        """
        rows = torch.tensor(places, device=self.device)
        numbers = [
            (prompt.transcript_at, last - prompt.transcript_at, prompt.states)
            for prompt, last in zip(prompts, lasts, strict=True)
        ]
        begins, tokens, states = torch.tensor(numbers, device=self.device).unbind(1)
        most_tokens, most_states = (max(column) for column in list(zip(*numbers, strict=True))[1:])
        at = (begins[:, None] + torch.arange(most_tokens, device=self.device)).clamp(max=MAX_TOKENS - 1)
        # (batch, alignment heads, tokens or states, width / heads)
        queries = self.cache.looking[rows[:, None], :, at].transpose(1, 2)
        keys = [self.cache.sound[layer, 0, rows, head, :most_states] for layer, head in self._alignment_heads]
        costs = _costs(queries.float(), torch.stack(keys, dim=1).float(), tokens, states).cpu().numpy()
        return [
            cost[:count, :length].astype(np.float64) for cost, (_, count, length) in zip(costs, numbers, strict=True)
        ]

    def close(self) -> None:
        """As `Runtime.close`."""
        self._decodings.clear()
        self._encodings.clear()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _decoding_of(self, encoded: int) -> _Decoding:
        return min((one for one in self._decodings if one.batch >= encoded), key=lambda one: one.batch)

    def _minus_infinity(self, tokens: Sequence[int]) -> Tensor:
        addend = torch.zeros(self.network.sizes.vocabulary, device=self.device)
        # No timestamps are asked for, and no token but the end says anything to a reader.
        special = list(range(self.vocabulary.first_special, len(addend)))
        addend[[token for token in special if token != self.vocabulary.end]] = -torch.inf
        addend[list(tokens)] = -torch.inf
        return addend

    @contextmanager
    def _working(self) -> Iterator[None]:
        try:
            on_device = torch.cuda.device(self.device) if self.device.type == "cuda" else contextlib.nullcontext()
            with torch.inference_mode(), on_device:
                yield
        except RuntimeError as failed:
            line = first_line(failed)
            raise EngineError(f"PyTorch failed on {self.device}: {line}") from failed


def _costs(queries: Tensor, keys: Tensor, tokens: Tensor, states: Tensor) -> Tensor:
    """How little each token looks at each state, for `token_starts`.

    Args:
        queries, keys: of the heads that follow the sound, (batch, heads, most tokens or states, width / heads).
        tokens, states: (batch,): how many of each a window has.
    Returns: (batch, most tokens, most states); what lies beyond a window's own is of no account.
    Source: normalised, median-filtered attention, as the reference implementation of Whisper has it for word timestamps
        (https://github.com/openai/whisper/blob/main/whisper/timing.py).
    """
    most_states = keys.shape[2]
    number = torch.arange(most_states, device=keys.device)
    is_beyond = number >= states[:, None, None, None]
    scores = (queries @ keys.transpose(-1, -2) * keys.shape[-1] ** -0.5).masked_fill(is_beyond, -torch.inf)
    attention = scores.softmax(dim=-1)
    is_token = torch.arange(queries.shape[2], device=keys.device)[:, None] < tokens[:, None, None, None]
    count = tokens[:, None, None, None]
    mean = (attention * is_token).sum(dim=2, keepdim=True) / count
    spread = (((attention - mean) * is_token).square().sum(dim=2, keepdim=True) / count).sqrt().clamp(min=1e-6)
    normal = (attention - mean) / spread
    last = states[:, None] - 1
    near = []
    for offset in range(-(_MEDIAN_STATES // 2), _MEDIAN_STATES // 2 + 1):
        # Mirrored at both ends of each window.
        place = (number + offset).abs()
        place = torch.where(place > last, 2 * last - place, place).clamp(min=0).minimum(last)
        near.append(normal.gather(-1, place[:, None, None].expand(normal.shape)))
    return -_median(near).mean(dim=1)


def _median(numbers: list[Tensor]) -> Tensor:
    """The middle one of an odd count, by comparing neighbours: a GPU sorts short rows far more slowly."""
    middle = len(numbers) // 2
    for end in range(len(numbers) - 1, middle - 1, -1):
        for place in range(end):
            one, other = numbers[place], numbers[place + 1]
            numbers[place], numbers[place + 1] = torch.minimum(one, other), torch.maximum(one, other)
    return numbers[middle]
