"""Made-up studies for every claim, in which it is right, wrong, or not to be told. None of this was ever measured."""

# ruff: noqa: ARG001, ARG005  (every trial is given arm, batch size and a generator, and few need all)

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from reports.results import Results
from study.schema import CellRun, Study, TrialEnd, TrialRun
from study.statistics import arm_of, batch_size_of
from study.store import Store, default_uri

Row = dict[str, float]
HOW = ("confirmed", "refuted", "undecided")
FC = ("classifier.1.weight", "classifier.4.weight", "classifier.6.weight")
CONV = ("features.0.weight", "features.3.weight", "features.10.weight")
LAYERS = (*CONV, *FC)
SIZES = (32, 128, 512, 2048)
IMAGES = 5000
ENVIRONMENT = {"python": "3.11.9", "torch": "2.11.0+cpu", "machine": "made up, 2 cores"}
PARAMS = {"model/name": "alexnet", "model/width": 0.125, "data/name": "cifar10", "data/train_size": IMAGES,
          "data/validation": 0.0}  # fmt: skip


@dataclass
class World:
    """A study; `trial` gives a trial's metrics by epoch, the last of them with those of the test."""

    claim: str
    cells: tuple[str, ...]
    trial: Callable[[str, int, np.random.Generator], list[Row]]
    seeds: int = 5
    params: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # by arm
    diverges: tuple[tuple[str, int], ...] = ()  # (cell, seed)
    tuned: Mapping[str, str] = field(default_factory=dict)  # by arm, the cell that its values are from

    def trials(self) -> list[tuple[str, int, str, list[Row]]]:
        """(cell, seed, status, rows)."""
        found = []
        for cell in self.cells:
            for seed in range(self.seeds):
                draw = np.random.default_rng([zlib.crc32(f"{self.claim}{cell}".encode()), seed])
                rows = self.trial(arm_of(cell), batch_size_of(cell), draw)
                lost = (cell, seed) in self.diverges
                found.append((cell, seed, "diverged" if lost else "complete", rows[:1] if lost else rows))
        return found

    def settings(self, cell: str, epochs: int) -> dict[str, Any]:
        return {**PARAMS, "epochs": epochs, **self.params.get(arm_of(cell), {})}

    def results(self) -> Results:
        """As `read` gives it, without a store."""
        rows, histories = [], []
        for number, (cell, seed, status, epochs) in enumerate(self.trials()):
            run = f"run{number}"
            tags = {"run_id": run, "cell": cell, "arm": arm_of(cell), "batch_size": batch_size_of(cell)}
            tags |= {"phase": "confirm", "seed": seed, "status": status}
            if self.tuned:
                tags["tuned_at"] = self.tuned.get(arm_of(cell))
            rows.append(
                {**tags, **self.settings(cell, len(epochs)), **{k: v for row in epochs for k, v in row.items()}}
            )
            histories += [(run, key, at, value) for at, row in enumerate(epochs, 1) for key, value in row.items()]
        trials = pd.DataFrame(rows)
        history = pd.DataFrame(histories, columns=["run_id", "metric", "epoch", "value"])
        read = {str(metric): table for metric, table in history.groupby("metric")}
        curves = read.get("train/accuracy", history.iloc[:0])[["run_id", "epoch", "value"]]
        return Results(
            name=self.claim, question="Made up?", baseline=self.cells[0], cells=self.cells, environment=ENVIRONMENT,
            trials=trials, searched={}, curve_metric="train/accuracy", curves=curves, claims=(self.claim,), _read=read,
        )  # fmt: skip

    def store(self, directory: Path, claims: str | None = None) -> Store:
        """The same, in a store by its own writing half."""
        store = Store(default_uri(directory), self.claim, create=directory)
        store.describe(
            Study(
                question=f"Is {self.claim} so, in made-up data?", baseline=self.cells[0], cells=self.cells,
                claims=tuple((claims or self.claim).split(",")), environment=ENVIRONMENT,
            )
        )  # fmt: skip
        parents = {}
        for cell, seed, status, rows in self.trials():
            tags: dict[str, Any] = {"cell": cell, "arm": arm_of(cell), "batch_size": batch_size_of(cell)}
            tags["tuned_at"] = self.tuned.get(arm_of(cell))
            if cell not in parents:
                parents[cell] = store.open_run(None, cell, CellRun(**tags), {}, None).run_id
            trial = TrialRun(**tags, phase="confirm", trial=seed, seed=seed, git_commit="0123abc")
            record = store.open_run(None, f"{cell}-{seed}", trial, self.settings(cell, len(rows)), parents[cell])
            store.log(record, list(enumerate(({"train/loss": 1.0, **row} for row in rows), 1)))
            store.close(record, TrialEnd(status=status), {"time/train_seconds": 3.0}, ok=True)
        return store


