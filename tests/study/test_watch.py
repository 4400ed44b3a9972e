"""The watch by hand, with a clock of its own: what is said of a silent trial, when it is killed, and when never."""

from __future__ import annotations

import pytest

from study import engine
from study.spec import Resources
from study.watch import LISTENING_SECONDS, Watch, seconds
from trainables.errors import Refused


class Watching:
    """A watch whose driver looks once a second; what it said, and what it would have killed."""

    def __init__(self) -> None:
        self.time, self.said, self.killed = 100.0, [], []
        self.watch = Watch(self.said.append, lambda: self.time)

    def wait(self, seconds: float, step: float = 1.0) -> None:
        until = self.time + seconds
        while self.time < until:
            self.time = min(until, self.time + step)
            self.killed += self.watch.overdue()

    def trial(self, name: str, cell: str, *epochs: float) -> None:
        """One that began, and reported such epochs."""
        self.watch.begin(name, cell, "a worker")
        self.watch.heard(name, "process 7 of node-2 (10.0.0.2)", epochs)


def test_a_silent_trial_is_named_with_its_place_and_time_then_killed_then_given_twice_the_time():
    it = Watching()
    it.trial("sgd/16/search-0", "sgd/16", 20.0, 19.0, 400.0)
    it.wait(99)
    assert it.said == []
    it.wait(2)
    (said,) = it.said
    assert "sgd/16/search-0 on process 7 of node-2 (10.0.0.2) has been silent since 20" in said
    assert (
        "(an epoch of sgd/16 takes 20 s); after 10 min 0 s its worker is killed and the trial handed out again" in said
    )
    it.wait(498)
    assert it.killed == []
    it.wait(2)
    assert it.killed == ["sgd/16/search-0"]
    assert "sgd/16/search-0 on process 7 of node-2 (10.0.0.2) was silent for 10 min" in it.said[1]
    it.wait(1000)
    assert len(it.killed) == 1  # nobody has it until it is handed out again
    it.trial("sgd/16/search-0", "sgd/16")
    it.wait(1199)
    assert len(it.killed) == 1
    it.wait(2)
    assert len(it.killed) == 2


def test_a_trial_that_speaks_again_is_said_to_go_on_and_its_silence_begins_anew():
    it = Watching()
    it.trial("a", "sgd/16", 1.0)
    it.wait(590)
    it.watch.heard("a", "there", (590.0,))
    assert it.said[-1] == "a goes on, after 9 min 50 s"
    it.wait(590)
    it.watch.end("a")
    it.wait(3600)
    assert it.killed == []


def test_a_slow_cell_goes_by_its_own_epochs_beside_a_fast_one():
    it = Watching()
    for number in range(50):
        it.trial(f"fast-{number}", "sgd/4096", *[0.2] * 20)
        it.watch.end(f"fast-{number}")
    it.trial("slow", "sgd/8", 300.0)
    it.wait(30 * 300)
    assert it.killed == []
    it.wait(2)
    assert it.killed == ["slow"]


def test_one_long_validation_or_probe_among_short_epochs_kills_nothing():
    it = Watching()
    it.trial("a", "sgd/16", *[4.0] * 10)
    it.wait(580)
    it.watch.heard("a", "there", (580.0,))
    assert it.killed == []


def test_a_first_epoch_goes_by_the_slowest_other_cell_and_has_an_hour():
    it = Watching()
    it.trial("fast", "sgd/4096", 1.0)
    it.watch.end("fast")
    it.trial("first", "sgd/8")
    it.wait(3599)
    assert it.killed == []
    assert "(an epoch of the slowest other cell takes 1.0 s); after 1 h 0 min its worker" in it.said[0]
    it.wait(2)
    assert it.killed == ["first"]
    it.trial("medium", "sgd/512", 60.0)
    it.watch.end("medium")
    it.trial("next", "sgd/8")
    it.wait(300 * 60 - 1)
    assert it.killed == ["first"]


def test_the_very_first_epoch_has_a_day_and_is_named_after_ten_minutes():
    it = Watching()
    it.trial("a", "sgd/16")
    it.wait(601)
    assert "a on process 7 of node-2 (10.0.0.2) has been silent since" in it.said[0]
    assert "(no epoch has ended yet); after 24 h 0 min" in it.said[0]
    it.wait(86400 - 602)
    assert (it.killed, len(it.said)) == ([], 1)
    it.wait(2)
    assert it.killed == ["a"]


def test_a_worker_that_never_takes_its_trial_is_given_up_after_ten_minutes_whatever_epochs_take():
    """It stopped between two trials: it had but to be told."""
    it = Watching()
    it.trial("slow", "sgd/8", 3600.0)
    it.watch.end("slow")
    it.watch.begin("a", "sgd/8", "process 8 of node-3")
    it.wait(61)
    assert "a on process 8 of node-3 has been silent since 20" in it.said[0]
    assert "(when its worker was to take it); after 10 min 0 s its worker is killed" in it.said[0]
    it.wait(540)
    assert it.killed == ["a"]


def test_workers_that_do_not_start_are_said_once_and_when_they_are_there():
    it = Watching()
    for _ in range(100):
        it.watch.missing(1, 2)
        it.wait(1)
    assert len(it.said) == 1
    assert "1 of 2 workers have not started after 1 min" in it.said[0]
    assert "busy with other work (`ray status` tells), or slow to load this package and the data" in it.said[0]
    it.watch.missing(0, 2)
    assert it.said[1] == "every worker is there, after 1 min 40 s"
    for _ in range(50):  # between two trials
        it.watch.missing(1, 2)
        it.wait(1)
        it.watch.missing(0, 2)
    assert len(it.said) == 2


def test_time_in_which_the_driver_did_not_listen_is_no_silence():
    """It waited for its storage, or was stopped: reports may lie there unheard."""
    it = Watching()
    it.trial("a", "sgd/16", 1.0)
    it.wait(100_000, step=1000)
    assert it.killed == []
    assert it.watch.now == 100 * LISTENING_SECONDS


def test_the_least_time_can_be_set_and_killing_switched_off(monkeypatch):
    monkeypatch.setenv("STUDY_SILENCE", "5")
    it = Watching()
    it.trial("a", "sgd/16", 0.01)
    it.wait(6)
    assert it.killed == ["a"]
    monkeypatch.setenv("STUDY_SILENCE", "inf")
    it = Watching()
    it.trial("a", "sgd/16", 0.01)
    it.wait(10_000)
    assert it.killed == []
    assert it.said[0].endswith("(an epoch of sgd/16 takes 0.0 s); STUDY_SILENCE forbids to kill its worker")


@pytest.mark.parametrize("given", ["soon", "0", "-1", "nan"])
def test_a_silence_that_is_no_number_is_refused(monkeypatch, given):
    monkeypatch.setenv("STUDY_SILENCE", given)
    with pytest.raises(Refused, match=r"STUDY_SILENCE = .*: seconds are wanted, more than 0; leave it out for 600"):
        seconds()
    with pytest.raises(Refused, match=r"STUDY_SILENCE"):  # before anything is written
        engine.check(Resources(), engine.Machine())
