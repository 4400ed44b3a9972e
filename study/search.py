"""One cell's search: a persistent Optuna study, by ask and tell, and the confirm phase that follows it.

Reproducible whatever the number of slots and the order of finishing: the sampler is rebuilt for every suggestion,
seeded by (search seed, cell, trial number), and sees only the trials up to number - window, which must have ended
first; a pruner compares a running trial with those same trials. With `reproducible: false` both see whatever there is.
The storage says which trials exist and how they ended; resuming is asking it.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from search_spaces import Choice, Range
from study import boundary
from study.boundary import Edge
from study.fairness import untried
from study.outcome import Count, Outcome
from study.parameters import centre, covering, distributions, optuna_key, same_numbers
from study.plan import Assignment, Cell, search_seed
from study.pruners import Arena
from study.samplers import Sampler
from study.spec import Spec
from study.storage import at_once, study_name
from trainables.errors import Refused

optuna.logging.set_verbosity(optuna.logging.WARNING)
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)

WORST = 0.0  # the accuracy that a diverged trial counts as
FAR = 1e9  # by which a trial breaks a constraint on what it did not report
ENDED = ("complete", "pruned", "diverged")


def pruning(spec: Spec, cell: Cell) -> str:
    """The pruner that may stop the cell's search trials early, or `off: …` with the reason."""
    name: str = spec.search.pruner.name
    if name == "none" or spec.search.prune_biased or not cell.biased:
        return name
    return f"off: {cell.biased} would mislead it (search/prune_biased: true overrules)"


