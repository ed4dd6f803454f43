"""The language model from text to audio tokens: GPT-2's decoder with a static cache, in which every row is a listener.

Names are those of the published state dict. Source: GPT-2 (Radford et al. 2019), with learned positions of text and
audio that each begin at 0, as in Tortoise (Betker 2023) and XTTS (Casanova et al. 2024).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from services.tts.engines.xtts.sizes import XttsSizes


class Cache(NamedTuple):
    """Keys and values of every position, shape (layers, rows, heads, length, head width) each."""

    keys: Tensor
    values: Tensor

    @staticmethod
    def empty(sizes: XttsSizes, rows: int, like: Tensor) -> Cache:
        """Args: like: gives device and dtype."""
        shape = (sizes.layers, rows, sizes.heads, sizes.cache_length, sizes.width // sizes.heads)
        return Cache(*(torch.zeros(shape, dtype=like.dtype, device=like.device) for _ in range(2)))


class Step(NamedTuple):
    """Where rows are before a step, shape (rows,) each.

    Attributes:
        tokens: int64, the last of each; spoken: int64, which of the speech it is, from 1.
        positions: int64, where it goes in the cache.
        goes: bool, which rows take the step; whatever comes of the others is not used.
    """

    tokens: Tensor
    spoken: Tensor
    positions: Tensor
    goes: Tensor


class Linear(nn.Module):
    """y = x W + b with W of shape (inputs, outputs), as GPT-2 keeps it."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs))
        self.bias = nn.Parameter(torch.empty(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addmm(self.bias, x.flatten(0, -2), self.weight).view(*x.shape[:-1], -1)


class Attention(nn.Module):
    def __init__(self, sizes: XttsSizes) -> None:
        super().__init__()
        self.heads = sizes.heads
        self.c_attn = Linear(sizes.width, 3 * sizes.width)
        self.c_proj = Linear(sizes.width, sizes.width)

    def heads_of(self, x: Tensor) -> tuple[Tensor, ...]:
        """Query, key and value, shape (batch, heads, time, head width) each."""
        parts = self.c_attn(x).chunk(3, dim=-1)
        return tuple(part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)

    def joined(self, attended: Tensor) -> Tensor:
        return self.c_proj(attended.transpose(1, 2).flatten(-2))  # type: ignore[no-any-return]


class Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.c_fc = Linear(width, 4 * width)
        self.c_proj = Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(nnf.gelu(self.c_fc(x), approximate="tanh"))  # type: ignore[no-any-return]


class Block(nn.Module):
    def __init__(self, sizes: XttsSizes) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(sizes.width)
        self.attn = Attention(sizes)
        self.ln_2 = nn.LayerNorm(sizes.width)
        self.mlp = Mlp(sizes.width)


class Trunk(nn.Module):
    def __init__(self, sizes: XttsSizes) -> None:
        super().__init__()
        self.h = nn.ModuleList(Block(sizes) for _ in range(sizes.layers))
        self.ln_f = nn.LayerNorm(sizes.width)

    def blocks(self) -> Iterator[tuple[int, Block]]:
        """Every layer with its number."""
        for index, block in enumerate(self.h):
            assert isinstance(block, Block)
            yield index, block


class Positions(nn.Module):
    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.emb = nn.Embedding(count, width)


class Gpt(nn.Module):
    """Text and voice in, audio tokens and the latents behind them out."""

    def __init__(self, sizes: XttsSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.text_embedding = nn.Embedding(sizes.text_tokens, sizes.width)
        self.mel_embedding = nn.Embedding(sizes.audio_tokens, sizes.width)
        self.gpt = Trunk(sizes)
        self.mel_pos_embedding = Positions(sizes.max_audio + 6, sizes.width)
        self.text_pos_embedding = Positions(sizes.max_text + 3, sizes.width)
        self.final_norm = nn.LayerNorm(sizes.width)
        self.mel_head = nn.Linear(sizes.width, sizes.audio_tokens)

    def prefix(self, conditioning: Tensor, text: Tensor) -> Tensor:
        """What a voice and a text are to the trunk, up to the token that begins the speech.

        Args: conditioning: shape (1, 32, width); text: shape (t,), int64, at most `max_text` tokens.
        Returns: shape (1, 32 + t + 3, width).
        """
        marks = (text.new_tensor([self.sizes.start_text]), text, text.new_tensor([self.sizes.stop_text]))
        marked = torch.cat(marks)
        spoken = self.text_embedding(marked) + self.text_pos_embedding.emb.weight[: len(marked)]
        start = self.mel_embedding.weight[self.sizes.start_audio] + self.mel_pos_embedding.emb.weight[0]
        return torch.cat([conditioning.to(spoken.dtype), spoken[None], start[None, None]], dim=1)

    def prefill(self, prefixes: Sequence[Tensor], rows: Sequence[int], cache: Cache) -> Tensor:
        """Run prefixes together, and keep their keys and values in rows of the cache.

        Args: prefixes: of `prefix`; rows: of each.
        Returns: the latents of their last positions, shape (prefixes, width).
        """
        # A shorter one is filled up behind its end, where it sees nothing of it; it will write over what is kept there.
        x = nn.utils.rnn.pad_sequence([prefix[0] for prefix in prefixes], batch_first=True)
        length = x.shape[1]
        at = torch.tensor(rows, device=x.device)
        for index, block in self.gpt.blocks():
            query, key, value = block.attn.heads_of(block.ln_1(x))
            cache.keys[index, at, :, :length] = key
            cache.values[index, at, :, :length] = value
            attended = nnf.scaled_dot_product_attention(query, key, value, is_causal=True)
            x = x + block.attn.joined(attended)
            x = x + block.mlp(block.ln_2(x))
        lasts = torch.tensor([prefix.shape[1] - 1 for prefix in prefixes], device=x.device)
        return self.latent(x[torch.arange(len(x), device=x.device), lasts])

    def embedded(self, tokens: Tensor, spoken: Tensor) -> Tensor:
        """What tokens are to the trunk, shape (rows, width). Args: as `step`."""
        return self.mel_embedding(tokens) + self.mel_pos_embedding.emb(spoken)  # type: ignore[no-any-return]

    def step(self, state: Step, cache: Cache, length: int) -> Tensor:
        """One token further for the first rows of the cache, without a wait for the device: it can be captured.

        Args: length: positions of the cache that are looked at; larger than every one of the state.
        Returns: latents, shape (rows, width).
        """
        count = len(state.tokens)
        rows = torch.arange(count, device=state.tokens.device)
        x = self.embedded(state.tokens, state.spoken)[:, None]  # (rows, 1, width)
        # What lies behind a row's position is of who used the row before.
        seen = torch.arange(length, device=x.device) <= state.positions[:, None]
        hidden = torch.zeros(seen.shape, dtype=x.dtype, device=x.device).masked_fill(~seen, -torch.inf)
        hidden = hidden[:, None, None]  # (rows, 1, 1, length)
        for index, block in self.gpt.blocks():
            query, key, value = block.attn.heads_of(block.ln_1(x))
            keys, values = cache.keys[index, :count], cache.values[index, :count]
            keys[rows, :, state.positions] = key[:, :, 0]
            values[rows, :, state.positions] = value[:, :, 0]
            attended = nnf.scaled_dot_product_attention(
                query, keys[:, :, :length], values[:, :, :length], attn_mask=hidden
            )
            x = x + block.attn.joined(attended)
            x = x + block.mlp(block.ln_2(x))
        return self.latent(x[:, -1])

    def latent(self, x: Tensor) -> Tensor:
        """What the vocoder is given, and the logits are made of, of what leaves the last layer, shape (rows, width)."""
        return self.final_norm(self.gpt.ln_f(x))  # type: ignore[no-any-return]

    def logits(self, latents: Tensor) -> Tensor:
        """Args: latents: shape (rows, width). Returns: shape (rows, audio tokens), float32."""
        return self.mel_head(latents).float()  # type: ignore[no-any-return]
