"""Each layer-wise rule's radius R against the batch size, all sizes from one pass, beside what the law predicts.

In (20) to (24) R divides by a statistic of the gradient, which shrinks as 1/√n for n far below the noise scale and
levels off far above it. So R, and with it the rule's own rate γR, should rise as √n and then stay: an automatic
square-root rule. The pass is that of `trainables.probes.gradient_law`, whose μ_i and σ_i, fitted on its other half,
predict R entry by entry: LARS's ‖g‖² is Σ μ_i² + s_i², PercentDelta's mean of |g_i|/|w_i| takes the folded normal's
E|g_i|, and MCLR's median of |g_i| is that of all entries' folded normals together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from trainables.optimizers.lars import LARS
from trainables.optimizers.layerwise import Batch, LayerWise
from trainables.optimizers.mclr import MCLR
from trainables.optimizers.percent_delta import FLOOR, WEIGHT_FLOOR, PercentDelta
from trainables.probes import Observer, Subject
from trainables.probes.gradient_law import Fit, GradientLaw, Pass
from trainables.probes.layers import Layers

RULES: dict[str, type[LayerWise]] = {"lars": LARS, "percent_delta": PercentDelta, "mclr": MCLR}
MOST = 64  # batches of a size that R is averaged over: its spread from batch to batch is small
BISECTIONS = 50


def folded_median(mean: Tensor, deviation: Tensor) -> Tensor:
    """The median of |g| where g is N(μ_i, s_i²) for an i drawn at random; both (k,), k ≥ 1; a scalar."""
    size, scale = mean.abs(), (deviation * math.sqrt(2)).clamp_min(1e-300)
    low, high = mean.new_zeros(()), (size + 9 * deviation).max()
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        share = 0.5 * (torch.erf((middle - size) / scale) + torch.erf((middle + size) / scale)).mean()
        low, high = torch.where(share < 0.5, middle, low), torch.where(share < 0.5, high, middle)
    return (low + high) / 2


# R of the entries' weights (k,), means and deviations of their gradients (k,), and their expected |g| (k,)


def _lars(w: Tensor, mean: Tensor, deviation: Tensor, absolute: Tensor) -> Tensor:  # noqa: ARG001
    radius: Tensor = torch.linalg.vector_norm(w) / (mean.square() + deviation.square()).sum().sqrt()
    return radius


def _percent_delta(w: Tensor, mean: Tensor, deviation: Tensor, absolute: Tensor) -> Tensor:  # noqa: ARG001
    return 1 / (absolute / w.abs().clamp_min(WEIGHT_FLOOR)).mean().clamp_min(FLOOR)


def _mclr(w: Tensor, mean: Tensor, deviation: Tensor, absolute: Tensor) -> Tensor:  # noqa: ARG001
    moving = (mean != 0) | (deviation > 0)
    return w[moving].abs().median() / folded_median(mean[moving], deviation[moving])


PREDICTED: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "lars": _lars, "percent_delta": _percent_delta, "mclr": _mclr,
}  # fmt: skip


class RadiusPass(Pass):
    """Measures the epoch's first step, as `Pass` does, and each rule's R beside it."""

    def __init__(self, layers: Layers, size: int) -> None:
        super().__init__(layers, size)
        self.names = list(layers.wide)

    def before_epoch(self, epoch: int) -> None:
        super().before_epoch(epoch)
        self.weights = self._by_layer(self.layers.weights())
        parameters = [nn.Parameter(w.view(-1, 1), requires_grad=False) for w in self.weights]  # no bias: not excluded
        self.rules = {name: rule(parameters) for name, rule in RULES.items()}
        self.logarithms: dict[int, Tensor] = {}  # by batch size: sums over its batches of log R, (rules, layers)
        self.counted: dict[int, int] = {}

    def take(self, n: int, g: Tensor) -> None:
        super().take(n, g)
        if self.counted.get(n, 0) < MOST:
            grads = self._by_layer(g)
            radii = torch.stack([_radii(rule, self.weights, grads) for rule in self.rules.values()])
            self.logarithms[n] = self.logarithms.get(n, 0) + radii.log()
            self.counted[n] = self.counted.get(n, 0) + 1

    def forget(self, n: int) -> None:
        super().forget(n)
        self.logarithms.pop(n, None)
        self.counted.pop(n, None)

    def after_epoch(self) -> dict[str, float]:
        fit = Fit(self.halves[1], self.size, self.images)
        values: dict[str, float] = {}
        for n in sorted(self.counted):
            values |= self._named("measured", (self.logarithms[n] / self.counted[n]).exp(), n)
            deviation = fit.spread(n)
            if deviation is not None:
                values |= self._named("predicted", self._predicted(fit, deviation, fit.absolute(n)), n)
        values |= {key: value for key, value in super().after_epoch().items() if key.startswith("noise_scale/")}
        return {key: value for key, value in values.items() if math.isfinite(value)}

    def _predicted(self, fit: Fit, deviation: Tensor, absolute: Tensor) -> Tensor:
        """R of (rules, layers) for batches in which g_i is the fitted mean with this `deviation`."""
        entries = [self._by_layer(each) for each in (fit.mean, deviation, absolute)]
        layers = list(zip(self.weights, *entries, strict=True))
        return torch.stack([torch.stack([predict(*each) for each in layers]) for predict in PREDICTED.values()])

    def _named(self, kind: str, radii: Tensor, n: int) -> dict[str, float]:
        rows = zip(RULES, radii.tolist(), strict=True)
        return {f"{kind}/{rule}/{x}/{n}": r for rule, row in rows for x, r in zip(self.names, row, strict=True)}

    def _by_layer(self, entries: Tensor) -> list[Tensor]:
        return list(self.layers.split(entries).values())


def _radii(rule: LayerWise, weights: Sequence[Tensor], grads: Sequence[Tensor]) -> Tensor:
    """The rule's own R of these tensors (layers,), without its guards but for the floor."""
    options = rule.param_groups[0]
    top, bottom = rule.fraction(Batch(list(weights), list(grads), options))
    return (top / bottom.clamp_min(options["floor"])).to(weights[0].device)


class RadiusLaw(GradientLaw):
    """`probe: {radius_law: {}}` → `probe/radius_law/KIND/RULE/LAYER/N` of two kinds, and `…/noise_scale/LAYER`.

    Of the epoch's first step, which should be the whole training set: `batch_size` N, `micro_batch` m (32), one epoch;
    the trial's own optimizer does not matter. RULE is lars (23), percent_delta (24) or mclr (20)–(22), without decay.
    Logs, for n = m·2^k and the full set N, in weight²/loss: `measured`, the geometric mean of R over up to 64 batches
    of n; `predicted`, for n up to N/2, R of the gradient that the other half of the pass leads to expect.
    `noise_scale` as in `gradient_law`. Scalars.
    Cost: beyond 5 %: the rules' statistics for up to 64 batches of each size, whatever N; as much again as a pass over
    8,192 images at width 0.125. Memory: that of `gradient_law`.
    """

    def start(self, trial: Subject) -> Observer:
        assert trial.config.micro_batch is not None  # checked
        return RadiusPass(Layers(trial.model, self.entries), trial.config.micro_batch)
