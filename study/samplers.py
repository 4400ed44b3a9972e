"""Optuna's samplers by name, with their options in Optuna's words, and how a suggestion is drawn from one.

Every suggestion comes from a sampler built for it alone, in a study in memory that holds what it may see: so it
depends on (search seed, cell, trial number) and those trials, and on nothing that time decides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from math import prod
from typing import Annotated, Any, ClassVar, Literal

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from trainables.plugins import Registry
from trainables.settings import Settings, about

Distributions = Mapping[str, BaseDistribution]
Startup = Annotated[int, about("", "trials drawn at random before the sampler steers", ge=1)]


class Sampler(Settings):
    """A sampler plug-in."""

    name: str
    constrained: ClassVar[bool] = False  # honours search/constraints
    blind: ClassVar[bool] = False  # looks at no earlier trial, so it waits for none
    central: ClassVar[bool] = True  # leaves the first trial to the middle of every range
    discrete: ClassVar[bool] = False  # takes choices alone, no ranges of numbers

    def build(self, seed: int) -> BaseSampler:
        """Optuna's sampler."""
        raise NotImplementedError

    def suggest(
        self, words: tuple[object, ...], number: int, seen: Sequence[FrozenTrial], space: Distributions
    ) -> FrozenTrial:
        """Trial `number`'s parameters, and what the sampler wants to find with them later (system attributes).

        `words` name the search: its seed, and the cell. `seen` are trials by number, gaps left out.
        """
        study = _study(self.build(derive(*words, number)))
        study.add_trials(numbered(seen, number))
        trial = study.ask(dict(space))
        return study.get_trials(deepcopy=False)[trial.number]

    def options(self) -> dict[str, Any]:
        """The options that the spec gives or this file sets, by Optuna's names."""
        return self.model_dump(exclude={"name"}, exclude_none=True)


class TPE(Sampler):
    """`sampler: {name: tpe, n_startup_trials: 6}`: tree-structured Parzen estimator (Bergstra et al. 2011)."""

    constrained: ClassVar[bool] = True
    name: Literal["tpe"] = "tpe"
    n_startup_trials: Startup = 6
    n_ei_candidates: Annotated[int, about("", "candidates a suggestion is chosen from", ge=1, le=10_000)] = 24
    multivariate: Annotated[bool | None, about("", "parameters jointly; null: as Optuna does")] = None
    group: Annotated[bool, about("", "with multivariate: conditional parameters in groups")] = False

    def build(self, seed: int) -> BaseSampler:
        return optuna.samplers.TPESampler(seed=seed, **self.options())


class Random(Sampler):
    """`sampler: random`."""

    blind: ClassVar[bool] = True
    name: Literal["random"] = "random"

    def build(self, seed: int) -> BaseSampler:
        return optuna.samplers.RandomSampler(seed=seed)


class QMC(Sampler):
    """`sampler: {name: qmc, qmc_type: sobol}`: a quasi-random sequence, one a cell, a point a trial."""

    blind: ClassVar[bool] = True
    name: Literal["qmc"] = "qmc"
    qmc_type: Annotated[Literal["sobol", "halton"], about("", "the sequence")] = "sobol"
    scramble: Annotated[bool, about("", "scrambled by the cell's seed; else every cell has the same points")] = True

    def build(self, seed: int) -> BaseSampler:
        return optuna.samplers.QMCSampler(seed=seed, warn_independent_sampling=False, **self.options())

    def suggest(
        self,
        words: tuple[object, ...],
        number: int,
        seen: Sequence[FrozenTrial],  # noqa: ARG002
        space: Distributions,
    ) -> FrozenTrial:
        """The sequence's point `number`, which it reaches through all before it; `seen` changes nothing."""
        study = _study(self.build(derive(*words)))
        first = optuna.samplers.RandomSampler(seed=0)  # from any trial the sampler learns the space
        known = {key: first.sample_independent(study, _EMPTY, key, each) for key, each in space.items()}
        study.add_trial(create_trial(value=0.0, params=known, distributions=dict(space)))
        for _ in range(max(0, number - 1)):
            study.ask(dict(space))
        trial = study.ask(dict(space))
        return study.get_trials(deepcopy=False)[trial.number]


class GP(Sampler):
    """`sampler: {name: gp, n_startup_trials: 6}`: a Gaussian process; seconds a suggestion in long searches."""

    constrained: ClassVar[bool] = True
    name: Literal["gp"] = "gp"
    n_startup_trials: Startup = 6
    deterministic_objective: Annotated[bool, about("", "whether a configuration always gives one accuracy")] = False

    def build(self, seed: int) -> BaseSampler:
        return optuna.samplers.GPSampler(seed=seed, warn_independent_sampling=False, **self.options())


class CMAES(Sampler):
    """`sampler: {name: cmaes, popsize: 8}`: covariance matrix adaptation; named choices are drawn at random."""

    name: Literal["cmaes"] = "cmaes"
    n_startup_trials: Startup = 1
    popsize: Annotated[int | None, about("λ", "trials a generation; null: 4 + ⌊3 ln d⌋", ge=4, le=10_000)] = None
    use_separable_cma: Annotated[bool, about("", "a diagonal covariance")] = False
    lr_adapt: Annotated[bool, about("", "learning rates adapted to noise")] = False

    def build(self, seed: int) -> BaseSampler:
        return optuna.samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False, **self.options())


class Grid(Sampler):
    """`sampler: grid`: every combination of the choices, trial k the k-th of an order that the cell's seed shuffles.

    A budget above the number of combinations begins the grid again: the same points with other training seeds.
    """

    blind: ClassVar[bool] = True
    central: ClassVar[bool] = False
    discrete: ClassVar[bool] = True
    name: Literal["grid"] = "grid"

    def suggest(
        self,
        words: tuple[object, ...],
        number: int,
        seen: Sequence[FrozenTrial],  # noqa: ARG002
        space: Distributions,
    ) -> FrozenTrial:
        """The grid's point `number`; `seen` changes nothing."""
        choices = {key: each.choices for key, each in space.items() if isinstance(each, CategoricalDistribution)}
        study = _study(optuna.samplers.GridSampler(choices, seed=derive(*words)))
        study.add_trials(numbered((), number % prod(map(len, choices.values()))))
        trial = study.ask(dict(space))
        return study.get_trials(deepcopy=False)[trial.number]


samplers: Registry[type[Sampler]] = Registry("study.samplers")
_EMPTY = create_trial(state=TrialState.FAIL)


def derive(*words: object) -> int:
    """A seed of its own for each use."""
    return int.from_bytes(hashlib.blake2b(repr(words).encode(), digest_size=4).digest(), "big")


def numbered(seen: Sequence[FrozenTrial], number: int) -> list[FrozenTrial]:
    """Trials 0 … number - 1: those `seen`, and failed ones, which samplers and pruners pass over, in the gaps."""
    by_number = {trial.number: trial for trial in seen}
    return [by_number.get(each, _EMPTY) for each in range(number)]


def _study(sampler: BaseSampler) -> optuna.Study:
    return optuna.create_study(storage=InMemoryStorage(), direction="maximize", sampler=sampler)
