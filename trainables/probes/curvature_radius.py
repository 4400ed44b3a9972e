"""The radius of curvature by layer: paper (9) and its approximation (17), figure 2 and section 5.2."""

from __future__ import annotations

from torch import Tensor

from trainables.optimizers.cblr import FLOOR, radius
from trainables.probes import Observer, Probe, Subject
from trainables.probes.diagonal import DrawCount, FirstStep
from trainables.probes.layers import ENTRIES, Entries, Layers


class LayerRadii(FirstStep):
    """Medians of the radii by layer, from the diagonals of the first step."""

    def measure(self, g: Tensor) -> dict[str, float]:
        radii = {estimate: radius(g, h, FLOOR) for estimate, h in self.diagonals.items()}
        radii["w-over-g"] = (self.layers.weights() / g).abs()
        slopes = self.layers.split(g)
        return {
            f"{name}/{layer}": float(part[slopes[layer] != 0].median())
            for name, entries in radii.items()
            for layer, part in self.layers.split(entries).items()
            if bool((slopes[layer] != 0).any())
        }


class CurvatureRadius(Probe):
    """`probe: {curvature_radius: {}}` → `probe/curvature_radius/gnb|hutchinson|w-over-g/LAYER`.

    Quantity: the median over a layer's entries with g_i ≠ 0 of R_i = (1 + g_i²)^{3/2} / |h_ii| (9), h the diagonal of
    the batch's Hessian by Gauss–Newton–Bartlett or Hutchinson, |h| at least 1e-12; `w-over-g` that of |w_i/g_i| (17).
    In weight²/loss. With d draws the median of a radius by GNB is about (1 + 0.7/d) times too large, in every layer.
    Logs: at each epoch's first step, before it moves the weights. Scalars; no layer whose gradient is all 0.
    Cost: second derivatives, at that step alone: for each draw about two further steps' passes.
    """

    draws: DrawCount = 8
    entries: Entries = ENTRIES

    def start(self, trial: Subject) -> Observer:
        return LayerRadii(trial, Layers(trial.model, self.entries), ("gnb", "hutchinson"), self.draws)
