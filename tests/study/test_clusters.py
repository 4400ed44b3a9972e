"""Nodes of a cluster on which something is wrong: what their workers say reaches the user."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

import pytest

from tests.study.clusters import Cluster
from tests.study.test_faults import Running, resumed

pytestmark = pytest.mark.faults

TINY = (
    "search/trials=0", "confirm/seeds=1", "batch_sizes=[16]",
    "arms/sgd/optimizer={lr: 0.1, beta: 0}", "arms/lars/optimizer={gamma: 0.1, excluded_lr: 0.1}",
)  # fmt: skip


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("mounts of a node's own take root")
    cluster = Cluster()
    yield cluster
    cluster.remove()


def run(cluster: Cluster, folder: Path) -> Running:
    """From elsewhere, for Ray lends its workers the folder that a driver is started in."""
    words = [word for override in TINY for word in ("--set", override)]
    return Running(folder, "--address", cluster.address, *words, cwd=folder.parent, **cluster.environment)


def packages() -> set[Path]:
    """Where workers may find `study`: where it is imported from here, and the checkout that is installed."""
    places = {Path(str(importlib.util.find_spec("study").origin)).parent}
    for installed in distributions(name="generalization-gap", path=[sysconfig.get_path("purelib")]):
        if (url := installed.read_text("direct_url.json")) is not None:
            places.add(Path(json.loads(url)["url"].removeprefix("file://")) / "study")
    return {place for place in places if place.is_dir()}


def node(cluster: Cluster, mounts: str) -> None:
    """A node for which the shell command `mounts` was run in a world of its own."""
    cluster.node(1, before=["unshare", "-m", "sh", "-c", f'{mounts} && exec "$@"', "sh"])


def test_a_node_without_the_package_is_refused_at_the_start(cluster, tmp_path):
    node(cluster, " && ".join(f"mount -t tmpfs tmpfs {place}" for place in packages()))
    said = run(cluster, tmp_path / "s").end(2)
    assert re.search(
        r"--address = '\S+': this package cannot be loaded there \(ModuleNotFoundError: No module named 'study", said
    )
    assert re.search(r"install generalization-gap \S+ there, as it is here", said)
    assert not (tmp_path / "s").exists()


def test_a_node_with_another_version_is_refused_at_the_start(cluster, tmp_path):
    other = tmp_path / "other" / "generalization_gap-9.9.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: generalization-gap\nVersion: 9.9\n")
    cluster.node(1)
    cluster.node(1, PYTHONPATH=str(other.parent))
    began = time.monotonic()
    said = run(cluster, tmp_path / "s").end(2)
    assert time.monotonic() - began < 60, "20 s on a machine that does nothing else"
    assert re.search(r"--address = '\S+': has generalization-gap 9\.9, and here it is ", said)
    assert not (tmp_path / "s").exists()


def test_a_node_that_does_not_see_the_directory_is_refused_at_the_start(cluster, tmp_path):
    node(cluster, f"mount -t tmpfs tmpfs {tmp_path}")
    said = run(cluster, tmp_path / "s").end(2)
    assert f"--dir = '{tmp_path / 's'}': the machine " in said
    assert "does not see what lies in it, or above it, here; give one on storage that all machines see" in said
    assert list(tmp_path.iterdir()) == []


def test_a_node_that_cannot_write_in_the_directory_is_named_and_trains_all_the_same(cluster, tmp_path):
    (tmp_path / "s").mkdir()
    node(cluster, f"mount --bind {tmp_path} {tmp_path} && mount -o remount,ro,bind {tmp_path}")
    said = run(cluster, tmp_path / "s").end(0)
    assert f"cannot write in {tmp_path / 's'} (Read-only file system): trials there run without checkpoints" in said


def test_a_head_that_is_killed_is_said_with_the_remedy_and_the_study_goes_on_without_it(cluster, smoke, tmp_path):
    cluster.node(2)
    running = Running(tmp_path / "s", "--address", cluster.address, **cluster.environment)
    running.until_ended(2)
    os.killpg(cluster.processes[0].pid, signal.SIGKILL)
    said = running.end(1)
    assert "does not answer any more; start it again (`ray start --head`) with its nodes: then the same command" in said
    resumed(tmp_path / "s", smoke)


def test_a_cluster_with_a_token_as_readme_makes_it_serves_who_has_it_and_tells_others_what_is_missing(tmp_path):
    cluster = Cluster(token=True)
    try:
        cluster.node(1)
        assert (cluster.home / ".ray" / "auth_token").stat().st_mode & 0o777 == 0o600
        words = ("--address", cluster.address, *(word for override in TINY for word in ("--set", override)))
        elsewhere = {**cluster.environment, "HOME": str(tmp_path)}
        told = f"--address = '{cluster.address}': the cluster there asks for a token, and "
        for mode, given in (
            ("token", "there is none here"),
            ("", "none was sent"),
            ("token", "the one here is another"),
        ):
            if "another" in given:
                (tmp_path / ".ray").mkdir()
                (tmp_path / ".ray" / "auth_token").write_text("0" * 64)
            said = Running(tmp_path / "s", *words, **{**elsewhere, "RAY_AUTH_MODE": mode}).end(2)
            assert f"{told}{given}; set RAY_AUTH_MODE=token, and copy the head's token to ~/.ray/auth_token" in said
            assert "gcs_client" not in said, "Ray's own words"
            assert not (tmp_path / "s").exists()
        Running(tmp_path / "s", *words, **cluster.environment).end(0)
    finally:
        cluster.remove()


HOLD = """
import sys, time, ray
ray.init(address=sys.argv[1], logging_level="error")
ray.get(ray.remote(num_cpus=1)(lambda: print("held", flush=True) or time.sleep(600)).remote())
"""


def test_workers_that_wait_for_a_busy_cluster_are_said_and_start_when_it_is_free(cluster, tmp_path):
    cluster.node(1)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, cluster.address], env=cluster.environment, stdout=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        assert "held" in str(holder.stdout.readline() if holder.stdout else "")
        running = run(cluster, tmp_path / "s")
        running.until_said("1 of 1 workers have not started after 1 min")
    finally:
        os.killpg(holder.pid, signal.SIGKILL)
    assert "every worker is there, after 1 min" in running.end(0)
