"""Readings: what a question's source leaves open, run beside the reading of record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from study.cell_name import RECORD, CellName
from study.directory import Directory
from study.plan import cells, chosen
from study.spec import Spec, parse
from trainables.errors import Refused

RATE = {"value": 0.01, "at": 64, "scale": "sqrt"}
TREE: dict[str, Any] = {
    "name": "leftopen",
    "question": "Does it depend on what should not matter?",
    "base": {"model": {"name": "alexnet", "width": 0.05}, "data": {"name": "digits", "validation": 0}, "epochs": 1},
    "arms": {
        "sgd": {
            "optimizer": {
                "name": "sgd",
                "lr": RATE,
                "momentum": 0,
                "nesterov": False,
            }
        },
        "lars": {"optimizer": {"name": "lars", "gamma": 0.01, "beta": 0, "momentum": 0.9, "excluded_lr": 0.01}},
    },
    "batch_sizes": [64, 128],
    "baseline": {"arm": "sgd", "batch_size": 64},
    "confirm": {"seeds": 2},
    "readings": {
        "torch": {"model": {"init": "torch"}},
        "momentum": {"confirm": {"seeds": 1}, "arms": {"sgd": {"optimizer": {"momentum": 0.9}}}},
    },
}


def spec(**changes: Any) -> Spec:
    return parse(yaml.safe_dump({**TREE, **changes}, sort_keys=False), "spec.yaml")


def test_every_cell_of_record_has_a_twin_in_each_reading() -> None:
    plan = {cell.name: cell for cell in cells(spec())}
    record = ["sgd/64", "sgd/128", "lars/64", "lars/128"]
    assert list(plan) == record + [name.replace("/", f"@{r}/") for r in ("torch", "momentum") for name in record]
    assert {c.fixed.get("model/init") for c in plan.values()} == {None, "torch"}
    changed = [name for name, c in plan.items() if c.reading == "momentum" and c.fixed != plan[_home(name)].fixed]
    assert changed == ["sgd@momentum/64", "sgd@momentum/128"]  # what `arms` names, and nothing else
    assert plan["sgd@momentum/64"].fixed["optimizer/momentum"] == 0.9


def _home(name: str) -> str:
    parsed = CellName.parse(name)
    return str(CellName(parsed.arm, parsed.batch_size))


def test_a_spec_without_readings_has_the_cells_it_had() -> None:
    assert [cell.name for cell in cells(spec(readings={}))] == ["sgd/64", "sgd/128", "lars/64", "lars/128"]


def test_a_spec_with_readings_is_read_back_from_its_dump() -> None:
    assert parse(spec().dump(), "spec.yaml") == spec()


def test_a_reading_may_name_its_own_confirm_seeds() -> None:
    assert [spec().confirm_seeds(reading) for reading in (RECORD, "torch", "momentum")] == [2, 2, 1]


def test_each_reading_has_its_own_baseline() -> None:
    assert [spec().baseline_in(reading) for reading in (RECORD, "torch")] == ["sgd/64", "sgd@torch/64"]


@pytest.mark.parametrize(
    ("asked", "readings"),
    [(None, {RECORD, "torch", "momentum"}), ("all", {RECORD, "torch", "momentum"}), ("none", {RECORD}),
     ("torch", {RECORD, "torch"}), ("torch,momentum", {RECORD, "torch", "momentum"})],
)  # fmt: skip
def test_a_run_may_leave_readings_out(asked: str | None, readings: set[str]) -> None:
    assert {cell.reading for cell in chosen(cells(spec()), asked)} == readings


@pytest.mark.parametrize(
    ("readings", "message"),
    [
        ({"torch": {"modle": {}}}, r"readings/torch/modle.*unknown key.*did you mean 'model'"),
        ({"torch": {}}, r"readings/torch.*changes nothing"),
        ({"torch": 3}, r"readings/torch = 3.*a mapping is wanted"),
        ({"torch": {"arms": {"sdg": {"epochs": 2}}}}, r"readings/torch/arms = 'sdg'.*is no arm.*'sgd'"),
        ({"torch": {"arms": {"sgd": {"epoch": 2}}}}, r"readings/torch/arms/sgd/epoch.*did you mean 'epochs'"),
        ({"torch": {"arms": [1]}}, r"readings/torch/arms.*a mapping of arms"),
        ({"torch": {"batch_size": 2}}, r"readings/torch/batch_size.*use batch_sizes"),
        ({"torch": {"confirm": {"seeds": 0}}}, r"readings/torch/confirm/seeds = 0.*greater than or equal to 1"),
        ({"torch": {"confirm": {"margin": 1}}}, r"readings/torch/confirm/margin"),
        ({"torch": {"confirm": {"seed": 1}}}, r"readings/torch/confirm/seed.*did you mean 'seeds'"),
        ({"record": {"epochs": 2}}, r"readings/record.*a meaning of its own"),
        ({"a/b": {"epochs": 2}}, r"readings/a/b"),
    ],
)
def test_what_is_no_reading_is_refused(readings: dict[str, Any], message: str) -> None:
    with pytest.raises(Refused, match=message):
        spec(readings=readings)


@pytest.mark.parametrize(
    ("readings", "message"),
    [
        ({"torch": {"model": {"init": "tourch"}}}, r"readings/torch/arms/sgd/model/init = 'tourch'"),
        ({"fast": {"arms": {"lars": {"optimizer": {"gamma": -1}}}}}, r"readings/fast/arms/lars/optimizer/gamma = -1"),
        ({"free": {"schedule": {"warmup_epochs": {"low": 0, "high": 1}}}}, r"readings/free/.*search/trials is 0"),
    ],
)
def test_what_a_reading_sets_is_checked_where_it_stands(readings: dict[str, Any], message: str) -> None:
    with pytest.raises(Refused, match=message):
        cells(spec(readings=readings))


def test_a_spec_without_readings_has_none_to_ask_for() -> None:
    with pytest.raises(Refused, match=r"--readings = 'torch'.*is no reading.*this spec has none"):
        chosen(cells(spec(readings={})), "torch")


def test_a_run_asks_for_readings_of_the_spec() -> None:
    with pytest.raises(Refused, match=r"--readings = 'tourch'.*is no reading.*all, none, or some of torch, momentum"):
        chosen(cells(spec()), "tourch")


names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)


@given(names, st.integers(1, 10**6), names, st.integers(0, 99))
def test_a_cells_name_is_read_back(arm: str, size: int, reading: str, repeat: int) -> None:
    name = CellName(arm, size, reading, repeat)
    assert CellName.parse(str(name)) == name
    assert CellName.parse(str(name)).home == CellName(arm, size, reading)


@pytest.mark.parametrize(
    "text", ["", "sgd", "sgd/", "/32", "sgd/0", "sgd/x", "sgd@/32", "sgd~0/32", "a@b@c/32", "a/b/32"]
)
def test_what_names_no_cell_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="a cell is named ARM/BATCH_SIZE"):
        CellName.parse(text)


def begun(path: Path, **changes: Any) -> Directory:
    """A directory that the spec with these changes has begun."""
    directory = Directory(path)
    directory.spec_file.write_text(spec(**changes).dump())
    return directory


TORCH = {"torch": TREE["readings"]["torch"]}


@pytest.mark.parametrize(
    "before",
    [{}, TORCH, {**TREE["readings"], "momentum": {**TREE["readings"]["momentum"], "confirm": {"seeds": 1}}}],
)
def test_a_begun_study_takes_further_readings(tmp_path: Path, before: dict[str, Any]) -> None:
    begun(tmp_path, readings=before).check(spec())


def test_a_begun_study_takes_more_seeds_of_a_reading(tmp_path: Path) -> None:
    few, more = ({"torch": {**TORCH["torch"], "confirm": {"seeds": seeds}}} for seeds in (1, 2))
    begun(tmp_path, readings=few).check(spec(readings=more))
    with pytest.raises(Refused, match=r"readings/torch/confirm/seeds = 1: the study in .* was run with 2"):
        begun(tmp_path, readings=more).check(spec(readings=few))


def test_a_begun_study_keeps_its_readings(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"readings/momentum.*has this reading; keep it in the spec; --readings none"):
        begun(tmp_path).check(spec(readings=TORCH))
    with pytest.raises(Refused, match=r"readings/torch/model/init = 'kaiming': the study in .* was run with 'torch'"):
        begun(tmp_path).check(spec(readings={**TREE["readings"], "torch": {"model": {"init": "kaiming"}}}))
