"""The watch over trials at work: which one has been silent for too long, and when its worker is given up.

A trial speaks when its worker takes it, which costs it nothing, and after its epochs. How long these may take goes by
those of its own cell, for those of another batch size may take a hundred times as long; a trial that is merely slow
must never be killed:

| known so far | said after | killed after |
|---|---|---|
| its worker has not taken it | a minute | ten minutes |
| epochs of its cell | 5 median epochs, a minute at least | 30 median epochs, ten minutes at least |
| epochs of other cells alone | 50 of the slowest cell's, five minutes at least | 300 of them, an hour at least |
| no epoch yet | ten minutes | a day |

What is killed is handed out again, and then may be silent for twice as long. `$STUDY_SILENCE` holds the ten minutes in
seconds, to which the other times keep their proportions; `inf` kills nothing.
"""

from __future__ import annotations

import os
import statistics
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from study.text import duration
from trainables.errors import Refused

SECONDS = 600.0
SAID, KILLED = 5.0, 30.0  # median epochs
STRANGE = 10.0  # An epoch may take so many times that of the slowest cell known.
MISSING_SECONDS = 60.0  # for a worker to start, until it is said that it has not
LISTENING_SECONDS = 5.0  # Longer pauses between two looks are the driver's own, who then did not listen.
KEPT = 1000  # of a cell's latest epochs


def seconds() -> float:
    """How long a worker may be silent at the least. Raises Refused for what is no number."""
    given = os.environ.get("STUDY_SILENCE", str(SECONDS))
    try:
        silence = float(given)
    except ValueError:
        silence = -1.0
    if not silence > 0:
        raise Refused("STUDY_SILENCE", given, "seconds are wanted, more than 0", f"leave it out for {SECONDS:.0f}")
    return silence


@dataclass(frozen=True)
class Limits:
    """After so many seconds of silence it is said, and the worker killed; `usual` says what they are measured by."""

    said: float
    killed: float
    usual: str


@dataclass
class Trial:
    """A trial with a worker: its cell, the worker's place, when it was last heard and whether at all.

    `said`: its silence was.
    """

    cell: str
    place: str
    heard: float
    taken: bool = False
    said: bool = False


class Watch:
    """Hears of trials by their folders; `say` tells the user, `clock` gives seconds."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self.say, self.clock = say, clock
        self.least = seconds()
        self.now = 0.0  # seconds in which the driver listened
        self.looked = clock()
        self.trials: dict[str, Trial] = {}
        self.epochs: dict[str, deque[float]] = {}  # seconds of each, by cell
        self.kills: Counter[str] = Counter()
        self.missing_since: float | None = None
        self.missing_said = False

    def begin(self, folder: str, cell: str, place: str) -> None:
        """A worker at `place` has the trial from now on, unless that is known."""
        self.trials.setdefault(folder, Trial(cell, place, self.now))

    def heard(self, folder: str, place: str, epochs: Sequence[float]) -> None:
        """The trial reports from `place`, and what each of its latest epochs took (s)."""
        trial = self.trials.get(folder)
        if trial is None:
            return
        if trial.said:
            self.say(f"{folder} goes on, after {brief(self.now - trial.heard)}")
        trial.place, trial.heard, trial.taken, trial.said = place, self.now, True, False
        self.epochs.setdefault(trial.cell, deque(maxlen=KEPT)).extend(epochs)

    def end(self, folder: str) -> None:
        """No worker has the trial any longer."""
        self.trials.pop(folder, None)

    def missing(self, workers: int, slots: int) -> None:
        """So many `workers` of as many as there are `slots` are wanted and not there. Said after a minute, once."""
        if not workers:
            if self.missing_said and self.missing_since is not None:
                self.say(f"every worker is there, after {brief(self.now - self.missing_since)}")
            self.missing_since, self.missing_said = None, False
            return
        if self.missing_since is None:
            self.missing_since = self.now
        if self.now - self.missing_since > MISSING_SECONDS and not self.missing_said:
            self.missing_said = True
            self.say(
                f"{workers} of {slots} workers have not started after {brief(self.now - self.missing_since)}: their "
                "machine is busy with other work (`ray status` tells), or slow to load this package and the data"
            )

    def overdue(self) -> list[str]:
        """Look at all: says which have been silent for long; returns those whose worker is to be killed now."""
        now = self.clock()
        self.now += min(now - self.looked, LISTENING_SECONDS)
        self.looked = now
        return [folder for folder, trial in list(self.trials.items()) if self._is_overdue(folder, trial)]

    def limits(self, folder: str, trial: Trial) -> Limits:
        """What the trial is measured by."""
        medians = {name: statistics.median(epochs) for name, epochs in self.epochs.items() if epochs}
        patience, soon = 2.0 ** self.kills[folder], min(self.least, SECONDS)
        if not trial.taken:
            usual, words = 0.0, "when its worker was to take it"
            said, killed = soon / 10, self.least
        elif trial.cell in medians:
            usual, words = medians[trial.cell], f"an epoch of {trial.cell} takes {brief(medians[trial.cell])}"
            said, killed = soon / 10, self.least
        elif medians:
            slowest = max(medians.values())
            usual, words = STRANGE * slowest, f"an epoch of the slowest other cell takes {brief(slowest)}"
            said, killed = soon / 2, 6 * self.least
        else:
            usual, words = 0.0, "no epoch has ended yet"
            said, killed = soon, 144 * self.least
        return Limits(max(SAID * usual, said) * patience, max(KILLED * usual, killed) * patience, words)

    def _is_overdue(self, folder: str, trial: Trial) -> bool:
        silence, limits = self.now - trial.heard, self.limits(folder, trial)
        if silence > limits.killed:
            self.kills[folder] += 1
            self.end(folder)
            self.say(f"{folder} on {trial.place} was silent for {brief(silence)}: its worker is killed")
            return True
        if silence > limits.said and not trial.said:
            trial.said = True
            since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time.time() - silence))
            then = "STUDY_SILENCE forbids to kill its worker"
            if limits.killed < float("inf"):
                then = f"after {brief(limits.killed)} its worker is killed and the trial handed out again"
            self.say(f"{folder} on {trial.place} has been silent since {since} ({limits.usual}); {then}")
        return False


def brief(seconds: float) -> str:
    """`0.25` → `"0.2 s"`; longer ones as people say them."""
    return f"{seconds:.1f} s" if seconds < 10 else duration(seconds)