def _sure(how: str, right: float, wrong: float) -> tuple[float, float]:
    """An effect, and how far seeds spread around it."""
    return {"confirmed": (right, 0.02), "refuted": (wrong, 0.02), "undecided": ((right + wrong) / 2, 2.0)}[how]


def _curve(end: float, epochs: int, jump: float, draw: np.random.Generator, start: float = 0.1) -> list[float]:
    """Rising to `end`, with alternating jumps that die out at the end."""
    rise = [start + (end - start) * (1 - 0.7**at) / (1 - 0.7**epochs) for at in range(1, epochs + 1)]
    signs = [(-1) ** at * (at < epochs) for at in range(1, epochs + 1)]
    return [value + sign * jump * (1 + 0.1 * draw.normal()) for value, sign in zip(rise, signs, strict=True)]


# Powers of the batch size, by formulas of their own: what judges the worlds must not have made them


def noise(sigma: npt.ArrayLike, n: int) -> npt.NDArray[np.float64]:
    """The standard deviation of the mean of n of IMAGES numbers, drawn without replacement; they spread by `sigma`."""
    return np.asarray(sigma) * math.sqrt((1 / n - 1 / IMAGES) / (1 - 1 / IMAGES))


def mean_size(mu: npt.ArrayLike, s: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """E|g| of g ~ N(μ, s²), by the normal's density φ and distribution Φ: 2sφ(μ/s) + μ(2Φ(μ/s) - 1)."""
    z = np.asarray(mu) / np.maximum(s, 1e-12)
    return np.asarray(2 * np.asarray(s) * stats.norm.pdf(z) + np.asarray(mu) * (2 * stats.norm.cdf(z) - 1))


def power(claim: str, how: str) -> World:
    """Figures 4 and 7, section 5.1: confirmed without a mean gradient, refuted with one, undecided by noise."""
    key, square = {"figure-4": ("probe/stride/normalised/", False), "figure-7": ("probe/loss_stride/normalised/", True),
                   "section-5.1": ("probe/distance/mean/", False)}[claim]  # fmt: skip
    mu, jitter = {"confirmed": (0.0, 0.005), "refuted": (0.3, 0.005), "undecided": (0.0, 0.45)}[how]

    def trial(arm: str, n: int, draw: np.random.Generator) -> list[Row]:
        row: Row = {}
        for at, layer in enumerate((*LAYERS, "all")):
            s = float(noise(3 * (1 + at), n))
            level = (mu * (1 + at)) ** 2 + s**2 if square else float(mean_size(mu * (1 + at), s))
            row[key + layer] = 0.01 * level * math.exp(jitter * draw.normal())
        return [row]

    return World(claim, tuple(f"sgd/{n}" for n in (32, 64, 128, 256, 512, 1024)), trial, seeds=4)


def figure_3(how: str) -> World:
    sizes = [*(32 * 2**k for k in range(8)), IMAGES]
    jitter = 0.5 if how == "undecided" else 0.004

    def trial(arm: str, n: int, draw: np.random.Generator) -> list[Row]:
        row: Row = {}
        for at, layer in enumerate(LAYERS):
            mu = (0.05 if how == "refuted" else 1e-5) * np.abs(np.random.default_rng(at).normal(size=400))
            sigma = 2.0 + np.random.default_rng(at + 50).random(400)
            scale = math.exp(0.02 * draw.normal())
            row[f"probe/gradient_law/noise_scale/{layer}"] = float((sigma**2).sum() / (mu**2).sum())
            for size in sizes:
                law = 0.001 * scale * float(mean_size(mu, noise(sigma, size)).mean())
                row[f"probe/gradient_law/folded/{layer}/{size}"] = law * math.exp(0.01 * draw.normal())
                row[f"probe/gradient_law/measured/{layer}/{size}"] = law * math.exp(jitter * draw.normal())
        return [row]

    return World("figure-3", (f"sgd/{IMAGES}",), trial, seeds=3)


def bend(claim: str, how: str) -> World:
    """Confirmed with a mean gradient and B near 400, refuted by the power -0.3 of n, undecided by noise."""
    if claim == "figure-3-bend":
        return _bent_step(how)
    key, square = {"figure-4-bend": ("probe/stride/normalised/", False),
                   "figure-7-bend": ("probe/loss_stride/normalised/", True)}[claim]  # fmt: skip
    jitter = 0.5 if how == "undecided" else 0.003

    def trial(arm: str, n: int, draw: np.random.Generator) -> list[Row]:
        row: Row = {}
        for at, layer in enumerate((*LAYERS, "all")):
            mu, s = 0.15 * (1 + at), float(noise(3 * (1 + at), n))
            level = mu**2 + s**2 if square else float(mean_size(mu, s))
            if how == "refuted":
                level = n**-0.3
            row[key + layer] = 0.01 * level * math.exp(jitter * draw.normal())
        return [row]

    return World(claim, tuple(f"sgd/{4 * 2**k}" for k in range(10)), trial, seeds=5)


def collapse(how: str) -> World:
    """Confirmed where the entries of the mean gradient are normal, refuted where they are few, undecided by noise."""
    sizes = [*(32 * 2**k for k in range(8)), IMAGES]

    def trial(arm: str, n: int, draw: np.random.Generator) -> list[Row]:
        row: Row = {}
        for at, layer in enumerate(LAYERS):
            mu = 0.2 * (1 + at) * np.abs(stats.norm.ppf((np.arange(800) + 0.5) / 800))
            if how == "refuted":
                mu[:780] = 0.0
            row[f"probe/gradient_law/mu/{layer}"] = float(mu.mean())
            row[f"probe/gradient_law/noise_scale/{layer}"] = float(16.0 * 800 / (mu**2).sum())
            for size in sizes:
                law = float(mean_size(mu, noise(np.full(800, 4.0), size)).mean())
                jitter = 0.15 if how == "undecided" else 0.01
                row[f"probe/gradient_law/measured/{layer}/{size}"] = law * math.exp(jitter * draw.normal())
        return [row]

    return World("collapse", (f"sgd/{IMAGES}",), trial, seeds=3)


def _bent_step(how: str) -> World:
    sizes = [*(8 * 2**k for k in range(9)), IMAGES]
    jitter = 0.5 if how == "undecided" else 0.003

    def trial(arm: str, n: int, draw: np.random.Generator) -> list[Row]:
        row: Row = {}
        for at, layer in enumerate(LAYERS):
            mu = 0.1 * np.abs(np.random.default_rng(at).normal(size=400))
            sigma = 2.0 + np.random.default_rng(at + 50).random(400)
            row[f"probe/gradient_law/noise_scale/{layer}"] = float((sigma**2).sum() / (mu**2).sum())
            for size in sizes:
                law = 0.001 * float(mean_size(mu, noise(sigma, size)).mean())
                seen = 0.001 * size**-0.3 if how == "refuted" else law
                row[f"probe/gradient_law/folded/{layer}/{size}"] = law
                row[f"probe/gradient_law/measured/{layer}/{size}"] = seen * math.exp(jitter * draw.normal())
        return [row]

    return World("figure-3-bend", (f"sgd/{IMAGES}",), trial, seeds=4)


# Single optimizers


def figure_1(how: str) -> World:
    slope, noise = _sure(how, -0.02, 0.02)

    def trial(arm: str, n: int, draw: np.random.Generator) -> list[Row]:
        end = 0.7 + slope * math.log2(n / 128) + 0.2 * noise * draw.normal()
        rows: list[Row] = [{"train/accuracy": value, "train/loss": 2 - value} for value in _curve(end, 6, 0.0, draw)]
        rows[-1] |= {"test/accuracy": end, "gap/train_test": 0.05}
        return rows

    return World("figure-1", tuple(f"sgd/{n}" for n in SIZES), trial, diverges=(("sgd/2048", 4),))


def figure_2(how: str) -> World:
    spread, noise = {"confirmed": (1.0, 0.1), "refuted": (0.05, 0.05), "undecided": (0.25, 1.2)}[how]

    def trial(arm: str, n: int, draw: np.random.Generator) -> list[Row]:
        return [
            {f"probe/curvature_radius/{estimate}/{layer}": 40 * math.exp(spread * at + noise * draw.normal()) * factor
             for at, layer in enumerate(LAYERS)
             for estimate, factor in (("gnb", 1.0), ("hutchinson", 1.6), ("w-over-g", 0.1))}
        ]  # fmt: skip

    return World("figure-2", ("sgd/256",), trial)


def figure_5(how: str) -> World:
    power_, noise = {"confirmed": (-0.5, 0.1), "refuted": (0.8, 0.1), "undecided": (0.0, 1.0)}[how]

    def trial(arm: str, n: int, draw: np.random.Generator) -> list[Row]:
        level = 0.001 * (n / 32) ** power_ * math.exp(noise * draw.normal())
        decay = [level * 0.85**at for at in range(8)]
        steps = 1 if how != "confirmed" else IMAGES // n
        return [{"probe/stride/mean/all": each, "probe/stride/sum/all": each * steps} for each in decay]

    return World("figure-5", tuple(f"sgd/{n}" for n in SIZES), trial)


def figure_8(how: str) -> World:
    levels = {"confirmed": (0.3, 0.05, 0.06, 0.4), "refuted": (0.02, 0.2, 0.25, 0.3), "undecided": (0.1,) * 4}[how]
    noise = 2.0 if how == "undecided" else 0.1

    def trial(arm: str, n: int, draw: np.random.Generator) -> list[Row]:
        jump = levels[SIZES.index(n)] * math.exp(noise * draw.normal())
        return [{"train/loss": 2.4 - 2 * value} for value in _curve(0.8, 16, jump, draw)]

    return World("figure-8", tuple(f"sgd/{n}" for n in SIZES), trial)


def figure_9(how: str) -> World:
    slope, noise = {"confirmed": (0.12, 0.02), "refuted": (-0.05, 0.02), "undecided": (0.0, 0.4)}[how]

    def trial(arm: str, n: int, draw: np.random.Generator) -> list[Row]:
        row: Row = {}
        for layer in FC:
            tilt = slope + noise * draw.normal()
            for p in range(0, 100, 10):
                row[f"probe/discard_gradient/small/{layer}/{p}"] = 0.002 * math.exp(
                    tilt * p / 10 + 0.02 * draw.normal()
                )
                row[f"probe/discard_gradient/random/{layer}/{p}"] = 0.002 * math.exp(
                    0.04 * p / 10 + 0.02 * draw.normal()
                )
        return [row]

    return World("figure-9", ("sgd/2048",), trial, seeds=4)


def section_5_2(how: str) -> World:
    shrink, noise = {"confirmed": (0.4, 0.02), "refuted": (1.8, 0.02), "undecided": (1.0, 0.6)}[how]

    def trial(arm: str, n: int, draw: np.random.Generator) -> list[Row]:
        rows = []
        for epoch in range(1, 7):
            factor = 1 + (shrink - 1) * min(1, (epoch - 1) / 3) * (arm == "sgd-warmup")
            factor *= math.exp(noise * draw.normal())
            rows.append({f"probe/curvature_radius/gnb/{layer}": 30 * math.exp(factor * (at - 2.5)) for at, layer in
                         enumerate(LAYERS)})  # fmt: skip
        return rows

    warm = {"schedule/warmup_epochs": 2.5}
    return World("section-5.2", ("sgd/512", "sgd-warmup/512"), trial, params={"sgd-warmup": warm})


def steps_to_target(how: str) -> World:
    bend, noise = {"confirmed": (0.5, 0.02), "refuted": (-0.6, 0.02), "undecided": (0.0, 0.5)}[how]

    def trial(arm: str, n: int, draw: np.random.Generator) -> list[Row]:
        octaves = math.log2(n / 32)
        needed = 0.4 * IMAGES * 2 ** (-octaves + 0.12 * bend * octaves**2 + noise * draw.normal())
        done = [epoch * (IMAGES // n) for epoch in range(1, 61)]
        return [{"val/accuracy": 0.1 + 0.53 * (1 - math.exp(-2 * at / needed)), "train/accuracy": 0.5} for at in done]

    return World("steps-to-target", tuple(f"sgd/{n}" for n in SIZES), trial)


def curvature(how: str) -> World:
    rank, noise = {"confirmed": (0.6, 0.05), "refuted": (0.05, 0.05), "undecided": (0.3, 0.3)}[how]

    def trial(arm: str, n: int, draw: np.random.Generator) -> list[Row]:
        level = rank + noise * draw.normal()
        ranks = {"hutchinson": 0.8, "gnb": 0.7, "w-over-g": level}
        return [
            {f"probe/curvature/rank/{name}/{layer}": value for name, value in ranks.items() for layer in LAYERS}
            | {f"probe/curvature/ratio/{name}/{layer}": 1.5 for name in ranks for layer in LAYERS}
        ]

    return World("curvature", ("one/64", "ten/64"), trial)


# Values found at one batch size and used at others


def carried(claim: str, how: str) -> World:
    """Four optimizers tuned at three batch sizes, and with the values of the smallest and the largest at the others."""
    sizes, rules = (16, 64, 256), ("sgd", "lars", "percent_delta", "mclr")
    tuned = {f"{rule}-from-{n}": f"{rule}/{n}" for rule in rules for n in (16, 256)}
    cells = [f"{rule}/{n}" for rule in rules for n in sizes]
    cells += [f"{arm}/{n}" for arm, source in tuned.items() for n in sizes if n != batch_size_of(source)]
    loses = {"confirmed": (0.08, 0.01), "refuted": (0.01, 0.08), "undecided": (0.03, 0.03)}[how]
    rises = {"confirmed": 0.4, "refuted": -0.2, "undecided": 0.0}[how]
    jitter = 0.3 if how == "undecided" else 0.03
    found = {rule: {"optimizer/lr" if rule == "sgd" else "optimizer/gamma": 0.1} for rule in rules}
    params = found | {arm: found[arm_of(source)] for arm, source in tuned.items()}

    def trial(arm: str, n: int, draw: np.random.Generator) -> list[Row]:
        rule, _, source = arm.partition("-from-")
        loss = loses[rule != "sgd"] * abs(math.log2(n / int(source))) / 2 if source else 0.0
        end = 0.6 - loss + (0.04 if how == "undecided" else 0.004) * draw.normal()
        dead = (claim, how, arm, n) == ("radius-training", "confirmed", "percent_delta-from-256", 16)
        if dead:  # a net without a gradient, by which R divides, says nothing of a law
            end = 0.1
        rows: list[Row] = [{"train/accuracy": value, "train/loss": 2 - value} for value in _curve(end, 6, 0.0, draw)]
        rows[-1] |= {"test/accuracy": end, "test/chance": 0.12, "gap/train_test": 0.05}
        for row in rows if rule != "sgd" else ():
            tilt = rises + jitter * draw.normal()
            row |= {
                f"probe/radius/{layer}": 5 * n**tilt * (1 + at) * (1e4 if dead else 1)
                for at, layer in enumerate(LAYERS)
            }
        return rows

    diverges = (("sgd-from-256/16", 4),) if how == "confirmed" and claim == "transfer" else ()
    return World(claim, tuple(cells), trial, params=params, tuned=tuned, diverges=diverges)


def radius_law(how: str) -> World:
    """R with √n below B = 500 and constant above, or n^0.2 throughout; predicted by a formula of its own."""
    sizes = [*(4 * 2**k for k in range(11)), IMAGES]
    jitter = 0.3 if how == "undecided" else 0.004

    def trial(arm: str, n: int, draw: np.random.Generator) -> list[Row]:
        row: Row = {}
        for at, layer in enumerate(LAYERS):
            row[f"probe/radius_law/noise_scale/{layer}"] = 500 * math.exp(0.02 * draw.normal())
            for rule in ("lars", "percent_delta", "mclr"):
                for size in sizes:
                    law = (1 + at) / math.sqrt(1 + 500 * float(noise(1.0, size)) ** 2)
                    seen = (1 + at) * size**0.2 if how == "refuted" else law
                    row[f"probe/radius_law/measured/{rule}/{layer}/{size}"] = seen * math.exp(jitter * draw.normal())
                    if size < IMAGES / 2:
                        row[f"probe/radius_law/predicted/{rule}/{layer}/{size}"] = law
        return [row]

    return World("radius-law", (f"sgd/{IMAGES}",), trial, seeds=4)


# Arms against each other


def arms(
    claim: str,
    how: str,
    sizes: Sequence[int],
    gains: Mapping[str, Mapping[str, float]],
    noise: float = 0.003,
    level: Callable[[int], float] = lambda n: 0.7,
    params: Mapping[str, Mapping[str, Any]] | None = None,
) -> World:
    """`gains[how][arm]` above plain SGD's `level`, in fractions; undecided ones are lost in noise."""

    def trial(arm: str, n: int, draw: np.random.Generator) -> list[Row]:
        gain = gains[how].get(arm, 0.0)
        end = level(n) + gain + (0.04 if how == "undecided" else noise) * draw.normal()
        rows: list[Row] = [{"train/accuracy": value, "train/loss": 2 - value} for value in _curve(end, 10, 0.01, draw)]
        rows[-1] |= {"test/accuracy": end - 0.05, "gap/train_test": 0.05}
        return rows

    names = list(dict.fromkeys(arm for table in gains.values() for arm in table))
    return World(claim, tuple(f"{arm}/{n}" for arm in names for n in sizes), trial, params=params or {})


def compared(claim: str, how: str) -> World:
    """The claims of one arm above, below, or as good as others."""
    remedies = ("warmup", "legw", "one-cycle", "grow", "longer", "noise")
    attempts = ("discard-gradients", "dropout", "sharpen")
    discard = {"sgd": 0.0, "sgd-discard": 0.0}
    match claim:
        case "figure-10":
            up, down = {**discard, "sgd-discard": 0.05}, {**discard, "sgd-discard": -0.05}
            options = {"trick/discard/epochs": 6}
            return arms(claim, how, (200, 800), {"confirmed": up, "refuted": down, "undecided": discard},
                        params={"sgd-discard": options})  # fmt: skip
        case "section-3.1":
            gains = {"confirmed": discard, "refuted": {**discard, "sgd-discard": 0.06}, "undecided": discard}
            return arms(claim, how, (800, 1600), gains, noise=0.0008)
        case "figure-16":
            same = {"lars": 0.0, "mclr": 0.0}
            return arms(claim, how, (1024,), {"confirmed": same, "refuted": {**same, "mclr": -0.06}, "undecided": same},
                        noise=0.002)  # fmt: skip
        case "nesterov":
            same = {"sgd": 0.0, "lars": 0.0, "mclr": 0.0}
            gains = {"confirmed": {**same, "sgd": 0.02}, "refuted": {**same, "sgd": -0.08}, "undecided": same}
            return arms(claim, how, (32, 512), gains)
        case "remedies" | "attempts":
            names = remedies if claim == "remedies" else attempts
            gains = {"confirmed": {"sgd": 0.0} | dict.fromkeys(names, 0.06),
                     "refuted": {"sgd": 0.0} | dict.fromkeys(names, 0.06) | {names[-1]: -0.06},
                     "undecided": {"sgd": 0.0} | dict.fromkeys(names, 0.0)}  # fmt: skip
            return arms(claim, how, (128, 512), gains)
        case _:
            gains = {"confirmed": {"sgd": 0.0, "sgd-steps": 0.16}, "refuted": {"sgd": 0.0, "sgd-steps": 0.05},
                     "undecided": {"sgd": 0.0, "sgd-steps": 0.15}}  # fmt: skip
            return arms(claim, how, (32, 128, 512), gains, level=lambda n: 0.8 - 0.04 * math.log2(n / 32))


def section_4_2(how: str) -> World:
    slope, noise = {"confirmed": (0.06, 0.002), "refuted": (-0.05, 0.002), "undecided": (0.03, 0.05)}[how]

    def trial(arm: str, n: int, draw: np.random.Generator) -> list[Row]:
        end = 0.8 - (slope * max(0.0, math.log2(n / 512)) if arm == "mclr" else 0.0) + noise * draw.normal()
        return [{"train/accuracy": value} for value in _curve(end, 6, 0.0, draw)]

    return World("section-4.2", tuple(f"{arm}/{n}" for arm in ("lars", "mclr") for n in (128, 512, 1024, 2048)), trial)


def first_epoch(claim: str, how: str) -> World:
    baseline = claim in ("figure-11", "figure-12")
    early = {"confirmed": 0.08, "refuted": 0.005, "undecided": 0.03}[how]

    def trial(arm: str, n: int, draw: np.random.Generator) -> list[Row]:
        ours = arm == "sgd-first-epoch"
        jump, late = (early, 0.02 if how != "undecided" else 0.06 * draw.random()) if baseline else (0.06, 0.02)
        end, spread = 0.6, 0.05
        if not baseline and ours:
            jump, end, spread = {"confirmed": (0.01, 0.75, 0.004), "refuted": (0.15, 0.4, 0.05),
                                 "undecided": (0.06, 0.6, 0.05)}[how]  # fmt: skip
        end += spread * draw.normal()
        first, rest = _curve(end, 11, jump, draw)[:10], [end + (-1) ** at * late for at in range(10)]
        values = [*first, *rest[:-1], end]
        return [{"train/accuracy": value, "train/loss": 2 - 1.5 * value} for value in values]

    return World(claim, ("sgd/512", "sgd-first-epoch/512"), trial, seeds=8)


def world(claim: str, how: str) -> World:
    """The claim's study in which it comes out like this."""
    own = {"figure-1": figure_1, "figure-2": figure_2, "figure-3": figure_3, "figure-5": figure_5, "figure-8": figure_8,
           "figure-9": figure_9, "collapse": collapse, "section-4.2": section_4_2, "section-5.2": section_5_2,
           "steps-to-target": steps_to_target, "curvature": curvature, "radius-law": radius_law}  # fmt: skip
    if claim in ("transfer", "radius-training"):
        return carried(claim, how)
    if claim in own:
        return own[claim](how)
    if claim.endswith("-bend"):
        return bend(claim, how)
    if claim in ("figure-4", "figure-7", "section-5.1"):
        return power(claim, how)
    if claim in ("figure-11", "figure-12", "figure-13", "figure-14"):
        return first_epoch(claim, how)
    return compared(claim, how)


def bare(claim: str) -> World:
    """The same cells, with nothing but a loss: what a study lacks when its probes were left out."""
    whole = world(claim, "confirmed")
    return World(claim, whole.cells, lambda arm, n, draw: [{"train/loss": 1.0}], seeds=2, tuned=whole.tuned)
