"""The engine: one Ray Tune run for the whole study. This file alone imports Ray.

Tune asks the searcher for the next trial of any cell whenever a slot is free, and hands back what trials report.
Nothing relies on Tune's own snapshots: the search's storage says what is left, and a trial finds its checkpoint itself.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import time
import traceback
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

for key, value in {  # before Ray is imported, which reads them then
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
}.items():
    os.environ.setdefault(key, value)

import ray
import torch
from ray import tune
from ray._private import ray_constants
from ray._private.services import find_bootstrap_address

from study.outcome import Outcome
from study.plan import Assignment, data_key
from study.private_ray import private_environment, private_folder
from study.spec import Resources
from study.text import first_line
from trainables.checkpoint import CheckpointedTrial, Progress
from trainables.config import TrialConfig
from trainables.data import Splits
from trainables.errors import Refused

REPORT_SECONDS = 0.5  # A trial reports no more often than this, for each report costs milliseconds.
MUSTER_SECONDS = 15.0  # The first workers wait for one another, but no longer.
MAX_DEATHS = 4  # A trial whose worker has died so often in one run has failed.


class Source(Protocol):
    """Where the engine's trials come from, and where what they report goes."""

    @property
    def done(self) -> bool: ...
    def next(self) -> Assignment | None: ...
    def started(self, assignment: Assignment) -> None: ...
    def report(self, folder: str, rows: list[tuple[int, dict[str, float]]]) -> Outcome | None: ...
    def note(self, seconds: float, warning: str | None) -> None: ...
    def end(self, folder: str, outcome: Outcome) -> None: ...


@dataclass(frozen=True)
class Machine:
    """Where trials run: a Ray `address` (None: a local Ray of this process), and how many at once."""

    slots: int | None = None
    address: str | None = None


