"""One cell's search: a persistent Optuna study, by ask and tell, and the confirm phase that follows it.

Reproducible whatever the number of slots and the order of finishing: the sampler is rebuilt for every suggestion,
seeded by (search seed, cell, trial number), and sees only the trials up to number - window, which must have ended
first; a pruner compares a running trial with those same trials. With `reproducible: false` both see whatever there is.
The storage says which trials exist and how they ended; resuming is asking it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from search_spaces import Choice, Range
from study import boundary
from study.boundary import Edge
from study.fairness import untried
from study.outcome import Count, Outcome
from study.parameters import centre, covering, distributions, optuna_key, same_numbers
from study.plan import Assignment, Cell, search_seed
from study.pruners import Judge
from study.samplers import Sampler
from study.spec import Spec
from study.storage import study_name
from study.stored_study import Ending, StoredStudy
from trainables.errors import Refused

WORST = 0.0  # A diverged trial counts as this accuracy.
FAR = 1e9  # By so much a trial breaks a constraint on a metric that it did not report.
ENDED = ("complete", "pruned", "diverged")  # A failed trial is run again, so it has not ended.
CONFIRM = "confirm/"  # The note on how a confirm trial ended, by its hash …
BEGUN = "begun/"  # … and before it that on one that has not: what has ended is never written over.

Rows = Sequence[tuple[int, Mapping[str, float]]]  # metrics by epoch, in order


def pruning(spec: Spec, cell: Cell) -> str:
    """The pruner that may stop the cell's search trials early, or `off: …` with the reason."""
    name: str = spec.search.pruner.name
    if name == "none" or spec.search.prune_biased or not cell.biased:
        return name
    return f"off: {cell.biased} would mislead it (search/prune_biased: true overrules)"


