"""E|g| against the batch size, all sizes from one pass, beside the law it should follow: figure 3.

The pass is one accumulated step over the whole training set of N images in micro-batches of m = 32. Gradients of the
batches of m·2^k images are averages of consecutive micro-batches' gradients, taken pairwise as a binary counter
carries, so memory is a thinned copy a power of two. Batches are drawn without replacement, so a batch of n has
mean μ_i (the full set's gradient) and variance s_i² = σ_i²/n · (N-n)/(N-1) in entry i.

Held out: batches are measured in the first half of the pass; μ_i and σ_i are fitted at n = m on the second half. Only
batches that do not fit into the first half (beyond N/2, the full set among them) hold images of both.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from trainables.errors import Refused
from trainables.probes import Configuration, Observer, Probe, Subject
from trainables.probes.layers import ENTRIES, Entries, Layers
from trainables.step import Part, Step


def folded_normal(mean: Tensor, deviation: Tensor) -> Tensor:
    """E|g| of g ~ N(μ, s²): s√(2/π)·exp(-μ²/2s²) + |μ|·erf(|μ|/(s√2)); |μ| where s = 0. Any shape."""
    ratio = mean.abs() / deviation  # infinite, or NaN for 0/0, where s = 0
    folded = deviation * (math.sqrt(2 / math.pi) * torch.exp(-0.5 * ratio.square()))
    return torch.where(deviation > 0, folded + mean.abs() * torch.erf(ratio / math.sqrt(2)), mean.abs())


class Moments:
    """Mean and sample variance (k,) of vectors seen one by one; from sums, which float64 can bear."""

    def __init__(self) -> None:
        self.count, self.sum, self.squares = 0, torch.zeros(()), torch.zeros(())

    def add(self, x: Tensor) -> None:
        """Takes one more vector (k,) in."""
        if not self.count:
            self.sum, self.squares = torch.zeros_like(x), torch.zeros_like(x)
        self.count += 1
        self.sum.add_(x)
        self.squares.addcmul_(x, x)

    def merged(self, other: Moments) -> Moments:
        """Of the vectors of both."""
        both = Moments()
        both.count, both.sum, both.squares = (
            self.count + other.count, self.sum + other.sum, self.squares + other.squares
        )  # fmt: skip
        return both

    @property
    def mean(self) -> Tensor:
        """Of the vectors (k,)."""
        return self.sum / self.count

    @property
    def variance(self) -> Tensor:
        """Of the vectors (k,), with n - 1 in the denominator."""
        return (self.squares - self.sum.square() / self.count).clamp_min_(0) / (self.count - 1)


class Fit:
    """μ_i and σ_i (k,) from the micro-batches of a part of the pass, and what they predict for other batches.

    The part's own mean errs by e² = σ²/(N-1) · ρ, where ρ = (N-n)/n of its n images, and |·| and (·)² of it are too
    large by that. A batch with ratio r ≥ ρ has s² = σ²/(N-1)·r: spreading the fitted mean by s² - e² gives both laws
    without bias. For r < ρ (batches beyond the part's own size) E|g| is continued linearly in the variance.
    """

    def __init__(self, moments: Moments, part: int, images: int) -> None:
        self.mean, self.images = moments.mean, images
        # distinct blocks of a finite set are correlated by -1/(N-1): hence N, not N - m
        self.unit = moments.variance * part / images  # σ²/(N-1)
        self.own = images / (moments.count * part) - 1  # ρ

    def _ratio(self, n: int) -> float:
        return self.images / n - 1

    def spread(self, n: int) -> Tensor | None:
        """√(s² - e²) (k,): g_i of batches of n is drawn as the fitted mean with this spread; None for r < ρ."""
        beyond = self._ratio(n) - self.own
        return (self.unit * beyond).sqrt() if beyond >= 0 else None

    def absolute(self, n: int) -> Tensor:
        """E|g_i| (k,) of batches of n."""
        spread = self.spread(n)
        if spread is not None:
            return folded_normal(self.mean, spread)
        beyond = self._ratio(n) - self.own
        level = self.mean.abs()
        slope = (folded_normal(self.mean, (self.unit * self.own).sqrt()) - level) / self.own
        return level + slope * beyond

    def square(self, n: int) -> Tensor:
        """E g_i² = μ_i² + s_i² (k,) of batches of n."""
        return self.mean.square() + self.unit * (self._ratio(n) - self.own)


class Pass(Observer):
    """Measures the epoch's first step."""

    def __init__(self, layers: Layers, size: int) -> None:
        self.layers, self.size = layers, size  # images of a micro-batch
        self.measuring = False

    def before_epoch(self, epoch: int) -> None:
        self.measuring = True
        self.images = 0  # of the step
        self.count = 0  # of the micro-batches of full size so far
        self.pending: dict[int, Tensor] = {}  # by batch size, the batch that waits for its neighbour
        self.absolute: dict[int, Tensor] = {}  # by batch size: sum over batches of the layers' E|g|
        self.square: dict[int, Tensor] = {}
        self.batches: dict[int, int] = {}
        self.halves = Moments(), Moments()
        self.rest = torch.zeros(())  # what the set's rest, less than a micro-batch, adds to the full set's gradient

    def after_part(self, part: Part) -> None:
        if not self.measuring:
            return
        g = self.layers.gradients()
        self.images = len(part.step.images)
        if len(part.weights) < self.size:
            self.rest = g
            return
        g *= self.images / self.size
        half = self.images // self.size // 2
        self.halves[self.count >= half].add(g)
        self.count += 1
        n = self.size
        self._measure(n, g, half)
        while n in self.pending:
            g = self.pending.pop(n).add_(g).mul_(0.5)
            n *= 2
            self._measure(n, g, half)
        self.pending[n] = g

    def _measure(self, n: int, g: Tensor, half: int) -> None:
        """Takes a batch of n into the measured ones if it lies in the first half, or is the first of its size."""
        if self.count > half and n in self.batches:
            return
        self.take(n, g)

    def take(self, n: int, g: Tensor) -> None:
        """Counts in the gradient (k,) of one batch of n."""
        self.absolute[n] = self.absolute.get(n, 0) + self.layers.means(g.abs())
        self.square[n] = self.square.get(n, 0) + self.layers.means(g.square())
        self.batches[n] = self.batches.get(n, 0) + 1

    def forget(self, n: int) -> None:
        """Batches of n were not measured after all."""
        for table in (self.absolute, self.square, self.batches):
            table.pop(n, None)

    def before_step(self, step: Step) -> None:
        if not self.measuring:
            return
        self.measuring = False
        images = self.images
        self.pending = {}
        whole = (self.halves[0].sum + self.halves[1].sum) * (self.size / images) + self.rest
        self.forget(images)  # a power of two times m may have been measured as a batch like any other
        self.take(images, whole)

    def after_epoch(self) -> dict[str, float]:
        images = self.images
        fit = Fit(self.halves[1], self.size, images)
        values: dict[str, float] = {}

        def put(name: str, means: Tensor, suffix: str = "") -> None:
            values.update({f"{name}/{layer}{suffix}": x for layer, x in self.layers.named(means).items()})

        for n in sorted(self.batches):
            put("measured", self.absolute[n] / self.batches[n], f"/{n}")
            put("folded", self.layers.means(fit.absolute(n)), f"/{n}")
            put("square", self.square[n] / self.batches[n], f"/{n}")
            put("square_law", self.layers.means(fit.square(n)), f"/{n}")
        put("mu", self.absolute[images])
        whole = self.halves[0].merged(self.halves[1])
        trace = self.layers.means(whole.variance) * (self.size * (images - 1) / images)
        put("noise_scale", trace / self.square[images])
        self.before_epoch(0)  # forget
        return {key: value for key, value in values.items() if math.isfinite(value)}


class GradientLaw(Probe):
    """`probe: {gradient_law: {}}` → `probe/gradient_law/KIND/LAYER/N` of four kinds, `…/mu|noise_scale/LAYER`.

    Of the epoch's first step, which should be the whole training set: `batch_size` N, `micro_batch` m (32), one epoch.
    Logs, for n = m·2^k and the full set N:
    `measured` E|g| over batches of n (4), in loss/weight; `folded` its prediction, entry by entry the folded normal
    with μ_i, σ_i of the other half of the pass and the finite set's (N-n)/(N-1), averaged over entries;
    `square` mean g², in (loss/weight)²; `square_law` mean(μ² + σ²/n·(N-n)/(N-1)) likewise.
    `mu` mean |μ_i|, the plateau; `noise_scale` tr Σ/|G|² (McCandlish 2018), in images. n^-1/2 from m is
    `measured/LAYER/m`·√(m/n). Predictions beyond N/2 are continued linearly in the variance. Scalars.
    Cost: under 5 % of the pass at full width, and no pass of its own. Memory: some twenty copies of `entries` a tensor.
    """

    entries: Entries = ENTRIES

    def check(self, config: Configuration) -> None:
        part = config.micro_batch
        if part is None or config.batch_size < 4 * part:
            raise Refused(
                "micro_batch", part,
                f"gradient_law averages micro-batches up: it wants at least 4 in a batch of {config.batch_size}",
                "set micro_batch: 32 and batch_size to the training split's size",
            )  # fmt: skip
        if any(trick.selects(1) for trick in config.trick.values()):
            raise Refused(
                "trick", list(config.trick), "gradient_law measures the mean over all samples, a trick selects some",
                "leave the trick out of this trial",
            )  # fmt: skip

    def start(self, trial: Subject) -> Observer:
        assert trial.config.micro_batch is not None  # checked
        return Pass(Layers(trial.model, self.entries), trial.config.micro_batch)
