"""What an unfinished study still lacks, in sentences."""

from __future__ import annotations

import pandas as pd

from reports.results import Results


def sentences(results: Results) -> list[str]:
    """A line a cell that is not as far as it should be; none for a whole study."""
    confirm = results.confirmed
    ended = confirm[~confirm["status"].isin(["running", "failed"])]["cell"].value_counts()
    most = int(ended.max()) if len(ended) else 0
    trials = {cell: results.trials[results.trials["cell"] == cell] for cell in results.cells}
    notes = {cell: _lacks(each, int(ended.get(cell, 0)), most, _broken(results, cell)) for cell, each in trials.items()}
    return [f"{cell}: {note}." for cell, note in notes.items() if note]


def _broken(results: Results, cell: str) -> str:
    """The constraints that keep the cell from being confirmed; empty where none does."""
    summary = results.summaries.get(cell)
    return "; ".join(summary.end.broken) if summary else ""


def _lacks(trials: pd.DataFrame, ended: int, most: int, broken: str) -> str:
    """`ended`: confirm seeds of this cell; `most`: of the cell that has most; `broken`: as in `_broken`."""
    if trials.empty:
        return "nothing has run yet"
    notes = [f"{(trials['status'] == status).sum()} {status}" for status in ("running", "failed")
             if (trials["status"] == status).any()]  # fmt: skip
    if broken:
        notes.append(f"every complete search trial breaks a constraint, so there is nothing to confirm ({broken})")
    elif (trials["status"] == "diverged").all() and (trials["phase"] == "search").all():
        notes.append("every search trial diverged, so there is nothing to confirm")
    elif ended < most:
        notes.append(f"{ended} of {most} confirm seeds have ended")
    elif not most:
        notes.append("no confirm seed has ended")
    return "; ".join(notes)
