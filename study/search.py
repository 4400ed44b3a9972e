"""The search: one persistent Optuna study a cell, by ask and tell, and the confirm phase that follows it.

Reproducible whatever the number of slots and the order of finishing: the sampler is rebuilt for every suggestion,
seeded by (search seed, cell, trial number), and sees only the trials up to number - window, which must have ended
first. The storage says which trials exist and how they ended; resuming is asking it.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from search_spaces import Choice, Range
from study.plan import Assignment, Cell, search_seed
from study.spec import Spec
from trainables.errors import Refused

optuna.logging.set_verbosity(optuna.logging.WARNING)
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)

WORST = 0.0  # the accuracy that a diverged trial counts as
STARTUP = 6  # TPE's random trials


@dataclass(frozen=True)
class Outcome:
    """How a trial ended: `metrics` of its last epoch and test; `step` and `reason` where it diverged or failed."""

    status: Literal["complete", "diverged", "failed"]
    metrics: Mapping[str, float] = field(default_factory=dict)
    step: int | None = None
    reason: str | None = None


def open_storage(path: Path) -> JournalStorage:
    """The journal at `path`. Raises Refused when it holds something else."""
    try:
        return JournalStorage(JournalFileBackend(str(path)))
    except Exception as error:  # Optuna raises whatever the damage leads to
        raise Refused(
            "optuna.journal",
            str(path),
            f"is damaged ({type(error).__name__}: {error})",
            "restore it from a copy, or start in another --dir",
        ) from None


def mend(path: Path) -> None:
    """Undo what a killed process may have left of the journal: half a line, a lock. For the study's owner only."""
    path.with_name(path.name + ".lock").unlink(missing_ok=True)
    whole = path.read_bytes() if path.exists() else b""
    if whole and not whole.endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(whole.rfind(b"\n") + 1)


@dataclass(frozen=True)
class Count:
    """A cell's trials of both phases. `failed` ones are run again by the next `study run`."""

    total: int
    done: int = 0
    running: int = 0
    diverged: int = 0
    failed: int = 0
    best: float | None = None  # validation accuracy

    @property
    def ended(self) -> int:
        """Trials that need not run again."""
        return self.done + self.diverged


def optuna_key(key: str, range_: Range) -> str:
    """The parameter's name in Optuna: `1-optimizer/momentum` where 1 - value is drawn."""
    return f"1-{key}" if getattr(range_, "complement", False) else key


def distribution(range_: Range) -> BaseDistribution:
    if isinstance(range_, Choice):
        return CategoricalDistribution(range_.choices)
    return FloatDistribution(range_.low, range_.high, log=range_.log)


