"""Speech for many listeners at once, token by token: each has a row of the cache, joins and leaves between steps."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from services.tts.engines.xtts.fused import FusedStep
from services.tts.engines.xtts.gpt import Cache, Gpt, Step
from services.tts.engines.xtts.graphs import Recorder
from services.tts.engines.xtts.sampling import Sampling, drawn
from services.tts.engines.xtts.sizes import CONDITIONING

# Rows and lengths of the cache for which a step is captured; others take the next larger one.
_ROWS = (1, 2, 4, 8, 16, 32, 64)
_LENGTHS = (256, 512)
# What the library's generation sees before the first token: its place holder for the prefix, besides the start.
_PLACE_HOLDER = 1


@dataclass(frozen=True, slots=True)
class Newcomer:
    """A text that begins. Attributes: conditioning: shape (1, 32, width), on the device; text: shape (t,), int64."""

    row: int
    conditioning: Tensor
    text: Tensor


class Decoding:
    """The rows. Used by one thread; nothing waits for the device but `progress`."""

    def __init__(self, gpt: Gpt, rows: int, sampling: Sampling) -> None:
        """Args: gpt: on its device, in its number format; rows: listeners at once."""
        self._step: Callable[[Step, Cache, int], Tensor] = gpt.step
        self._reaches = (*(length for length in _LENGTHS if length < gpt.sizes.cache_length), gpt.sizes.cache_length)
        sizes = gpt.sizes
        device = gpt.mel_head.weight.device
        self._gpt, self._sampling, self._sizes = gpt, sampling, sizes
        self._cache = Cache.empty(sizes, rows, gpt.mel_head.weight)

        def numbers(fill: int = 0) -> Tensor:
            return torch.full((rows,), fill, dtype=torch.int64, device=device)

        self._tokens, self._spoken, self._positions = numbers(), numbers(1), numbers()
        self._seen = torch.zeros((rows, sizes.audio_tokens), dtype=torch.bool, device=device)
        # A row runs from when somebody joins until it has said everything; one that is held does not go on.
        self._runs = torch.zeros(rows, dtype=torch.bool, device=device)
        self._held = torch.zeros(rows, dtype=torch.bool, device=device)
        self._held_rows = [False] * rows
        self._latents = torch.zeros(
            (rows, sizes.max_audio, sizes.width), dtype=gpt.mel_head.weight.dtype, device=device
        )
        # Positions of the cache: where each row's speech begins, and where it is at most; 0 for a free row.
        self._begins, self._lengths = [0] * rows, [0] * rows
        self._graphs: dict[tuple[int, int], Callable[[], None]] = {}

    @property
    def rows(self) -> int:
        """How many listeners there can be at once."""
        return len(self._lengths)

    @property
    def most(self) -> int:
        """Tokens after which a text ends, whether or not it was said."""
        return self._sizes.max_audio

    @torch.inference_mode()
    def use(self, step: FusedStep) -> None:
        """Take another way to compute a step, if it computes the same. Raises: UnavailableError if it does not."""
        step.check(self._cache)
        # It looks at as many positions as there are.
        self._step, self._reaches = step, self._reaches[-1:]

    def forget_graphs(self) -> None:
        """Go on without; for a device that replays none."""
        self._graphs.clear()

    @torch.inference_mode()
    def warm_up(self, recorder: Recorder) -> None:
        """Record a step for every number of rows, while none is taken. On a GPU only."""
        for rows in sorted({*(size for size in _ROWS if size < self.rows), self.rows}, reverse=True):
            for length in reversed(self._reaches):
                self._graphs[rows, length] = recorder.record(partial(self._draw, rows, length))

    def rehearse(self) -> None:
        """Say a little that nobody hears, while no row is taken."""
        conditioning = torch.zeros((1, CONDITIONING, self._sizes.width), device=self._tokens.device)
        self.join([Newcomer(0, conditioning, torch.ones(min(64, self._sizes.max_text), dtype=torch.int64))])
        self.advance(2)
        self.progress()
        self.leave(0)

    @torch.inference_mode()
    def join(self, newcomers: Sequence[Newcomer]) -> None:
        """Begin texts in free rows; the first latent of each is there when it returns.

        Raises: ValueError if one has too many tokens; then none has begun.
        """
        for each in newcomers:
            if not 1 <= len(each.text) <= self._sizes.max_text:
                raise ValueError(f"a text has 1 to {self._sizes.max_text} tokens, not {len(each.text)}")
        device = self._tokens.device
        prefixes = [self._gpt.prefix(each.conditioning, each.text.to(device)) for each in newcomers]
        numbers = [each.row for each in newcomers]
        latents = self._gpt.prefill(prefixes, numbers, self._cache)
        rows = torch.tensor(numbers, device=device)
        seen = torch.zeros((len(rows), self._sizes.audio_tokens), dtype=torch.bool, device=device)
        seen[:, [_PLACE_HOLDER, self._sizes.start_audio]] = True
        tokens = drawn(self._gpt.logits(latents), seen, self._sampling)
        seen.scatter_(1, tokens[:, None], value=True)
        lengths = [prefix.shape[1] for prefix in prefixes]
        self._latents[rows, 0], self._seen[rows], self._tokens[rows] = latents, seen, tokens
        self._spoken[rows], self._positions[rows] = 1, torch.tensor(lengths, device=device)
        self._runs[rows] = tokens != self._sizes.stop_audio
        for row, length in zip(numbers, lengths, strict=True):
            self._begins[row] = self._lengths[row] = length

    def leave(self, row: int) -> None:
        """Free a row, whether or not it has said everything."""
        self._runs[row] = False
        self._lengths[row] = 0

    def hold(self, rows: Collection[int]) -> None:
        """Stop these rows for a while, and let all others go on."""
        held = [row in rows for row in range(self.rows)]
        if held != self._held_rows:
            self._held_rows = held
            self._held.copy_(torch.tensor(held))

    @torch.inference_mode()
    def advance(self, steps: int) -> None:
        """Let every row that runs say up to so many tokens more."""
        taken = [row for row, length in enumerate(self._lengths) if length]
        if not taken:
            return
        rows = next((size for size in _ROWS if taken[-1] < size <= self.rows), self.rows)
        for _ in range(steps):
            reach = max(self._lengths[row] for row in taken) + 1
            length = next(length for length in self._reaches if reach <= length)
            if replay := self._graphs.get((rows, length)):
                replay()
            else:
                self._draw(rows, length)
            for row in taken:
                self._lengths[row] = min(self._lengths[row] + 1, self._sizes.max_length - 1)

    def progress(self) -> tuple[list[int], list[bool]]:
        """Wait for the device. Returns: for each row how many latents it has, and whether more will come."""
        spoken, runs = torch.stack([self._spoken, self._runs.to(torch.int64)]).tolist()
        for row in (row for row, length in enumerate(self._lengths) if length):
            # Rows that were held or have ended are not where the steps would have brought them.
            self._lengths[row] = self._begins[row] + spoken[row] - 1
        return spoken, [bool(goes) for goes in runs]

    def latents(self, row: int, count: int) -> Tensor:
        """What a row has said, shape (count, width); it changes when somebody else joins the row."""
        return self._latents[row, :count]

    def _draw(self, count: int, length: int) -> None:
        """One step of the first `count` rows; those that do not run stay as they are."""
        tokens, spoken, positions = self._tokens[:count], self._spoken[:count], self._positions[:count]
        seen, runs = self._seen[:count], self._runs[:count]
        rows = torch.arange(count, device=tokens.device)
        goes = runs & ~self._held[:count]
        # A row that has ended stands at the end of its places, and draws for nothing.
        at = spoken.clamp(max=self._sizes.max_audio - 1)
        latents = self._step(Step(tokens, at, positions.clamp(max=length - 1), goes), self._cache, length)
        following = drawn(self._gpt.logits(latents), seen, self._sampling)
        kept = self._latents[rows, at]
        self._latents[rows, at] = torch.where(goes[:, None], latents, kept)
        seen[rows, following] |= goes
        tokens.copy_(torch.where(goes, following, tokens))
        spoken += goes
        positions += goes
        runs &= ~(goes & ((following == self._sizes.stop_audio) | (spoken >= self._sizes.max_audio)))
