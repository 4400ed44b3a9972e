"""Every range that is searched where a spec does not fix the value, and where the range comes from.

A plug-in's rows are what a spec with that optimizer or trick searches. γ of a layer-wise rule is a relative step, so
its range is the same at every batch size; a plain rate is scaled by `scaled`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from search_spaces import Choice, Float, Range, Space, scaled


@dataclass(frozen=True)
class Row:
    """The range of the field `key` (as in specs, `optimizer/gamma`), and its source."""

    key: str
    range: Range | Callable[[int, int], Range]  # if it depends on them, a function of (batch size, epochs)
    source: str

    def at(self, batch_size: int, epochs: int) -> Range:
        """The range for trials of this batch size (images) and length (epochs)."""
        return self.range(batch_size, epochs) if callable(self.range) else self.range


def _sgd_rate(batch_size: int, epochs: int) -> Float:  # noqa: ARG001
    usual = scaled(2e-2, 5.0, batch_size, full_at=4096)
    return Float(min(usual.low, 1e-3), usual.high, log=True)


def _excluded_rate(batch_size: int, epochs: int) -> Float:  # noqa: ARG001
    return scaled(1e-3, 1.0, batch_size, full_at=4096)


def _warmup(batch_size: int, epochs: int) -> Float:  # noqa: ARG001
    return Float(0.0, 0.2 * epochs)


def _gamma(low: float, high: float, source: str) -> Row:
    return Row("optimizer/gamma", Float(low, high, log=True), source)


RATE = Row(
    "optimizer/lr", _sgd_rate,
    "2e-2 to 5: Nado et al. 2021, batch 32k with batch norm; linear below 4096: Goyal et al. 2017; always down to "
    "1e-3: measured here, AlexNet, which has no batch norm, diverged above 0.03 at batch sizes 16 to 256 of digits",
)  # fmt: skip
MOMENTUM = Row(
    "optimizer/momentum", Float(5e-3, 0.3, log=True, complement=True), "1 - m from 5e-3 to 0.3: Nado et al. 2021"
)
DECAY = Row(
    "optimizer/beta", Float(1e-5, 1e-2, log=True),
    "ours: more than a factor of ten on either side of the 1e-4 of Goyal et al. 2017 and the 5e-4 of You et al. 2017",
)  # fmt: skip
EXCLUDED_RATE = Row(
    "optimizer/excluded_lr", _excluded_rate,
    "ours: biases and norms train by momentum SGD; linear below 4096, as SGD's rate: Goyal et al. 2017",
)  # fmt: skip
SCHEDULE = (
    Row(
        "schedule/name", Choice(("cosine", "polynomial", "multistep", "constant")),
        "ours: the shape is searched with every optimizer alike, so that none is judged by another's",
    ),
    Row("schedule/warmup_epochs", _warmup, "ours: 0 to 20 % of the epochs; Goyal et al. 2017 take 5 of 90"),
)  # fmt: skip
LAYER_WISE = (MOMENTUM, DECAY, EXCLUDED_RATE, *SCHEDULE)

TABLE: dict[str, tuple[Row, ...]] = {
    "sgd": (RATE, MOMENTUM, DECAY, *SCHEDULE),
    "lars": (_gamma(1e-3, 1e-1, "ours: from the η = 1e-3 of You et al. 2017 up a hundredfold"), *LAYER_WISE),
    "percent_delta": (_gamma(5e-4, 0.3, "ours: a little wider than LARS's at either end"), *LAYER_WISE),
    "lamb": (_gamma(1e-4, 1e-2, "You et al. 2019"), MOMENTUM, DECAY, *SCHEDULE),
    "mclr": (_gamma(1e-6, 1e-2, "ours: the paper states no γ; MCLR needs smaller steps than LARS"), *LAYER_WISE),
    "cblr": (
        # AlexNet of width 0.125 without dropout on digits, batch size 64, 8 epochs, rates a factor of ten apart.
        # Validation accuracy at γ = 1e-5, 1e-4, 1e-3: Hutchinson 0.35, 0.88, 0.96; every step with ema 0.99 0.34, 0.88,
        # 0.95; Gauss–Newton–Bartlett 0.90, 0.97, 0.96; layer-wise 0.81, 0.93, 0.95. At 1e-2 all but the layer-wise
        # diverged. With r_max = 10: 0.25, 0.81, 0.96, and 0.97 at 1e-2. What counts is γ·r_max, the rate of flat
        # directions.
        _gamma(1e-6, 1e-2, "measured here: γ is a multiple of Newton's step, and R is capped at 100"),
        *LAYER_WISE,
    ),
    "first_epoch": (
        Row("trick/first_epoch/lr", Float(1e-4, 1e-1, log=True), "ours: around the paper's 0.005 at batch size 512"),
    ),
}


def space(name: str) -> Space:
    """The search space of a plug-in, as the entry points of group `search_spaces` give it."""

    def at(batch_size: int, epochs: int) -> dict[str, Range]:
        return {row.key: row.at(batch_size, epochs) for row in TABLE[name]}

    return at


sgd, lars, percent_delta, lamb = map(space, ("sgd", "lars", "percent_delta", "lamb"))
mclr, cblr, first_epoch = map(space, ("mclr", "cblr", "first_epoch"))
