"""What an unfinished study still lacks, in sentences."""

from __future__ import annotations

import pandas as pd

from reports.results import Results


def sentences(results: Results) -> list[str]:
    """A line a cell that is not as far as it should be; none for a whole study."""
    confirm = results.confirmed
    ended = confirm[~confirm["status"].isin(["running", "failed"])]["cell"].value_counts()
    most = int(ended.max()) if len(ended) else 0
    notes = {cell: _lacks(results.trials[results.trials["cell"] == cell], int(ended.get(cell, 0)), most)
             for cell in results.cells}  # fmt: skip
    return [f"{cell}: {note}." for cell, note in notes.items() if note]


def _lacks(trials: pd.DataFrame, ended: int, most: int) -> str:
    """`ended`: confirm seeds of this cell; `most`: of the cell that has most."""
    if trials.empty:
        return "nothing has run yet"
    notes = [f"{(trials['status'] == status).sum()} {status}" for status in ("running", "failed")
             if (trials["status"] == status).any()]  # fmt: skip
    if (trials["status"] == "diverged").all() and (trials["phase"] == "search").all():
        notes.append("every search trial diverged, so there is nothing to confirm")
    elif ended < most:
        notes.append(f"{ended} of {most} confirm seeds have ended")
    elif not most:
        notes.append("no confirm seed has ended")
    return "; ".join(notes)
