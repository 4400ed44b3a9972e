"""What the engine costs a trial: a study of many short trials against a plain loop of the same training.

    python -m tests.benchmarks.engine --trials 300

Prints wall times of both, the overhead a trial, the curve (seconds for each tenth of the trials, which must not
grow), and where the rest of the study's time goes (start-up, report). Budget: 100 ms a trial.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path

SPEC = """
name: engine
question: What does the engine cost a trial?
base:
  model: {name: alexnet, width: 0.03, dropout: 0}
  data: {name: digits, train_size: 60, test_size: 20, validation: 0.2}
  epochs: 5
arms:
  sgd: {optimizer: {name: sgd, momentum: 0.9}}
  lars: {optimizer: {name: lars, momentum: 0.9}}
batch_sizes: [16, 24, 48]
baseline: {arm: sgd, batch_size: 16}
search: {trials: SEARCH, sampler: SAMPLER}
confirm: {seeds: 10}
"""


def plain(configs: Sequence[object]) -> None:
    """Train each configuration, nothing else."""
    import torch

    from study.plan import data_key
    from trainables.train import Diverged, Trial

    torch.set_num_threads(1)
    splits = {}
    for config in configs:
        if data_key(config) not in splits:
            splits[data_key(config)] = config.data.splits()
        trial = Trial(config, splits[data_key(config)])
        try:
            while not trial.finished:
                trial.run_epoch()
            if config.seed < 10_000:
                trial.run_test()
        except Diverged:
            continue


def measure_plain(folder: Path) -> float:
    """Seconds of the same trials, in two processes that share them out."""
    from study.directory import Directory
    from study.ledger import Ledger
    from study.plan import cells
    from study.storage import open_storage

    spec = Directory(folder).spec()
    configs = [trial.config for trial in Ledger(open_storage(folder / "optuna.journal"), spec, cells(spec)).ended()]
    began = time.monotonic()
    pair = [get_context("spawn").Process(target=plain, args=(configs[half::2],)) for half in (0, 1)]
    for process in pair:
        process.start()
    for process in pair:
        process.join()
    return time.monotonic() - began


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--trials", type=int, default=300, help="a multiple of 6, above 60")
    options.add_argument("--sampler", default="tpe")
    asked = options.parse_args()
    base = Path(tempfile.mkdtemp(prefix="engine-"))
    text = SPEC.replace("SEARCH", str(asked.trials // 6 - 10)).replace("SAMPLER", asked.sampler)
    (base / "engine.yaml").write_text(text)
    began = time.monotonic()
    words = ["run", str(base / "engine.yaml"), "--dir", str(base / "study"), "--slots", "2"]
    subprocess.run([sys.executable, "-m", "study.cli", *words], check=True, stdout=subprocess.DEVNULL)
    whole = time.monotonic() - began
    ends = ended_at(base / "study")
    alone = measure_plain(base / "study")
    trials = len(ends)
    tenths = [ends[(k + 1) * trials // 10 - 1] - ends[k * trials // 10] for k in range(10)]
    print(f"{trials} trials: study {whole:.1f} s, plain loop on two processes {alone:.1f} s")
    print(f"overhead a trial: {1000 * (whole - alone) / trials:.0f} ms (budget 100)")
    print("of it from the first trial's end to the last's:", end=" ")
    print(f"{1000 * (ends[-1] - ends[0]) / (trials - 1):.0f} ms a trial, training included")
    print("seconds for each tenth:", " ".join(f"{tenth:.1f}" for tenth in tenths))
    print(f"median of the first three and the last three: {statistics.median(tenths[:3]):.1f} s, ", end="")
    print(f"{statistics.median(tenths[-3:]):.1f} s")


def ended_at(folder: Path) -> list[float]:
    """When each trial ended, as MLflow has it; seconds."""
    from mlflow import MlflowClient

    from study.store import default_uri

    client = MlflowClient(default_uri(folder))
    experiment = client.get_experiment_by_name("engine")
    runs = client.search_runs([experiment.experiment_id], "tags.phase != 'cell'", max_results=5000)
    return sorted(run.info.end_time / 1000 for run in runs)


if __name__ == "__main__":
    main()
