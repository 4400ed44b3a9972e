"""The head of a cluster by hand: a socket that listens, then does not."""

from __future__ import annotations

import socket
import time

import pytest

from study import head
from study.head import Head
from study.patience import STORED, Gone


def until(holds) -> None:
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_its_loss_is_said_once_with_the_remedy_and_ends_the_run(monkeypatch):
    monkeypatch.setattr(head, "KNOCK_SECONDS", 0.02)
    said: list[str] = []
    listening = socket.create_server(("127.0.0.1", 0))
    it = Head(f"127.0.0.1:{listening.getsockname()[1]}", "start it again", said.append)
    with it.watched():
        time.sleep(0.2)
        it.check()
        listening.close()
        until(lambda: it.lost)
    assert said == [f"Ray's head at {it.address} does not answer any more; start it again"]
    with pytest.raises(Gone, match=r"does not answer any more; start it again") as gone:
        it.check()
    assert gone.value.then == STORED


def test_a_single_knock_that_fails_is_nothing(monkeypatch):
    monkeypatch.setattr(head, "KNOCK_SECONDS", 0.01)
    answers = [False, False, True] * 10
    it = Head("127.0.0.1:1", "", pytest.fail)
    monkeypatch.setattr(it, "_answers", lambda: answers.pop() if answers else True)
    with it.watched():
        until(lambda: not answers)
    assert not it.lost
