"""The ledger: whose turn it is, what a former process left, what is over."""

from __future__ import annotations

import random

import pytest

from study import boundary
from study.ledger import Ledger
from study.outcome import Outcome
from study.plan import cells
from study.search import CellSearch
from study.spec import load
from study.storage import open_storage
from tests.study.simulation import curve, run

SPEC = ["search/trials=3", "search/window=3", "confirm/seeds=2"]
DONE = Outcome("complete", {"val/accuracy": 0.5, "val/loss": 1.0})


def spec(*more):
    return load("smoke", overrides=[*SPEC, *more])


@pytest.fixture
def ledger(tmp_path):
    return Ledger(open_storage(tmp_path / "j"), spec(), cells(spec()))


def again(path, study=None):
    """The ledger of a later process."""
    return Ledger(open_storage(path), study or spec(), cells(study or spec()))


def places(assignments):
    return [(each.cell.name, each.phase, each.number) for each in assignments]


def test_a_trial_goes_to_the_cell_with_the_fewest_and_of_those_to_the_smallest_batch(ledger):
    names = [ledger.next().cell.name for _ in range(8)]
    assert names == ["sgd/16", "lars/16", "sgd/64", "lars/64"] * 2


def test_confirm_trials_count_as_the_cells_trials_too(ledger):
    sgd = ledger.cells["sgd/16"]
    for _ in range(3):
        trial = sgd.next_search()
        sgd.finish(trial, DONE, [])
    assert places([ledger.next() for _ in range(3)]) == [
        (name, "search", 0) for name in ("lars/16", "sgd/64", "lars/64")
    ]
    assert places([ledger.next() for _ in range(6)]) == [
        (name, "search", number) for number in (1, 2) for name in ("lars/16", "sgd/64", "lars/64")
    ]
    assert places([ledger.next(), ledger.next()]) == [("sgd/16", "confirm", 0), ("sgd/16", "confirm", 1)]
    assert ledger.next() is None  # the other cells wait for their searches to end
    assert not ledger.done


def test_what_a_former_process_left_is_handed_out_first_and_once(tmp_path, ledger):
    left = [ledger.next() for _ in range(2)]
    later = again(tmp_path / "j")
    assert not later.done
    assert places(later.waiting) == places(left)
    assert places([later.next(), later.next()]) == places(left)
    assert later.waiting == []
    assert places([later.next()]) == [("sgd/64", "search", 0)]


def test_a_confirm_trial_is_handed_out_once_and_again_by_a_later_process_if_it_did_not_end(tmp_path):
    study = spec("batch_sizes=[16]")
    path = tmp_path / "j"
    run(path, study, 1, random.Random(0), stop_after=2 * (2 * 3))  # every search epoch of both cells
    ledger = again(path, study)
    confirms = [ledger.next() for _ in range(4)]
    assert {(each.phase, each.cell.name) for each in confirms} == {("confirm", "sgd/16"), ("confirm", "lars/16")}
    assert len({each.folder for each in confirms}) == 4
    assert ledger.next() is None
    assert ledger.done  # nothing is left to hand out
    ledger.finish(confirms[0], DONE, curve(confirms[0]))
    ledger.finish(confirms[1], Outcome("failed", reason="no memory"), [])
    later = again(path, study)
    assert not later.done
    rest = [later.next() for _ in range(3)]
    assert sorted(places(rest)) == sorted(places(confirms[1:]))
    assert later.next() is None
    assert [each.phase for each in later.ended()].count("confirm") == 1


def test_after_an_outage_what_was_stored_without_an_answer_is_handed_out(ledger):
    sgd = ledger.cells["sgd/16"]
    handed = ledger.next()
    assert len(sgd.trials) == 1
    CellSearch(sgd.study.storage, spec(), sgd.cell).next_search()  # as if its answer had been lost
    assert len(sgd.trials) == 1
    ledger.recall()
    assert places(ledger.waiting) == [("sgd/16", "search", 1)]
    ledger.recall()
    assert places(ledger.waiting) == [("sgd/16", "search", 1)]
    assert places([ledger.next()]) == [("sgd/16", "search", 1)]
    assert handed.number == 0


def test_confirm_trials_of_a_configuration_that_was_beaten_do_not_count_as_ended(tmp_path):
    run(tmp_path / "j", spec(), 1, random.Random(0))
    ledger = again(tmp_path / "j")
    assert ledger.done
    assert len(ledger.ended()) == 4 * (3 + 2)
    best = ledger.cells["sgd/16"].best()
    more = again(tmp_path / "j", spec("search/trials=4"))
    trial = next(each for each in iter(more.next, None) if each.cell.name == "sgd/16")
    more.finish(trial, Outcome("complete", {"val/accuracy": best.value + 0.1, "val/loss": 0.0}), [])
    confirms = [each for each in more.ended() if each.cell.name == "sgd/16" and each.phase == "confirm"]
    assert confirms == []
    assert not more.done


def test_confirm_trials_take_turns_and_those_that_ended_before_count(tmp_path):
    study = spec("batch_sizes=[16]", "search/trials=1", "confirm/seeds=3")
    ledger = Ledger(open_storage(tmp_path / "j"), study, cells(study))
    for _ in range(2):
        ledger.finish(ledger.next(), DONE, [])
    handed = [ledger.next() for _ in range(4)]
    assert places(handed) == [(name, "confirm", seed) for seed in (0, 1) for name in ("sgd/16", "lars/16")]
    assert ledger.cells["sgd/16"].count().running == 2
    for trial in handed:
        if trial.cell.arm == "sgd":
            ledger.finish(trial, DONE, [])
    later = again(tmp_path / "j", study)
    assert [later.next().cell.arm for _ in range(3)] == ["lars", "lars", "sgd"]


FIXED = ["batch_sizes=[16]", "arms/lars/optimizer={gamma: 0.01, excluded_lr: 0.01}"]


@pytest.mark.parametrize("more", [[], FIXED], ids=["every cell searches", "one cell searches"])
def test_no_round_of_widening_begins_before_every_search_has_ended(tmp_path, monkeypatch, more):
    study = spec("search/widen=true", *more)
    ledger = Ledger(open_storage(tmp_path / "j"), study, cells(study))
    monkeypatch.setattr(CellSearch, "wants_widening", True)
    sgd = ledger.cells["sgd/16"]
    for _ in range(3):
        assert {cell.rounds for cell in ledger.cells.values()} == {0}
        assert sgd.confirm() == []
        ledger.finish(sgd.next_search(), DONE, [])
    assert sgd.rounds == (1 if more else 0)
    while (trial := ledger.next()) is not None:
        ledger.finish(trial, DONE, [])
    searched = [cell for cell in ledger.cells.values() if cell.cell.space]
    assert {cell.rounds for cell in searched} == {boundary.ROUNDS}  # and no more, though all want it
    assert all(cell.settled and not cell.searching for cell in ledger.cells.values())
    assert ledger.done
    later = again(tmp_path / "j", study)
    assert later.done
    assert later.cells["sgd/16"].rounds == boundary.ROUNDS
