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
from pathlib import Path
from typing import TypeVar

from study.text import first_line
from trainables.errors import Refused

SECONDS = 120.0
PAUSES = (0.2, 0.5, 1.0, 2.0)  # between tries; the last one from then on

PASSING = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.ESTALE, errno.EHOSTUNREACH)

Answer = TypeVar("Answer")


class Gone(Exception):
    """A store is away for longer than the patience, or for good. What it holds is intact; the study can go on later."""


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
    """With `what` (a name for the user). `passes` tells the errors of a store that is away from all others."""

    def __init__(self, what: str, passes: Callable[[Exception], bool], say: Callable[[str], None]) -> None:
        self.what, self.passes, self.say = what, passes, say
        self.seconds = seconds()
        self.since: float | None = None  # when it was first found away
        self.tries = 0

    @property
    def away(self) -> bool:
        return self.since is not None

    def met(self, error: Exception, began: float) -> float:
        """An attempt that `began` then has failed; returns the seconds to wait before the next.

        Raises Gone when the patience is over, and `error` itself if it is of another kind.
        """
        if not self.passes(error):
            raise error
        reason = first_line(_root(error))
        if self.since is None:
            self.since, self.tries = began, 0
            self.say(f"{self.what} does not answer ({reason}); trials go on, trying again for {self.seconds:.0f} s")
        if time.monotonic() - self.since > self.seconds:
            raise Gone(f"{self.what} has not answered for {time.monotonic() - self.since:.0f} s ({reason})") from error
        self.tries += 1
        return PAUSES[min(self.tries, len(PAUSES)) - 1]

    def answered(self) -> None:
        """An attempt has succeeded."""
        if self.since is not None:
            self.say(f"{self.what} answers again, after {time.monotonic() - self.since:.0f} s")
            self.since = None

    def insist(self, attempt: Callable[[], Answer], again: Callable[[], None] = lambda: None) -> Answer:
        """What `attempt` returns, at last; `again` runs before each further try."""
        first = True
        while True:
            began = time.monotonic()
            try:
                if not first:
                    again()
                answer = attempt()
            except Exception as error:
                time.sleep(self.met(error, began))
                first = False
            else:
                self.answered()
                return answer


class Writer:
    """A thread that does jobs one after another, each until it succeeds; `again` runs before a further try."""

    def __init__(self, patience: Patience, again: Callable[[], None]) -> None:
        self.patience, self.again = patience, again
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
                self.patience.insist(job, self.again)
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
            if (found := self.path.stat()).st_ino == self.identity:
                return
            free = found.st_size == 0  # SQLite makes an empty one as soon as it opens a path
        except FileNotFoundError:
            free = True
        done = "another file took its place"
        if free:
            partial = self.path.with_name(f"{self.path.name}.partial")
            partial.write_bytes(os.pread(self.file.fileno(), os.fstat(self.file.fileno()).st_size, 0))
            partial.replace(self.path)
            done = "it is put back whole"
        raise Gone(f"{self.path} was deleted while the study ran; {done}")


def _root(error: BaseException) -> BaseException:
    """What caused the error in the first place: Optuna's and SQLAlchemy's own words say little."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error
