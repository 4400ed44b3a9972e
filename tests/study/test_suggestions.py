"""Suggestions stay what they were: a study that an earlier version began goes on as that version would have.

Each of the last trials here hangs on every trial before it. Version 0.1.0 (commit 9bd26f5) drew them.
"""

from __future__ import annotations

import pytest

from study.outcome import Outcome
from study.plan import cells
from study.search import CellSearch
from study.spec import load
from study.storage import open_storage
from tests.study.simulation import curve

LAST = [
    ("cmaes", "sgd/32", 13, {"beta": 0.002116722081091642, "lr": 0.011750105279426885}),
    (
        "cmaes",
        "mclr/128",
        13,
        {"beta": 0.0004242461128330199, "excluded_lr": 0.00037409635899328706, "gamma": 0.00011046602684892507},
    ),
    ("gp", "sgd/16", 8, {"beta": 0.00338859546351564, "lr": 0.00042756715166249117}),
    (
        "gp",
        "mclr/16",
        8,
        {"beta": 0.001134666953773238, "excluded_lr": 0.0020991531771577415, "gamma": 0.000588079217048068},
    ),
    ("qmc", "sgd/32", 13, {"beta": 0.004121321379337458, "lr": 0.00403563959208012}),
    (
        "qmc",
        "mclr/128",
        13,
        {"beta": 0.0018370115375093501, "excluded_lr": 0.0020580230909210354, "gamma": 0.0013100917220026545},
    ),
    ("random", "sgd/32", 13, {"beta": 0.007199729085657285, "lr": 0.00021542472811766653}),
    (
        "random",
        "mclr/128",
        13,
        {"beta": 0.00011199319420389816, "excluded_lr": 0.02090339545207259, "gamma": 0.0006072607048297616},
    ),
    ("tpe", "sgd/32", 13, {"beta": 0.005318911993991995, "lr": 0.03398127197876627}),
    (
        "tpe",
        "mclr/128",
        13,
        {"beta": 0.009253996932312498, "excluded_lr": 0.004638937135816337, "gamma": 1.974490241647575e-06},
    ),
    (
        "{name: cmaes, popsize: 4, use_separable_cma: true}",
        "sgd/32",
        13,
        {"beta": 3.6553773680788564e-05, "lr": 0.011310544481340386},
    ),
    (
        "{name: cmaes, popsize: 4, use_separable_cma: true}",
        "mclr/128",
        13,
        {"beta": 0.0002668670686806475, "excluded_lr": 0.0022727164200060505, "gamma": 0.00011816444149496263},
    ),
    ("{name: gp, n_startup_trials: 3}", "sgd/16", 8, {"beta": 2.241068214477732e-05, "lr": 0.01953124999999999}),
    (
        "{name: gp, n_startup_trials: 3}",
        "mclr/16",
        8,
        {"beta": 4.7886830518457584e-05, "excluded_lr": 4.795959316764086e-05, "gamma": 0.001695558482684361},
    ),
    (
        "{name: qmc, qmc_type: halton, scramble: false}",
        "sgd/32",
        13,
        {"beta": 2.782559402207126e-05, "lr": 0.00043998085329008456},
    ),
    (
        "{name: qmc, qmc_type: halton, scramble: false}",
        "mclr/128",
        13,
        {"beta": 2.782559402207126e-05, "excluded_lr": 0.0008606964697931772, "gamma": 5.623413251903493e-06},
    ),
    (
        "{name: tpe, n_startup_trials: 2, multivariate: true, group: true}",
        "mclr/128",
        13,
        {"beta": 0.008779695234403995, "excluded_lr": 0.00014870785165443774, "gamma": 2.8396245122140464e-05},
    ),
]


@pytest.mark.parametrize(("sampler", "name", "number", "params"), LAST, ids=[" ".join(row[:2]) for row in LAST])
def test_the_last_of_many_suggestions_is_the_one_that_0_1_0_made(tmp_path, sampler, name, number, params):
    sizes = ["batch_sizes=[16]", "baseline/batch_size=16"] if name.endswith("/16") else []
    spec = load(
        "quickstart", overrides=[f"search/sampler={sampler}", "search/window=4", f"search/trials={number + 1}", *sizes]
    )
    (cell,) = [cell for cell in cells(spec) if cell.name == name]
    search = CellSearch(open_storage(tmp_path / "j"), spec, cell)
    while (trial := search.next_search()) is not None:
        rows = curve(trial)
        search.finish(trial, Outcome("complete", {key: rows[-1][1][key] for key in ("val/accuracy", "val/loss")}), rows)
    tolerance = 1e-3 if "gp" in sampler else 1e-9  # processors round a Gaussian process's sums in their own ways
    drawn = {key.removeprefix("optimizer/"): value for key, value in search.trials[number].params.items()}
    assert drawn == pytest.approx(params, rel=tolerance)
