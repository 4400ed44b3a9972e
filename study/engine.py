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
import tempfile
import time
import traceback
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import cache
from itertools import pairwise
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
from ray.exceptions import AuthenticationError
from ray.util import placement_group, remove_placement_group
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from study.head import Head
from study.heads import running
from study.last_words import kept, summary
from study.machine import Machine, slots_here
from study.node import Facts, look, strange
from study.outcome import Outcome
from study.plan import Assignment, data_key
from study.private_ray import private_environment, private_folder
from study.room import Node, room, short
from study.spec import Resources
from study.text import duration, first_line
from study.watch import Watch
from study.watch import seconds as silence
from trainables.checkpoint import CheckpointedTrial, Progress
from trainables.config import TrialConfig
from trainables.data import Splits
from trainables.errors import Refused

REPORT_SECONDS = 0.5  # A trial reports no more often than this, for each report costs milliseconds.
MUSTER_SECONDS = 15.0  # The first workers wait for one another, but no longer.
LOOK_SECONDS = 1.0  # between two looks for trials that are silent
GROW_SECONDS = 600.0  # for an autoscaler to bring the first machine on which a trial fits
ANSWER_SECONDS = 60.0  # for the machines of a cluster to say what they have; who has not is believed
LOST_HERE = "it was killed, or memory was short: the same command starts another and goes on"
LOST_THERE = "start it again (`ray start --head`) with its nodes: then the same command goes on"
MAX_DEATHS = 4  # A trial whose worker has died so often in one run has failed.


class Source(Protocol):
    """Where the engine's trials come from, and where what they report goes."""

    @property
    def done(self) -> bool: ...
    def next(self) -> Assignment | None: ...
    def started(self, assignment: Assignment) -> None: ...
    def report(self, folder: str, rows: list[tuple[int, dict[str, float]]]) -> Outcome | None: ...
    def note(self, seconds: float, warning: str | None) -> None: ...
    def placed(self, folder: str, host: str, device: str) -> None: ...
    def say(self, text: str) -> None: ...
    def end(self, folder: str, outcome: Outcome) -> None: ...


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

    def present(self) -> str | None:
        """This one has come. What went wrong if it cannot say so: its machine cannot write in the study's directory."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / f"present-{uuid.uuid4().hex}").touch()
        except OSError as error:
            place = f"{socket.gethostname()} cannot write in {self.folder.parent.parent} ({error.strerror})"
            return f"{place}: trials there run without checkpoints; give a --dir that every machine can write"
        return None

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

    The first one only says that the worker is at work, and where: should it hang, that is known. The actor is reused,
    so a new trial costs milliseconds.
    """

    def setup(self, config: dict[str, Any], splits: Mapping[str, Splits]) -> None:
        self.splits = splits
        self.muster = Muster(Path(config["muster"]))
        self.unwritable = self.muster.present()
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.request = new_config
        self.trial: CheckpointedTrial | None = None
        self.begun = False
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return True

    def step(self) -> dict[str, Any]:
        if not self.begun:
            self.begun = True
            begun = Progress("running", [], warning=self.unwritable)
            return {"progress": begun, "epochs": (), "device": self._device(), "done": False}
        clock = [time.monotonic()]
        try:
            progress: Progress | Outcome = self._advance()
            clock.append(time.monotonic())
            while progress.status == "running" and clock[-1] - clock[0] < REPORT_SECONDS:
                progress = progress.then(self._advance())
                clock.append(time.monotonic())
        except Exception:  # whatever it is belongs into this trial's record, not into the whole study's end
            progress = Outcome("failed", reason=traceback.format_exc(limit=-6))
        epochs = tuple(later - sooner for sooner, later in pairwise(clock))  # seconds of each
        self.muster.wait()
        done = progress.status != "running"
        return {"progress": progress, "epochs": epochs, "device": self._device(), "done": done}

    def _device(self) -> str:
        """What the trial runs on, as its tag says."""
        on_gpu = self.request["config"]["device"] != "cpu" and torch.cuda.is_available()
        return torch.cuda.get_device_name() if on_gpu else "cpu"

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


class Watchman(tune.Callback):  # type: ignore[misc]
    """Lets the searcher look at Tune's trials at each of its rounds, and know which worker reports from where."""

    def __init__(self, searcher: TuneSearcher) -> None:
        self.searcher = searcher

    def on_step_begin(self, iteration: int, trials: list[tune.experiment.Trial], **info: Any) -> None:  # noqa: ARG002
        self.searcher.look(trials)

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any) -> None:  # noqa: ARG002
        self.searcher.places[str(trial.temporary_state.ray_actor)] = _place(result)


