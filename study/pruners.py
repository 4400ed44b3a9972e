"""Optuna's pruners by name, with their options in Optuna's words, and how a running trial is judged by one.

A trial is compared within its cell, and in the reproducible mode with the trials that its suggestion saw, which had
all ended: so neither the number of slots nor timing decides what is pruned.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

import optuna
from optuna.pruners import BasePruner
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from study.samplers import numbered
from trainables.plugins import Registry
from trainables.settings import Settings, about

Factor = Annotated[int, about("η", "one in so many goes on at each rung", ge=2, le=1000)]
Resource = Annotated[int, about("", "epochs before the first rung", unit="epoch", ge=1)]


class Pruner(Settings):
    """A pruner plug-in."""

    name: str

    def build(self, epochs: int) -> BasePruner | None:
        """Optuna's pruner for trials of so many epochs; None: nothing is pruned."""
        raise NotImplementedError

    def options(self) -> dict[str, Any]:
        """The options, by Optuna's names."""
        return self.model_dump(exclude={"name"}, exclude_none=True)


class NoPruner(Pruner):
    """`pruner: none`."""

    name: Literal["none"] = "none"

    def build(self, epochs: int) -> BasePruner | None:  # noqa: ARG002
        return None


class Median(Pruner):
    """`pruner: {name: median, n_warmup_steps: 3}`: below the median of the earlier trials at the same epoch."""

    name: Literal["median"] = "median"
    n_startup_trials: Annotated[int, about("", "complete trials before anything is pruned", ge=0)] = 5
    n_warmup_steps: Annotated[int, about("", "epochs before anything is pruned", unit="epoch", ge=0)] = 0
    interval_steps: Annotated[int, about("", "epochs from one look to the next", unit="epoch", ge=1)] = 1

    def build(self, epochs: int) -> BasePruner:  # noqa: ARG002
        return optuna.pruners.MedianPruner(**self.options())


class SuccessiveHalving(Pruner):
    """`pruner: {name: asha, reduction_factor: 4}`: asynchronous successive halving (Li et al. 2018)."""

    name: Literal["asha"] = "asha"
    min_resource: Resource = 1
    reduction_factor: Factor = 4
    min_early_stopping_rate: Annotated[int, about("", "rungs left out at the start", ge=0, le=100)] = 0
    bootstrap_count: Annotated[int, about("", "trials a rung waits for", ge=0)] = 0

    def build(self, epochs: int) -> BasePruner:  # noqa: ARG002
        return optuna.pruners.SuccessiveHalvingPruner(**self.options())


class Hyperband(Pruner):
    """`pruner: {name: hyperband, reduction_factor: 3}`: brackets of successive halving (Li et al. 2017)."""

    name: Literal["hyperband"] = "hyperband"
    min_resource: Resource = 1
    reduction_factor: Factor = 3

    def build(self, epochs: int) -> BasePruner:
        return optuna.pruners.HyperbandPruner(max_resource=epochs, **self.options())


class Wilcoxon(Pruner):
    """`pruner: {name: wilcoxon, p_threshold: 0.1}`: a signed-rank test against the best trial, epoch by epoch."""

    name: Literal["wilcoxon"] = "wilcoxon"
    p_threshold: Annotated[float, about("p", "level of the test", ge=0, le=1)] = 0.1
    n_startup_steps: Annotated[int, about("", "epochs before anything is pruned", unit="epoch", ge=0)] = 2

    def build(self, epochs: int) -> BasePruner:  # noqa: ARG002
        return optuna.pruners.WilcoxonPruner(**self.options())


pruners: Registry[type[Pruner]] = Registry("study.pruners")


class Arena:
    """A study in memory where running trials are compared with the others in it."""

    def __init__(self, cell: str, others: Iterable[FrozenTrial], number: int) -> None:
        """`others` are trials by number below `number`, gaps left out."""
        self.storage = InMemoryStorage()
        self.study_id = self.storage.create_new_study([StudyDirection.MAXIMIZE], cell)
        self.study = optuna.load_study(study_name=cell, storage=self.storage)
        self.study.add_trials(numbered(list(others), number))

    def enter(self, trial: FrozenTrial) -> int:
        """A running trial comes in; returns its id here."""
        running = create_trial(state=TrialState.RUNNING, params=trial.params, distributions=trial.distributions)
        return self.storage.create_new_trial(self.study_id, running)

    def stops(self, pruner: BasePruner, trial_id: int, epoch: int, value: float) -> bool:
        """Whether the trial should stop after `epoch`, with the validation accuracy `value` there."""
        self.storage.set_trial_intermediate_value(trial_id, epoch, value)
        return pruner.prune(self.study, self.storage.get_trial(trial_id))

    def attributes(self, trial_id: int) -> dict[str, Any]:
        """What the pruner wants to find with the trial later (system attributes)."""
        return dict(self.storage.get_trial(trial_id).system_attrs)

    def leave(self, trial_id: int, state: TrialState, value: float) -> None:
        """The trial has ended."""
        self.storage.set_trial_state_values(trial_id, state, [value])


class Judge:
    """A pruner over the running trials of one cell, each in its arena."""

    def __init__(self, cell: str, pruner: BasePruner) -> None:
        self.cell, self.pruner = cell, pruner
        self._seats: dict[int, tuple[Arena, int]] = {}  # by trial number: its arena, and its id there
        self._shared: Arena | None = None

    def has(self, number: int) -> bool:
        """Whether trial `number` has been judged before."""
        return number in self._seats

    def enter(self, trial: FrozenTrial, others: Sequence[FrozenTrial]) -> None:
        """`trial` is compared with those `others` alone, which have ended."""
        arena = Arena(self.cell, others, trial.number)
        self._seats[trial.number] = arena, arena.enter(trial)

    def enter_shared(self, trial: FrozenTrial, ended: Sequence[FrozenTrial]) -> None:
        """`trial` is compared with all others, running ones too; the first to enter brings what has `ended`."""
        self._shared = self._shared or Arena(self.cell, ended, len(ended))
        self._seats[trial.number] = self._shared, self._shared.enter(trial)

    def stops(self, number: int, epoch: int, value: float) -> bool:
        """Whether trial `number` should stop after `epoch`, with the validation accuracy `value` there."""
        arena, trial_id = self._seats[number]
        return arena.stops(self.pruner, trial_id, epoch, value)

    def attributes(self, number: int) -> dict[str, Any]:
        """What the pruner wants to find with trial `number` later (system attributes)."""
        arena, trial_id = self._seats[number]
        return arena.attributes(trial_id)

    def leave(self, number: int, state: TrialState, value: float) -> None:
        """Trial `number` has ended."""
        arena, trial_id = self._seats.pop(number)
        arena.leave(trial_id, state, value)
