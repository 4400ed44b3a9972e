"""The search without training: an accuracy that is a formula of the parameters, trials that end in any order."""

import random

import optuna
import pytest

from study.ledger import Ledger
from study.outcome import Count, Outcome
from study.plan import cells
from study.search import WORST, CellSearch
from study.spec import Spec, load
from study.storage import mend, open_storage
from trainables.errors import Refused

OVERRIDES = ["search/trials=9", "search/window=3", "confirm/seeds=2"]


def outcome(assignment) -> Outcome:
    rate = getattr(assignment.config.optimizer, assignment.config.optimizer.rate)
    if rate > 0.05:
        return Outcome("diverged", step=7, reason="the loss is nan")
    accuracy = 1 / (1 + abs(rate - 0.01) * 100)
    return Outcome("complete", {"val/accuracy": accuracy, "val/loss": 1 - accuracy})


def run(path, spec: Spec, slots: int, order: random.Random, stop_after: int | None = None, end=outcome) -> Ledger:
    """Run with `slots` at once, ending a random one each time; stop as a killed process would."""
    ledger = Ledger(open_storage(path), spec, cells(spec))
    live, ended = [], 0
    while not ledger.done or live:
        while len(live) < slots and (found := ledger.next()) is not None:
            live.append(found)
        assignment = live.pop(order.randrange(len(live)))
        ledger.finish(assignment, end(assignment), [(1, {"val/accuracy": 0.1}), (2, {"val/accuracy": 0.2})])
        ended += 1
        if ended == stop_after:
            return ledger
    return ledger


def story(ledger: Ledger):
    """All that a study is: parameters, values and states by cell, and the confirmed configurations."""
    return {
        name: (
            [(t.number, t.params, t.value, t.state.name, t.user_attrs["status"]) for t in cell.trials],
            [t.config.hash() for t in cell.confirm()],
            sorted(cell.ended_confirms),
        )
        for name, cell in ledger.cells.items()
    }


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    return story(run(tmp_path_factory.mktemp("one") / "j", load("smoke", overrides=OVERRIDES), 1, random.Random(0)))


@pytest.mark.parametrize("slots", [1, 2, 4])
@pytest.mark.parametrize("seed", [1, 2])
def test_slots_and_the_order_of_finishing_change_nothing(tmp_path, expected, slots, seed):
    spec = load("smoke", overrides=OVERRIDES)
    assert story(run(tmp_path / "j", spec, slots, random.Random(seed))) == expected


@pytest.mark.parametrize("seed", range(4))
def test_a_study_killed_again_and_again_ends_the_same(tmp_path, expected, seed):
    spec, order = load("smoke", overrides=OVERRIDES), random.Random(seed)
    for _ in range(6):
        run(tmp_path / "j", spec, 2, order, stop_after=order.randrange(1, 8))
        with (tmp_path / "j").open("ab") as file:  # what a write cut off leaves
            file.write(b'{"op_code": 4, "worker')
        (tmp_path / "j.lock").touch()
        mend(tmp_path / "j")
    assert story(run(tmp_path / "j", spec, 2, order)) == expected


def test_another_search_seed_gives_another_study(tmp_path, expected):
    spec = load("smoke", overrides=[*OVERRIDES, "search/seed=1"])
    assert story(run(tmp_path / "j", spec, 1, random.Random(0))) != expected


@pytest.mark.parametrize("sampler", ["random", "tpe", "gp"])
def test_samplers_suggest_within_the_range_and_differ_by_cell(tmp_path, sampler):
    spec = load("smoke", overrides=["search/trials=8", f"search/sampler={sampler}"])
    ledger = run(tmp_path / "j", spec, 1, random.Random(0))
    drawn = {}
    for name, cell in ledger.cells.items():
        key = "optimizer/lr" if "sgd" in name else "optimizer/gamma"
        drawn[name] = [trial.params[key] for trial in cell.trials]
        low, high = cell.cell.space[key].ends()
        assert all(low <= value <= high for value in drawn[name])
        assert len(set(drawn[name])) == len(drawn[name])
    assert drawn["sgd/16"][1:] != drawn["sgd/64"][1:]


