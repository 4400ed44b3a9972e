"""What the search relies on in Optuna beside its documented interface: on the storages that hold studies."""

from __future__ import annotations

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.storages import InMemoryStorage, RDBStorage
from optuna.trial import TrialState, create_trial

from study.samplers import numbered
from study.storage import open_storage
from study.stored_study import NUMBER, Ending, StoredStudy

SPACE = {"lr": FloatDistribution(1e-3, 1.0, log=True), "name": CategoricalDistribution(("a", "b"))}
WIDE = {**SPACE, "lr": FloatDistribution(1e-6, 1e3, log=True)}


@pytest.fixture(params=["journal", "database", "memory"])
def storage(request, tmp_path):
    if request.param == "database":
        return RDBStorage(f"sqlite:///{tmp_path}/optuna.db")
    return open_storage(tmp_path / "j") if request.param == "journal" else InMemoryStorage()


def suggested(lr=0.1):
    return create_trial(value=0.0, params={"lr": lr, "name": "b"}, distributions=SPACE, system_attrs={"cma:n": 3})


def test_a_study_is_made_once_and_found_again_by_its_name(storage):
    first = StoredStudy(storage, "sgd/16")
    assert StoredStudy(storage, "sgd/16").id == first.id
    assert StoredStudy(storage, "sgd/64").id != first.id
    summaries = {summary.study_name: summary for summary in storage.get_all_studies()}
    assert summaries["sgd/16"].direction.name == "MAXIMIZE"
    assert optuna.load_study(study_name="sgd/64", storage=storage).metric_names == ["val/accuracy"]


def test_a_trial_begins_running_with_the_next_number_and_wider_distributions_than_it_was_drawn_from(storage):
    study = StoredStudy(storage, "cell")
    trials = [study.begin(suggested(), WIDE) for _ in range(3)]
    assert [trial.number for trial in trials] == [0, 1, 2]
    assert [trial.number for trial in study.trials] == [0, 1, 2]
    for trial in (trials[0], StoredStudy(storage, "cell").trials[0]):
        assert (trial.state, trial.params) == (TrialState.RUNNING, {"lr": 0.1, "name": "b"})
        assert trial.distributions == WIDE
        assert trial.system_attrs["cma:n"] == 3


def test_an_ending_is_read_back_whole_and_only_the_first_counts(storage):
    study = StoredStudy(storage, "cell")
    study.begin(suggested(), SPACE)
    study.begin(suggested(), SPACE)
    ending = Ending(TrialState.PRUNED, 0.25, {1: 0.5, 2: 0.25}, {"rung": 1})
    assert study.end(1, {"status": "pruned", "step": 2}, ending)
    assert not study.end(1, {"status": "complete"}, Ending(TrialState.COMPLETE, 1.0))
    for each in (study, StoredStudy(storage, "cell")):
        first, second = each.trials
        assert (first.state, first.user_attrs) == (TrialState.RUNNING, {})
        assert (second.state, second.value, second.intermediate_values) == (TrialState.PRUNED, 0.25, {1: 0.5, 2: 0.25})
        assert second.user_attrs == {"status": "pruned", "step": 2}
        assert second.system_attrs == {"cma:n": 3, "rung": 1, NUMBER: 1}


def test_without_an_ending_a_trial_stays_unfinished(storage):
    study = StoredStudy(storage, "cell")
    study.begin(suggested(), SPACE)
    assert study.end(0, {"status": "failed"}, None)
    (trial,) = study.trials
    assert (trial.state, trial.user_attrs) == (TrialState.RUNNING, {"status": "failed"})
    assert study.end(0, {"status": "complete"}, Ending(TrialState.COMPLETE, 0.5))
    assert study.trials[0].user_attrs == {"status": "complete"}


