"""Whisper's networks in PyTorch, named as the official checkpoints in the transformers layout name them.

Source: Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision", https://arxiv.org/abs/2212.04356.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from services.stt.engines.whisper.files import Sizes


class Products:
    """Matrix products with what stands before and behind them."""

    def normed(
        self, states: Tensor, norm: nn.LayerNorm, weight: Tensor, bias: Tensor, *, is_activated: bool = False
    ) -> Tensor:
        """Of the normalised states, then GELU if wanted.

        Args: states: (batch, time, inputs); weight: (outputs, inputs); bias: (outputs,).
        """
        product = functional.linear(norm(states), weight, bias)
        return functional.gelu(product) if is_activated else product

    def added(self, states: Tensor, weight: Tensor, bias: Tensor, to: Tensor) -> Tensor:
        """Of the states, added to others. Args: as of `normed`; to: (batch, time, outputs)."""
        return to + functional.linear(states, weight, bias)


class Attention(nn.Module):
    """The projections of multi-head attention; keys have no bias."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width)
        self.q_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

        self._fused: tuple[Tensor, Tensor] | None = None

    def fuse(self) -> None:
        """Make query, key and value one multiplication. The projections stay what they are, as parts of it."""
        parts = (self.q_proj, self.k_proj, self.v_proj)
        weight = torch.cat([part.weight for part in parts])
        bias = torch.cat([torch.zeros_like(self.v_proj.bias) if part.bias is None else part.bias for part in parts])
        for part, rows in zip(parts, weight.chunk(3), strict=True):
            part.weight.data = rows
        self._fused = weight, bias

    @property
    def fused(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of all three."""
        assert self._fused is not None, "fuse comes first"
        return self._fused

    def parts(self, all_three: Tensor) -> tuple[Tensor, Tensor]:
        """Args: all_three: what `fused` makes, (batch, time, 3 * width).

        Returns: the query, (batch, heads, time, width / heads), and key and value, (batch, time, 2, heads, width /
            heads).
        """
        batch, time, width = all_three.shape
        parts = all_three.view(batch, time, 3, self.heads, width // 3 // self.heads)
        return parts[:, :, 0].transpose(1, 2), parts[:, :, 1:]

    def key_and_value(self, states: Tensor) -> Tensor:
        """(batch, time, 2 * width): the keys' half, and the values'. Args: states: (batch, time, width)."""
        weight, bias = self.fused
        width = states.shape[-1]
        return functional.linear(states, weight[width:], bias[width:])

    def split(self, states: Tensor) -> Tensor:
        """(batch, time, width) to (batch, heads, time, width / heads)."""
        batch, time, width = states.shape
        return states.view(batch, time, self.heads, width // self.heads).transpose(1, 2)

    def joined(self, states: Tensor) -> Tensor:
        """The inverse of `split`."""
        batch, heads, time, width = states.shape
        return states.transpose(1, 2).reshape(batch, time, heads * width)


def _of(linear: nn.Linear) -> tuple[Tensor, Tensor]:
    return linear.weight, linear.bias


class EncoderLayer(nn.Module):
    """Self-attention and a feed-forward part, each behind a normalisation."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.self_attn = Attention(sizes.width, sizes.encoder_heads)
        self.self_attn_layer_norm = nn.LayerNorm(sizes.width)
        self.fc1 = nn.Linear(sizes.width, sizes.encoder_ffn)
        self.fc2 = nn.Linear(sizes.encoder_ffn, sizes.width)
        self.final_layer_norm = nn.LayerNorm(sizes.width)

    def forward(self, states: Tensor) -> Tensor:
        own, plain = self.self_attn, Products()
        query, key_and_value = own.parts(plain.normed(states, self.self_attn_layer_norm, *own.fused))
        key, value = key_and_value.permute(2, 0, 3, 1, 4)
        heard = own.joined(functional.scaled_dot_product_attention(query, key, value))
        states = plain.added(heard, *_of(own.out_proj), states)
        fed = plain.normed(states, self.final_layer_norm, *_of(self.fc1), is_activated=True)
        return plain.added(fed, *_of(self.fc2), states)


class Encoder(nn.Module):
    """The spectrogram of a window to one state for each two of its columns."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(sizes.bands, sizes.width, 3, padding=1)
        self.conv2 = nn.Conv1d(sizes.width, sizes.width, 3, stride=2, padding=1)
        self.embed_positions = nn.Embedding(sizes.states, sizes.width)
        self.layers = nn.ModuleList(EncoderLayer(sizes) for _ in range(sizes.encoder_layers))
        self.layer_norm = nn.LayerNorm(sizes.width)

    def forward(self, columns: Tensor) -> Tensor:
        """Args: columns: (batch, bands, 2 * states), at most 3000 of them. Returns: (batch, states, width)."""
        states = functional.gelu(self.conv2(functional.gelu(self.conv1(columns)))).transpose(1, 2)
        # Sums keep the order of their first part in memory: row by row is what all the layers read.
        states = states.contiguous() + self.embed_positions.weight[: states.shape[1]]
        for layer in self.layers:
            states = layer(states)
        normal: Tensor = self.layer_norm(states)
        return normal


@dataclass(slots=True)
class Cache:
    """What the decoder has to remember, in buffers that never move.

    Attributes:
        own: keys and values of the tokens, (layers, 2, batch, heads, 448, width / heads).
        sound: keys and values of the encoder's states, (layers, 2, batch, heads, 1500, width / heads).
        looking: what the alignment heads looked for, (batch, alignment heads, 448, width / heads): their queries, from
            which attention is computed for the finished text at once.
    """

    own: Tensor
    sound: Tensor
    looking: Tensor

    def of(self, batch: int) -> Cache:
        """Views of the first windows."""
        return Cache(self.own[:, :, :batch], self.sound[:, :, :batch], self.looking[:batch])


class DecoderLayer(nn.Module):
    """Self-attention, attention to the sound, and a feed-forward part, each behind a normalisation."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.self_attn = Attention(sizes.width, sizes.decoder_heads)
        self.self_attn_layer_norm = nn.LayerNorm(sizes.width)
        self.encoder_attn = Attention(sizes.width, sizes.decoder_heads)
        self.encoder_attn_layer_norm = nn.LayerNorm(sizes.width)
        self.fc1 = nn.Linear(sizes.width, sizes.decoder_ffn)
        self.fc2 = nn.Linear(sizes.decoder_ffn, sizes.width)
        self.final_layer_norm = nn.LayerNorm(sizes.width)


class Decoder(nn.Module):
    """Tokens and the encoder's states to the next token."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(sizes.vocabulary, sizes.width)
        self.embed_positions = nn.Embedding(sizes.tokens, sizes.width)
        self.layers = nn.ModuleList(DecoderLayer(sizes) for _ in range(sizes.decoder_layers))
        self.layer_norm = nn.LayerNorm(sizes.width)

    def _layers(self) -> Iterable[DecoderLayer]:
        return cast("Iterable[DecoderLayer]", self.layers)

    def listen(self, states: Tensor, cache: Cache, rows: Tensor) -> None:
        """Prepare the attention to a batch of sounds.

        Args: states: (batch, 1500, width); rows: (batch,): their places in the cache.
        """
        batch, time, width = states.shape
        for number, layer in enumerate(self._layers()):
            sound = layer.encoder_attn
            both = sound.key_and_value(states).view(batch, time, 2, sound.heads, width // sound.heads)
            cache.sound[number].index_copy_(1, rows, both.permute(2, 0, 3, 1, 4))

    def forward(
        self,
        tokens: Tensor,
        positions: Tensor,
        cache: Cache,
        reach: int,
        alignment_heads: Sequence[tuple[int, int]],
        products: Products,
    ) -> Tensor:
        """Take in tokens, and keep what later ones need of them.

        Args:
            tokens, positions: (batch, time): what stands where; positions of one row ascend.
            reach: more than any of the positions, at most 448; what the cache has beyond is not looked at.
            alignment_heads: pairs of layer and head, ascending, whose queries are kept.
        Returns: (batch, time, width), normalised.
        """
        batch, time = tokens.shape
        rows = torch.arange(batch, device=tokens.device)[:, None].expand(batch, time)
        visible = torch.arange(reach, device=tokens.device) <= positions[..., None]
        # Added once for all layers: (batch, 1, time, reach).
        mask = torch.zeros_like(visible, dtype=cache.own.dtype).masked_fill(~visible, -torch.inf)[:, None]
        states = self.embed_tokens(tokens) + self.embed_positions(positions)
        looking = []
        for number, layer in enumerate(self._layers()):
            own, sound = layer.self_attn, layer.encoder_attn
            query, key_and_value = own.parts(products.normed(states, layer.self_attn_layer_norm, *own.fused))
            cache.own[number][:, rows, :, positions] = key_and_value
            key, value = cache.own[number, :, :, :, :reach]
            heard = own.joined(functional.scaled_dot_product_attention(query, key, value, attn_mask=mask))
            states = products.added(heard, *_of(own.out_proj), states)
            query = sound.split(products.normed(states, layer.encoder_attn_layer_norm, *_of(sound.q_proj)))
            looking += [query[:, head] for of_layer, head in alignment_heads if of_layer == number]
            key, value = cache.sound[number]
            heard = sound.joined(functional.scaled_dot_product_attention(query, key, value))
            states = products.added(heard, *_of(sound.out_proj), states)
            fed = products.normed(states, layer.final_layer_norm, *_of(layer.fc1), is_activated=True)
            states = products.added(fed, *_of(layer.fc2), states)
        if looking:
            cache.looking[rows, :, positions] = torch.stack(looking, dim=2)
        normal = self.layer_norm(states)
        assert isinstance(normal, Tensor)
        return normal


class Whisper(nn.Module):
    """Both networks; the scores of the tokens are products with their embeddings."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.encoder = Encoder(sizes)
        self.decoder = Decoder(sizes)

    def scores(self, states: Tensor) -> Tensor:
        """The logits of the next token, in float32."""
        return functional.linear(states, self.decoder.embed_tokens.weight).float()

    def fuse(self) -> None:
        """Do in one multiplication what can be done in one; once the weights are there, and before anything else."""
        for module in self.modules():
            if isinstance(module, Attention):
                module.fuse()

    def new_cache(self, batch: int, alignment_heads: int) -> Cache:
        """Buffers for a batch, on the network's device, in its number format."""
        sizes = self.sizes
        like = self.decoder.embed_tokens.weight
        shape = (sizes.decoder_layers, 2, batch, sizes.decoder_heads)
        part = sizes.width // sizes.decoder_heads
        return Cache(
            own=like.new_zeros(*shape, sizes.tokens, part),
            sound=like.new_zeros(*shape, sizes.states, part),
            looking=like.new_zeros(batch, alignment_heads, sizes.tokens, part),
        )
