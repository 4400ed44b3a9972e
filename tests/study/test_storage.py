"""The journal: what is told at once is written at once, or not at all."""

from __future__ import annotations

import pytest
from optuna.study import StudyDirection
from optuna.trial import TrialState

from study.storage import at_once, open_storage


def test_a_trials_end_goes_to_the_journal_in_one_piece(tmp_path):
    storage = open_storage(tmp_path / "j")
    trial = storage.create_new_trial(storage.create_new_study([StudyDirection.MAXIMIZE], "cell"))
    before = (tmp_path / "j").read_bytes()
    with at_once(storage):
        storage.set_trial_user_attr(trial, "status", "complete")
        storage.set_trial_state_values(trial, TrialState.COMPLETE, [0.5])
        assert (tmp_path / "j").read_bytes() == before
    for told in (storage, open_storage(tmp_path / "j")):
        ended = told.get_trial(trial)
        assert (ended.state, ended.value, ended.user_attrs) == (TrialState.COMPLETE, 0.5, {"status": "complete"})


def test_an_error_on_the_way_leaves_the_journal_as_it_was(tmp_path):
    storage = open_storage(tmp_path / "j")
    trial = storage.create_new_trial(storage.create_new_study([StudyDirection.MAXIMIZE], "cell"))

    def broken_off():
        with at_once(storage):
            storage.set_trial_user_attr(trial, "status", "complete")
            raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError, match="the disk"):
        broken_off()
    assert storage.get_trial(trial).user_attrs == open_storage(tmp_path / "j").get_trial(trial).user_attrs == {}
    storage.set_trial_user_attr(trial, "status", "diverged")  # and goes on as before
    assert open_storage(tmp_path / "j").get_trial(trial).user_attrs == {"status": "diverged"}
