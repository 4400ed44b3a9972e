"""The head of a Ray cluster: whether it still answers, asked from beside the work, which may wait for it itself.

Ray's own answer to a lost head is to end this process, after a minute, with words about its insides.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from study.patience import STORED, Gone

KNOCK_SECONDS = 5.0
KNOCKS = 3  # that fail, one after another: then the head is lost


class Head:
    """The head at `address` (host:port). `remedy` says how the study goes on after its loss."""

    def __init__(self, address: str, remedy: str, say: Callable[[str], None]) -> None:
        self.address, self.remedy, self.say = address, remedy, say
        self.lost = False
        self.ending = threading.Event()

    @property
    def words(self) -> str:
        return f"Ray's head at {self.address} does not answer any more; {self.remedy}"

    def check(self) -> None:
        """Raises Gone once the head is lost."""
        if self.lost:
            raise Gone(self.words, STORED)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Inside, the head is asked all the time; its loss is said at once."""
        thread = threading.Thread(target=self._ask, name="head", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self.ending.set()

    def _ask(self) -> None:
        failed = 0
        while not self.ending.wait(KNOCK_SECONDS):
            failed = 0 if self._answers() else failed + 1
            if failed == KNOCKS:
                self.lost = True
                self.say(self.words)
                return

    def _answers(self) -> bool:
        host, _, port = self.address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_SECONDS).close()
        except OSError:
            return False
        return True
