"""One Optuna study in its storage. All that the search leans on beside Optuna's documented interface stands here.

Optuna documents `study.ask` and `study.tell`; a search that outlives its process, and suggests from a part of its
trials, begins and ends them through the storage's own methods. `tests/study/test_stored_study.py` says what is expected
of them.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import DuplicatedStudyError, UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from study.storage import at_once

optuna.logging.set_verbosity(optuna.logging.WARNING)
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)

OBJECTIVE = "val/accuracy"
NUMBER = "study:number"  # the system attribute that holds a trial's own number, written with the trial


@dataclass(frozen=True)
class Ending:
    """Optuna's account of how a trial ended: its value, that of each epoch, and what its pruner keeps with it."""

    state: TrialState
    value: float
    epochs: Mapping[int, float] = field(default_factory=dict)
    pruner_attributes: Mapping[str, Any] = field(default_factory=dict)


class StoredStudy:
    """The study called `name`, made where there is none. Its owner alone writes its trials.

    A trial's number is its own, stored with it at its making, and the first trial of a number counts. So a former owner
    that stood still while another took the study over, and goes on in the middle of beginning a trial, cannot shift the
    numbers of those that follow: its trial is the one that the new owner wanted, or a second of its number.
    """

    def __init__(self, storage: BaseStorage, name: str) -> None:
        self.storage = storage
        self._stored: list[FrozenTrial] | None = None  # as last read: those that count, by number
        self._trials: list[FrozenTrial] = []  # the same, each called by that number
        try:
            self.id = storage.get_study_id_from_name(name)
        except KeyError:
            with suppress(DuplicatedStudyError):  # by another, meanwhile
                storage.create_new_study([StudyDirection.MAXIMIZE], name)
            self.id = storage.get_study_id_from_name(name)
            with warnings.catch_warnings(category=optuna.exceptions.ExperimentalWarning, action="ignore"):
                optuna.load_study(study_name=name, storage=storage).set_metric_names([OBJECTIVE])  # optuna-dashboard's

    @property
    def trials(self) -> list[FrozenTrial]:
        """Every trial that counts, by number."""
        if self._stored is None:
            self._stored = first_of_each_number(self.storage.get_all_trials(self.id, deepcopy=False))
            self._trials = [_numbered(trial, number) for number, trial in enumerate(self._stored)]
        return self._trials

    def forget(self) -> None:
        """Read the trials anew when they are next wanted."""
        self._stored = None

    def _id(self, number: int) -> int:
        """The storage's name for trial `number`."""
        stored = self._stored or first_of_each_number(self.storage.get_all_trials(self.id, deepcopy=False))
        return self.storage.get_trial_id_from_study_id_trial_number(self.id, stored[number].number)

    def begin(self, suggested: FrozenTrial, distributions: Mapping[str, BaseDistribution]) -> FrozenTrial | None:
        """A running trial of the next number, with the parameters and the sampler's attributes of `suggested`.

        Where another process has begun that number since the trials were read, its trial is the one; None where that
        has ended, too.
        """
        number = len(self.trials)
        template = create_trial(
            state=TrialState.RUNNING, params=suggested.params, distributions=dict(distributions),
            system_attrs={**suggested.system_attrs, NUMBER: number},
        )  # fmt: skip
        made = self.storage.create_new_trial(self.id, template)
        self.forget()
        trial = self.trials[number]
        if self._id(number) != made:
            self.storage.set_trial_state_values(made, TrialState.FAIL)
        return None if trial.state.is_finished() else trial

    def end(self, number: int, attributes: Mapping[str, Any], ending: Ending | None) -> bool:
        """Write how trial `number` ended, at once; without an `ending` it stays unfinished.

        False, and nothing is written, where it has an ending already: a try before this one got through, though its
        answer did not, or another process has ended it.
        """
        trial_id = self._id(number)
        self.forget()
        if self.storage.get_trial(trial_id).state.is_finished():
            return False
        with suppress(UpdateFinishedTrialError):
            self._write(trial_id, attributes, ending)
            return True
        return False

    def _write(self, trial_id: int, attributes: Mapping[str, Any], ending: Ending | None) -> None:
        with at_once(self.storage):
            for key, value in attributes.items():
                self.storage.set_trial_user_attr(trial_id, key, value)
            if ending is not None:
                for epoch, value in ending.epochs.items():
                    self.storage.set_trial_intermediate_value(trial_id, epoch, value)
                for key, value in ending.pruner_attributes.items():
                    self.storage.set_trial_system_attr(trial_id, key, value)
                self.storage.set_trial_state_values(trial_id, ending.state, [ending.value])

    def attributes(self) -> dict[str, Any]:
        """What was noted about the study as a whole."""
        return self.storage.get_study_user_attrs(self.id)

    def note(self, key: str, value: Any) -> None:
        """Note something about the study as a whole."""
        self.storage.set_study_user_attr(self.id, key, value)


def first_of_each_number(stored: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """The trials by their own numbers, which have no gaps; for one that was stored without, that is Optuna's."""
    first: dict[int, FrozenTrial] = {}
    for trial in stored:
        first.setdefault(trial.system_attrs.get(NUMBER, trial.number), trial)
    return [first[number] for number in sorted(first)]


def _numbered(trial: FrozenTrial, number: int) -> FrozenTrial:
    """By its own number; where that is not Optuna's, another, for the storage keeps the one that it gave."""
    if trial.number == number:
        return trial
    own = copy.copy(trial)
    own.number = number
    return own