class Muster:
    """Makes the first workers wait for one another.

    Tune gives a trial whose worker is still starting to any worker that becomes free, and ends the one that starts:
    trials shorter than a start, some four seconds, would have one slot for good.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.complete = False

    def call(self, worker: int) -> None:
        """One more worker will come."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / f"called-{worker}").touch()

    def present(self) -> None:
        """This one has come."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / f"present-{uuid.uuid4().hex}").touch()

    def wait(self) -> None:
        """Until all that were called are present, once; not for long."""
        until = time.monotonic() + MUSTER_SECONDS
        while not self.complete and time.monotonic() < until:
            names = [file.name for file in self.folder.glob("*")]
            called = sum(name.startswith("called") for name in names)
            if len(names) >= 2 * called:
                break
            time.sleep(0.05)
        self.complete = True


class RayTrial(tune.Trainable):  # type: ignore[misc]
    """A trial as Tune drives it: a `step` is an epoch, or as many short ones as fit into REPORT_SECONDS.

    The actor is reused, so a new trial costs milliseconds.
    """

    def setup(self, config: dict[str, Any], splits: Mapping[str, Splits]) -> None:
        self.splits = splits
        self.muster = Muster(Path(config["muster"]))
        self.muster.present()
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.request = new_config
        self.trial: CheckpointedTrial | None = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return True

    def step(self) -> dict[str, Any]:
        try:
            began = time.monotonic()
            progress: Progress | Outcome = self._advance()
            while progress.status == "running" and time.monotonic() - began < REPORT_SECONDS:
                progress = progress.then(self._advance())
        except Exception:  # whatever it is belongs into this trial's record, not into the whole study's end
            progress = Outcome("failed", reason=traceback.format_exc(limit=-6))
        self.muster.wait()
        return {"progress": progress, "done": progress.status != "running"}

    def _advance(self) -> Progress:
        if self.trial is None:
            config = TrialConfig.model_validate(self.request["config"])
            torch.set_num_threads(config.threads)
            self.trial = CheckpointedTrial(
                config, self.splits[data_key(config)], Path(self.request["folder"]), test=self.request["test"]
            )
        return self.trial.advance()


def _callback(method: Callable[..., Any]) -> Callable[..., Any]:
    """A callback of Tune's. Its error is kept for `run` to raise, for Tune would take it for a trial's failure.

    After one error every callback does nothing.
    """

    def call(self: TuneSearcher, *words: Any, **named: Any) -> Any:
        if self.error is not None:
            return self.FINISHED
        try:
            return method(self, *words, **named)
        except Exception as error:
            self.error = error
            return self.FINISHED

    return call


class Halt(tune.Stopper):  # type: ignore[misc]
    """Hands the searcher what trials report, stops the trials that it gives up, and ends the run after an error."""

    def __init__(self, searcher: TuneSearcher) -> None:
        self.searcher = searcher

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return bool(self.searcher.on_report(trial_id, result))

    def stop_all(self) -> bool:
        return self.searcher.error is not None


class TuneSearcher(tune.search.Searcher):  # type: ignore[misc]
    """Tune's view of the source. Tune's trial ids live only here.

    A trial whose worker died is handed out once more from here: Tune's own retries give up at once where a trial was
    about to take over a worker that has died unnoticed.
    """

    error: Exception | None = None  # the first one in a callback; also of the copy that Tune pickles and reads back

    def __init__(self, source: Source, folder: Path, slots: int, ahead: int = 0) -> None:
        """`slots` trials run at once, and `ahead` more are handed out."""
        super().__init__()
        self.source, self.folder, self.slots, self.ahead = source, folder, slots, ahead
        self.muster = Muster(folder.parent / ".tune" / "muster")
        self.called = 0
        self.handed: dict[str, Assignment] = {}
        self.again: list[Assignment] = []
        self.deaths: Counter[str] = Counter()  # by folder
        self.stopped: dict[str, Outcome] = {}

    @_callback
    def suggest(self, trial_id: str) -> Any:
        if len(self.handed) >= self.slots + (self.ahead if self.called == self.slots else 0):
            return None
        if self.again:
            assignment = self.again.pop(0)
        else:
            fresh = self.source.next()
            if fresh is None:
                return self.FINISHED if self.source.done else None
            assignment = fresh
            self.source.started(assignment)
        self.handed[trial_id] = assignment
        if self.called < self.slots:
            self.muster.call(self.called)
            self.called += 1
        return {
            "config": assignment.config.model_dump(),
            "folder": str(self.folder / assignment.folder),
            "test": assignment.phase == "confirm",
            "muster": str(self.muster.folder),
        }

    @_callback
    def on_report(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Hand on what a trial reports; True if the trial should stop."""
        progress = result.get("progress")
        if isinstance(progress, Progress) and trial_id in self.handed:
            self.source.note(progress.seconds, progress.warning)
            outcome = self.source.report(self.handed[trial_id].folder, progress.rows)
            if outcome is not None:
                self.stopped[trial_id] = outcome
        return trial_id in self.stopped

    @_callback
    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        if trial_id not in self.handed:
            return
        assignment = self.handed.pop(trial_id)
        progress = (result or {}).get("progress")
        if trial_id in self.stopped:
            outcome = self.stopped.pop(trial_id)
        elif error or progress is None:
            self.deaths[assignment.folder] += 1
            if self.deaths[assignment.folder] < MAX_DEATHS:
                self.again.append(assignment)
                return
            outcome = Outcome("failed", reason="the worker process died, again and again")
        elif isinstance(progress, Outcome):
            outcome = progress
        elif progress.status == "running":
            return  # Tune is stopping: the trial stays unfinished and goes on next time
        else:
            outcome = Outcome(progress.status, _last(progress), progress.step, progress.reason)
        self.source.end(assignment.folder, outcome)

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its searcher beside its snapshots; there is nothing here to keep."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the search's storage holds it all."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing."""


def _last(progress: Progress) -> dict[str, float]:
    """What a trial is judged by: its last epoch's validation and its test metrics."""
    row = progress.rows[-1][1] if progress.rows and progress.status == "complete" else {}
    return {key: row[key] for key in ("val/loss", "val/accuracy") if key in row} | progress.final


def check(resources: Resources, machine: Machine) -> None:
    """Raises Refused where trials could never start: no GPU for those that want one, nobody at the address."""
    if machine.address is None:
        if resources.gpus and not torch.cuda.is_available():
            raise Refused("resources/gpus", resources.gpus, "this machine has no GPU", "set it to 0, or give --address")
        return
    try:
        _knock(machine.address)
    except OSError as error:
        raise _nobody(machine.address, error) from None