class CellSearch:
    """The trials of one cell, as its Optuna study holds them."""

    def __init__(self, storage: BaseStorage, spec: Spec, cell: Cell) -> None:
        """Raises Refused where the storage's trials were drawn from other ranges."""
        self.spec, self.cell = spec, cell
        self.source: CellSearch = self  # whose best configuration is confirmed: that of `cell.source`, where it has one
        self.study = StoredStudy(storage, study_name(storage, spec.name, cell.name))
        self.budgets = [spec.search.trials if cell.space else 0]  # of search trials, after each round of widening
        self.settled = not spec.search.widen or not cell.space  # no round can follow
        self.widest = boundary.widest(cell) if spec.search.widen else dict(cell.space)
        self.keys = {optuna_key(key, range_): key for key, range_ in cell.space.items()}
        self.distributions = distributions(self.widest)
        self._check_ranges()
        self.handed: set[int] = set()  # numbers of the search trials that this process has handed out
        self.failed: set[int] = set()  # and of those, which failed
        self.ended_confirms = {key for key, state in self._confirms().items() if state["status"] in ENDED}
        self._confirm: list[Assignment] = []
        pruner = None if pruning(spec, cell).startswith("off") else spec.search.pruner.build(cell.typical.epochs)
        self.judge = Judge(cell.name, pruner) if pruner is not None else None

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
        return self.study.trials

    def forget(self) -> None:
        """Read the trials anew when they are next wanted."""
        self.study.forget()

    @property
    def searched(self) -> bool:
        """Whether every search trial of the budget has ended, if only by failing."""
        return sum(self._ended(trial) for trial in self.trials) >= self.budgets[-1]

    @property
    def decided(self) -> bool:
        """Whether the search is over, rounds of widening included, so that its best is known."""
        return self.searched and self.settled

    def best(self, of: int | None = None) -> FrozenTrial | None:
        """Of the first `of` search trials (of all): highest validation accuracy, then lowest loss and number.

        None where none is complete and keeps to the spec's constraints.
        """
        complete = [t for t in self.trials[:of] if t.user_attrs.get("status") == "complete" and self._feasible(t)]
        return min(complete, key=_rank, default=None)

    def confirmed(self, assignment: Assignment) -> bool:
        """Whether a confirm trial has ended."""
        return _confirm_key(assignment) in self.ended_confirms

    def count(self) -> Count:
        """Where the cell stands, by what the storage holds."""
        confirms, known = [_confirm_key(trial) for trial in self.confirm()], self._confirms()
        states = [trial.user_attrs.get("status", "running") for trial in self.trials]
        states += [known[key]["status"] for key in confirms if key in known]
        hopeless = self.source.decided and not confirms  # no search trial is worth confirming
        best = self.best()
        return Count(
            total=self.budgets[-1] + (0 if hopeless else self.spec.confirm_seeds(self.cell.reading)),
            done=states.count("complete"), running=states.count("running"), diverged=states.count("diverged"),
            failed=states.count("failed"), pruned=states.count("pruned"), best=best.value if best else None,
            edges=tuple(map(str, self.alarms())) if self.searched else (),
            untried=tuple(untried(self.cell.space, self._drawn(self.trials))) if self.searched else (),
            tuned_at=self.cell.source.cell if self.cell.source else "",
            broken=self._broken() if self.searched and best is None else (),
        )  # fmt: skip

    def _confirms(self) -> dict[str, dict[str, Any]]:
        """Confirm trials that were begun, and where they stand."""
        noted = self.study.attributes()
        begun = {key.removeprefix(BEGUN): state for key, state in noted.items() if key.startswith(BEGUN)}
        return begun | {key: state for key, state in noted.items() if key.startswith(CONFIRM)}

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

    def left(self) -> list[Assignment]:
        """Trials that have not ended, and that this process has not handed out: another began them."""
        return [
            self.assignment(trial)
            for trial in self.trials
            if not trial.state.is_finished() and trial.number not in self.handed
        ]

    def next_search(self) -> Assignment | None:
        """A new search trial, or None if the budget is spent or trials it must see are still running."""
        number = len(self.trials)
        seen = self._seen(number)
        if number >= self.budgets[-1] or seen is None:
            return None
        begun = self.study.begin(self._suggest(number, seen), self.distributions)
        return self.assignment(begun) if begun else None

    def confirm(self) -> list[Assignment]:
        """The confirm trials of the best configuration, ended or not; none while the search for it goes on."""
        source = self.source
        if not self._confirm and source.decided:
            best = source.best() if source.budgets[-1] else None
            if best is None and source.budgets[-1]:
                return []
            values = source._values(best) if best else {}
            self._confirm = [
                Assignment(self.cell, "confirm", seed, self.cell.config(values, seed))
                for seed in range(self.spec.confirm_seeds(self.cell.reading))
            ]
        return self._confirm

    def hand_out(self, assignment: Assignment) -> None:
        """A trial begins; a search trial stands in the storage from its suggestion on."""
        if assignment.phase == "search":
            self.handed.add(assignment.number)
        else:
            self.study.note(BEGUN + _confirm_key(assignment), {"status": "running"})

    def assignment(self, trial: FrozenTrial) -> Assignment:
        """The search trial as something to run."""
        config = self.cell.config(self._values(trial), search_seed(self.spec, trial.number))
        return Assignment(self.cell, "search", trial.number, config)

    # What happened

    def stops(self, assignment: Assignment, rows: Rows) -> Outcome | None:
        """The outcome of a running search trial that the pruner stops, after the epoch `step`; `rows` are new."""
        if self.judge is None or assignment.phase != "search":
            return None
        number = assignment.number
        if not self.judge.has(number):
            self._enter(self.judge, number)
        for epoch, row in rows:
            if epoch < assignment.config.epochs and self.judge.stops(number, epoch, row["val/accuracy"]):
                last = {key: row[key] for key in ("val/accuracy", "val/loss")}
                return Outcome("pruned", last, epoch, f"{self.spec.search.pruner.name} pruned it after epoch {epoch}")
        return None

    def _enter(self, judge: Judge, number: int) -> None:
        """Trial `number` comes before the judge, beside those that it may be compared with."""
        if self.spec.search.reproducible:
            judge.enter(self.trials[number], self._visible(number))
        else:
            judge.enter_shared(self.trials[number], [trial for trial in self.trials if trial.state.is_finished()])

    def finish(self, assignment: Assignment, outcome: Outcome, rows: Rows) -> None:
        """Record how a trial ended. A failed one stays unfinished, to be run again by the next `study run`."""
        ended = {"status": outcome.status, "step": outcome.step, "reason": outcome.reason}
        ended = {key: value for key, value in ended.items() if value is not None}
        if assignment.phase == "search":
            self._finish_search(assignment.number, outcome, rows, ended)
            return
        key = _confirm_key(assignment)
        self.study.note(key if outcome.status in ENDED else BEGUN + key, {**ended, **outcome.metrics})
        if outcome.status in ENDED:
            self.ended_confirms.add(key)

    def _finish_search(self, number: int, outcome: Outcome, rows: Rows, ended: Mapping[str, Any]) -> None:
        constrained = {key: rows[-1][1][key] for key in self.spec.search.constraints if rows and key in rows[-1][1]}
        ending = None if outcome.status == "failed" else self._ending(number, outcome, rows)
        if not self.study.end(number, {**ended, **constrained, **outcome.metrics}, ending):
            return
        if ending is None:
            self.failed.add(number)
        elif self.judge is not None and self.judge.has(number):
            self.judge.leave(number, ending.state, ending.value)

    def _ending(self, number: int, outcome: Outcome, rows: Rows) -> Ending:
        return Ending(
            TrialState.PRUNED if outcome.status == "pruned" else TrialState.COMPLETE,
            WORST if outcome.status == "diverged" else outcome.metrics.get("val/accuracy", WORST),
            {epoch: row["val/accuracy"] for epoch, row in rows if "val/accuracy" in row},
            self.judge.attributes(number) if self.judge is not None and self.judge.has(number) else {},
        )

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
        if self.spec.search.sampler.blind and self.judge is None:
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
        metrics = trial.user_attrs
        return {key: bound.excess(metrics[key]) if key in metrics else FAR for key, bound in bounds.items()}

    def _broken(self) -> tuple[str, ...]:
        """The constraints that keep every complete trial from being the best, and how many break each."""
        all_ = [excesses for trial in self.trials if (excesses := self._excesses(trial)) is not None]
        counts = {key: sum(excesses[key] > 0 for excesses in all_) for key in self.spec.search.constraints}
        return tuple(f"{key} in {count} of {len(all_)} trials" for key, count in counts.items() if count)

    def _feasible(self, trial: FrozenTrial) -> bool:
        return all(excess <= 0 for excess in (self._excesses(trial) or {}).values())

    def _values(self, trial: FrozenTrial) -> dict[str, Any]:
        return {
            self.keys[drawn]: self.cell.space[self.keys[drawn]].value(value) for drawn, value in trial.params.items()
        }


def _rank(trial: FrozenTrial) -> tuple[float, float, int]:
    """The best trial has the lowest: by accuracy, then loss, then number."""
    return -(trial.value or 0.0), trial.user_attrs.get("val/loss", 0.0), trial.number


def _confirm_key(assignment: Assignment) -> str:
    return CONFIRM + assignment.config.hash()