class CellSearch:
    """The trials of one cell, as its Optuna study holds them."""

    def __init__(self, storage: BaseStorage, spec: Spec, cell: Cell) -> None:
        self.storage, self.spec, self.cell = storage, spec, cell
        self._trials: list[FrozenTrial] | None = None  # as last read; this process alone writes them
        name = study_name(storage, spec.name, cell.name)
        try:
            self.study_id = storage.get_study_id_from_name(name)
        except KeyError:
            self.study_id = storage.create_new_study([StudyDirection.MAXIMIZE], name)
        self.budgets = [spec.search.trials if cell.space else 0]  # of search trials, after each round of widening
        self.settled = not spec.search.widen or not cell.space  # no round can follow
        self.widest = boundary.widest(cell) if spec.search.widen else dict(cell.space)
        self.keys = {optuna_key(key, range_): key for key, range_ in cell.space.items()}
        self.distributions = distributions(self.widest)
        self._check_ranges()
        self.failed: set[int] = set()  # search trials that this process gave up
        self.ended_confirms = {key for key, how in self._confirms().items() if how["status"] in ENDED}
        self._confirm: list[Assignment] = []
        self.pruner = None if pruning(spec, cell).startswith("off") else spec.search.pruner.build(cell.typical.epochs)
        self._judged: dict[int, tuple[Arena, int]] = {}  # running trials under the pruner's eye
        self._arena: Arena | None = None  # the one of all trials, where results may depend on timing

    def _check_ranges(self) -> None:
        """Raises Refused when the trials so far were drawn from other ranges: another version's, or another spec's."""
        for trial in self.trials:
            for key, drawn_from in trial.distributions.items():
                ours = self.distributions.get(key)
                if ours == drawn_from:
                    continue
                if isinstance(drawn_from, CategoricalDistribution) and same_numbers(ours, drawn_from):
                    self._adopt(key, drawn_from)
                else:
                    rule = f"trial {trial.number} of {self.cell.name} was drawn from {drawn_from}"
                    remedy = "use the version that began the study, or another --dir"
                    raise Refused(key, str(ours), rule, remedy)

    def _adopt(self, key: str, drawn_from: CategoricalDistribution) -> None:
        """Go on with the choices as the trials so far write them."""
        self.distributions[key] = drawn_from
        choices = {self.keys[key]: Choice(drawn_from.choices)}
        self.cell = replace(self.cell, space={**self.cell.space, **choices})

    # What exists

    @property
    def trials(self) -> list[FrozenTrial]:
        """The search trials, by number."""
        if self._trials is None:
            self._trials = self.storage.get_all_trials(self.study_id, deepcopy=False)
        return self._trials

    def forget(self) -> None:
        """Read the trials anew when they are next wanted."""
        self._trials = None

    @property
    def searched(self) -> bool:
        """Whether every search trial of the budget has ended, if only by failing."""
        return sum(self._ended(trial) for trial in self.trials) >= self.budgets[-1]

    def best(self, of: int | None = None) -> FrozenTrial | None:
        """Of the first `of` search trials (of all): highest validation accuracy, then lowest loss and number.

        None where none is complete and keeps to the spec's constraints.
        """
        complete = [t for t in self.trials[:of] if t.user_attrs.get("status") == "complete" and self._feasible(t)]
        return min(
            complete, key=lambda t: (-(t.value or 0.0), t.user_attrs.get("val/loss", 0.0), t.number), default=None
        )

    def confirmed(self, assignment: Assignment) -> bool:
        """Whether a confirm trial has ended."""
        return _confirm_key(assignment) in self.ended_confirms

    def count(self) -> Count:
        """Where the cell stands, as the storage tells it."""
        confirms, known = [_confirm_key(trial) for trial in self.confirm()], self._confirms()
        states = [trial.user_attrs.get("status", "running") for trial in self.trials]
        states += [known[key]["status"] for key in confirms if key in known]
        hopeless = self.searched and self.settled and not confirms  # no search trial is worth confirming
        best = self.best()
        return Count(
            total=self.budgets[-1] + (0 if hopeless else self.spec.confirm.seeds),
            done=states.count("complete"), running=states.count("running"), diverged=states.count("diverged"),
            failed=states.count("failed"), pruned=states.count("pruned"), best=best.value if best else None,
            edges=tuple(map(str, self.alarms())) if self.searched else (),
            untried=tuple(untried(self.cell.space, self._drawn(self.trials))) if self.searched else (),
        )  # fmt: skip

    def _confirms(self) -> dict[str, dict[str, Any]]:
        """Confirm trials that were begun, and how they stand."""
        attrs = self.storage.get_study_user_attrs(self.study_id)
        return {key: how for key, how in attrs.items() if key.startswith("confirm/")}

    # Ranges

    def space(self, round_: int) -> dict[str, Range]:
        """The active ranges of a round: the cell's own, widened where the rounds before raised an alarm."""
        if round_ == 0:
            return dict(self.cell.space)
        return boundary.widened(self.space(round_ - 1), self.alarms(round_ - 1), self.widest)

    def alarms(self, round_: int = -1) -> list[Edge]:
        """Where the best trial lay at the end of a range after a round (the last)."""
        round_ %= len(self.budgets)
        best = self.best(self.budgets[round_])
        if best is None:
            return []
        return boundary.edges(self.cell, self.space(round_), {self.keys[key]: x for key, x in best.params.items()})

    @property
    def searching(self) -> bool:
        """Whether rounds of wider ranges may still follow."""
        return self.budgets[0] > 0 and not self.settled

    @property
    def rounds(self) -> int:
        """Rounds of widening so far."""
        return len(self.budgets) - 1

    def add_round(self) -> None:
        """Another round: its trials come on top of the budget, and answer the last round's alarms."""
        self.budgets.append(self.budgets[-1] + boundary.extra(self.budgets[0]))

    def settle(self) -> None:
        """No further round follows: the confirm phase may begin."""
        self.settled = True

    @property
    def wants_widening(self) -> bool:
        """Whether the last round's alarms can be answered."""
        space = self.space(len(self.budgets) - 1)
        return boundary.widened(space, self.alarms(), self.widest) != space

    # What comes next

    def unfinished(self) -> list[Assignment]:
        """Trials that were handed out and have not ended."""
        return [self.assignment(trial) for trial in self.trials if not trial.state.is_finished()]

    def next_search(self) -> Assignment | None:
        """A new search trial, or None if the budget is spent or trials it must see are still running."""
        number = len(self.trials)
        seen = self._seen(number)
        if number >= self.budgets[-1] or seen is None:
            return None
        suggested = self._suggest(number, seen)
        template = create_trial(
            state=TrialState.RUNNING, params=suggested.params, distributions=self.distributions,
            system_attrs=suggested.system_attrs,
        )  # fmt: skip
        self.forget()
        trial_id = self.storage.create_new_trial(self.study_id, template)
        return self.assignment(self.storage.get_trial(trial_id))

    def confirm(self) -> list[Assignment]:
        """The confirm trials of the best configuration, ended or not; none while the search goes on."""
        if not self._confirm and self.searched and self.settled:
            best = self.best() if self.budgets[-1] else None
            if best is None and self.budgets[-1]:
                return []
            values = self._values(best) if best else {}
            self._confirm = [
                Assignment(self.cell, "confirm", seed, self.cell.config(values, seed))
                for seed in range(self.spec.confirm.seeds)
            ]
        return self._confirm

    def begin(self, assignment: Assignment) -> None:
        """A confirm trial is handed out; a search trial stands in the storage from its suggestion on."""
        if assignment.phase == "confirm":
            self.storage.set_study_user_attr(self.study_id, _confirm_key(assignment), {"status": "running"})

    def assignment(self, trial: FrozenTrial) -> Assignment:
        config = self.cell.config(self._values(trial), search_seed(self.spec, trial.number))
        return Assignment(self.cell, "search", trial.number, config)

    # What happened

    def stops(self, assignment: Assignment, rows: Sequence[tuple[int, Mapping[str, float]]]) -> Outcome | None:
        """The outcome of a running search trial that the pruner stops, after the epoch `step`; `rows` are new."""
        if self.pruner is None or assignment.phase != "search":
            return None
        arena, trial_id = self._judged.get(assignment.number) or self._enter(assignment.number)
        for epoch, row in rows:
            if epoch < assignment.config.epochs and arena.stops(self.pruner, trial_id, epoch, row["val/accuracy"]):
                last = {key: row[key] for key in ("val/accuracy", "val/loss")}
                return Outcome("pruned", last, epoch, f"{self.spec.search.pruner.name} pruned it after epoch {epoch}")
        return None

    def _enter(self, number: int) -> tuple[Arena, int]:
        if self.spec.search.reproducible:
            arena = Arena(self.cell.name, self._visible(number), number)
        else:
            ended = [trial for trial in self.trials if trial.state.is_finished()]
            arena = self._arena = self._arena or Arena(self.cell.name, ended, len(ended))
        self._judged[number] = arena, arena.enter(self.trials[number])
        return self._judged[number]

    def finish(self, assignment: Assignment, outcome: Outcome, rows: Sequence[tuple[int, Mapping[str, float]]]) -> None:
        """Record how a trial ended. A failed one stays unfinished, to be run again by the next `study run`."""
        ended = {"status": outcome.status, "step": outcome.step, "reason": outcome.reason}
        ended = {key: value for key, value in ended.items() if value is not None}
        if assignment.phase == "confirm":
            key = _confirm_key(assignment)
            self.storage.set_study_user_attr(self.study_id, key, {**ended, **outcome.metrics})
            if outcome.status != "failed":
                self.ended_confirms.add(key)
            return
        self.forget()
        trial_id = self.storage.get_trial_id_from_study_id_trial_number(self.study_id, assignment.number)
        if self.storage.get_trial(trial_id).state.is_finished():
            return  # a try before this one got through, though its answer did not
        kept = {key: rows[-1][1][key] for key in self.spec.search.constraints if rows and key in rows[-1][1]}
        failed, judged = outcome.status == "failed", self._judged.get(assignment.number)
        state = TrialState.PRUNED if outcome.status == "pruned" else TrialState.COMPLETE
        value = WORST if outcome.status == "diverged" else outcome.metrics.get("val/accuracy", WORST)
        with at_once(self.storage):
            for key, told in {**ended, **kept, **outcome.metrics}.items():
                self.storage.set_trial_user_attr(trial_id, key, told)
            if not failed:
                self._conclude(trial_id, rows, judged[0].attributes(judged[1]) if judged else {}, state, value)
        if failed:
            self.failed.add(assignment.number)
        elif judged:
            judged[0].leave(judged[1], state, value)
            del self._judged[assignment.number]

    def _conclude(
        self, trial_id: int, rows: Sequence[tuple[int, Mapping[str, float]]], told: Mapping[str, Any],
        state: TrialState, value: float,
    ) -> None:  # fmt: skip
        """Optuna's own account of how a trial ended; `told` is what its pruner keeps with it."""
        for epoch, row in rows:
            if "val/accuracy" in row:
                self.storage.set_trial_intermediate_value(trial_id, epoch, row["val/accuracy"])
        for key, attr in told.items():
            self.storage.set_trial_system_attr(trial_id, key, attr)
        self.storage.set_trial_state_values(trial_id, state, [value])

    def _ended(self, trial: FrozenTrial) -> bool:
        return trial.state.is_finished() or trial.number in self.failed

    def _visible(self, number: int) -> list[FrozenTrial]:
        """The trials that trial `number` may know of in the reproducible mode, failed ones left out."""
        known = self.trials[: max(0, number - self.spec.search.window + 1)]
        return [trial for trial in known if trial.state.is_finished()]

    def _seen(self, number: int) -> list[FrozenTrial] | None:
        """What the sampler of trial `number` sees; None while it must wait for some of it."""
        if not self.spec.search.reproducible:
            return [trial for trial in self.trials if trial.number not in self.failed]
        if self.spec.search.sampler.blind and self.pruner is None:
            return []
        known = self.trials[: max(0, number - self.spec.search.window + 1)]
        return self._visible(number) if all(self._ended(trial) for trial in known) else None

    def _suggest(self, number: int, seen: Sequence[FrozenTrial]) -> FrozenTrial:
        space = self.space(next(round_ for round_, budget in enumerate(self.budgets) if number < budget))
        sampler: Sampler = self.spec.search.sampler
        if number == 0 and sampler.central:  # a small budget should not rest on luck alone
            return create_trial(value=WORST, params=centre(space), distributions=distributions(space))
        drawn = self._drawn(seen)
        active = distributions({key: covering(range_, [each[key] for each in drawn]) for key, range_ in space.items()})
        words = self.spec.search.seed, self.cell.name
        return sampler.suggest(words, number, [self._shown(trial, active) for trial in seen], active)

    def _drawn(self, seen: Sequence[FrozenTrial]) -> list[dict[str, Any]]:
        return [{self.keys[key]: value for key, value in trial.params.items()} for trial in seen]

    def _shown(self, trial: FrozenTrial, active: Mapping[str, BaseDistribution]) -> FrozenTrial:
        """A trial as samplers see it: drawn from the active ranges, by what it breaks of the constraints."""
        if trial.distributions == active and not self.spec.search.constraints:
            return trial
        shown = create_trial(
            state=trial.state, value=trial.value, params=trial.params, distributions=dict(active),
            system_attrs=trial.system_attrs, intermediate_values=trial.intermediate_values,
            constraints=self._excesses(trial),
        )  # fmt: skip
        shown.number = trial.number  # what is not stored has none of its own
        return shown

    def _excesses(self, trial: FrozenTrial) -> dict[str, float] | None:
        """By how much a complete trial breaks each constraint; infinite for a metric that it did not report."""
        bounds = self.spec.search.constraints
        if not bounds or trial.user_attrs.get("status") != "complete":
            return None
        told = trial.user_attrs
        return {key: bound.excess(told[key]) if key in told else FAR for key, bound in bounds.items()}

    def _feasible(self, trial: FrozenTrial) -> bool:
        return all(excess <= 0 for excess in (self._excesses(trial) or {}).values())

    def _values(self, trial: FrozenTrial) -> dict[str, Any]:
        return {
            self.keys[drawn]: self.cell.space[self.keys[drawn]].value(value) for drawn, value in trial.params.items()
        }


def _rank(trial: FrozenTrial) -> tuple[float, float, int]:
    return -(trial.value or 0.0), trial.user_attrs.get("val/loss", 0.0), trial.number


def _confirm_key(assignment: Assignment) -> str:
    return f"confirm/{assignment.config.hash()}"
