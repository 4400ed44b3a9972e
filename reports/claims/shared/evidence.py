"""What claims take from a study's results; whatever is not there is Missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from reports.claims.shared.claim import Missing
from reports.figures import against
from reports.figures.seeds import below
from reports.results import Results
from study.collapse import Collapse, collapse, sentences
from study.intervals import Bounds, Estimate, interval
from study.statistics import accuracies, arm_of, batch_size_of

IMAGES = {"cifar10": 50_000, "digits": 1437}  # in the whole training sets
PAPERS_IMAGES = 50_000
HEADS = ("classifier", "fc", "head")


def sizes_of(table: pd.DataFrame) -> list[int]:
    """The batch sizes that are the columns of `table`."""
    return [int(str(size)) for size in table.columns]


def drawable(make: Callable[[Results], pd.DataFrame]) -> Callable[[Results], pd.DataFrame]:
    """A figure's data: none where the study lacks them."""

    def data(results: Results) -> pd.DataFrame:
        try:
            return make(results)
        except Missing:
            return pd.DataFrame()

    return data


def home(results: Results) -> str:
    """The baseline's arm: the one that a claim about a single optimizer is about."""
    return arm_of(results.baseline)


def last(results: Results, metric: str, arm: str) -> pd.DataFrame:
    """`metric` after the last epoch: complete confirm seeds (rows) × batch sizes (columns, ascending)."""
    cells = sorted((cell for cell in results.cells if arm_of(cell) == arm), key=batch_size_of)
    if not cells:
        raise Missing(f"the study has no arm {arm}")
    table = accuracies(results.trials, cells, metric)
    table = table.set_axis([batch_size_of(cell) for cell in cells], axis="columns")
    return _some(table.dropna(axis="columns", how="all"), f"no trial of {arm} is complete with {metric}")


def at_epoch(results: Results, metric: str, arm: str, epoch: int = 1) -> pd.DataFrame:
    """`metric` of one epoch: seeds × batch sizes, of every confirm trial that finished this epoch."""
    history = results.history([metric])
    here = history[(history["arm"] == arm) & (history["epoch"] == epoch)]
    table = here.pivot_table(index="seed", columns="batch_size", values="value")
    return _some(table, f"no trial of {arm} has {metric} at epoch {epoch}")


def curves(results: Results, metric: str, arms: Sequence[str]) -> pd.DataFrame:
    """`metric` by epoch of the complete confirm trials: arm, batch_size, seed, epoch, value."""
    history = results.history([metric])
    here = history[history["arm"].isin(arms) & (history["status"] == "complete")]
    for arm in arms:
        if arm not in set(here["arm"]):
            raise Missing(f"no trial of {arm} is complete with {metric}")
    return here[["arm", "batch_size", "seed", "epoch", "value"]].reset_index(drop=True)


def at_sizes(results: Results, key: str) -> pd.DataFrame:
    """What one trial of the baseline's arm measured at several batch sizes N, as `key`N: seeds × batch sizes."""
    sizes = sorted(int(column.removeprefix(key)) for column in map(str, results.trials) if column.startswith(key))
    if not sizes:
        raise Missing(f"no trial has {key}…")
    columns = {size: last(results, f"{key}{size}", home(results)).iloc[:, 0] for size in sizes}
    return pd.DataFrame(columns).dropna()


def noise_scale(results: Results, prefix: str, layer: str) -> Estimate:
    """B = tr Σ/|G|² of the layer, in images, over seeds, as the probe of this `prefix` measured it; may be Missing."""
    return interval(last(results, f"{prefix}noise_scale/{layer}", home(results)).iloc[:, 0])


def _some(table: pd.DataFrame, absent: str) -> pd.DataFrame:
    if table.empty:
        raise Missing(absent)
    return table


def shared(left: pd.DataFrame, right: pd.DataFrame, sizes: Sequence[int] | None = None) -> dict[int, pd.Series]:
    """`left - right` by batch size, over the seeds that both completed there; both are seeds × batch sizes."""
    common = [size for size in sizes_of(left) if size in right.columns and (sizes is None or size in sizes)]
    differences = {size: (left[size] - right[size]).dropna() for size in common}
    whole = {size: difference for size, difference in differences.items() if len(difference)}
    if not whole:
        raise Missing("no seed is complete in both arms at one batch size")
    return whole


def layers(results: Results, prefix: str) -> list[str]:
    """The names that follow `prefix` in the metrics that some trial has, up to the next `/`; in the net's order.

    A column may be there for the trials of another reading, whose net has other layers.
    """
    columns = [str(column) for column in results.trials if str(column).startswith(prefix)]
    measured = results.trials[columns].notna().any()
    keys = (column.removeprefix(prefix) for column in columns if measured[column])
    names = dict.fromkeys(key.partition("/")[0] for key in keys)
    if not names:
        raise Missing(f"no trial was measured by the probe {prefix.split('/')[1]}")
    return sorted(names, key=in_order)


