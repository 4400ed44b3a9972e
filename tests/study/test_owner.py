"""One driver a study: who is refused, who takes over, and who stops then. Beats and looks take no time here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import replace

import pytest
from optuna.study import StudyDirection

from study import owner
from study.directory import Directory, LockFile
from study.owner import Owner, owning
from study.patience import Gone
from study.spec import load
from study.storage import OwnersNote, open_database
from study.store import OwnersTag, Store, default_uri
from trainables.errors import Refused


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(owner, "BEAT_SECONDS", 0.02)
    monkeypatch.setattr(owner, "SILENT_SECONDS", 0.3)


class Memory:
    """A board in memory."""

    def __init__(self, text: str = "") -> None:
        self.text = text

    def read(self) -> str:
        return self.text

    def write(self, text: str) -> None:
        self.text = text


def refuse(rule: str) -> Refused:
    return Refused("name", "smoke", rule, "wait")


def own(board, *, take_over=False, said=None):
    return owning(board, Owner("/here"), refuse, (said if said is not None else []).append, take_over=take_over)


def until(holds) -> None:
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_second_driver_of_this_machine_is_refused_with_who_and_since_when():
    board = Memory()
    with own(board), pytest.raises(Refused, match=rf"at work there: process {os.getpid()} on .*, in /here, since 20"):
        own(board).__enter__()
    assert board.text == ""
    with own(board):
        assert Owner.read(board.text).pid == os.getpid()


def test_a_dead_process_of_this_machine_owns_nothing_and_a_number_that_was_given_again_neither():
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    said = []
    for dead in (replace(Owner("/x"), pid=process.pid), replace(Owner("/x"), begun="1")):
        with own(Memory(dead.text), said=said):
            pass
    assert said == []


def test_an_owner_elsewhere_is_dead_once_it_is_silent_while_we_look_on():
    elsewhere, said = replace(Owner("/x"), host="node-2"), []
    with own(Memory(elsewhere.text), said=said) as ours:
        ours.check()
    assert "on node-2, in /x, since 20" in said[0]
    assert "looking whether it is alive" in said[0]


def test_an_owner_elsewhere_that_beats_is_alive_whatever_its_clock_says():
    class Beating(Memory):
        def read(self) -> str:
            there = Owner.read(self.text) or Owner("nobody")
            self.text = replace(there, beat=there.beat + 1).text
            return self.text

    board = Beating(replace(Owner("/x"), host="node-2", since="1970-01-01 00:00:00").text)
    with pytest.raises(Refused, match=r"at work there: process .* on node-2, in /x, since 1970-01-01 00:00:00"):
        own(board).__enter__()


def test_who_is_taken_over_stops_and_leaves_the_new_owner_alone():
    board = Memory()
    with own(board) as first:
        with own(board, take_over=True) as second:
            until(lambda: first.lost)
            with pytest.raises(Gone, match=r"another `study run` has taken the study over: process .* in /here"):
                first.check()
            second.check()
            until(lambda: Owner.read(board.text).beat > 2)
        assert board.text == ""
        board.write("the next one's")
    assert board.text == "the next one's"


@pytest.fixture
def still(monkeypatch):
    """Owners whose heart stands still, as that of a stopped process does, until its clock has gone on."""
    monkeypatch.setattr(owner.Ownership, "_beat", lambda _self: None)

    def pass_by():
        now = owner._now()
        monkeypatch.setattr(owner, "_now", lambda: now + 60)

    return pass_by


def test_who_stood_still_looks_before_it_goes_on(still):
    board = Memory()
    with own(board) as first, own(board, take_over=True):
        first.check()  # the heart's business, while it beats
        still()
        with pytest.raises(Gone, match=r"another `study run` has taken the study over: process .* in /here, since 20"):
            first.check()


def test_who_stood_still_while_another_ran_the_study_to_its_end_has_lost_it(still):
    board = Memory()
    with own(board) as first:
        with own(board, take_over=True):
            pass
        assert board.text == ""
        still()
        with pytest.raises(Gone, match=r"taken the study over: one that has ended since"):
            first.check()
    assert board.text == ""


def test_a_note_that_somebody_deletes_is_written_again():
    board = Memory()
    with own(board) as ours:
        board.write("")
        until(lambda: Owner.read(board.text))
        ours.check()


def test_a_beat_that_was_begun_before_another_took_over_takes_nothing_back():
    """Stopped between its look and its beat, the former owner writes when it goes on."""
    board = Memory()
    with own(board) as first, own(board, take_over=True) as second:
        board.write(first.me.text)
        until(lambda: first.lost)
        second.check()
        assert second.lost == ""


def test_a_board_that_is_away_costs_nothing_while_it_is():
    board, left = Memory(), [ConnectionError("away")] * 5
    with own(board) as ours:
        read = board.read
        board.read = lambda: (_ for _ in ()).throw(left.pop()) if left else read()
        until(lambda: not left and Owner.read(board.text).beat > 1)
        ours.check()


@pytest.mark.parametrize("text", ["", "nonsense", "[]", '{"host": 1}', "\x00"])
def test_what_is_no_owner_is_none(text):
    assert Owner.read(text) is None
    with own(Memory(text)):
        pass


def boards(tmp_path):
    database = open_database(f"sqlite:///{tmp_path / 'search.db'}")
    database.create_new_study([StudyDirection.MAXIMIZE], "smoke: sgd/16")
    yield lambda: OwnersNote(open_database(f"sqlite:///{tmp_path / 'search.db'}"), "smoke")
    Store(default_uri(tmp_path), "smoke", create=tmp_path, study_id="one")
    yield lambda: OwnersTag(Store(default_uri(tmp_path), "smoke", study_id="one"))


def test_databases_and_experiments_are_boards(tmp_path):
    for board in boards(tmp_path):
        with own(board()):
            with pytest.raises(Refused, match="in /here, since"):
                own(board()).__enter__()
            until(lambda board=board: Owner.read(board().read()).beat > 0)
        assert board().read() == ""


def test_the_owner_stays_where_it_stands_when_cells_are_added(tmp_path):
    database = open_database(f"sqlite:///{tmp_path / 'search.db'}")
    database.create_new_study([StudyDirection.MAXIMIZE], "smoke: sgd/16")
    OwnersNote(database, "smoke").write("somebody")
    for name in ("smoke: a/16", "other: a/16"):
        database.create_new_study([StudyDirection.MAXIMIZE], name)
    assert OwnersNote(database, "smoke").read() == "somebody"


def test_a_directory_names_its_owner_and_can_be_taken_over(tmp_path):
    """As where a network file system still holds the lock of a machine that is dead."""
    directory, spec = Directory(tmp_path / "s"), load("smoke")
    pattern = (
        rf"--dir = '.*': another `study run` is at work there: process {os.getpid()} on .*--take-over ends it, dead"
    )
    with ExitStack() as first:
        old = first.enter_context(directory.owned(spec))
        with pytest.raises(Refused, match=pattern):
            directory.owned(spec).__enter__()
        with directory.owned(spec, take_over=True) as new:
            until(lambda: old.lost)
            new.check()
            with pytest.raises(Refused, match=pattern):
                directory.owned(spec).__enter__()
    with directory.owned(spec) as last:
        last.check()


def test_a_directory_that_a_dead_driver_of_this_machine_left_is_free_at_once(tmp_path):
    directory, lock, said = Directory(tmp_path), LockFile(tmp_path / ".lock"), []
    lock.write(replace(Owner("/x"), begun="1").text)
    assert Owner.read(lock.read()).begun == "1"
    with directory.owned(load("smoke"), said.append):
        assert said == []


def test_a_copy_of_a_directory_that_is_at_work_is_free_itself(tmp_path):
    """Its search and results lie in itself, so it disturbs nobody."""
    with Directory(tmp_path / "s").owned(load("smoke")):
        shutil.copytree(tmp_path / "s", tmp_path / "copy")
        with Directory(tmp_path / "copy").owned(load("smoke")) as ours:
            ours.check()
