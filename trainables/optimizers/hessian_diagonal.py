"""The Hessian's diagonal, estimated or exact, without forming the Hessian H of the batch's loss.

All take the graph of one forward pass, so dropout's mask and batch norm's statistics are those of the gradient,
and each is additive over micro-batches whose losses add up to the batch's. In the units loss/weight².
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

Gradients = Sequence[Tensor | None]


def hutchinson(grads: Gradients, params: Sequence[Tensor], signs: Sequence[Tensor], *, retain: bool) -> list[Tensor]:
    """z ⊙ Hz, whose mean over random signs z = ±1 is diag(H) (Hutchinson 1989; Bekas et al. 2007).

    Signed: average samples first and take |·| last, for the mean of |z ⊙ Hz| is too large by any factor.

    Arguments:
        grads: of the loss by `params`, with their graph; None where the loss does not depend on one.
        signs: z, shaped as `params`; overwritten. retain: whether the graph is wanted again.
    """
    curved = [(g, z) for g, z in zip(grads, signs, strict=True) if g is not None and g.requires_grad]
    if not curved:  # the loss is linear
        return [torch.zeros_like(p) for p in params]
    outputs, vectors = zip(*curved, strict=True)
    products = torch.autograd.grad(
        outputs, params, vectors, retain_graph=retain, allow_unused=True, materialize_grads=True
    )
    return [z.mul_(product) for z, product in zip(signs, products, strict=True)]


def gauss_newton_bartlett(
    logits: Tensor, weights: Tensor, params: Sequence[Tensor], generator: torch.Generator
) -> list[Tensor]:
    """(Σ √aᵢ ∇ℓ(zᵢ, ŷᵢ))² for labels ŷ drawn from the model: its mean is the Gauss–Newton diagonal, ≥ 0.

    Given the logits zᵢ the summands are independent with mean 0, so the square's mean is Σ aᵢ E(∇ℓ)², which is
    the diagonal for cross-entropy (Liu et al. 2023, Sophia, with aᵢ = 1/n). The graph is kept.

    Arguments:
        logits: (n, classes), with their graph. weights: a, (n,), what each sample weighs in the loss.
    """
    chances = logits.detach().float().softmax(1)
    labels = torch.multinomial(chances, 1, generator=generator).squeeze(1)
    losses = cross_entropy(logits, labels, reduction="none")
    total = (losses * weights.detach().sqrt()).sum()
    grads = torch.autograd.grad(total, params, retain_graph=True, allow_unused=True, materialize_grads=True)
    return [g.square() for g in grads]


def exact(grads: Gradients, params: Sequence[Tensor], entries: Sequence[Tensor] | None = None) -> list[Tensor]:
    """diag(H), one backward pass an entry: for small nets, or for the flat indices `entries` of each parameter.

    Returns tensors shaped as `params`, or as `entries`. The graph is kept.
    """
    whole = [torch.arange(p.numel(), device=p.device) for p in params]
    picked = [
        _second_derivatives(g, p, at) for g, p, at in zip(grads, params, entries or whole, strict=True)
    ]  # fmt: skip
    return picked if entries else [h.view_as(p) for h, p in zip(picked, params, strict=True)]


def _second_derivatives(g: Tensor | None, p: Tensor, entries: Tensor) -> Tensor:
    h = torch.zeros(len(entries), dtype=p.dtype, device=p.device)
    if g is None or not g.requires_grad:
        return h
    flat = g.flatten()
    for at, i in enumerate(entries.tolist()):
        (row,) = torch.autograd.grad(flat[i], p, retain_graph=True, allow_unused=True, materialize_grads=True)
        h[at] = row.flatten()[i]
    return h


def random_signs(params: Sequence[Tensor], generator: torch.Generator) -> list[Tensor]:
    """±1 with equal chance, shaped as `params`, on the generator's device."""
    return [_signs(p, generator) for p in params]


def _signs(p: Tensor, generator: torch.Generator) -> Tensor:
    # a random byte chooses eight signs of a table: drawing each is otherwise a tenth of the step
    drawn = torch.randint(256, (-(-p.numel() // 8),), generator=generator, device=p.device, dtype=torch.uint8)
    signs = _eight_signs(p.device, p.dtype).index_select(0, drawn.int())
    return signs.flatten()[: p.numel()].view(p.shape)


@cache
def _eight_signs(device: torch.device, dtype: torch.dtype) -> Tensor:
    """The bits of every byte, lowest first, as ±1: (256, 8)."""
    bits = torch.arange(256, device=device).unsqueeze(1) >> torch.arange(8, device=device) & 1
    return bits.to(dtype).mul_(2).sub_(1)
