"""What training cost: how long each confirm seed took to reach a target, in epochs and in seconds.

The target is stated by the study itself, whatever its arms do: SHARE of the accuracy at which the baseline cell ends.
It is looked for in the accuracy that the curves show, validation where there is some.
"""

from __future__ import annotations

import pandas as pd

from reports.results import Results

SHARE = 0.95


def target(results: Results) -> float:
    """The accuracy to be reached, a fraction; NaN where no seed of the baseline cell is complete."""
    ends = _curves(results, results.baseline).sort_values("epoch").groupby("seed")["value"].last()
    return SHARE * float(ends.mean())


def reached(results: Results) -> pd.DataFrame:
    """A row a complete confirm seed: cell, arm, batch_size, seed, and `epoch`, `seconds` at the target.

    NaN where the seed never reached it, `seconds` also where they were not stored.
    """
    aim = target(results)
    rows = _curves(results)
    clock = results.history(["time/train_seconds"]).sort_values("epoch")
    clock = clock.astype({"value": float})  # an empty table has no numbers
    clock = clock.assign(seconds=clock.groupby(["arm", "batch_size", "seed"])["value"].cumsum())
    rows = rows.merge(clock[["arm", "batch_size", "seed", "epoch", "seconds"]], how="left")
    there = rows[rows["value"] >= aim].sort_values("epoch").drop_duplicates(["cell", "seed"])
    every = rows[["cell", "arm", "batch_size", "seed"]].drop_duplicates()
    return every.merge(there[["cell", "seed", "epoch", "seconds"]], how="left")


def usual(reached: pd.DataFrame) -> pd.DataFrame:
    """A row a cell: arm, batch_size, seeds, those `there`, and the medians of epoch and seconds over all its seeds.

    A seed that never arrives takes longer than any: the median is NaN where half of them do not.
    """
    rows = []
    for cell, here in reached.groupby("cell", sort=False):
        medians = {key: _median(here[key]) for key in ("epoch", "seconds")}
        first = here.iloc[0]
        rows.append(
            {"cell": cell, "arm": first["arm"], "batch_size": int(first["batch_size"]), "seeds": len(here),
             "there": int(here["epoch"].notna().sum()), **medians}
        )  # fmt: skip
    return pd.DataFrame(rows, columns=["cell", "arm", "batch_size", "seeds", "there", "epoch", "seconds"])


def _median(taken: pd.Series) -> float:
    """Of the lower half: half of the seeds are there after so long."""
    ordered = taken.fillna(float("inf")).sort_values().to_list()
    middle = ordered[(len(ordered) - 1) // 2]
    return float("nan") if middle == float("inf") else float(middle)


def _curves(results: Results, cell: str | None = None) -> pd.DataFrame:
    """cell, arm, batch_size, seed, epoch, value of the complete confirm trials (of one cell)."""
    done = results.confirmed[results.confirmed["status"] == "complete"]
    done = done if cell is None else done[done["cell"] == cell]
    columns = ["run_id", "cell", "arm", "batch_size", "seed"]
    return done[columns].merge(results.curves.dropna(), on="run_id").drop(columns="run_id")
