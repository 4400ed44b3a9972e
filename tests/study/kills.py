"""Kill a study again and again; it must end as if nothing had happened.

    python -m tests.study.kills --kills 30

kills -9 the driver, a worker or both, at random moments, starts the study again after each loss of its driver, and
compares the end with an uninterrupted run: trials, metrics bit for bit, MLflow runs, Optuna states, the gap table.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.study.compare import histories, same, trials

SPEC = """
name: kills
question: Does a study that is killed all the time end as one that is not?
base:
  model: {name: alexnet, width: 0.06, dropout: 0.1}
  data: {name: digits, train_size: 900, test_size: 100, validation: 0.2, augment: true}
  schedule: {name: cosine, warmup_epochs: 0.5}
  epochs: EPOCHS
arms:
  sgd: {optimizer: {name: sgd, momentum: 0.9}}
  mclr: {optimizer: {name: mclr, momentum: 0.9}, trick: {discard: {p: 0.3, epochs: 12}}}
batch_sizes: [16, 64]
baseline: {arm: sgd, batch_size: 16}
search: {trials: 5, window: 3}
confirm: {seeds: 3}
"""


def start(spec: Path, folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "study.cli", "run", str(spec), "--dir", str(folder), "--slots", "2"]
    log = (folder.parent / f"{folder.name}.log").open("ab")
    return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)


def workers(driver: int) -> list[int]:
    """The Ray workers that train for this driver, which share its process session or descend from it."""
    table = subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in table.splitlines()[1:]]
    parent = {int(pid): int(above) for pid, above, *_ in rows}

    def descends(pid: int) -> bool:
        while pid in parent and pid != driver:
            pid = parent[pid]
        return pid == driver

    names = ("ray::ResourceTrainable", "ray::RayTrial", "ray::Reso", "ray::ImplicitFunc")
    return [int(pid) for pid, _, *args in rows if args and args[0].startswith(names) and descends(int(pid))]


def progress(folder: Path) -> float:
    """When a trial last moved on: a checkpoint written, or a result told."""
    files = [*folder.glob("trials/**/checkpoint.pt"), folder / "optuna.journal"]
    return max((file.stat().st_mtime for file in files if file.exists()), default=0.0)


def kill(driver: subprocess.Popen[bytes], victim: str, draw: random.Random) -> None:
    targets = workers(driver.pid) if victim != "driver" else []
    if targets:
        os.kill(draw.choice(targets), signal.SIGKILL)
    if victim != "worker":
        os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()


def torture(spec: Path, folder: Path, kills: int, draw: random.Random) -> list[float]:
    """Run to the end with `kills` kills; the seconds from each restart to the first sign of progress.

    Exits where the study ends before it was killed so often.
    """
    latencies: list[float] = []
    left = kills
    while True:
        began = time.time()
        driver = start(spec, folder)
        waiting = left < kills
        alarm = time.time() + draw.uniform(10, 30)
        while driver.poll() is None:
            time.sleep(0.1)
            if waiting and progress(folder) > began:
                latencies.append(progress(folder) - began)
                waiting = False
            if left and time.time() > alarm:
                victim = draw.choice(["driver", "worker", "both"])
                kill(driver, victim, draw)
                left -= 1
                alarm = time.time() + draw.uniform(3, 12)
                print(f"kill {kills - left}: {victim}", flush=True)
        if driver.returncode == 0 and left:
            sys.exit(f"the study ended after {kills - left} kills: give it more --epochs")
        if driver.returncode == 0:
            return latencies


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--kills", type=int, default=30)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--epochs", type=int, default=24, help="of a trial; 60 outlast 100 kills [24]")
    asked = options.parse_args()
    base = Path(tempfile.mkdtemp(prefix="kills-"))
    spec = base / "kills.yaml"
    spec.write_text(SPEC.replace("EPOCHS", str(asked.epochs)))
    began = time.time()
    assert start(spec, base / "calm").wait() == 0, (base / "calm.log").read_text()
    calm = time.time() - began
    began = time.time()
    latencies = torture(spec, base / "killed", asked.kills, random.Random(asked.seed))
    same(base / "killed", base / "calm", "kills")
    steps = sum(len(points) for points in histories(base / "killed", "kills").values())
    print(f"{asked.kills} kills, {len(trials(base / 'killed', 'kills'))} trials, {steps} metric points: identical")
    print(f"uninterrupted {calm:.0f} s, killed {time.time() - began:.0f} s; {len(latencies)} restarts, median", end=" ")
    print(f"{statistics.median(latencies):.1f} s to the first step" if latencies else "–")


if __name__ == "__main__":
    main()
