"""Who runs a study: one driver at a time, wherever copies of its directory lie.

An owner states itself on a board: the lock file of the directory, and the database that holds the search. While it is
alive it beats there. Another driver is refused, told who that is and since when, until the owner is seen to be dead: on
this machine by its process, elsewhere by its silence, for clocks of two machines differ. Who takes over all the same
writes its own name, and the former owner stops as soon as it reads that.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Protocol

from study.patience import STORED, Gone
from trainables.errors import Refused

BEAT_SECONDS = 5.0
LATE_BEATS = 2  # Who has not looked for so many stood still: another may have taken over meanwhile.
SILENT_SECONDS = 20.0  # An owner elsewhere that has not beaten for so long, while we looked on, is dead.
REMEDY = "wait for it, or stop it; --take-over ends it, dead or alive"


def _boot() -> str:
    """What tells this machine, since it was started, from others of its name; empty where the system does not say."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def _begun(pid: int) -> str:
    """When the process of this number began, as the system counts; empty where there is none, or it does not say."""
    with suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return ""


def _now() -> float:
    """Seconds on a clock that goes on while a process stands still and, where it can, while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@dataclass(frozen=True)
class Owner:
    """A driver: its process, machine and directory, and since when it runs the study. `beat` grows while it lives."""

    directory: str
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    since: str = field(default_factory=lambda: time.strftime("%Y-%m-%d %H:%M:%S"))
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    boot: str = field(default_factory=_boot)
    begun: str = field(default_factory=lambda: _begun(os.getpid()))
    beat: int = 0

    @classmethod
    def read(cls, text: str) -> Owner | None:
        """The inverse of `text`; None for anything else."""
        try:
            return cls(**json.loads(text))
        except (ValueError, TypeError):
            return None

    @property
    def text(self) -> str:
        return json.dumps(asdict(self))

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, in {self.directory}, since {self.since}"

    @property
    def alive_here(self) -> bool | None:
        """Whether its process runs, if it is one of this machine; else None."""
        if self.host != socket.gethostname() or self.boot != _boot():
            return None
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        return _begun(self.pid) == self.begun  # else the number has been given to another process


class Board(Protocol):
    """Where an owner states itself, for all who might run the study: one text."""

    def read(self) -> str: ...
    def write(self, text: str) -> None: ...


class Ownership:
    """A study that this process owns, until `lost` says that another has taken it over from us.

    `former` is the token of whom we took it over from: one that stood still in the middle of a beat ends that beat when
    it goes on, and owns nothing by it.
    """

    def __init__(self, board: Board, me: Owner, former: str = "") -> None:
        self.board, self.me, self.former = board, me, former
        self.lost = ""  # to whom
        self.looked = _now()
        self.ending = threading.Event()
        self.heart = threading.Thread(target=self._beat, name="heart", daemon=True)

    @property
    def late(self) -> bool:
        """Whether this process stood still: the heart looks and beats more often than that."""
        return _now() - self.looked > LATE_BEATS * BEAT_SECONDS

    def check(self) -> None:
        """Raises Gone where another driver has taken the study over; looks itself where the heart stood still."""
        if self.late:
            self._look()
        if self.lost:
            raise Gone(f"another `study run` has taken the study over: {self.lost}", f"{STORED} It goes on there.")

    def _beat(self) -> None:
        while not self.ending.wait(BEAT_SECONDS):
            self._look()
            if self.lost:
                return
            with suppress(Exception):
                self.me = replace(self.me, beat=self.me.beat + 1)
                if not self.late:
                    self.board.write(self.me.text)

    def _look(self) -> None:
        with suppress(Exception):  # a board that is away is waited for by those who need it
            there = Owner.read(self.board.read())
            if there is None:
                self.lost = "one that has ended since" if self.late else ""
            elif there.token not in (self.me.token, self.former):
                self.lost = str(there)
        self.looked = _now()


def checked(owned: Iterable[Ownership]) -> Callable[[], None]:
    """A look at all that is owned, which raises Gone where another driver has taken some of it over."""

    def check() -> None:
        for each in owned:
            each.check()

    return check


@contextmanager
def owning(
    board: Board, me: Owner, refuse: Callable[[str], Refused], say: Callable[[str], None], *, take_over: bool = False
) -> Iterator[Ownership]:
    """The study, as this process's own inside. `refuse` makes the refusal of a sentence on who else is at work.

    Raises Refused where another owner is alive, unless we `take_over`.
    """
    there = Owner.read(board.read())
    if there is not None and not take_over and _alive(board, there, say):
        raise refuse(f"another `study run` is at work there: {there}")
    board.write(me.text)
    ownership = Ownership(board, me, there.token if there else "")
    ownership.heart.start()
    try:
        yield ownership
    finally:
        ownership.ending.set()
        ownership.heart.join(BEAT_SECONDS)
        if not ownership.lost:
            with suppress(Exception):  # else the next driver looks whether we are alive
                board.write("")


def _alive(board: Board, owner: Owner, say: Callable[[str], None]) -> bool:
    """Whether the owner is: by its process, or by its beats while we look on."""
    if (here := owner.alive_here) is not None:
        return here
    say(f"{owner} ran this study last and did not say that it ended; looking whether it is alive …")
    until = time.monotonic() + SILENT_SECONDS
    while time.monotonic() < until:
        time.sleep(min(1.0, BEAT_SECONDS))
        if (now := Owner.read(board.read())) is None:
            return False
        if now != owner:
            return True
    return False
