"""Patience by hand: what is waited for, what is not, and for how long."""

from __future__ import annotations

import errno
import threading
import time

import pytest

from study.patience import UNWRITTEN, Anchor, Gone, Patience, Writer, passing, seconds
from trainables.errors import Refused


def full() -> OSError:
    return OSError(errno.ENOSPC, "No space left on device")


def patience(monkeypatch, limit: float) -> tuple[Patience, list[str]]:
    monkeypatch.setenv("STUDY_PATIENCE", str(limit))
    said: list[str] = []
    return Patience("the store", passing, said.append), said


def test_it_waits_says_so_once_and_says_when_the_store_answers_again(monkeypatch):
    waiting, said = patience(monkeypatch, 60)
    left = [full(), ConnectionError("refused"), full()]

    def attempt() -> str:
        if left:
            raise left.pop()
        return "done"

    assert waiting.retry(attempt) == "done"
    assert len(said) == 2
    assert "the store does not answer ([Errno 28] No space left on device); trials go on, trying again for 60 s" in said
    assert "the store answers again, after " in said[1]
    assert not waiting.away


def test_only_a_call_after_again_ends_an_outage(monkeypatch):
    waiting, said = patience(monkeypatch, 60)
    asked: list[str] = []
    waiting.again = lambda: asked.append("again")

    def fail() -> None:
        raise full()

    assert waiting.once(fail) is None
    assert waiting.retry(lambda: 1) == 1  # it may not have needed the store
    assert (waiting.away, asked) == (True, [])
    assert waiting.once(lambda: 2) == 2
    assert (waiting.away, asked, len(said)) == (False, ["again"], 2)


def test_an_outage_goes_on_while_again_fails(monkeypatch):
    waiting, said = patience(monkeypatch, 60)
    left = [full(), full()]

    def fail() -> None:
        if left:
            raise left.pop()

    waiting.again = fail
    assert waiting.once(fail) is None
    since = waiting.since
    assert waiting.once(lambda: 1) is None
    assert waiting.since == since  # and so does the patience
    assert waiting.once(lambda: 1) == 1
    assert len(said) == 2


def test_it_ends(monkeypatch):
    waiting, _ = patience(monkeypatch, 0)

    def attempt() -> None:
        time.sleep(0.01)
        raise full()

    with pytest.raises(Gone, match=r"the store has not answered for 0 s \(\[Errno 28\] No space left on device\)"):
        waiting.retry(attempt)


def test_what_is_no_store_has_words_of_its_own(monkeypatch):
    monkeypatch.setenv("STUDY_PATIENCE", "0")
    said: list[str] = []
    writing = Patience("the report in x", passing, said.append, words=UNWRITTEN)

    def attempt() -> None:
        time.sleep(0.01)
        raise full()

    with pytest.raises(Gone, match=r"the report in x could not be written for 0 s \(\[Errno 28\]") as gone:
        writing.retry(attempt)
    assert said == ["the report in x cannot be written ([Errno 28] No space left on device); trying again for 0 s"]
    assert gone.value.then == "What ended is stored; once that is mended, the same command goes on."


def test_other_errors_are_not_waited_for(monkeypatch):
    waiting, said = patience(monkeypatch, 60)
    with pytest.raises(PermissionError):
        waiting.retry(lambda: (_ for _ in ()).throw(PermissionError(errno.EACCES, "no")))
    assert not said


@pytest.mark.parametrize("given", ["soon", "-1", "inf", "nan"])
def test_a_patience_that_is_no_number_is_refused(monkeypatch, given):
    monkeypatch.setenv("STUDY_PATIENCE", given)
    with pytest.raises(Refused, match=r"STUDY_PATIENCE = .*: seconds are wanted, 0 or more; leave it out for 120"):
        seconds()


def test_jobs_are_done_in_order_each_until_it_succeeds(monkeypatch):
    waiting, _ = patience(monkeypatch, 60)
    again: list[str] = []
    waiting.again = lambda: again.append("look")
    writer = Writer(waiting)
    done: list[int] = []
    left = [full()]

    def job(number: int) -> None:
        if number == 2 and left:
            raise left.pop()
        done.append(number)

    for number in range(5):
        writer.add(lambda number=number: job(number))
    writer.wait(10)
    writer.close()
    assert (done, again, writer.error) == ([0, 1, 2, 3, 4], ["look"], None)


def test_an_error_of_another_kind_ends_the_writing(monkeypatch):
    waiting, _ = patience(monkeypatch, 60)
    writer = Writer(waiting)
    done = threading.Event()
    writer.add(lambda: [].pop())
    writer.add(done.set)
    writer.wait(10)
    assert isinstance(writer.error, IndexError)
    assert not done.is_set()


def test_a_deleted_file_is_put_back_and_one_that_took_its_place_is_kept(tmp_path):
    path = tmp_path / "file"
    path.write_text("all there is")
    anchor = Anchor(path)
    anchor.check()
    for left in ("nothing", "an empty file"):
        path.unlink()
        if left == "an empty file":
            path.touch()
        with pytest.raises(Gone, match=r"file was deleted while the study ran; it is put back whole") as gone:
            anchor.check()
        assert gone.value.then == "What ended is stored; the same command goes on."
        assert path.read_text() == "all there is"
        anchor = Anchor(path)
    path.unlink()
    path.write_text("another")
    with pytest.raises(Gone, match=r"file was deleted while the study ran; another file took its place") as gone:
        anchor.check()
    assert gone.value.then == "Restore it from a copy, or start in another --dir."
    assert path.read_text() == "another"
