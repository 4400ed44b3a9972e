"""Arms that take the values of another cell's search."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient

from search_spaces import Choice
from study import boundary
from study.cost import Speed, costs
from study.directory import Directory
from study.ledger import Ledger
from study.outcome import Outcome
from study.plan import Cell, cells, load_data
from study.search import CellSearch
from study.spec import Spec, parse
from study.standing import counts
from study.storage import open_storage
from study.store import Store, default_uri
from tests.study.commands import study as command
from tests.study.simulation import curve, run, story
from trainables.errors import Refused

TREE: dict[str, Any] = {
    "name": "carried",
    "question": "Does a rate found at one batch size serve at another?",
    "base": {
        "model": {"name": "alexnet", "width": 0.03, "dropout": 0},
        "data": {"name": "digits", "train_size": 240, "test_size": 100, "validation": 0.25},
        "schedule": {"name": "constant", "warmup_epochs": 0},
        "epochs": 2,
    },
    "arms": {
        "sgd": {"optimizer": {"name": "sgd", "momentum": 0.9, "beta": 0}},
        "lars": {"optimizer": {"name": "lars", "momentum": 0.9, "beta": 0}},
        "sgd-at-16": {"tuned_at": {"arm": "sgd", "batch_size": 16}},
        "sgd-root": {"tuned_at": {"arm": "sgd", "batch_size": 16, "scale": {"optimizer/lr": "sqrt"}}},
        "lars-at-64": {"tuned_at": {"arm": "lars", "batch_size": 64}},
    },
    "batch_sizes": [16, 64],
    "baseline": {"arm": "sgd", "batch_size": 16},
    "search": {"trials": 3, "window": 2},
    "confirm": {"seeds": 2},
}
SOURCES = {"sgd-at-16/64": "sgd/16", "sgd-root/64": "sgd/16", "lars-at-64/16": "lars/64"}


def spec(arms: dict[str, Any] | None = None, **changes: Any) -> Spec:
    """The study, with these arms beside or in place of its own."""
    tree = {**TREE, **changes, "arms": {**TREE["arms"], **(arms or {})}}
    return parse(yaml.safe_dump(tree, sort_keys=False), "spec.yaml")


def tuned(arm: str = "sgd", batch_size: int = 16, **more: Any) -> dict[str, Any]:
    return {"tuned_at": {"arm": arm, "batch_size": batch_size, **more}}


def plan(study: Spec) -> dict[str, Cell]:
    return {cell.name: cell for cell in cells(study)}


# The plan


def test_such_an_arm_searches_nothing_and_names_its_source() -> None:
    found = plan(spec())
    assert {name: cell.source.cell for name, cell in found.items() if cell.source} == SOURCES
    assert all(not found[name].space for name in SOURCES)
    assert set(found["lars-at-64/16"].open) == set(found["lars/64"].space) == {
        "optimizer/gamma", "optimizer/excluded_lr",
    }  # fmt: skip
    assert found["lars-at-64/16"].fixed == found["lars/16"].fixed


def test_it_has_no_cell_where_it_would_be_its_source_again() -> None:
    own = {"sgd-decay": {"optimizer": {"beta": 1e-4}, **tuned()}}
    assert [name for name in plan(spec(own)) if name.endswith("/16")] == [
        "sgd/16", "lars/16", "lars-at-64/16", "sgd-decay/16",
    ]  # fmt: skip


def test_values_are_taken_as_found_or_as_the_spec_scales_them() -> None:
    lr = {"optimizer/lr": 0.01}
    rules = {"sqrt": 0.02, "linear": 0.04, "constant": 0.01, 0.25: 0.01 * 4**0.25}
    for rule, expected in rules.items():
        cell = plan(spec({"mine": tuned(scale={"optimizer/lr": rule})}))["mine/64"]
        assert cell.config(lr, 0).optimizer.lr == pytest.approx(expected), rule
    assert plan(spec())["sgd-at-16/64"].config(lr, 0).optimizer.lr == 0.01


def test_what_the_arm_fixes_itself_is_not_taken() -> None:
    cell = plan(spec({"mine": {"optimizer": {"excluded_lr": 0.5}, **tuned("lars")}}))["mine/64"]
    assert set(cell.open) == {"optimizer/gamma"}
    taken = cell.config({"optimizer/gamma": 0.02, "optimizer/excluded_lr": 0.1}, 0).optimizer
    assert (taken.gamma, taken.excluded_lr) == (0.02, 0.5)


def test_in_a_reading_the_source_is_that_readings_and_what_the_source_sets_there_holds_too() -> None:
    readings = {"heavy": {"model": {"init": "torch"}, "arms": {"sgd": {"optimizer": {"beta": 1e-3}}}}}
    found = plan(spec(readings=readings))
    cell = found["sgd-at-16@heavy/64"]
    assert cell.source is not None
    assert cell.source.cell == "sgd@heavy/16"
    assert (cell.fixed["model/init"], cell.fixed["optimizer/beta"]) == ("torch", 1e-3)


def test_a_spec_with_such_arms_is_read_back_from_its_dump() -> None:
    assert parse(spec().dump(), "spec.yaml") == spec()
    assert spec().model_dump()["arms"]["sgd-at-16"] == tuned()  # no default is added: studies without are as they were


@pytest.mark.parametrize(
    ("arm", "message"),
    [
        (tuned("sdg"), r"arms/mine/tuned_at/arm = 'sdg': is no arm of this spec; did you mean 'sgd'\?"),
        (tuned("sgd-at-16"), r"arms/mine/tuned_at/arm = 'sgd-at-16': searches nothing itself.*known: lars, sgd"),
        (tuned("mine"), r"arms/mine/tuned_at/arm = 'mine': searches nothing itself"),
        (tuned(batch_size=32), r"arms/mine/tuned_at/batch_size = 32: is none of batch_sizes; known: 16, 64"),
        (tuned(batch_size=0), r"arms/mine/tuned_at/batch_size = 0: .*greater than or equal to 1"),
        ({"tuned_at": 32}, r"arms/mine/tuned_at = 32: a mapping is wanted; for example tuned_at: \{arm: lars"),
        ({"tuned_at": {"arm": "sgd"}}, r"arms/mine/tuned_at/batch_size = None: is required"),
        ({"tuned_at": {"arms": "sgd"}}, r"arms/mine/tuned_at/arms = 'sgd': unknown key; did you mean 'arm'\?"),
        (tuned(scale={"optimizer/lr": "squrt"}), r"tuned_at/scale/optimizer/lr = 'squrt': is no rule.*'sqrt'.*power"),
        (tuned(scale={"optimizer/lr": True}), r"tuned_at/scale = .*: a number is wanted, not true or false"),
        ({"batch_size": 3, **tuned()}, r"arms/mine/batch_size = 3: is not set here; use batch_sizes"),
    ],
)  # fmt: skip
def test_what_names_no_source_is_refused(arm: dict[str, Any], message: str) -> None:
    with pytest.raises(Refused, match=message):
        spec({"mine": arm})


@pytest.mark.parametrize(
    ("arms", "message"),
    [
        ({"mine": tuned(scale={"optimizer/gamma": "sqrt"})},
         r"arms/mine/tuned_at/scale = 'optimizer/gamma': is not among what sgd/16 searches.*known: optimizer/lr"),
        ({"sgd": {"schedule": {"name": {"choices": ["constant", "cosine"]}}, **TREE["arms"]["sgd"]},
          "mine": tuned(scale={"schedule/name": "sqrt"})},
         r"arms/mine/tuned_at/scale/schedule/name = \['constant', 'cosine'\]: are no numbers; leave it out"),
        ({"mine": {"optimizer": {"lr": {"low": 0.1, "high": 1}}, **tuned()}},
         r"arms/mine/optimizer/lr = 'a range': this arm searches nothing: it has its values from sgd/16; fix"),
        ({"mine": {"optimizer": {"name": "lamb"}, **tuned()}},
         r"arms/mine/optimizer/name = 'lamb': its values are from sgd/16, which is sgd; leave the name out"),
        ({"mine": {"optimizer": {"lr": 0.1}, **tuned()}},
         r"arms/mine/tuned_at = 'sgd': sgd/16 searches nothing that this arm does not fix.*name an arm that searches"),
        ({"still": {"optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.5, "beta": 0}}, "mine": tuned("still")},
         r"arms/mine/tuned_at = 'still': still/16 searches nothing, so there is nothing to take"),
        ({"mine": {"trick": {"first_epoch": {"batch_size": 8}}, **tuned()}},
         r"arms/mine/trick/first_epoch/lr = None: is required"),
        ({"sgd": {"optimizer": {"name": "sgd", "beta": 0, "momentum": {"low": 0.1, "high": 0.9}}},
          "mine": tuned(scale={"optimizer/momentum": 1})},
         r"arms/mine/optimizer/momentum = 2.0: must be less than 1, at batch size 64 \(sgd/16's, 1.0\); change"),
    ],
)  # fmt: skip
def test_what_cannot_be_taken_is_refused(arms: dict[str, Any], message: str) -> None:
    with pytest.raises(Refused, match=message):
        cells(spec(arms))


def test_a_baseline_needs_a_cell() -> None:
    with pytest.raises(Refused, match=r"baseline/arm = 'sgd-at-16': is no cell of its own.*; name sgd"):
        spec(baseline={"arm": "sgd-at-16", "batch_size": 16})
    with pytest.raises(Refused, match=r"search/repeat/sgd-at-16/64 = 2: nothing is searched there"):
        cells(spec(search={"trials": 3, "repeat": {"sgd-at-16/64": 2}}))


def test_its_cells_cost_their_confirm_trials_alone() -> None:
    study = spec()
    shared = cells(study)
    each = dict(zip([cell.name for cell in shared], costs(study, shared, load_data(shared), Speed()), strict=True))
    assert {(each[name].search, each[name].confirm) for name in SOURCES} == {(0, 2)}
    assert all(each[name].steps == each[name.replace("-at-16", "")].steps for name in ("sgd-at-16/64",))


def test_a_begun_study_may_get_such_an_arm_and_keeps_its_source(tmp_path: Path) -> None:
    directory = Directory(tmp_path)
    directory.spec_file.write_text(spec().dump())
    directory.check(spec({"late": tuned("lars", 64)}))
    with pytest.raises(Refused, match=r"arms/sgd-at-16/tuned_at/batch_size = 64: the study in .* was run with 16"):
        directory.check(spec({"sgd-at-16": tuned(batch_size=64)}))
    with pytest.raises(Refused, match=r"arms/sgd-root/tuned_at/scale/optimizer/lr = 'linear': .* with 'sqrt'"):
        directory.check(spec({"sgd-root": tuned(scale={"optimizer/lr": "linear"})}))
    with pytest.raises(Refused, match=r"arms/sgd/optimizer/beta = 0.001: the study in .* was run with 0"):
        directory.check(spec({"sgd": {"optimizer": {**TREE["arms"]["sgd"]["optimizer"], "beta": 1e-3}}}))


# The search that it waits for


def test_its_trials_wait_for_the_sources_search_and_have_its_best(tmp_path: Path) -> None:
    ledger = Ledger(open_storage(tmp_path / "j"), spec(), cells(spec()))
    carried, source = ledger.cells["sgd-at-16/64"], ledger.cells["sgd/16"]
    assert carried.count().total == 2
    for accuracy in (0.4, 0.9, 0.6):
        assert carried.confirm() == []
        assert not ledger.done
        source.finish(source.next_search(), Outcome("complete", {"val/accuracy": accuracy, "val/loss": 1.0}), [])
    rate = source.confirm()[0].config.optimizer.lr
    assert [trial.config.optimizer.lr for trial in carried.confirm()] == [rate] * 2
    assert [trial.config.seed for trial in carried.confirm()] == [trial.config.seed for trial in source.confirm()]
    assert {trial.config.batch_size for trial in carried.confirm()} == {64}
    assert ledger.cells["sgd-root/64"].confirm()[0].config.optimizer.lr == pytest.approx(2 * rate)
    assert ledger.cells["lars-at-64/16"].confirm() == []


def test_where_the_source_found_nothing_there_is_nothing_to_confirm(tmp_path: Path) -> None:
    ledger = Ledger(open_storage(tmp_path / "j"), spec(), cells(spec()))
    for name in ("sgd/16", "sgd/64", "lars/16", "lars/64"):
        while (trial := ledger.cells[name].next_search()) is not None:
            ledger.finish(trial, Outcome("diverged", {}, 3), [])
    assert ledger.done
    assert ledger.cells["sgd-at-16/64"].count().total == 0


@pytest.mark.parametrize("slots", [1, 5])
def test_neither_slots_nor_order_nor_kills_change_it(tmp_path: Path, slots: int) -> None:
    whole = run(tmp_path / "whole", spec(), 2, random.Random(0))
    for stop_after in (7, 19, 26, 31):
        ledger = run(tmp_path / "cut", spec(), slots, random.Random(slots + stop_after), stop_after=stop_after)
    ledger = run(tmp_path / "cut", spec(), slots, random.Random(slots))
    assert story(ledger) == story(whole)
    assert {len(whole.cells[name].ended_confirms) for name in SOURCES} == {2}


def test_a_top_up_that_finds_better_values_carries_them(tmp_path: Path) -> None:
    best = 0.03  # what further trials come nearer to
    before = run(tmp_path / "j", spec(), 2, random.Random(0), follow=lambda trial: curve(trial, best))
    more = spec(search={"trials": 12, "window": 2})
    after = run(tmp_path / "j", more, 2, random.Random(0), follow=lambda trial: curve(trial, best))
    old, new = (rate(ledger.cells["sgd/16"]) for ledger in (before, after))
    assert old != new
    assert rate(after.cells["sgd-at-16/64"]) == new
    assert len(after.cells["sgd-at-16/64"].ended_confirms) == 4  # of the old values, which are superseded, and the new


def rate(cell: CellSearch) -> float:
    found: float = cell.confirm()[0].config.optimizer.lr
    return found


def test_it_waits_for_rounds_of_wider_ranges_too(tmp_path: Path) -> None:
    study = spec(search={"trials": 12, "window": 2, "widen": True})
    ledger = run(tmp_path / "j", study, 2, random.Random(0), follow=lambda trial: curve(trial, 1e-7))
    source = ledger.cells["sgd/16"]
    assert source.rounds == boundary.ROUNDS
    assert rate(ledger.cells["sgd-at-16/64"]) == rate(source)
    assert rate(source) < source.cell.space["optimizer/lr"].ends()[0]


def test_choices_are_carried_as_they_are() -> None:
    choices = {"schedule": {"name": {"choices": ["constant", "cosine"]}}, **TREE["arms"]["sgd"]}
    found = plan(spec({"sgd": choices}))["sgd-at-16/64"]
    assert found.open["schedule/name"] == Choice(("constant", "cosine"))
    assert found.config({"optimizer/lr": 0.1, "schedule/name": "cosine"}, 0).schedule.name == "cosine"


# The whole


def test_a_study_runs_is_topped_up_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One small study on a local Ray: run, the same again, topped up; then status, MLflow and the export know it."""
    (tmp_path / "carried.yaml").write_text(spec(batch_sizes=[16, 64]).dump())
    folder = tmp_path / "carried"
    words = ("run", tmp_path / "carried.yaml", "--dir", folder)
    checked = command(capsys, "check", tmp_path / "carried.yaml")
    assert "as sgd/16" in checked.out
    assert command(capsys, *words).status == 0
    first = Store(default_uri(folder), "carried").trials()
    assert len(first) == 4 * (3 + 2) + 3 * 2
    assert command(capsys, *words).status == 0
    ran = command(capsys, *words, "--set", "search/trials=5")
    assert ran.status == 0, ran.err
    assert "→ 5: a cell's confirm trials count on where its longer search finds nothing better" in " ".join(
        ran.out.split()
    )
    status = command(capsys, "status", folder).out
    assert "as sgd/16" in status
    assert {name: count.tuned_at for name, count in counts(Directory(folder)).items() if count.tuned_at} == SOURCES

    client = MlflowClient(default_uri(folder))
    experiment = client.get_experiment_by_name("carried").experiment_id
    runs = client.search_runs([experiment], "tags.tuned_at = 'sgd/16' and tags.phase = 'confirm'")
    assert {run.data.tags["cell"] for run in runs} == {"sgd-at-16/64", "sgd-root/64"}
    command(capsys, "export", folder, "--to", tmp_path / "trials.csv")
    assert "tuned_at" in (tmp_path / "trials.csv").read_text().partition("\n")[0]

    after = Store(default_uri(folder), "carried").trials()
    counted = after[(after["phase"] == "confirm") & (after.get("superseded", "") != "true")]
    assert list(after.index[after["counts"] == "true"]) == list(counted.index)
    lr = {cell: set(here["optimizer/lr"].dropna()) for cell, here in counted.groupby("cell")}
    gamma = {cell: set(here["optimizer/gamma"].dropna()) for cell, here in counted.groupby("cell")}
    (found,) = lr["sgd/16"]
    assert lr["sgd-at-16/64"] == {found}
    assert list(lr["sgd-root/64"]) == pytest.approx([2 * found])
    assert gamma["lars-at-64/16"] == gamma["lars/64"]
    assert counted.groupby("cell").size().eq(2).all()
    assert (folder / "report" / "index.html").is_file()
