"""What MLflow's UI shows when a study's experiment is opened: the answer, and tables of runs that mean something.

MLflow keeps a view of its table of runs in a tag of the experiment, under a key that a link names; it calls this
sharing a view. So cells and trials each have a table of their own, and no average mixes them. A version of MLflow that
knows no such tag shows its usual table.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

KIND = {"mlflow.experimentKind": "custom_model_development"}  # else MLflow opens on an overview of language models
DESCRIPTION = "mlflow.note.content"
VIEW = "mlflow.sharedViewState."
CELLS, TRIALS = "cells", "counts"  # the views' keys


def link(experiment: str, view: str = CELLS) -> str:
    """A view of the experiment's runs, below the address of MLflow's UI."""
    return f"/#/experiments/{experiment}/runs?workflowType=machine_learning&viewStateShareKey={view}"


def views() -> dict[str, str]:
    """The experiment's tags that hold its views."""
    cells = _view(
        "tags.phase = 'cell'",
        *_names("tags", "arm", "batch_size", "reading", "status"),
        *_names("metrics", "test/accuracy", "gap/batch", "gap/own"),
    )
    trials = _view(
        "tags.counts = 'true'",
        *_names("tags", "cell", "seed", "status"),
        *_names("metrics", "test/accuracy", "gap/train_test", "train/loss"),
    )
    return {VIEW + CELLS: cells, VIEW + TRIALS: trials}


def description(question: str, experiment: str, answer: Sequence[str], page: str) -> str:
    """Markdown above the table: what was asked, the answer so far, and where to look; `page`: the run with the page.

    Its first paragraph is what one sees before it is folded out.
    """
    tables = f"[the cells]({link(experiment)[1:]}) · [the trials that count]({link(experiment, TRIALS)[1:]})"
    report = f" · [the report](#/experiments/{experiment}/runs/{page}/artifacts/report/index.html)" if page else ""
    asked = f"**{question}**" if question else ""
    told = " ".join(filter(None, [asked, *answer]))
    return f"{told}\n\n{tables}{report}"


def is_ours(text: str) -> bool:
    """Whether a description is of this file's making, and not a person's own."""
    return not text or f"viewStateShareKey={CELLS}" in text


def _view(runs: str, *columns: str) -> str:
    """The form of MLflow 3's `ExperimentPageUIState` and search facets, as far as we state them."""
    sort = {"orderByKey": "attributes.start_time", "orderByAsc": True}
    return json.dumps({"searchFilter": runs, **sort, "selectedColumns": list(columns)})


def _names(kind: str, *names: str) -> list[str]:
    return [f"{kind}.`{name}`" for name in names]
