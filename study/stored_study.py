"""One Optuna study in its storage. All that the search leans on beside Optuna's documented interface stands here.

Optuna documents `study.ask` and `study.tell`; a search that outlives its process, and suggests from a part of its
trials, begins and ends them through the storage's own methods. `tests/study/test_stored_study.py` says what is expected
of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from study.storage import at_once


@dataclass(frozen=True)
class Ending:
    """Optuna's account of how a trial ended: its value, that of each epoch, and what its pruner keeps with it."""

    state: TrialState
    value: float
    epochs: Mapping[int, float] = field(default_factory=dict)
    pruner_attributes: Mapping[str, Any] = field(default_factory=dict)


class StoredStudy:
    """The study called `name`, made where there is none. This process alone writes its trials."""

    def __init__(self, storage: BaseStorage, name: str) -> None:
        self.storage = storage
        self._trials: list[FrozenTrial] | None = None  # as last read
        try:
            self.id = storage.get_study_id_from_name(name)
        except KeyError:
            self.id = storage.create_new_study([StudyDirection.MAXIMIZE], name)

    @property
    def trials(self) -> list[FrozenTrial]:
        """Every trial, by number."""
        if self._trials is None:
            self._trials = self.storage.get_all_trials(self.id, deepcopy=False)
        return self._trials

    def forget(self) -> None:
        """Read the trials anew when they are next wanted."""
        self._trials = None

    def begin(self, suggested: FrozenTrial, distributions: Mapping[str, BaseDistribution]) -> FrozenTrial:
        """A running trial of the next number, with the parameters and the sampler's attributes of `suggested`."""
        template = create_trial(
            state=TrialState.RUNNING, params=suggested.params, distributions=dict(distributions),
            system_attrs=suggested.system_attrs,
        )  # fmt: skip
        self.forget()
        return self.storage.get_trial(self.storage.create_new_trial(self.id, template))

    def end(self, number: int, attributes: Mapping[str, Any], ending: Ending | None) -> bool:
        """Write how trial `number` ended, at once; without an `ending` it stays unfinished.

        False, and nothing is written, where it has an ending already: a try before this one got through, though its
        answer did not.
        """
        self.forget()
        trial_id = self.storage.get_trial_id_from_study_id_trial_number(self.id, number)
        if self.storage.get_trial(trial_id).state.is_finished():
            return False
        with at_once(self.storage):
            for key, value in attributes.items():
                self.storage.set_trial_user_attr(trial_id, key, value)
            if ending is not None:
                for epoch, value in ending.epochs.items():
                    self.storage.set_trial_intermediate_value(trial_id, epoch, value)
                for key, value in ending.pruner_attributes.items():
                    self.storage.set_trial_system_attr(trial_id, key, value)
                self.storage.set_trial_state_values(trial_id, ending.state, [ending.value])
        return True

    def attributes(self) -> dict[str, Any]:
        """What was noted about the study as a whole."""
        return self.storage.get_study_user_attrs(self.id)

    def note(self, key: str, value: Any) -> None:
        """Note something about the study as a whole."""
        self.storage.set_study_user_attr(self.id, key, value)