class TuneSearcher(tune.search.Searcher):  # type: ignore[misc]
    """Tune's view of the source. Tune's trial ids live only here.

    A trial whose worker died is handed out once more from here: Tune's own retries give up at once where a trial was
    about to take over a worker that has died unnoticed.
    """

    error: Exception | None = None  # the first one in a callback; also of the copy that Tune pickles and reads back

    def __init__(
        self, source: Source, folder: Path, slots: int, ahead: int = 0, check: Callable[[], None] = lambda: None
    ) -> None:
        """`slots` trials run at once, and `ahead` more are handed out. Once `check` raises, the run ends so."""
        super().__init__()
        self.check = check
        self.source, self.folder, self.slots, self.ahead = source, folder, slots, ahead
        self.muster = Muster(folder.parent / ".tune" / "muster")
        self.called = 0
        self.handed: dict[str, Assignment] = {}
        self.again: list[Assignment] = []
        self.deaths: Counter[str] = Counter()  # by folder
        self.stopped: dict[str, Outcome] = {}
        self.watch = Watch(source.say)
        self.looked = 0.0
        self.places: dict[str, str] = {}  # by worker
        self.trials: dict[str, tune.experiment.Trial] = {}  # Tune's own, of those handed out
        self.known = 0  # so many of Tune's were seen

    @_callback
    def look(self, trials: list[tune.experiment.Trial]) -> None:
        """Kill the workers that have been silent for too long: Tune then hears of their deaths."""
        self.check()
        self.trials |= {trial.trial_id: trial for trial in trials[self.known :] if trial.trial_id in self.handed}
        self.known = len(trials)
        if time.monotonic() - self.looked < LOOK_SECONDS:
            return
        self.looked = time.monotonic()
        workers = {}
        for trial_id, trial in self.trials.items():
            if (worker := trial.temporary_state.ray_actor) is not None:
                assignment = self.handed[trial_id]
                workers[assignment.folder] = worker
                place = self.places.get(str(worker), "a worker that has not said where it is")
                self.watch.begin(assignment.folder, assignment.cell.name, place)
        self.watch.missing(max(0, min(self.slots, len(self.handed)) - len(workers)), self.slots)
        for folder in self.watch.overdue():
            if folder in workers:
                ray.kill(workers[folder])

    @_callback
    def suggest(self, trial_id: str) -> Any:
        if len(self.handed) >= self.slots + (self.ahead if self.called == self.slots else 0):
            return None
        if self.again:
            assignment = self.again.pop(0)
        else:
            fresh = self.source.next()
            if fresh is None:
                # Not before the last has ended: its worker may die, and Tune asks for no trial after this word.
                return self.FINISHED if self.source.done and not self.handed else None
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
        if trial_id in self.handed:
            folder = self.handed[trial_id].folder
            self.watch.begin(folder, self.handed[trial_id].cell.name, _place(result))  # it may end before any look
            self.watch.heard(folder, _place(result), result.get("epochs", ()))
            self.source.placed(folder, str(result.get("hostname", "")), str(result.get("device", "")))
            if isinstance(progress, Progress):
                self.source.note(progress.seconds, progress.warning)
                outcome = self.source.report(folder, progress.rows) if progress.rows else None
                if outcome is not None:
                    self.stopped[trial_id] = outcome
        return trial_id in self.stopped

    @_callback
    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        if trial_id not in self.handed:
            return
        assignment = self.handed.pop(trial_id)
        self.watch.end(assignment.folder)
        tune_trial = self.trials.pop(trial_id, None)
        progress = (result or {}).get("progress")
        if trial_id in self.stopped:
            outcome = self.stopped.pop(trial_id)
        elif error or progress is None:
            said = _noted(tune_trial)
            self.deaths[assignment.folder] += 1
            if self.deaths[assignment.folder] < MAX_DEATHS:
                self.source.note(0.0, f"a worker died ({summary(said)}); its trial is handed out again")
                self.again.append(assignment)
                return
            reason = f"{kept(said)}\nthe worker process died {MAX_DEATHS} times, at last with: {summary(said)}"
            outcome = Outcome("failed", reason=reason.strip())
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


def _noted(trial: tune.experiment.Trial | None) -> str:
    """What Ray knows of the death of the trial's worker, as Tune has just noted it; empty where it has not."""
    try:
        noted = Path(trial.error_file).read_text() if trial is not None and trial.error_file else ""
    except OSError:
        return ""
    return noted.rpartition("Failure # ")[2].partition("\n")[2]


def _place(result: Mapping[str, Any]) -> str:
    """Where a report comes from, for people."""
    return f"process {result.get('pid', '?')} of {result.get('hostname', 'some node')} ({result.get('node_ip', '?')})"


