"""A net's entries as probes see them: thinned where a tensor is large, averaged by layer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Annotated

import torch
from torch import Tensor, nn

from trainables.optimizers.tensor_statistics import thinned
from trainables.settings import about

Entries = Annotated[
    int, about("", "entries of a tensor that are measured, at most about: larger ones at a fixed stride", ge=16)
]
ENTRIES = 1 << 16  # a mean of them is within a percent of the whole tensor's, for a fiftieth of its cost


class Layers:
    """Parameters in the net's order. LAYER is the name of one with two dimensions or more; `all` are all entries."""

    def __init__(self, model: nn.Module, entries: int = ENTRIES) -> None:
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        self.params = [p for _, p in named]
        self.entries = entries
        self.sizes = [thinned(p.detach(), entries).numel() for p in self.params]
        self.wide = {name: i for i, (name, p) in enumerate(named) if p.ndim > 1}
        counts = torch.tensor([float(p.numel()) for p in self.params], dtype=torch.float64)
        self.shares = (counts / counts.sum()).to(self.params[0].device)  # of all entries, by tensor

    def flat(self, tensors: Iterable[Tensor | None]) -> Tensor:
        """The measured entries (k,) of tensors shaped as the parameters, in float64; None counts as zeros."""
        whole = (p.new_zeros(p.shape) if x is None else x.detach() for p, x in zip(self.params, tensors, strict=True))
        return torch.cat([thinned(x, self.entries).flatten() for x in whole]).double()

    def weights(self) -> Tensor:
        """w (k,)."""
        return self.flat(self.params)

    def gradients(self) -> Tensor:
        """The g (k,) that `p.grad` holds."""
        return self.flat(p.grad for p in self.params)

    def split(self, entries: Tensor) -> dict[str, Tensor]:
        """`entries` (k,) by LAYER."""
        parts = torch.split(entries, self.sizes)
        return {name: parts[i] for name, i in self.wide.items()}

    def means(self, entries: Tensor) -> Tensor:
        """Means of `entries` (k,): of each tensor, then of all the net's entries; on their device."""
        each = torch.stack([part.mean() for part in torch.split(entries, self.sizes)])
        return torch.cat([each, (each * self.shares).sum().view(1)])

    def named(self, means: Tensor) -> dict[str, float]:
        """What `means` gave, by LAYER and `all`."""
        values = means.tolist()
        return {name: values[i] for name, i in self.wide.items()} | {"all": values[-1]}


class Averages:
    """Means over an epoch's steps, by statistic and layer. They stay on the device until they are asked for."""

    def __init__(self, layers: Layers) -> None:
        self.layers = layers
        self.sums: dict[str, Tensor] = {}
        self.counts: Counter[str] = Counter()

    def add(self, statistic: str, means: Tensor) -> None:
        """A step's `means`, as `Layers.means` gives them."""
        old = self.sums.get(statistic)
        self.sums[statistic] = means if old is None else old + means
        self.counts[statistic] += 1

    def take(self) -> dict[str, float]:
        """STATISTIC/LAYER; then empty."""
        means = {
            f"{statistic}/{layer}": value
            for statistic, sum_ in self.sums.items()
            for layer, value in self.layers.named(sum_ / self.counts[statistic]).items()
        }
        self.sums, self.counts = {}, Counter()
        return means