def test_the_first_trial_takes_the_middle_of_every_range(tmp_path):
    ledger = run(tmp_path / "j", load("smoke"), 1, random.Random(0))
    cell = ledger.cells["lars/16"]
    assert cell.trials[0].params["optimizer/gamma"] == pytest.approx(1e-2)


def test_a_suggestion_waits_for_the_trials_it_must_see(tmp_path):
    spec = load("smoke", overrides=OVERRIDES)
    cell = Ledger(open_storage(tmp_path / "j"), spec, cells(spec)).cells["sgd/16"]
    first, *_ = [cell.next_search() for _ in range(3)]
    assert cell.next_search() is None
    cell.finish(first, outcome(first), [])
    assert cell.next_search().number == 3


def test_divergence_counts_as_the_worst_accuracy(tmp_path):
    spec = load("smoke", overrides=OVERRIDES)
    ledger = run(tmp_path / "j", spec, 1, random.Random(0), end=lambda _: Outcome("diverged", step=3, reason="nan"))
    cell = ledger.cells["sgd/16"]
    assert {(t.value, t.user_attrs["step"]) for t in cell.trials} == {(WORST, 3)}
    assert cell.best() is None
    assert cell.confirm() == []
    assert ledger.done


def test_a_failed_trial_holds_nothing_up_and_runs_again_next_time(tmp_path, expected):
    spec = load("smoke", overrides=OVERRIDES)
    broken = {("sgd/16", 2), ("lars/64", 8)}

    def some_fail(assignment):
        failed = (assignment.cell.name, assignment.number) in broken and assignment.phase == "search"
        return Outcome("failed", reason="no memory") if failed else outcome(assignment)

    ledger = run(tmp_path / "j", spec, 2, random.Random(0), end=some_fail)
    assert ledger.cells["sgd/16"].count().failed == 1
    again = Ledger(open_storage(tmp_path / "j"), spec, cells(spec))
    assert {(t.cell.name, t.number) for t in again.waiting} == broken
    ledger = run(tmp_path / "j", spec, 2, random.Random(0))
    assert all(trial.state.is_finished() for cell in ledger.cells.values() for trial in cell.trials)
    assert story(ledger)["lars/64"][0] == expected["lars/64"][0]


def test_a_raised_budget_continues_where_the_study_ended(tmp_path, expected):
    small = load("smoke", overrides=["search/trials=4", "search/window=3", "confirm/seeds=1"])
    run(tmp_path / "j", small, 2, random.Random(0))
    ledger = run(tmp_path / "j", load("smoke", overrides=OVERRIDES), 2, random.Random(0))
    for name, (trials, confirms, _) in story(ledger).items():
        assert trials == expected[name][0]
        assert confirms == expected[name][1]


def test_one_optuna_study_a_cell_named_after_it_with_every_epoch(tmp_path):
    run(tmp_path / "j", load("smoke"), 1, random.Random(0))
    studies = {s.study_name: s for s in optuna.get_all_study_summaries(open_storage(tmp_path / "j"))}
    assert sorted(studies) == ["lars/16", "lars/64", "sgd/16", "sgd/64"]
    trials = optuna.load_study(study_name="sgd/16", storage=open_storage(tmp_path / "j")).trials
    assert all(trial.intermediate_values == {1: 0.1, 2: 0.2} for trial in trials)


def test_ties_go_to_the_lower_loss_then_the_lower_number(tmp_path):
    spec = load("smoke")
    losses = iter([0.5, 0.2, 0.2] * 10)

    def tie(_):
        return Outcome("complete", {"val/accuracy": 0.5, "val/loss": next(losses)})

    ledger = Ledger(open_storage(tmp_path / "j"), spec, cells(spec))
    cell = ledger.cells["sgd/16"]
    for _ in range(3):
        trial = cell.next_search()
        cell.finish(trial, tie(trial), [])
    assert cell.best().number == 1


def test_a_damaged_journal_is_refused(tmp_path):
    (tmp_path / "j").write_text('{"op_code": "nonsense"}\n' * 3)
    with pytest.raises(Refused, match=r"optuna.journal = .* is damaged .*; restore it from a copy"):
        open_storage(tmp_path / "j")