def _last(progress: Progress) -> dict[str, float]:
    """What a trial is judged by: its last epoch's validation and its test metrics."""
    row = progress.rows[-1][1] if progress.rows and progress.status == "complete" else {}
    return {key: row[key] for key in ("val/loss", "val/accuracy") if key in row} | progress.final


def check(resources: Resources, machine: Machine, folder: Path | None = None) -> None:
    """Raises Refused where trials could never start: more is wanted than machines have, nobody is at the address.

    `folder`: the study's. A machine of a cluster that does not see it, or has another version of this package, is
    refused too.
    """
    silence()  # read later, refused now
    if machine.address is None:
        if resources.gpus and not torch.cuda.is_available():
            raise Refused("resources/gpus", resources.gpus, "this machine has no GPU", "set it to 0, or give --address")
        here = Node("this machine", len(os.sched_getaffinity(0)), torch.cuda.device_count())
        if machine.slots is not None:  # who states them may want more trials than cores
            here = replace(here, cpus=max(here.cpus, machine.slots * resources.cpus))
        share = "; --slots 1 lets a trial share the cores" if resources.gpus <= here.gpus else ""
        refused = short(resources, [here], f"lower it, or give --address{share}")
    else:
        nodes = _nodes() if ray.is_initialized() else _nodes_at(machine.address)
        refused = None if _may_grow() else short(resources, nodes, "lower it, or let such a machine join the cluster")
        refused = refused or (_strange(machine.address, folder.resolve()) if folder else None)
    if refused is not None:
        raise refused


@cache
def _strange(address: str, folder: Path) -> Refused | None:
    """What refuses the first machine of the cluster that could not run a study in this folder as this one does."""
    there = next(place for place in (folder, *folder.parents) if place.is_dir())
    marker = there / f".study-{uuid.uuid4().hex}"
    try:
        marker.touch()
    except OSError:
        return None  # whoever owns the folder tells
    try:
        with connected((), (), Machine(address=address)):
            answers = _answers(str(marker))
        here = look(str(marker))
    finally:
        marker.unlink(missing_ok=True)
    refusals = (strange(name, answer, here, str(folder)) for name, answer in answers)
    return next((each for each in refusals if each is not None), None)


def _answers(marker: str) -> list[tuple[str, Facts | str]]:
    """What each machine with processors has, by its name, of those that answer in time."""
    task = ray.remote(num_cpus=0, max_retries=0)(look)
    asked = {}
    for node in ray.nodes():
        if node["Alive"] and node["Resources"].get("CPU"):
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            asked[task.options(scheduling_strategy=there).remote(marker)] = node["NodeManagerHostname"]
    ready, _ = ray.wait(list(asked), num_returns=len(asked), timeout=ANSWER_SECONDS) if asked else ([], [])
    return [(asked[each], _answer(each)) for each in ready]


def _answer(task: ray.ObjectRef[Facts]) -> Facts | str:
    """What a machine has, or why it could not say."""
    try:
        facts: Facts = ray.get(task)
        return facts
    except Exception as error:  # whatever happened there
        return summary(str(error))


def run(
    source: Source,
    splits: Mapping[str, Splits],
    resources: Resources,
    folder: Path,
    machine: Machine,
    on_ready: Callable[[int], None],
) -> None:
    """Run trials from `source` until it is done, or until Ctrl-C. Raises Refused where Ray cannot serve.

    Inside `connected` it uses the Ray that is up. `on_ready` is told how many trials run at once.
    """
    on_interrupt = signal.getsignal(signal.SIGINT)
    with connected(splits.values(), [resources], machine):
        trainable = tune.with_parameters(RayTrial, splits=dict(splits))
        scratch = folder.parent / ".tune"
        capacity = _capacity(resources, source.say)
        slots = min(machine.slots or capacity, capacity)
        on_ready(slots)
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(slots)  # workers start side by side
        shutil.rmtree(scratch, ignore_errors=True)
        head = Head(ray.get_runtime_context().gcs_address, LOST_THERE if machine.address else LOST_HERE, source.say)
        searcher = TuneSearcher(source, folder.resolve(), slots, int(slots == capacity), head.check)
        try:
            with head.watched():
                tune.Tuner(
                    tune.with_resources(trainable, _bundle(resources)),
                    tune_config=tune.TuneConfig(
                        search_alg=searcher,
                        num_samples=10**9,
                        reuse_actors=True,
                        trial_dirname_creator=lambda trial: str(trial.trial_id),
                    ),
                    run_config=tune.RunConfig(
                        name="run", storage_path=str(scratch.resolve()), verbose=0, stop=Halt(searcher),
                        callbacks=[Watchman(searcher)],
                        failure_config=tune.FailureConfig(max_failures=0),
                        checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
                    ),
                ).fit()  # fmt: skip
        except Exception:
            head.check()  # whose loss may have led to it
            raise
        finally:
            signal.signal(signal.SIGINT, on_interrupt)  # Tune leaves its own in place
        shutil.rmtree(scratch, ignore_errors=True)
        if searcher.error is not None:
            raise searcher.error


