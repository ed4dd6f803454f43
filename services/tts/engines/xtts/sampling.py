"""Which token comes next, for a batch of rows, all on the device: nothing here waits for it, so it can be captured.

The steps and their order are those of the library's generation: repetition penalty (Keskar et al. 2019), temperature,
top-k, top-p (Holtzman et al. 2020). The draw itself is the largest of the log-probabilities with Gumbel noise on them,
which has the same distribution.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn; defaults as XTTS v2 was published.

    Attributes: temperature: 0 takes the likeliest token always.
    """

    temperature: float = 0.75
    top_k: int = 50
    top_p: float = 0.85
    repetition_penalty: float = 5.0


def penalised(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Logits with tokens that were there made less likely.

    Args: logits: shape (rows, tokens), float32; seen: the same shape, bool.
    """
    less = torch.where(logits < 0, logits * penalty, logits / penalty)
    return torch.where(seen, less, logits)


def likeliest(logits: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
    """What temperature, top-k and top-p leave.

    Returns: the likeliest tokens' logits, in order and minus infinity for those that are left out, shape (rows, k), and
    which tokens they are, int64.
    """
    ordered, tokens = (logits / sampling.temperature).topk(min(sampling.top_k, logits.shape[-1]), dim=-1)
    if sampling.top_p < 1:
        probabilities = ordered.softmax(dim=-1)
        # A token stays while those before it have less than top_p together; the likeliest always does.
        before = probabilities.cumsum(dim=-1) - probabilities
        ordered = ordered.masked_fill(before >= sampling.top_p, -torch.inf)
    return ordered, tokens


def drawn(logits: Tensor, seen: Tensor, sampling: Sampling) -> Tensor:
    """The next tokens, shape (rows,), int64. Args: as `penalised`."""
    fair = penalised(logits, seen, sampling.repetition_penalty)
    if sampling.temperature == 0:
        return fair.argmax(dim=-1)
    ordered, tokens = likeliest(fair, sampling)
    noise = torch.empty_like(ordered).exponential_().log_().neg_()
    return tokens.gather(-1, (ordered + noise).argmax(dim=-1, keepdim=True))[:, 0]