def run(
    source: Source,
    splits: Mapping[str, Splits],
    resources: Resources,
    folder: Path,
    machine: Machine,
    on_ready: Callable[[], None],
) -> None:
    """Run trials from `source` until it is done, or until Ctrl-C. Raises Refused where Ray cannot serve.

    Inside `connected` it uses the Ray that is up.
    """
    on_interrupt = signal.getsignal(signal.SIGINT)
    with connected(splits.values(), [resources], machine):
        on_ready()
        trainable = tune.with_parameters(RayTrial, splits=dict(splits))
        bundle = {"cpu": resources.cpus} | ({"gpu": resources.gpus} if resources.gpus else {})
        scratch = folder.parent / ".tune"
        capacity = _capacity(resources)
        slots = min(machine.slots or capacity, capacity)
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(slots)  # workers start side by side
        shutil.rmtree(scratch, ignore_errors=True)
        searcher = TuneSearcher(source, folder.resolve(), slots, ahead=int(slots == capacity))
        try:
            tune.Tuner(
                tune.with_resources(trainable, bundle),
                tune_config=tune.TuneConfig(
                    search_alg=searcher,
                    num_samples=10**9,
                    reuse_actors=True,
                    trial_dirname_creator=lambda trial: str(trial.trial_id),
                ),
                run_config=tune.RunConfig(
                    name="run", storage_path=str(scratch.resolve()), verbose=0, stop=Halt(searcher),
                    failure_config=tune.FailureConfig(max_failures=0),
                    checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
                ),
            ).fit()  # fmt: skip
        finally:
            signal.signal(signal.SIGINT, on_interrupt)  # Tune leaves its own in place
        shutil.rmtree(scratch, ignore_errors=True)
        if searcher.error is not None:
            raise searcher.error


def _capacity(resources: Resources) -> int:
    """Trials that fit into the Ray that is up."""
    whole = ray.cluster_resources()
    cpus = int(whole.get("CPU", 0) / resources.cpus)
    return max(1, min(cpus, int(whole.get("GPU", 0) / resources.gpus)) if resources.gpus else cpus)


@contextmanager
def connected(images: Iterable[Splits], each: Iterable[Resources], machine: Machine) -> Iterator[None]:
    """Ray, up for all that runs inside: with room for these images, and for trials of each of these resources.

    Where one is up already, that one. Raises Refused where Ray cannot serve.
    """
    if ray.is_initialized():
        yield
        return
    on_termination = signal.getsignal(signal.SIGTERM)
    with ExitStack() as stack:
        if machine.address is None:
            folder = stack.enter_context(private_folder())
            stack.enter_context(private_environment(folder))
            stack.callback(ray.shutdown)
            _start(images, each, machine.slots, folder)
        else:
            stack.callback(ray.shutdown)
            _join(machine.address)
        signal.signal(signal.SIGTERM, on_termination)  # Ray's own, left in place, would abort
        yield


def slots_here(resources: Resources) -> int:
    """Trials that fit on this machine at once."""
    by_cpu = len(os.sched_getaffinity(0)) // resources.cpus
    by_gpu = int(torch.cuda.device_count() / resources.gpus) if resources.gpus else by_cpu
    return max(1, min(by_cpu, by_gpu))


QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": True}


def _join(address: str) -> None:
    """Connect to the Ray at `address`. Raises Refused where there is none."""
    _silence()
    try:
        ray.init(address=address, **QUIET)
    except (OSError, ValueError, RuntimeError) as error:
        raise _nobody(address, error) from None


def _start(images: Iterable[Splits], each: Iterable[Resources], slots: int | None, folder: Path) -> None:
    """Start a Ray of this process that nobody else can reach, its files below `folder`."""
    _silence()
    shared = sum(array.nbytes for s in images for part in (s.train, s.validation, s.test)
                 for array in (part.images, part.labels))  # fmt: skip
    cpus = max((slots or slots_here(resources)) * resources.cpus for resources in each)
    with _loopback():
        ray.init(
            address="local", num_cpus=cpus, include_dashboard=False, _temp_dir=str(folder / "r"),
            object_store_memory=(150 << 20) + 2 * shared, **QUIET,
        )  # fmt: skip


@contextmanager
def _loopback() -> Iterator[None]:
    """Inside, this process takes 127.0.0.1 for the machine's address, and a Ray that it starts binds to that alone.

    Ray has no option for it, but an environment variable, which it read when it was imported.
    """
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def _silence() -> None:
    """Ray's own words stay in its logs: a trial's failure reaches the user by the trial's record."""
    for name in ("ray", "ray.tune", "ray.train", "ray.air"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _nobody(address: str, error: Exception) -> Refused:
    rule = f"no Ray cluster answers there ({first_line(error)})"
    return Refused("--address", address, rule, "start one with `ray start --head`, or leave --address out")


def _knock(address: str) -> None:
    """Raises OSError where nothing listens; Ray itself would try for minutes."""
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS") or find_bootstrap_address(None) or ""
        if not address:
            raise OSError("none was started on this machine")
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=10).close()
