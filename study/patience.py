"""Patience with a store that goes away: say so, wait, try again, and only after a while give up.

Trials train on meanwhile. `$STUDY_PATIENCE` holds the seconds, 120 if it is not set.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from study.locks import locked_by
from study.text import first_line
from trainables.errors import Refused

SECONDS = 120.0
PAUSES = (0.2, 0.5, 1.0, 2.0)  # between tries; the last one from then on

PASSING = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.ESTALE, errno.EHOSTUNREACH)

Answer = TypeVar("Answer")


STORED = "What ended is stored."
GOES_ON = "What ended is stored; the same command goes on."
MENDED = "What ended is stored; once that is mended, the same command goes on."


class Gone(Exception):
    """What the study cannot go on without is away for longer than the patience, or for good; `then` says what next."""

    def __init__(self, message: str, then: str = MENDED) -> None:
        super().__init__(message)
        self.then = then


@dataclass(frozen=True)
class Words:
    """How an outage is told: that something fails now, has failed for so long, and works again; and what goes on."""

    fails: str = "does not answer"
    failed: str = "has not answered"
    works: str = "answers again"
    meanwhile: str = "trials go on, "


UNWRITTEN = Words("cannot be written", "could not be written", "can be written again", "")


def seconds() -> float:
    """How long a store may be away. Raises Refused for what is no number."""
    given = os.environ.get("STUDY_PATIENCE", str(SECONDS))
    try:
        patience = float(given)
    except ValueError:
        patience = -1.0
    if not 0 <= patience < float("inf"):
        raise Refused("STUDY_PATIENCE", given, "seconds are wanted, 0 or more", f"leave it out for {SECONDS:.0f}")
    return patience


def passing(error: Exception) -> bool:
    """Whether a full disk, or a connection that broke, is behind the error."""
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    return isinstance(error, OSError) and error.errno in PASSING


class Patience:
    """With `what`, a store as the user knows it. `passes` tells the errors of one that is away from all others.

    An outage begins with a call that fails, and ends with a call that succeeds after `again`: that asks the store what
    the call that failed has done there after all. A call that succeeds at once proves nothing, for it may not have
    needed the store.
    """

    def __init__(
        self, what: str, passes: Callable[[Exception], bool], say: Callable[[str], None],
        again: Callable[[], None] = lambda: None, words: Words | None = None, file: Path | None = None,
    ) -> None:  # fmt: skip
        """`file`: that of a store in SQLite, so that whoever keeps it locked is named."""
        self.file = file
        self.what, self.passes, self.say, self.again = what, passes, say, again
        self.words = words or Words()
        self.seconds = seconds()
        self.since: float | None = None  # when the outage began
        self.tries = 0

    @property
    def away(self) -> bool:
        return self.since is not None

    def once(self, call: Callable[[], Answer]) -> Answer | None:
        """What `call` returns; None where the store is away.

        Raises Gone when the patience is over, and errors of another kind as they are.
        """
        began, away = time.monotonic(), self.away
        try:
            if away:
                self.again()
            answer = call()
        except Exception as error:
            self._failed(error, began)
            return None
        if away:
            self._succeeded()
        return answer

    def retry(self, call: Callable[[], Answer]) -> Answer:
        """What `call` returns, at last. Raises as `once` does."""
        began = time.monotonic()
        try:
            return call()
        except Exception as error:
            pause = self._failed(error, began)
        while True:
            time.sleep(pause)
            began = time.monotonic()
            try:
                self.again()
                answer = call()
            except Exception as error:
                pause = self._failed(error, began)
            else:
                self._succeeded()
                return answer

    def _failed(self, error: Exception, began: float) -> float:
        """A call that `began` then has failed; returns the seconds to wait before the next."""
        if not self.passes(error):
            raise error
        reason = first_line(_root(error))
        reason += locked_by(self.file, reason)
        if self.since is None:
            self.since, self.tries = began, 0
            self.say(
                f"{self.what} {self.words.fails} ({reason}); "
                f"{self.words.meanwhile}trying again for {self.seconds:.0f} s"
            )
        if (away := time.monotonic() - self.since) > self.seconds:
            raise Gone(f"{self.what} {self.words.failed} for {away:.0f} s ({reason})") from error
        self.tries += 1
        return PAUSES[min(self.tries, len(PAUSES)) - 1]

    def _succeeded(self) -> None:
        if self.since is not None:
            self.say(f"{self.what} {self.words.works}, after {time.monotonic() - self.since:.0f} s")
            self.since = None


class Writer:
    """A thread that does jobs one after another, each until it succeeds."""

    def __init__(self, patience: Patience) -> None:
        self.patience = patience
        self.error: Exception | None = None  # what ended it
        self.jobs: deque[Callable[[], None]] = deque()
        self.changed = threading.Condition()
        self.closing = False
        self.thread = threading.Thread(target=self._work, name="writer", daemon=True)
        self.thread.start()

    def add(self, job: Callable[[], None]) -> None:
        with self.changed:
            self.jobs.append(job)
            self.changed.notify_all()

    def wait(self, seconds: float | None = None) -> None:
        """Until every job is done or one has failed for good, for `seconds` at most."""
        with self.changed:
            self.changed.wait_for(lambda: not self.jobs or self.error is not None, seconds)

    def close(self) -> None:
        """No more jobs; those that are left are dropped."""
        with self.changed:
            self.closing = True
            self.changed.notify_all()
        if not self.patience.away:
            self.thread.join()

    def _work(self) -> None:
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.jobs or self.closing)
                if self.closing:
                    return
                job = self.jobs[0]
            try:
                self.patience.retry(job)
            except Exception as error:
                self.error = error
            with self.changed:
                self.jobs.popleft()
                self.changed.notify_all()
            if self.error is not None:
                return


class Anchor:
    """Holds a file open, so that it is not lost when somebody deletes it while the study runs."""

    def __init__(self, path: Path) -> None:
        self.path, self.file = path, path.open("rb")
        self.identity = os.fstat(self.file.fileno()).st_ino

    def check(self) -> None:
        """Raises Gone where the file is no longer there, after putting it back."""
        try:
            if (there := self.path.stat()).st_ino == self.identity:
                return
            free = there.st_size == 0  # SQLite makes an empty one as soon as it opens a path
        except FileNotFoundError:
            free = True
        done, then = "another file took its place", "Restore it from a copy, or start in another --dir."
        if free:
            partial = self.path.with_name(f"{self.path.name}.partial")
            partial.write_bytes(os.pread(self.file.fileno(), os.fstat(self.file.fileno()).st_size, 0))
            partial.replace(self.path)
            done, then = "it is put back whole", GOES_ON
        raise Gone(f"{self.path} was deleted while the study ran; {done}", then)


def _root(error: BaseException) -> BaseException:
    """What caused the error in the first place: Optuna's and SQLAlchemy's own words say little."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error