def test_a_search_among_choices_that_were_text_goes_on_with_numbers(tmp_path):
    """A spec of `choices: [1e-2, 1e-3]` was read as text once: its trials are not drawn anew, nor refused."""
    more = ["arms/sgd/optimizer={lr: {choices: CHOICES}}", "batch_sizes=[16]", "search/window=3", "confirm/seeds=1"]

    def spec(choices, trials):
        return load("smoke", overrides=[w.replace("CHOICES", choices) for w in more] + [f"search/trials={trials}"])

    text, numbers = "['1e-2', '1e-3', '3e-2']", "[1e-2, 1e-3, 3e-2]"
    run(tmp_path / "j", spec(text, 4), 1, random.Random(0))
    ledger = run(tmp_path / "j", spec(numbers, 9), 1, random.Random(0))
    assert story(ledger) == story(run(tmp_path / "calm", spec(text, 9), 1, random.Random(0)))
    with pytest.raises(Refused, match=r"optimizer/lr = .*0\.5.*: trial 0 of sgd/16 was drawn from Categorical"):
        run(tmp_path / "j", spec("[1e-2, 1e-3, 0.5]", 9), 1, random.Random(0))


def one(tmp_path, *more):
    """The search of sgd/16 alone."""
    spec = load("smoke", overrides=["search/trials=5", "search/window=2", "confirm/seeds=2", *more])
    return CellSearch(open_storage(tmp_path / "j"), spec, cells(spec)[0])


def ended(accuracy, loss=1.0, status="complete"):
    return Outcome(status, {"val/accuracy": accuracy, "val/loss": loss})


ROWS = [(1, {"val/accuracy": 0.1, "train/loss": 3.0}), (2, {"val/accuracy": 0.4, "train/loss": 2.0})]


def test_a_cell_counts_its_trials_by_how_they_ended(tmp_path):
    cell = one(tmp_path)
    assert cell.count() == Count(total=5 + 2)
    outcomes = [ended(0.4), Outcome("diverged", step=3), ended(0.3, status="pruned"), ended(0.7), ended(0.5)]
    for outcome_ in outcomes[:4]:
        cell.finish(cell.next_search(), outcome_, ROWS)
    last = cell.next_search()
    assert cell.count() == Count(total=7, done=2, diverged=1, pruned=1, running=1, best=0.7)
    assert (cell.count().ended, cell.count().left) == (4, 3)
    assert cell.next_search() is None  # the budget is spent
    assert cell.confirm() == []
    cell.finish(last, Outcome("failed", reason="no memory"), [])
    assert (cell.count().failed, cell.count().running, cell.failed) == (1, 0, {4})
    first, second = cell.confirm()
    cell.hand_out(first)
    assert cell.count().running == 1
    cell.finish(first, ended(0.6), ROWS)
    cell.hand_out(second)
    cell.finish(second, Outcome("failed", reason="no memory"), [])
    assert (cell.confirmed(first), cell.confirmed(second)) == (True, False)
    assert (cell.count().done, cell.count().failed, cell.count().left) == (3, 2, 2)


def test_a_confirm_trial_that_ended_stays_ended_whatever_a_driver_that_lost_the_study_notes(tmp_path):
    """It stood still while the owner ran the trial, and goes on with a start, or with a failure of its own."""
    cell = one(tmp_path)
    for _ in range(5):
        cell.finish(cell.next_search(), ended(0.4), ROWS)
    first, second = cell.confirm()
    for late in (lambda: cell.hand_out(first), lambda: cell.finish(first, Outcome("failed", reason="no memory"), [])):
        cell.finish(first, ended(0.6), ROWS)
        late()
        assert one(tmp_path).confirmed(first)
        assert one(tmp_path).count().done == 6
    cell.hand_out(second)
    assert not one(tmp_path).confirmed(second)
    assert one(tmp_path).count().running == 1


