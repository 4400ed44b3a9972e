"""What can be learned from a GPU that is there for minutes only, in the order of its worth: one command.

    python -m tests.benchmarks.minutes --minutes 12 --out results          # on the GPU's machine
    python -m tests.benchmarks.minutes --minutes 5 --device cpu            # the same at smoke size, to try it

The GPU's tests, the benchmark of a step, then studies, each as far as the minutes go: what is stopped at the end goes
on from its directory the next time. It needs this package's sources, torch, and what `study run` imports, nothing else;
where the report's libraries are missing, `study report DIR` draws the page elsewhere. `--out` holds at most 8 files of
16 MiB: `times.json`, the outputs, and the studies without their checkpoints in `studies.tar.xz`, `studies-2.tar.xz` …
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

LARGEST = 16 * 2**20  # bytes of a file
PACKING = 20  # seconds kept for it
GRACE = 15  # seconds that a study has to stop in
STUDY = (sys.executable, "-c", "import sys; from study.cli import main; sys.argv[0] = 'study'; main()", "run")


@dataclass(frozen=True)
class Task:
    """A command, and how many seconds it takes at most; a study's directory is its name below `--dir`."""

    name: str
    command: tuple[str, ...]
    seconds: float
    study: bool = False


@dataclass(frozen=True)
class Ended:
    """How a task ended: its exit status, or why there is none."""

    name: str
    seconds: float
    status: int | str


def tasks(device: str, slots: int) -> list[Task]:
    """In the order of their worth."""
    if device == "cpu":
        tested = ("tests/trainables/test_gpu.py", "-q")
        timed = ("--repeats", "1", "--models", "alexnet", "--no-curvature", "--batch", "8")
        wanted: list[tuple[str, ...]] = [("smoke",)]
        share: tuple[str, ...] = ()
    else:
        tested = ("tests/trainables/test_gpu.py", "-q", "-n", "4")
        timed = ("--device", "cuda")
        wanted = [("collapse",), ("strides", "--readings", "none"), ("section-5.2", "--readings", "none")]
        share = ("--set", "resources/cpus=1", "--set", f"resources/gpus={1 / slots:.3f}", "--slots", str(slots))
    return [
        Task("tests", (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *tested), 180),
        Task("bench", (sys.executable, "-m", "tests.benchmarks.optimizers", *timed), 120),
        *(Task(name, (*STUDY, name, *own, *share), 600, study=True) for name, *own in wanted),
    ]


def run(task: Task, until: float, directory: Path, out: Path) -> Ended:
    """Runs the task until `until` (of the monotonic clock) at most; what it says goes to `out`."""
    seconds = min(task.seconds, until - time.monotonic())
    if seconds < GRACE:
        return Ended(task.name, 0.0, "no time left")
    own = ("--dir", str(directory / task.name)) if task.study else ()
    began = time.monotonic()
    with (out / f"{task.name}.txt").open("w") as said:
        process = subprocess.Popen([*task.command, *own], stdout=said, stderr=said, start_new_session=True)
        try:
            status: int | str = process.wait(seconds)
        except subprocess.TimeoutExpired:
            status = f"stopped after {seconds:.0f} s"
            _stop(process)
    return Ended(task.name, round(time.monotonic() - began, 1), status)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """As Ctrl-C does, on which a study ends its workers; by force where that does not help."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def pack(directory: Path, names: Sequence[str], out: Path) -> list[Path]:
    """The studies without their checkpoints, and what the tasks said, as few files of at most LARGEST bytes."""
    written: list[Path] = []
    for part in [*names, "said"]:
        target = out / f"{part}.tar.xz"
        with tarfile.open(target, "w:xz", preset=1) as archive:
            sources = sorted(out.glob("*.txt")) if part == "said" else _kept(directory / part)
            for source in sources:
                archive.add(source, source.relative_to(out if part == "said" else directory), recursive=False)
        if target.stat().st_size > LARGEST:
            target.unlink()
        else:
            written.append(target)
    for said in out.glob("*.txt"):
        said.unlink()
    return written


def _kept(study: Path) -> list[Path]:
    return [
        path for path in sorted(study.rglob("*")) if path.is_file() and "trials" not in path.relative_to(study).parts
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=12.0)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--slots", type=int, default=12, help="trials at once on the GPU")
    parser.add_argument("--dir", type=Path, default=Path("studies"), help="of the studies, each below its name")
    parser.add_argument("--out", type=Path, default=Path("results"))
    given = parser.parse_args()
    until = time.monotonic() + 60 * given.minutes - PACKING
    given.out.mkdir(parents=True, exist_ok=True)
    ended = []
    planned = tasks(given.device, given.slots)
    for task in planned:
        ended.append(run(task, until, given.dir, given.out))
        print(f"{task.name}: {ended[-1].status}, {ended[-1].seconds} s", flush=True)
        (given.out / "times.json").write_text(json.dumps([asdict(each) for each in ended], indent=1))
    pack(given.dir, [task.name for task in planned if task.study], given.out)


if __name__ == "__main__":
    main()
