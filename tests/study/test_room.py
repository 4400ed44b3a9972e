"""What a trial wants against what the machines have."""

from __future__ import annotations

import os

import pytest
import torch

from study import engine
from study.engine import Machine
from study.room import Node, room, short
from study.spec import Resources
from tests.study.clusters import Cluster
from tests.study.commands import study
from tests.study.test_errors import one_message
from trainables.errors import Refused

NODES = [Node("node-1", 4), Node("node-2", 3, 1)]


@pytest.mark.parametrize(
    ("cpus", "gpus", "trials"), [(1, 0, 7), (2, 0, 3), (4, 0, 1), (5, 0, 0), (1, 1, 1), (1, 0.25, 3), (4, 1, 0)]
)
def test_a_trial_runs_on_one_machine_whole(cpus, gpus, trials):
    assert room(Resources(cpus=cpus, gpus=gpus), NODES) == trials
    assert (short(Resources(cpus=cpus, gpus=gpus), NODES, "lower it") is None) == (trials > 0)


@pytest.mark.parametrize(
    ("cpus", "gpus", "message"),
    [
        (8, 0, r"resources/cpus = 8: no machine has so much for one trial \(node-2: 3 CPUs, 1 GPUs; node-1: 4 CPUs\);"),
        (1, 2, r"resources/gpus = 2\.0: no machine has so much for one trial"),
        (4, 1, r"resources = '4 CPUs and 1 GPUs': no machine has so much for one trial"),
    ],
)  # fmt: skip
def test_what_no_machine_has_is_refused_with_what_there_is(cpus, gpus, message):
    refusal = short(Resources(cpus=cpus, gpus=gpus), NODES, "lower it")
    with pytest.raises(Refused, match=message):
        raise refusal


def test_a_large_cluster_is_named_in_part_and_an_empty_one_too():
    many = short(Resources(cpus=8), [Node(f"node-{number}", number % 7) for number in range(1000)], "lower it")
    assert len(str(many)) < 300
    assert "(there is none)" in str(short(Resources(), [], "lower it"))


def test_this_machine_is_compared_unless_slots_are_stated(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    pattern = (
        r"resources/cpus = 8: no machine has so much for one trial \(this machine: 4 CPUs.*lower it, or give --add"
    )
    result = study(capsys, "run", "smoke", "--dir", tmp_path / "s", "--set", "resources/cpus=8")
    one_message(result, 2, pattern)
    assert not (tmp_path / "s").exists()
    engine.check(Resources(cpus=8), Machine(slots=1))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(
        Refused, match=r"resources/gpus = 2\.0: no machine has so much for one trial \(this machine: 4 C"
    ):
        engine.check(Resources(gpus=2), Machine(slots=1))
    engine.check(Resources(gpus=1), Machine())


def test_a_cluster_is_compared_at_the_start_and_waited_for_where_it_may_grow(capsys, monkeypatch, tmp_path):
    cluster = Cluster()
    for key in ("RAY_AUTH_MODE", "HOME"):
        monkeypatch.setenv(key, cluster.environment[key])
    machine, said = Machine(address=cluster.address), []
    try:
        words = ("run", "smoke", "--dir", tmp_path / "s", "--address", cluster.address, "--set", "resources/cpus=8")
        pattern = (
            r"resources/cpus = 8: no machine has so much for one trial \(.*: 0 CPUs\); lower it, or let such a mac"
        )
        one_message(study(capsys, *words), 2, pattern)
        assert not (tmp_path / "s").exists()
        monkeypatch.setattr(engine, "_may_grow", lambda: True)
        monkeypatch.setattr(engine, "GROW_SECONDS", 1.0)
        engine.check(Resources(cpus=8), machine)
        with engine.connected((), (), machine):
            with pytest.raises(Refused, match=r"resources/cpus = 8: .*; none has come in 1 s: lower it, or add such a"):
                engine._capacity(Resources(cpus=8), said.append)
            cluster.node(cpus=3)
            assert engine._capacity(Resources(), said.append) == 3
    finally:
        cluster.remove()
    (waiting,) = said
    assert waiting.startswith("no machine has so much for one trial (")
    assert waiting.endswith("; waiting 1 s at most for the cluster to grow …")
