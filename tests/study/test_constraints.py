"""Constraints on metrics that nothing reports, and searches in which every trial breaks one."""

from __future__ import annotations

import random
from dataclasses import replace
from types import SimpleNamespace

import pytest

from reports.html import page
from reports.results import read
from study.outcome import Outcome
from study.plan import cells
from study.recorder import Ended
from study.spec import load
from study.work import Work
from tests.conftest import run_study
from tests.reports.studies import MadeUp, invent
from tests.study.simulation import run
from trainables.errors import Refused


@pytest.mark.parametrize(
    ("metric", "overrides", "message"),
    [
        (
            "train/acuracy",
            [],
            r"arms/sgd reports no such metric; did you mean 'train/accuracy'\? known: time/train_seco",
        ),
        ("status", [], r"arms/sgd reports no such metric"),
        ("test/accuracy", [], r"arms/sgd reports no such metric; did you mean"),
        ("probe/gradient/all", [], r"arms/sgd reports no such metric"),
        ("probe/gradient/all", ["arms/sgd/probe={gradient: {}}"], r"arms/lars reports no such metric"),
        (
            "probe/gradient/",
            ["base/probe={gradient: {}}"],
            r"arms/sgd reports no such metric; did you mean 'probe/grad",
        ),
    ],
)
def test_a_constraint_on_a_metric_that_nothing_reports_is_refused(metric, overrides, message):
    with pytest.raises(Refused, match=f"search/constraints = '{metric}': {message}"):
        cells(load("smoke", overrides=[f"search/constraints={{{metric}: {{high: 1}}}}", *overrides]))


@pytest.mark.parametrize("metric", ["train/loss", "val/accuracy", "time/train_seconds", "probe/gradient/anything"])
def test_one_that_a_trial_or_its_probes_may_report_is_accepted(metric):
    assert cells(
        load("smoke", overrides=[f"search/constraints={{{metric}: {{high: 1}}}}", "base/probe={gradient: {}}"])
    )


def test_an_arm_that_searches_nothing_is_under_no_constraint():
    fixed = ["arms/sgd/optimizer/lr=0.1", "arms/lars/optimizer/gamma=0.1"]
    assert cells(load("smoke", overrides=["search/trials=0", "search/constraints={val/acuracy: {low: 0}}", *fixed]))


def test_a_metric_that_no_probe_reports_is_said_after_the_first_trial_and_once():
    spec = load("smoke", overrides=["search/constraints={probe/gradient/al: {high: 1}}", "base/probe={gradient: {}}"])
    cell = cells(spec)[0]
    said: list[str] = []
    work = Work.__new__(Work)
    work.ledger = SimpleNamespace(cells={cell.name: SimpleNamespace(spec=spec)})
    work.display, work.unreported = SimpleNamespace(say=said.append), set()
    row = {"train/loss": 1.0, "probe/gradient/all": 0.1}
    trial = SimpleNamespace(phase="search", cell=cell)
    for status in ("diverged", "complete", "complete"):
        work._name_unreported(Ended(trial, Outcome(status), [(1, row)], 1.0))
    assert said == [
        "search/constraints: probe/gradient/al is not reported, and counts as broken; "
        "did you mean 'probe/gradient/all'? known: probe/gradient/all, train/loss"
    ]


@pytest.mark.parametrize(
    ("constraints", "broken"),
    [
        ("{train/loss: {high: -1}}", ("train/loss in 3 of 3 trials",)),
        ("{train/loss: {high: -1}, val/loss: {high: 9}}", ("train/loss in 3 of 3 trials",)),
        ("{train/loss: {high: 9}}", ()),
        ("{}", ()),
    ],
)
def test_a_cell_knows_what_keeps_all_its_trials_from_being_confirmed(tmp_path, constraints, broken):
    more = [f"search/constraints={constraints}", "batch_sizes=[16]", "search/trials=3", "base/epochs=2"]
    ledger = run(tmp_path / "journal", load("smoke", overrides=more), 2, random.Random(0))
    assert [cell.count().broken for cell in ledger.cells.values()] == [broken] * 2


def test_the_page_says_that_every_trial_breaks_a_constraint(tmp_path):
    results = read(invent(MadeUp("vain", ("sgd/32", "sgd/64"), seeds=0), tmp_path))
    ends = {cell: replace(one, end=replace(one.end, broken=("train/loss in 3 of 3 trials",)))
            for cell, one in results.summaries.items()}  # fmt: skip
    shown = page(replace(results, summaries=ends), [])
    for cell in ("sgd/32", "sgd/64"):
        sentence = (
            "every complete search trial breaks a constraint, so there is nothing to confirm (train/loss in 3 of 3"
        )
        assert f"{cell}: {sentence} trials)." in shown
    assert "breaks a constraint" not in page(results, [])


@pytest.mark.faults
def test_a_study_whose_every_trial_breaks_a_constraint_says_so(tmp_path):
    more = ["search/constraints={train/loss: {high: 1e-6}, probe/gradient/al: {high: 1}}", "base/probe={gradient: {}}"]
    more += ["batch_sizes=[16]", "search/trials=2"]
    ran = run_study("run", "smoke", "--dir", tmp_path / "s", *(word for each in more for word in ("--set", each)))
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("probe/gradient/al is not reported, and counts as broken; did you mean") == 1
    told = "train/loss in 2 of 2 trials; probe/gradient/al in 2 of 2 trials"
    assert f"constraints broken: sgd/16: {told}; nothing there is confirmed" in ran.stdout
    assert f"there is nothing to confirm ({told})." in (tmp_path / "s" / "report" / "index.html").read_text()