class CellSearch:
    """The trials of one cell, as its Optuna study holds them."""

    def __init__(self, storage: BaseStorage, spec: Spec, cell: Cell) -> None:
        self.storage, self.spec, self.cell = storage, spec, cell
        try:
            self.study_id = storage.get_study_id_from_name(cell.name)
        except KeyError:
            self.study_id = storage.create_new_study([StudyDirection.MAXIMIZE], cell.name)
        self.budget = spec.search.trials if cell.space else 0
        self.keys = {optuna_key(key, range_): key for key, range_ in cell.space.items()}
        self.distributions = {optuna_key(key, range_): distribution(range_) for key, range_ in cell.space.items()}
        self._check_ranges()
        self.failed: set[int] = set()  # search trials that this process gave up
        self.ended_confirms = {key for key in storage.get_study_user_attrs(self.study_id) if key.startswith("confirm/")}
        self._confirm: list[Assignment] = []

    def _check_ranges(self) -> None:
        """Raises Refused when the trials so far were drawn from other ranges: another version's, or another spec's."""
        for trial in self.trials:
            for key, drawn_from in trial.distributions.items():
                if self.distributions.get(key) != drawn_from:
                    rule = f"trial {trial.number} of {self.cell.name} was drawn from {drawn_from}"
                    remedy = "use the version that began the study, or another --dir"
                    raise Refused(key, str(self.distributions.get(key)), rule, remedy)

    # What exists

    @property
    def trials(self) -> list[FrozenTrial]:
        """The search trials, by number."""
        return self.storage.get_all_trials(self.study_id, deepcopy=False)

    @property
    def searched(self) -> bool:
        """Whether every search trial of the budget has ended, if only by failing."""
        return sum(self._ended(trial) for trial in self.trials) >= self.budget

    def best(self) -> Assignment | None:
        """The search trial of highest validation accuracy, then lowest loss and number; None if all diverged."""
        complete = [trial for trial in self.trials if trial.user_attrs.get("status") == "complete"]
        if not complete:
            return None
        first = min(complete, key=lambda t: (-(t.value or 0.0), t.user_attrs.get("val/loss", 0.0), t.number))
        return self.assignment(first)

    def confirmed(self, assignment: Assignment) -> bool:
        """Whether a confirm trial has ended."""
        return _confirm_key(assignment) in self.ended_confirms

    def count(self) -> Count:
        """Where the cell stands, as the storage tells it."""
        attrs = self.storage.get_study_user_attrs(self.study_id)
        confirms = [_confirm_key(trial) for trial in self.confirm()]
        states = [trial.user_attrs.get("status", "running") for trial in self.trials]
        states += [attrs[key]["status"] for key in confirms if key in attrs]
        hopeless = self.searched and not confirms  # every search trial diverged: there is nothing to confirm
        values = [trial.value for trial in self.trials if trial.user_attrs.get("status") == "complete"]
        total = self.budget + (0 if hopeless else self.spec.confirm.seeds)
        return Count(
            total, states.count("complete"), states.count("running"),
            states.count("diverged"), states.count("failed"), max((v for v in values if v is not None), default=None),
        )  # fmt: skip

    # What comes next

    def unfinished(self) -> list[Assignment]:
        """Trials that were handed out and have not ended."""
        return [self.assignment(trial) for trial in self.trials if not trial.state.is_finished()]

    def next_search(self) -> Assignment | None:
        """A new search trial, or None if the budget is spent or trials it must see are still running."""
        trials = self.trials
        number = len(trials)
        visible = trials[: max(0, number - self.spec.search.window + 1)]
        if number >= self.budget or not all(self._ended(trial) for trial in visible):
            return None
        params = self._suggest(number, [trial for trial in visible if trial.state.is_finished()])
        template = create_trial(state=TrialState.RUNNING, params=params, distributions=self.distributions)
        trial_id = self.storage.create_new_trial(self.study_id, template)
        return self.assignment(self.storage.get_trial(trial_id))

    def confirm(self) -> list[Assignment]:
        """The confirm trials of the best configuration, ended or not; none while the search goes on."""
        if not self._confirm and self.searched:
            best = self.best() if self.budget else None
            if best is None and self.budget:
                return []
            values = self._values(self.trials[best.number]) if best else {}
            self._confirm = [
                Assignment(self.cell, "confirm", seed, self.cell.config(values, seed))
                for seed in range(self.spec.confirm.seeds)
            ]
        return self._confirm

    def assignment(self, trial: FrozenTrial) -> Assignment:
        config = self.cell.config(self._values(trial), search_seed(self.spec, trial.number))
        return Assignment(self.cell, "search", trial.number, config)

    # What happened

    def finish(self, assignment: Assignment, outcome: Outcome, rows: Sequence[tuple[int, Mapping[str, float]]]) -> None:
        """Record how a trial ended. A failed one stays unfinished, to be run again by the next `study run`."""
        ended = {"status": outcome.status, "step": outcome.step, "reason": outcome.reason}
        ended = {key: value for key, value in ended.items() if value is not None}
        if assignment.phase == "confirm":
            if outcome.status != "failed":
                key = _confirm_key(assignment)
                self.storage.set_study_user_attr(self.study_id, key, {**ended, **outcome.metrics})
                self.ended_confirms.add(key)
            return
        trial_id = self.storage.get_trial_id_from_study_id_trial_number(self.study_id, assignment.number)
        for key, value in {**ended, **outcome.metrics}.items():
            self.storage.set_trial_user_attr(trial_id, key, value)
        if outcome.status == "failed":
            self.failed.add(assignment.number)
            return
        for epoch, row in rows:
            if "val/accuracy" in row:
                self.storage.set_trial_intermediate_value(trial_id, epoch, row["val/accuracy"])
        value = outcome.metrics["val/accuracy"] if outcome.status == "complete" else WORST
        self.storage.set_trial_state_values(trial_id, TrialState.COMPLETE, [value])

    def _ended(self, trial: FrozenTrial) -> bool:
        return trial.state.is_finished() or trial.number in self.failed

    def _suggest(self, number: int, visible: Sequence[FrozenTrial]) -> dict[str, Any]:
        if number == 0:  # the middle of every range: a small budget should not rest on luck alone
            return {optuna_key(key, range_): range_.centre() for key, range_ in self.cell.space.items()}
        sampler = _sampler(self.spec.search.sampler, _seed(self.spec.search.seed, self.cell.name, number))
        study = optuna.create_study(direction="maximize", sampler=sampler)
        study.add_trials(visible)
        return dict(study.ask(self.distributions).params)

    def _values(self, trial: FrozenTrial) -> dict[str, Any]:
        return {
            self.keys[drawn]: self.cell.space[self.keys[drawn]].value(value) for drawn, value in trial.params.items()
        }


