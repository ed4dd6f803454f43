"""Speech for many listeners at once, token by token: each has a row of the cache, joins and leaves between steps."""

from __future__ import annotations

import torch
from torch import Tensor

from services.common.log import get_logger
from services.tts.engines.xtts.gpt import Cache, Gpt
from services.tts.engines.xtts.sampling import Sampling, drawn

# Rows and lengths of the cache for which a step is captured; others take the next larger one.
_ROWS = (1, 2, 4, 8, 16, 32, 64)
_LENGTHS = (256, 512)
# What the library's generation sees before the first token: its place holder for the prefix, besides the start.
_PLACE_HOLDER = 1
log = get_logger(__name__)


class Decoding:
    """The rows. Used by one thread; nothing waits for the device but `progress`."""

    def __init__(self, gpt: Gpt, rows: int, sampling: Sampling) -> None:
        """Args: gpt: on its device, in its number format; rows: listeners at once."""
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
        self._latents = torch.zeros(
            (rows, sizes.max_audio, sizes.width), dtype=gpt.mel_head.weight.dtype, device=device
        )
        # Positions of the cache: where each row's speech begins, and where it is at most; 0 for a free row.
        self._begins, self._lengths = [0] * rows, [0] * rows
        self._graphs: dict[tuple[int, int], torch.cuda.CUDAGraph] = {}
        self._on_gpu = device.type == "cuda"

    @property
    def rows(self) -> int:
        """How many listeners there can be at once."""
        return len(self._lengths)

    @torch.inference_mode()
    def join(self, row: int, conditioning: Tensor, text: Tensor) -> None:
        """Begin a text in a free row; its first latent is there when it returns.

        Args: conditioning: shape (1, 32, width); text: shape (t,), int64, 1 to `max_text` tokens.
        Raises: ValueError if it has more.
        """
        if not 1 <= len(text) <= self._sizes.max_text:
            raise ValueError(f"a text has 1 to {self._sizes.max_text} tokens, not {len(text)}")
        prefix = self._gpt.prefix(conditioning, text)
        latent = self._gpt.prefill(prefix, self._cache, row)
        seen = self._seen[row]
        seen.zero_()
        seen[[_PLACE_HOLDER, self._sizes.start_audio]] = True
        token = drawn(self._gpt.logits(latent), seen[None], self._sampling)
        self._latents[row, 0] = latent[0]
        self._tokens[row], self._spoken[row], self._positions[row] = token[0], 1, prefix.shape[1]
        seen[token] = True
        self._runs[row] = token[0] != self._sizes.stop_audio
        self._held[row] = False
        self._begins[row] = self._lengths[row] = prefix.shape[1]

    def leave(self, row: int) -> None:
        """Free a row, whether or not it has said everything."""
        self._runs[row] = False
        self._lengths[row] = 0

    def hold(self, row: int, *, is_held: bool) -> None:
        """Stop a row for a while, or let it go on."""
        self._held[row] = is_held

    @torch.inference_mode()
    def advance(self, steps: int) -> None:
        """Let every row that runs say up to so many tokens more."""
        taken = [row for row, length in enumerate(self._lengths) if length]
        if not taken:
            return
        rows = next((size for size in _ROWS if taken[-1] < size <= self.rows), self.rows)
        for _ in range(steps):
            reach = max(self._lengths[row] for row in taken) + 1
            length = next((size for size in _LENGTHS if reach <= size < self._sizes.max_length), self._sizes.max_length)
            self._step(rows, length)
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

    def _step(self, rows: int, length: int) -> None:
        if not self._on_gpu:
            self._draw(rows, length)
            return
        graph = self._graphs.get((rows, length))
        if graph is None:
            graph = self._graphs[rows, length] = self._captured(rows, length)
        graph.replay()

    def _captured(self, rows: int, length: int) -> torch.cuda.CUDAGraph:
        """Capture a step. What it writes while it is tried is put back."""
        kept = [part.clone() for part in self._state()]
        keys, values = (part[:, :rows].clone() for part in self._cache)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.stream(stream):
            for _ in range(2):
                self._draw(rows, length)
            stream.synchronize()
            with torch.cuda.graph(graph, stream=stream):
                self._draw(rows, length)
        torch.cuda.current_stream().wait_stream(stream)
        for part, before in zip(self._state(), kept, strict=True):
            part.copy_(before)
        self._cache.keys[:, :rows], self._cache.values[:, :rows] = keys, values
        log.info("xtts_step_captured", rows=rows, length=length)
        return graph

    def _state(self) -> tuple[Tensor, ...]:
        return self._tokens, self._spoken, self._positions, self._seen, self._runs, self._latents

    def _draw(self, count: int, length: int) -> None:
        """One step of the first `count` rows; those that do not run stay as they are."""
        tokens, spoken, positions = self._tokens[:count], self._spoken[:count], self._positions[:count]
        seen, runs = self._seen[:count], self._runs[:count]
        rows = torch.arange(count, device=tokens.device)
        goes = runs & ~self._held[:count]
        # A row that has ended stands at the end of its places, and draws for nothing.
        at = spoken.clamp(max=self._sizes.max_audio - 1)
        latents = self._gpt.step(tokens, at, positions.clamp(max=length - 1), self._cache, length)
        following = drawn(self._gpt.logits(latents), seen, self._sampling)
        kept = self._latents[rows, at]
        self._latents[rows, at] = torch.where(goes[:, None], latents, kept)
        seen[rows, following] |= goes
        tokens.copy_(torch.where(goes, following, tokens))
        spoken += goes
        positions += goes
        runs &= ~(goes & ((following == self._sizes.stop_audio) | (spoken >= self._sizes.max_audio)))