def test_of_two_trials_of_one_number_the_first_counts_whoever_began_it(storage):
    """A driver that stood still since it read the trials goes on: before and after the new owner's own trial."""
    ours, stale = StoredStudy(storage, "cell"), StoredStudy(storage, "cell")
    for study in (ours, stale):
        assert study.trials == []
    first = ours.begin(suggested(0.1), SPACE)
    late = stale.begin(suggested(0.2), SPACE)
    assert (first.number, late.number, late.params["lr"]) == (0, 0, 0.1)
    second = stale.begin(suggested(0.3), SPACE)  # the new owner has not read it
    adopted = ours.begin(suggested(0.4), SPACE)
    assert (second.number, adopted.number, adopted.params["lr"]) == (1, 1, 0.3)
    assert ours.end(1, {"status": "complete"}, Ending(TrialState.COMPLETE, 0.5))
    assert ours.begin(suggested(0.5), SPACE).number == 2
    assert [(trial.number, trial.params["lr"], trial.state.name) for trial in StoredStudy(storage, "cell").trials] == [
        (0, 0.1, "RUNNING"), (1, 0.3, "COMPLETE"), (2, 0.5, "RUNNING"),
    ]  # fmt: skip
    states = [trial.state.name for trial in storage.get_all_trials(ours.id)]
    assert states == ["RUNNING", "FAIL", "COMPLETE", "FAIL", "RUNNING"]


def test_a_number_that_another_has_begun_and_ended_is_not_begun_again(storage):
    ours, stale = StoredStudy(storage, "cell"), StoredStudy(storage, "cell")
    assert stale.trials == []
    ours.begin(suggested(), SPACE)
    ours.end(0, {}, Ending(TrialState.COMPLETE, 0.5))
    assert stale.begin(suggested(), SPACE) is None
    assert [trial.value for trial in stale.trials] == [0.5]


def test_an_ending_that_another_overtakes_is_none(storage, monkeypatch):
    ours, stale = StoredStudy(storage, "cell"), StoredStudy(storage, "cell")
    ours.begin(suggested(), SPACE)
    written = storage.set_trial_user_attr

    def overtaken(*words):
        monkeypatch.setattr(storage, "set_trial_user_attr", written)
        assert ours.end(0, {"status": "complete"}, Ending(TrialState.COMPLETE, 0.5))
        written(*words)

    monkeypatch.setattr(storage, "set_trial_user_attr", overtaken)
    assert not stale.end(0, {"status": "failed"}, None)
    assert StoredStudy(storage, "cell").trials[0].user_attrs == {"status": "complete"}


def test_trials_without_a_number_of_their_own_have_optunas(storage):
    """As versions before this wrote them."""
    study = StoredStudy(storage, "cell")
    for _ in range(2):
        storage.create_new_trial(study.id, create_trial(state=TrialState.RUNNING, system_attrs={"grid:id": 1}))
    study.forget()
    assert [trial.number for trial in study.trials] == [0, 1]
    assert study.begin(suggested(), SPACE).number == 2


def test_notes_about_the_study_are_read_back(storage):
    study = StoredStudy(storage, "cell")
    assert study.attributes() == {}
    study.note("confirm/abc", {"status": "running"})
    study.note("confirm/abc", {"status": "complete", "test/accuracy": 0.5})
    assert StoredStudy(storage, "cell").attributes() == {"confirm/abc": {"status": "complete", "test/accuracy": 0.5}}


def test_trials_are_read_again_only_after_they_were_forgotten(storage):
    study, other = StoredStudy(storage, "cell"), StoredStudy(storage, "cell")
    assert study.trials == []
    other.begin(suggested(), SPACE)
    assert study.trials == []
    study.forget()
    assert len(study.trials) == 1


def test_a_failed_trial_in_a_gap_is_passed_over_by_the_sampler():
    """A suggestion sees some trials of many: the others stand in as failed ones, and must change nothing."""

    def drawn(filled):
        study = optuna.create_study(
            direction="maximize", sampler=optuna.samplers.TPESampler(seed=1, n_startup_trials=2)
        )
        ended = [create_trial(value=v, params={"lr": lr, "name": "a"}, distributions=SPACE)
                 for v, lr in ((0.1, 0.01), (0.5, 0.1), (0.2, 0.9))]  # fmt: skip
        for number, trial in enumerate(ended):
            trial.number = 2 * number if filled else number
        study.add_trials(numbered(ended, 6) if filled else ended)
        return study.ask(dict(SPACE)).params

    assert drawn(filled=True) == drawn(filled=False)


def test_in_gaps_stand_failed_trials_and_numbers_are_kept():
    trial = create_trial(value=0.5)
    trial.number = 2
    states = [(each.state, each.value) for each in numbered([trial], 4)]
    assert states == [(TrialState.FAIL, None)] * 2 + [(TrialState.COMPLETE, 0.5)] + [(TrialState.FAIL, None)]