def in_order(layer: str) -> tuple[object, ...]:
    """Numbers in a name count as numbers; a net's head comes after its body, and `all` last."""
    parts = tuple((int(part), "") if part.isdecimal() else (-1, part) for part in layer.split("."))
    return layer == "all", layer.startswith(HEADS), parts


def dense(names: Sequence[str], number: int) -> str:
    """The fully connected layer of this number, from 1."""
    heads = [name for name in names if name.startswith(HEADS)]
    if len(heads) < number:
        raise Missing(f"the net has no fully connected layer number {number}")
    return heads[number - 1]


def ends(names: Sequence[str]) -> list[str]:
    """The layers that the study of gradients names: first and last convolution, first and second fully connected."""
    body = [name for name in names if not name.startswith(HEADS) and name != "all"]
    head = [name for name in names if name.startswith(HEADS)]
    return list(dict.fromkeys([*body[:1], *body[-1:], *head[:2]])) or list(names)


def main(names: Sequence[str]) -> str:
    """What a claim about no layer of its own is judged by: all weights together, where they were measured."""
    return "all" if "all" in names else names[-1]


def called(layer: str, names: Sequence[str]) -> str:
    """What a reader calls a parameter: `classifier.1.weight` → `fully connected 1 (classifier.1)`."""
    if layer == "all":
        return "all weights"
    alike = [name for name in names if name != "all" and name.startswith(HEADS) == layer.startswith(HEADS)]
    kind = "fully connected" if layer.startswith(HEADS) else "convolution"
    return f"{kind} {alike.index(layer) + 1} ({layer.removesuffix('.weight')})"


def images(results: Results) -> int:
    """N, how many images an epoch draws from."""
    trials = results.confirmed
    size = trials["data/train_size"].dropna() if "data/train_size" in trials else pd.Series(dtype=float)
    names = trials["data/name"].dropna() if "data/name" in trials else pd.Series(dtype=str)
    whole = int(size.iloc[0]) if len(size) else IMAGES.get(str(names.iloc[0]), 0) if len(names) else 0
    if not whole:
        raise Missing("the number of training images is not known")
    held_out = trials["data/validation"].dropna() if "data/validation" in trials else pd.Series(dtype=float)
    return whole - round((float(held_out.iloc[0]) if len(held_out) else 0.0) * whole)


def scaled(results: Results, papers_size: int) -> float:
    """A batch size of the paper as the same share of this study's training images."""
    return papers_size * min(1.0, images(results) / PAPERS_IMAGES)


def summary(line: str, table: pd.DataFrame, within: Bounds) -> pd.DataFrame:
    """A row a column of `table` (seeds × x) that holds a seed, and below them a row a seed and column.

    With the columns of `reports.figures.against`; `within`: what the quantity can be, as for `interval`.
    """
    rows = [(line, float(str(x)), interval(table[x].dropna(), within=within)) for x in table]
    means = [(name, x, each.mean, each.low, each.high, each.n) for name, x, each in rows if each.n]
    values = [
        {"line": line, "x": float(str(x)), "mean": value, "seed": seed}
        for x in table
        for seed, value in table[x].dropna().items()
    ]
    return below(pd.DataFrame(means, columns=against.COLUMNS[:-1]), values)


def by_others(
    table: pd.DataFrame, choose: Callable[[pd.Series], Any], then: Callable[[pd.Series, Any], float]
) -> list[float]:
    """`then(row, choice)` for each row, where the choice is made from the mean of all other rows.

    So that a maximum is not picked by the noise that it is measured with. A single row chooses for itself.
    """
    if len(table) < 2:
        return [then(row, choose(row)) for _, row in table.iterrows()]
    return [then(row, choose(table.drop(index=seed).mean())) for seed, row in table.iterrows()]


def seeds(n: int) -> str:
    """`3 seeds`."""
    return f"{n} seed{'' if n == 1 else 's'}"


def caveats(results: Results, arms: Sequence[str]) -> str:
    """Sentences on the confirm seeds of these arms that diverged or collapsed; empty where none did."""
    tried = results.confirmed[results.confirmed["arm"].isin(arms)]
    lost = tried[tried["status"] == "diverged"].groupby("cell").size()
    counts = ", ".join(f"{cell} ({count} of {(tried['cell'] == cell).sum()})" for cell, count in lost.items())
    diverged = f" Diverged seeds are in none of these numbers: {counts}." if counts else ""
    collapsed = "; ".join(sentences(_collapses(results, arms)))
    return diverged + (f" Far below the cell's other seeds: {collapsed}." if collapsed else "")


def _collapses(results: Results, arms: Sequence[str]) -> list[Collapse]:
    """Of each cell of these arms, by test accuracy, or by training accuracy where nothing was tested."""
    cells = [cell for cell in results.cells if arm_of(cell) in arms]
    test, train = (accuracies(results.trials, cells, f"{split}/accuracy") for split in ("test", "train"))
    return [collapse(cell, test[cell].dropna() if test[cell].notna().any() else train[cell].dropna()) for cell in cells]