def _confirm_key(assignment: Assignment) -> str:
    return f"confirm/{assignment.config.hash()}"


def _seed(*words: object) -> int:
    return int.from_bytes(hashlib.blake2b(repr(words).encode(), digest_size=4).digest(), "big")


def _sampler(name: str, seed: int) -> optuna.samplers.BaseSampler:
    if name == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    if name == "gp":
        return optuna.samplers.GPSampler(seed=seed, n_startup_trials=STARTUP)
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP)


class Ledger:
    """All cells' trials: what has ended, what runs, and what comes next."""

    def __init__(self, storage: BaseStorage, spec: Spec, plan: Sequence[Cell]) -> None:
        self.cells = {cell.name: CellSearch(storage, spec, cell) for cell in plan}
        self.waiting = [trial for cell in self.cells.values() for trial in cell.unfinished()]
        self.started: dict[str, Assignment] = {}  # by folder, in this process

    def next(self) -> Assignment | None:
        """A trial to start now: first those a former process left, then the cell with the fewest; None if none may."""
        if self.waiting:
            return self._start(self.waiting.pop(0))
        for cell in sorted(self.cells.values(), key=self._handed_out):
            found = cell.next_search() or next(
                (t for t in cell.confirm() if t.folder not in self.started and not cell.confirmed(t)), None
            )
            if found:
                return self._start(found)
        return None

    @property
    def done(self) -> bool:
        """Whether nothing is left to hand out: all search and confirm trials have ended, or were tried and failed."""
        return not self.waiting and all(
            cell.searched and all(t.folder in self.started or cell.confirmed(t) for t in cell.confirm())
            for cell in self.cells.values()
        )

    def ended(self) -> list[Assignment]:
        """Every trial that has ended, the confirm trials of a superseded configuration left out."""
        return [
            assignment
            for cell in self.cells.values()
            for assignment in (
                *(cell.assignment(trial) for trial in cell.trials if trial.state.is_finished()),
                *(trial for trial in cell.confirm() if cell.confirmed(trial)),
            )
        ]

    def finish(self, assignment: Assignment, outcome: Outcome, rows: Sequence[tuple[int, Mapping[str, float]]]) -> None:
        self.cells[assignment.cell.name].finish(assignment, outcome, rows)

    def _start(self, assignment: Assignment) -> Assignment:
        self.started[assignment.folder] = assignment
        return assignment

    def _handed_out(self, cell: CellSearch) -> tuple[int, int]:
        confirms = sum(t.folder in self.started or cell.confirmed(t) for t in cell.confirm())
        return len(cell.trials) + confirms, cell.cell.batch_size