def test_notes_of_versions_that_wrote_both_under_one_key_are_read(tmp_path):
    cell = one(tmp_path)
    for _ in range(5):
        cell.finish(cell.next_search(), ended(0.4), ROWS)
    first, second = cell.confirm()
    cell.study.note(f"confirm/{first.config.hash()}", {"status": "complete", "test/accuracy": 0.5})
    cell.study.note(f"confirm/{second.config.hash()}", {"status": "running"})
    again = one(tmp_path)
    assert (again.confirmed(first), again.confirmed(second), again.count().running) == (True, False, 1)
    again.finish(second, ended(0.6), ROWS)
    assert one(tmp_path).confirmed(second)


def test_where_every_trial_diverged_no_confirm_trial_is_expected(tmp_path):
    cell = one(tmp_path)
    for _ in range(5):
        cell.finish(cell.next_search(), Outcome("diverged", step=1), ROWS)
    assert (cell.count().total, cell.count().left, cell.confirm()) == (5, 0, [])


def test_a_suggestion_sees_the_trials_up_to_its_number_minus_the_window(tmp_path):
    cell = one(tmp_path)
    first, second = cell.next_search(), cell.next_search()
    assert cell.next_search() is None  # trial 2 must see trial 0
    cell.finish(second, ended(0.2), ROWS)
    assert cell.next_search() is None
    cell.finish(first, ended(0.1), ROWS)
    assert [trial.number for trial in cell._seen(2)] == [0]
    assert [trial.number for trial in cell._seen(3)] == [0, 1]
    assert cell.next_search().number == 2
    assert cell._seen(4) is None
    assert [trial.number for trial in cell._seen(3)] == [0, 1]


def test_a_failed_trial_is_neither_seen_nor_waited_for(tmp_path):
    cell = one(tmp_path)
    cell.finish(cell.next_search(), Outcome("failed", reason="no memory"), [])
    cell.finish(cell.next_search(), ended(0.2), ROWS)
    assert [trial.number for trial in cell._seen(3)] == [1]


def test_the_storage_holds_how_a_trial_ended_and_what_the_constraints_ask_for(tmp_path):
    cell = one(tmp_path, "search/constraints={train/loss: {high: 2.5}, train/accuracy: {low: 0}}")
    cell.finish(cell.next_search(), ended(0.4, 0.9), ROWS)
    cell.finish(cell.next_search(), Outcome("diverged", {}, 7, "the loss is nan"), ROWS[:1])
    good, bad = cell.trials
    assert good.user_attrs == {"status": "complete", "train/loss": 2.0, "val/accuracy": 0.4, "val/loss": 0.9}
    assert bad.user_attrs == {"status": "diverged", "step": 7, "reason": "the loss is nan", "train/loss": 3.0}
    assert (good.value, good.intermediate_values, bad.value) == (0.4, {1: 0.1, 2: 0.4}, WORST)
    assert cell._excesses(good) == {"train/loss": -0.5, "train/accuracy": 1e9}
    assert cell._excesses(bad) is None
    assert cell.best() is None  # it breaks the second constraint


def test_the_best_of_the_first_trials_alone(tmp_path):
    cell = one(tmp_path)
    for accuracy, loss in ((0.4, 1.0), (0.6, 2.0), (0.6, 1.0), (0.6, 1.0), (0.9, 5.0)):
        cell.finish(cell.next_search(), ended(accuracy, loss), ROWS)
    assert [cell.best(of).number for of in (1, 2, 3, 4, None)] == [0, 1, 2, 2, 4]


def test_an_outcome_that_comes_twice_counts_once(tmp_path):
    cell = one(tmp_path)
    trial = cell.next_search()
    cell.finish(trial, ended(0.4), ROWS)
    cell.finish(trial, ended(0.9), ROWS)
    assert (cell.trials[0].value, cell.trials[0].user_attrs["val/accuracy"]) == (0.4, 0.4)


@pytest.mark.parametrize(("high", "feasible"), [(1.99, False), (2.0, True), (2.01, True)])
def test_a_constraint_holds_up_to_its_very_bound(tmp_path, high, feasible):
    cell = one(tmp_path, f"search/constraints={{train/loss: {{high: {high}}}}}")
    cell.finish(cell.next_search(), ended(0.4), ROWS)
    assert (cell.best() is not None) is feasible
