"""The language model from text to audio tokens: GPT-2's decoder with a static cache, in which every row is a listener.

Names are those of the published state dict. Source: GPT-2 (Radford et al. 2019), with learned positions of text and
audio that each begin at 0, as in Tortoise (Betker 2023) and XTTS (Casanova et al. 2024).
"""

from __future__ import annotations

from collections.abc import Iterator
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
        shape = (sizes.layers, rows, sizes.heads, sizes.max_length, sizes.width // sizes.heads)
        return Cache(*(torch.zeros(shape, dtype=like.dtype, device=like.device) for _ in range(2)))


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

    def prefill(self, x: Tensor, cache: Cache, row: int) -> Tensor:
        """Run a prefix and keep its keys and values in a row of the cache.

        Args: x: shape (1, t, width), of `prefix`.
        Returns: the latent of its last position, shape (1, width).
        """
        length = x.shape[1]
        for index, block in self.gpt.blocks():
            query, key, value = block.attn.heads_of(block.ln_1(x))
            cache.keys[index, row, :, :length] = key[0]
            cache.values[index, row, :, :length] = value[0]
            attended = nnf.scaled_dot_product_attention(query, key, value, is_causal=True)
            x = x + block.attn.joined(attended)
            x = x + block.mlp(block.ln_2(x))
        return self._latent(x[:, -1])

    def step(self, tokens: Tensor, spoken: Tensor, positions: Tensor, cache: Cache, length: int) -> Tensor:
        """One token further for the first rows of the cache, without a wait for the device: it can be captured.

        Args:
            tokens: shape (rows,), int64, the last token of each.
            spoken: shape (rows,), which token of the speech it is, from 1.
            positions: shape (rows,), where it goes in the cache.
            length: positions of the cache that are looked at; larger than every one in `positions`.
        Returns: latents, shape (rows, width).
        """
        rows = torch.arange(len(tokens), device=tokens.device)
        x = (self.mel_embedding(tokens) + self.mel_pos_embedding.emb(spoken))[:, None]  # (rows, 1, width)
        # What lies behind a row's position is of who used the row before.
        seen = torch.arange(length, device=tokens.device) <= positions[:, None]
        seen = seen[:, None, None]  # (rows, 1, 1, length)
        for index, block in self.gpt.blocks():
            query, key, value = block.attn.heads_of(block.ln_1(x))
            keys, values = cache.keys[index, : len(tokens)], cache.values[index, : len(tokens)]
            keys[rows, :, positions] = key[:, :, 0]
            values[rows, :, positions] = value[:, :, 0]
            attended = nnf.scaled_dot_product_attention(
                query, keys[:, :, :length], values[:, :, :length], attn_mask=seen
            )
            x = x + block.attn.joined(attended)
            x = x + block.mlp(block.ln_2(x))
        return self._latent(x[:, -1])

    def _latent(self, x: Tensor) -> Tensor:
        return self.final_norm(self.gpt.ln_f(x))  # type: ignore[no-any-return]

    def logits(self, latents: Tensor) -> Tensor:
        """Args: latents: shape (rows, width). Returns: shape (rows, audio tokens), float32."""
        return self.mel_head(latents).float()  # type: ignore[no-any-return]
