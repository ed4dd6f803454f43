"""Whisper by PyTorch: a static cache, and on a GPU one CUDA graph for each of its parts and batch sizes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.common.errors import EngineError, NotReadyError
from services.stt.engines.whisper.alignment import token_starts
from services.stt.engines.whisper.files import Generation
from services.stt.engines.whisper.network import Cache, Whisper
from services.stt.engines.whisper.runtime import MAX_TOKENS, Decoded, Prompt
from services.stt.engines.whisper.torch_mel import Spectrograms
from services.stt.engines.whisper.vocabulary import Vocabulary

_MEDIAN_STATES = 7
# Prompts are filled up to one of these, so that few graphs serve all of them.
_PROMPT_TOKENS = (8, 32, 128, MAX_TOKENS)


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


class _Part:
    """A piece of work on fixed buffers: a CUDA graph, or the plain calls on a CPU."""

    def __init__(self, work: Callable[[], None], device: torch.device, pool: Any) -> None:
        """Args: pool: scratch memory that all parts share, because only one of them runs at a time."""
        self._replay = work
        if device.type != "cuda":
            return
        stream = torch.cuda.Stream(device)
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            # What a library sets up at its first calls is not to be in the graph.
            for _ in range(2):
                work()
        torch.cuda.current_stream(device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            work()
        self._replay = graph.replay

    def run(self) -> None:
        self._replay()


@dataclass(slots=True)
class _Row:
    """The state of a decoding, one entry for each window of a batch, in buffers that never move.

    Attributes:
        token, position: (batch, 1): what was written last, and where it stands.
        logits: (batch, vocabulary): of the next token.
        written, log_probabilities: (batch, 448): what has been written, and how likely it was.
        total: (batch,): the sum of the log-probabilities, the end's included.
        finished: (batch,).
        limit: (batch,): how many tokens may be written.
        step: (1,): how many were.
    """

    token: Tensor
    position: Tensor
    logits: Tensor
    written: Tensor
    log_probabilities: Tensor
    total: Tensor
    finished: Tensor
    limit: Tensor
    step: Tensor


class _Bucket:
    """Everything for one batch size. Its buffers are views of those of the largest one."""

    def __init__(self, owner: TorchRuntime, batch: int) -> None:
        self._owner = owner
        self.batch = batch
        whole, device = owner.cache, owner.device
        self.cache = Cache(
            whole.keys[:, :batch],
            whole.values[:, :batch],
            whole.sound_keys[:, :batch],
            whole.sound_values[:, :batch],
            whole.looked_at[:batch],
        )
        sizes = owner.network.sizes
        self.columns = owner.columns[:batch]

        def zeros(*shape: int, dtype: torch.dtype) -> Tensor:
            return torch.zeros(*shape, dtype=dtype, device=device)

        self.row = _Row(
            token=zeros(batch, 1, dtype=torch.long),
            position=zeros(batch, 1, dtype=torch.long),
            logits=zeros(batch, sizes.vocabulary, dtype=torch.float32),
            written=zeros(batch, MAX_TOKENS, dtype=torch.long),
            log_probabilities=zeros(batch, MAX_TOKENS, dtype=torch.float32),
            total=zeros(batch, dtype=torch.float32),
            finished=zeros(batch, dtype=torch.bool),
            limit=zeros(batch, dtype=torch.long),
            step=zeros(1, dtype=torch.long),
        )
        self.prompts = {length: zeros(batch, length, dtype=torch.long) for length in _PROMPT_TOKENS}
        self.hidden = {
            length: torch.zeros(batch, length, sizes.width, dtype=whole.keys.dtype, device=device)
            for length in _PROMPT_TOKENS
        }
        self.hear = _Part(self._hear, device, owner.pool)
        self.step = _Part(self._step, device, owner.pool)
        self._fills: dict[int, _Part] = {}

    def fill(self, length: int) -> None:
        """Take in the prompts of one length."""
        if length not in self._fills:
            self._fills[length] = _Part(lambda: self._fill(length), self._owner.device, self._owner.pool)
        self._fills[length].run()

    def _hear(self) -> None:
        network = self._owner.network
        network.decoder.listen(network.encoder(self.columns), self.cache)

    def _fill(self, length: int) -> None:
        tokens = self.prompts[length]
        positions = torch.arange(length, device=tokens.device).expand(self.batch, length)
        self.hidden[length].copy_(self._owner.decoded(tokens, positions, self.cache))

    def _step(self) -> None:
        """Take in the last token, and choose the next."""
        row = self.row
        hidden = self._owner.decoded(row.token, row.position, self.cache)
        row.logits.copy_(self._owner.network.scores(hidden[:, -1]))
        row.position.add_(1).clamp_(max=MAX_TOKENS - 1)
        self.choose(self._owner.suppressed)

    def choose(self, suppressed: Tensor) -> None:
        """Write the likeliest token. Args: suppressed: (vocabulary,), to add to the logits."""
        row, end = self.row, self._owner.vocabulary.end
        log_probabilities = (row.logits + suppressed).log_softmax(dim=-1)
        best, token = log_probabilities.max(dim=-1)
        row.total.add_(best.masked_fill(row.finished, 0.0))
        token = token.masked_fill(row.finished, end)
        row.written.index_copy_(1, row.step, token[:, None])
        row.log_probabilities.index_copy_(1, row.step, best[:, None])
        row.step.add_(1)
        row.finished.logical_or_(token == end).logical_or_(row.step >= row.limit)
        row.token.copy_(token[:, None])


class TorchRuntime:
    """A network, as `Runtime`. What was encoded last is what is decoded."""

    def __init__(
        self, network: Whisper, vocabulary: Vocabulary, generation: Generation, device: torch.device, max_batch: int
    ) -> None:
        """Args: network: on the device; max_batch: windows at once, a power of two."""
        network.fuse()
        self.network = network
        self.vocabulary = vocabulary
        self.device = device
        self.max_batch = max_batch
        dtype = network.decoder.embed_tokens.weight.dtype
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
        self.description = f"PyTorch {torch.__version__}, {name}, {str(dtype).removeprefix('torch.')}"
        self._heads: list[Tensor | None] = []
        heads = generation.alignment_heads
        for layer in range(network.sizes.decoder_layers):
            of_layer = [head for number, head in heads if number == layer]
            self._heads.append(torch.tensor(of_layer, device=device) if of_layer else None)
        self.suppressed = self._minus_infinity(generation.suppressed)
        self._suppressed_first = self._minus_infinity((*generation.suppressed, *generation.suppressed_first))
        self._languages = torch.tensor(sorted(vocabulary.languages.values()), device=device, dtype=torch.long)
        with self._working():
            self.pool = torch.cuda.graph_pool_handle() if device.type == "cuda" else None
            self._spectrograms = Spectrograms(network.sizes.bands, device)
            self.cache = network.new_cache(max_batch, len(heads))
            self.columns = self.cache.keys.new_zeros(max_batch, network.sizes.bands, 2 * network.sizes.states)
            # The largest first: the others' scratch memory then fits into its.
            self._buckets = [_Bucket(self, 1 << power) for power in reversed(range(max_batch.bit_length()))]
            if device.type == "cuda":
                for bucket in self._buckets:
                    for length in _PROMPT_TOKENS[:-1]:
                        bucket.fill(length)
        self._loaded = self._buckets[0]

    def decoded(self, tokens: Tensor, positions: Tensor, cache: Cache) -> Tensor:
        """As `Decoder.forward`."""
        states = self.network.decoder(tokens, positions, cache, self._heads)
        assert isinstance(states, Tensor)
        return states

    def encode(self, sounds: Sequence[NDArray[np.float32]]) -> int:
        """As `Runtime.encode`. Returns: how many."""
        with self._working():
            self._loaded = min((b for b in self._buckets if b.batch >= len(sounds)), key=lambda b: b.batch)
            self._loaded.columns[: len(sounds)].copy_(self._spectrograms.of(sounds))
            self._loaded.hear.run()
        return len(sounds)

    def language_probabilities(self, encoded: int) -> list[dict[int, float]]:
        """As `Runtime.language_probabilities`."""
        with self._working():
            self._begin([1] * self._loaded.batch)
            self._loaded.row.token.fill_(self.vocabulary.start)
            self._loaded.step.run()
            shares = self._loaded.row.logits[:encoded, self._languages].softmax(dim=-1).tolist()
        return [dict(zip(self._languages.tolist(), row, strict=True)) for row in shares]

    def decode(self, encoded: int, prompts: Sequence[Prompt]) -> list[Decoded]:
        """As `Runtime.decode`."""
        assert len(prompts) == encoded, "what was encoded last is what is decoded"
        bucket, row = self._loaded, self._loaded.row
        lengths = [len(prompt.start) + len(prompt.text) for prompt in prompts]
        length = next(size for size in _PROMPT_TOKENS if size >= max(lengths))
        room = [min(prompt.max_new, MAX_TOKENS - used) for prompt, used in zip(prompts, lengths, strict=True)]
        filled = torch.full((bucket.batch, length), self.vocabulary.end)
        for number, prompt in enumerate(prompts):
            filled[number, : lengths[number]] = torch.tensor([*prompt.start, *prompt.text])
        idle = bucket.batch - len(prompts)
        with self._working():
            bucket.prompts[length].copy_(filled)
            bucket.fill(length)
            self._begin([*room, *[0] * idle])
            hidden = bucket.hidden[length]
            rows = torch.arange(bucket.batch, device=self.device)
            last = torch.tensor([*lengths, *[1] * idle], device=self.device)
            start = torch.tensor([*(prompt.transcript_at for prompt in prompts), *[0] * idle], device=self.device)
            no_speech = self.network.scores(hidden[rows, start]).softmax(dim=-1)[:, self.vocabulary.no_speech]
            row.logits.copy_(self.network.scores(hidden[rows, last - 1]))
            row.position.copy_(last[:, None])
            first = torch.tensor([not prompt.text for prompt in prompts] + [False] * idle, device=self.device)
            bucket.choose(torch.where(first[:, None], self._suppressed_first, self.suppressed))
            for _ in range(max(room) - 1):
                if bool(row.finished.all()):
                    break
                bucket.step.run()
            return self._collect(prompts, lengths, no_speech.tolist())

    def _collect(self, prompts: Sequence[Prompt], lengths: list[int], no_speech: list[float]) -> list[Decoded]:
        row, end = self._loaded.row, self.vocabulary.end
        steps = int(row.step)
        written, likely = row.written[:, :steps].tolist(), row.log_probabilities[:, :steps].exp().tolist()
        total = row.total.tolist()
        texts, costs = [], []
        for number, prompt in enumerate(prompts):
            new = written[number][: prompt.max_new]
            is_complete = end in new
            new = new[: new.index(end)] if is_complete else new
            last = lengths[number] + len(new)
            if len(new) and last - 1 >= lengths[number] and not is_complete:
                # The last token was chosen, but never taken in: nothing was looked at behind it.
                last -= 1
            looked_at = self._loaded.cache.looked_at[number, :, prompt.transcript_at : last, : prompt.states]
            # From the row by which the first token of the text was written.
            costs.append(_cost(looked_at)[len(prompt.start) - 1 - prompt.transcript_at :].cpu().numpy())
            texts.append((new, is_complete))
        decoded = []
        for number, (prompt, (new, is_complete), starts) in enumerate(
            zip(prompts, texts, token_starts(costs), strict=True)
        ):
            tokens = (*prompt.text, *new)
            starts += (prompt.states - 1,) * (len(tokens) + 1 - len(starts))
            average = total[number] / (len(new) + is_complete) if new or is_complete else 0.0
            likely_new = tuple(min(share, 1.0) for share in likely[number][: len(new)])
            decoded.append(Decoded(tokens, likely_new, starts, average, no_speech[number], is_complete))
        return decoded

    def close(self) -> None:
        """As `Runtime.close`."""
        self._buckets.clear()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _begin(self, limits: Sequence[int]) -> None:
        """A decoding of nothing yet. Args: limits: how many tokens each row may write; none for one that is idle."""
        row = self._loaded.row
        row.limit.copy_(torch.tensor(limits))
        row.finished.copy_(row.limit == 0)
        for buffer in (row.position, row.total, row.step):
            buffer.zero_()

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
            line = (str(failed).splitlines() or [type(failed).__name__])[0]
            raise EngineError(f"PyTorch failed on {self.device}: {line}") from failed


def _cost(attention: Tensor) -> Tensor:
    """How little each token looks at each state, for `token_starts`.

    Args: attention: of the heads that follow the sound, (heads, tokens, states), from the start of the transcript on.
    Returns: (tokens, states), float64.
    Source: normalised, median-filtered attention, as the reference implementation of Whisper has it for word timestamps
        (https://github.com/openai/whisper/blob/main/whisper/timing.py).
    """
    attention = attention.float()
    attention = attention / attention.sum(dim=-1, keepdim=True).clamp(min=1e-9)
    spread = attention.std(dim=1, keepdim=True, correction=0).clamp(min=1e-6)
    normal = (attention - attention.mean(dim=1, keepdim=True)) / spread
    reach = _MEDIAN_STATES // 2
    if normal.shape[-1] > reach:
        padded = torch.nn.functional.pad(normal, (reach, reach), mode="reflect")
        normal = padded.unfold(-1, _MEDIAN_STATES, 1).median(dim=-1).values
    return -normal.mean(dim=0).double()