def _nodes() -> list[Node]:
    """The machines of the Ray that is up."""
    alive = [node for node in ray.nodes() if node["Alive"]]
    return [
        Node(node["NodeManagerHostname"], node["Resources"].get("CPU", 0.0), node["Resources"].get("GPU", 0.0))
        for node in alive
    ]


@cache
def _nodes_at(address: str) -> list[Node]:
    """The machines of the cluster at `address`, as it first answers. Raises Refused where there is none."""
    try:
        _knock(address)
    except OSError as error:
        raise _nobody(address, error) from None
    with connected((), (), Machine(address=address)):
        return _nodes()


def _may_grow() -> bool:
    """Whether an autoscaler may bring machines: on the head of a cluster that Ray's launcher or KubeRay made."""
    return Path("~/ray_bootstrap_config.yaml").expanduser().exists() or "KUBERAY_GEN_RAY_START_CMD" in os.environ


def _capacity(resources: Resources, say: Callable[[str], None]) -> int:
    """Trials that fit into the Ray that is up.

    Where an autoscaler may bring a machine for one, that is asked for and waited for. Raises Refused after a while.
    """
    refusal = short(resources, _nodes(), f"none has come in {duration(GROW_SECONDS)}: lower it, or add such a machine")
    if refusal is not None:
        say(f"{refusal.rule}; waiting {duration(GROW_SECONDS)} at most for the cluster to grow …")
        wanted = placement_group([_bundle(resources)])
        grown = wanted.wait(GROW_SECONDS)
        remove_placement_group(wanted)
        if not grown:
            raise refusal
    return room(resources, _nodes())


def _bundle(resources: Resources) -> dict[str, float]:
    """What a trial wants, in Ray's words. GPUs are named where it wants some alone."""
    return {"CPU": resources.cpus} | ({"GPU": resources.gpus} if resources.gpus else {})


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


QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": True}


def _join(address: str) -> None:
    """Connect to the Ray at `address`. Raises Refused where there is none, or one that does not know us."""
    _silence()
    with _overheard() as said:
        try:
            ray.init(address=_found(address), **QUIET)
        except AuthenticationError:
            raise _unknown_there(address, "there is none here") from None
        except Refused:
            raise
        except (OSError, ValueError, RuntimeError) as error:
            if "InvalidAuthToken" in said():
                given = "the one here is another" if os.environ.get("RAY_AUTH_MODE") == "token" else "none was sent"
                raise _unknown_there(address, given) from None
            raise _nobody(address, error) from None


@contextmanager
def _overheard() -> Iterator[Callable[[], str]]:
    """What is written to the standard error inside: Ray's core says there, again and again, why it cannot connect."""
    with tempfile.TemporaryFile() as file, ExitStack() as stack:
        with suppress(OSError):  # a standard error that is closed
            kept = os.dup(2)
            stack.callback(os.close, kept)
            os.dup2(file.fileno(), 2)
            stack.callback(os.dup2, kept, 2)
        yield lambda: os.pread(file.fileno(), 1 << 20, 0).decode(errors="replace")


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


def _unknown_there(address: str, given: str) -> Refused:
    place = "copy the head's token to ~/.ray/auth_token or name its file in RAY_AUTH_TOKEN_PATH"
    rule = f"the cluster there asks for a token, and {given}"
    return Refused("--address", address, rule, f"set RAY_AUTH_MODE=token, and {place}")


def _found(address: str) -> str:
    """The address that `auto` stands for. Raises OSError where there is none, Refused where there are several."""
    if address != "auto":
        return address
    here, started = running(), str(find_bootstrap_address(None) or "")
    if stated := os.environ.get("RAY_ADDRESS"):
        return stated
    if started and (started in here or not here):  # by the last `ray start`, or on another machine
        return started
    if len(here) > 1:
        rule = f"several heads run on this machine: {', '.join(here)}"
        raise Refused("--address", address, rule, "name one of them, here or in RAY_ADDRESS")
    if not here:
        raise OSError("none was started on this machine")
    return here[0]


def _knock(address: str) -> None:
    """Raises OSError where nothing listens; Ray itself would try for minutes."""
    host, colon, port = _found(address).rpartition("://")[2].rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=10).close()
