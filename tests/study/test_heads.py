"""Which address `auto` stands for: none of these processes is there."""

from __future__ import annotations

import pytest

from study import engine
from study.heads import running
from trainables.errors import Refused


def process(folder, number, *words):
    (folder / str(number)).mkdir()
    (folder / str(number) / "cmdline").write_bytes("\0".join(words).encode())


def test_heads_are_found_by_their_processes_but_for_those_of_local_runs(tmp_path):
    head = "/x/ray/core/src/ray/gcs/gcs_server"
    process(
        tmp_path, 1, head, "--log_dir=/home/me/r/session_1/logs", "--gcs_server_port=6379", "--node-ip-address=10.0.0.3"
    )
    process(
        tmp_path,
        2,
        head,
        "--log_dir=/tmp/study-ray-abc/r/s/logs",
        "--gcs_server_port=6380",
        "--node-ip-address=127.0.0.1",
    )
    process(tmp_path, 3, head, "--log_dir=/tmp/ray/s/logs", "--gcs_server_port=0", "--node-ip-address=127.0.0.1")
    process(tmp_path, 4, "/usr/bin/python", "--gcs_server_port=6381")
    (tmp_path / "5").mkdir()  # one that ends just now
    assert running(tmp_path) == ["10.0.0.3:6379"]


@pytest.mark.parametrize(
    ("here", "started", "stated", "address"),
    [
        (["a:1"], None, None, "a:1"),
        (["a:1"], "b:2", None, "a:1"),  # what the last `ray start` noted is gone
        (["a:1", "b:2"], "b:2", None, "b:2"),
        ([], "b:2", None, "b:2"),  # a node's: the head runs elsewhere
        (["a:1", "b:2"], None, "c:3", "c:3"),
    ],
)
def test_auto_is_what_is_stated_or_started_last_or_the_only_one(monkeypatch, here, started, stated, address):
    monkeypatch.setattr(engine, "running", lambda: here)
    monkeypatch.setattr(engine, "find_bootstrap_address", lambda _: started)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if stated:
        monkeypatch.setenv("RAY_ADDRESS", stated)
    assert engine._found("auto") == address
    assert engine._found("d:4") == "d:4"


def test_several_heads_or_none_are_told(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(engine, "find_bootstrap_address", lambda _: None)
    monkeypatch.setattr(engine, "running", lambda: ["a:1", "b:2"])
    with pytest.raises(
        Refused, match=r"--address = 'auto': several heads run on this machine: a:1, b:2; name one of them"
    ):
        engine._found("auto")
    monkeypatch.setattr(engine, "running", list)
    with pytest.raises(OSError, match="none was started on this machine"):
        engine._found("auto")
