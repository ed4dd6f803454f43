"""Whisper's networks in PyTorch, named as the official checkpoints in the transformers layout name them.

Source: Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision", https://arxiv.org/abs/2212.04356.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from services.stt.engines.whisper.files import Sizes


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

    def project(self, states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value, (batch, heads, time, width / heads) each. Args: states: (batch, time, width)."""
        if self._fused is None:
            return self.split(self.q_proj(states)), self.split(self.k_proj(states)), self.split(self.v_proj(states))
        query, key, value = functional.linear(states, *self._fused).chunk(3, dim=-1)
        return self.split(query), self.split(key), self.split(value)

    def split(self, states: Tensor) -> Tensor:
        """(batch, time, width) to (batch, heads, time, width / heads)."""
        batch, time, width = states.shape
        return states.view(batch, time, self.heads, width // self.heads).transpose(1, 2)

    def joined(self, states: Tensor) -> Tensor:
        """The inverse of `split`, through the output projection."""
        batch, heads, time, width = states.shape
        projected: Tensor = self.out_proj(states.transpose(1, 2).reshape(batch, time, heads * width))
        return projected


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
        own = self.self_attn
        normal = self.self_attn_layer_norm(states)
        states = states + own.joined(functional.scaled_dot_product_attention(*own.project(normal)))
        fed: Tensor = states + self.fc2(functional.gelu(self.fc1(self.final_layer_norm(states))))
        return fed


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
        states = states + self.embed_positions.weight[: states.shape[1]]
        for layer in self.layers:
            states = layer(states)
        normal: Tensor = self.layer_norm(states)
        return normal


@dataclass(slots=True)
class Cache:
    """What the decoder has to remember, in buffers that never move.

    Attributes:
        keys, values: of the tokens, (layers, batch, heads, 448, width / heads).
        sound_keys, sound_values: of the encoder's states, (layers, batch, heads, 1500, width / heads).
        looked_at: the attention of the alignment heads, (batch, alignment heads, 448, 1500).
    """

    keys: Tensor
    values: Tensor
    sound_keys: Tensor
    sound_values: Tensor
    looked_at: Tensor


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

    def listen(self, states: Tensor, cache: Cache) -> None:
        """Prepare the attention to a batch of sounds. Args: states: (batch, 1500, width)."""
        for number, layer in enumerate(self._layers()):
            sound = layer.encoder_attn
            cache.sound_keys[number].copy_(sound.split(sound.k_proj(states)))
            cache.sound_values[number].copy_(sound.split(sound.v_proj(states)))

    def forward(
        self,
        tokens: Tensor,
        positions: Tensor,
        cache: Cache,
        heads_of_layer: list[Tensor | None],
    ) -> Tensor:
        """Take in tokens, and keep what later ones need of them.

        Args:
            tokens, positions: (batch, time): what stands where; positions of one row ascend.
            heads_of_layer: for each layer, which of its heads follow the sound; `cache.looked_at` has them in order.
        Returns: (batch, time, width), normalised.
        """
        batch, time = tokens.shape
        rows = torch.arange(batch, device=tokens.device)[:, None].expand(batch, time)
        visible = torch.arange(cache.keys.shape[3], device=tokens.device) <= positions[..., None]
        # Added once for all layers: (batch, 1, time, 448).
        mask = torch.zeros_like(visible, dtype=cache.keys.dtype).masked_fill(~visible, -torch.inf)[:, None]
        states = self.embed_tokens(tokens) + self.embed_positions(positions)
        first_head = 0
        for number, layer in enumerate(self._layers()):
            own, sound = layer.self_attn, layer.encoder_attn
            normal = layer.self_attn_layer_norm(states)
            query, key, value = own.project(normal)
            cache.keys[number][rows, :, positions] = key.transpose(1, 2)
            cache.values[number][rows, :, positions] = value.transpose(1, 2)
            states = states + own.joined(
                functional.scaled_dot_product_attention(query, cache.keys[number], cache.values[number], attn_mask=mask)
            )
            query = sound.split(sound.q_proj(layer.encoder_attn_layer_norm(states)))
            heads = heads_of_layer[number]
            if heads is not None:
                scores = query[:, heads] @ cache.sound_keys[number][:, heads].transpose(-1, -2)
                shares = (scores.float() * query.shape[-1] ** -0.5).softmax(dim=-1)
                places = torch.arange(first_head, first_head + len(heads), device=tokens.device)
                first_head += len(heads)
                cache.looked_at[rows[:, None], places[None, :, None], positions[:, None]] = shares.to(
                    cache.looked_at.dtype
                )
            states = states + sound.joined(
                functional.scaled_dot_product_attention(query, cache.sound_keys[number], cache.sound_values[number])
            )
            states = states + layer.fc2(functional.gelu(layer.fc1(layer.final_layer_norm(states))))
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
        """Do in one multiplication what can be done in one; once the weights are there."""
        for module in self.modules():
            if isinstance(module, EncoderLayer | DecoderLayer):
                module.self_attn.fuse()

    def new_cache(self, batch: int, alignment_heads: int) -> Cache:
        """Buffers for a batch, on the network's device, in its number format."""
        sizes = self.sizes
        like = self.decoder.embed_tokens.weight
        shape = (sizes.decoder_layers, batch, sizes.decoder_heads)
        part = sizes.width // sizes.decoder_heads
        return Cache(
            keys=like.new_zeros(*shape, sizes.tokens, part),
            values=like.new_zeros(*shape, sizes.tokens, part),
            sound_keys=like.new_zeros(*shape, sizes.states, part),
            sound_values=like.new_zeros(*shape, sizes.states, part),
            looked_at=like.new_zeros(batch, alignment_heads, sizes.tokens, sizes.states),
        )
