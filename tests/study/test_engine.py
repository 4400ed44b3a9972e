"""The engine's parts by hand, without Ray."""

from __future__ import annotations

import pickle
from pathlib import Path
from types import SimpleNamespace

import pytest

from study import engine, run
from study.console import PlainConsole
from study.directory import Directory
from study.engine import RayTrial, TuneSearcher
from study.outcome import Outcome
from study.plan import cells, data_key, load_data, search_seed
from study.progress import Display
from study.spec import load
from study.standing import counts
from study.watch import Watch
from study.work import Interrupted
from tests.study.commands import study
from tests.study.compare import same
from trainables.checkpoint import Progress


@pytest.fixture(scope="module")
def plan():
    return cells(load("smoke"))


@pytest.fixture(scope="module")
def splits(plan):
    return load_data(plan)


def request(config, folder, test=True):
    muster = str(folder.parent / "muster")
    return {"config": config.model_dump(), "folder": str(folder), "test": test, "muster": muster}


def drive(trial: RayTrial) -> list:
    reports = [trial.step()]
    while not reports[-1]["done"]:
        reports.append(trial.step())
    return [report["progress"] for report in reports]


def test_an_actor_runs_one_trial_after_another(plan, splits, tmp_path):
    trial = RayTrial.__new__(RayTrial)
    trial.setup(request(plan[0].typical, tmp_path / "a"), splits)
    first = drive(trial)
    assert [epoch for progress in first for epoch, _ in progress.rows] == [1, 2]
    assert trial.reset_config(request(plan[2].typical, tmp_path / "b"))
    second = drive(trial)
    trial.reset_config(request(plan[0].typical, tmp_path / "c"))
    again = drive(trial)
    assert again[-1].final == first[-1].final != second[-1].final


def test_an_exception_becomes_this_trials_failure(plan, tmp_path):
    trial = RayTrial.__new__(RayTrial)
    trial.setup(request(plan[0].typical, tmp_path), {})
    _, outcome = drive(trial)
    assert outcome.status == "failed"
    assert "KeyError" in outcome.reason


class Clock:
    """Stands in for the module `time`: sleeping takes no time and is counted."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_the_first_workers_wait_for_all_that_were_called(tmp_path, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(engine, "time", clock)
    driver, first, second = (engine.Muster(tmp_path / "muster") for _ in range(3))
    driver.call(0)
    driver.call(1)
    first.present()
    first.wait()
    assert engine.MUSTER_SECONDS <= clock.now < engine.MUSTER_SECONDS + 1  # in vain, and not for ever
    second.present()
    clock.now = 0
    second.wait()
    assert clock.now == 0  # both are there
    driver.call(2)
    second.wait()
    assert clock.now == 0  # a worker waits once only


def test_the_searcher_calls_a_worker_a_slot_and_hands_out_one_trial_ahead_of_them(plan, tmp_path):
    source = Source(plan)
    source.todo *= 3
    searcher = TuneSearcher(source, tmp_path / "trials", slots=2, ahead=1)
    given = [searcher.suggest(name) is not None for name in "abcd"]
    assert given == [True, True, True, False]
    assert len(list((tmp_path / ".tune" / "muster").iterdir())) == 2
    whole = TuneSearcher(Source(plan), tmp_path / "trials", slots=1)  # Ray has room for more: none ahead
    assert [whole.suggest(name) is not None for name in "ab"] == [True, False]


class Source:
    """A source of two trials that writes down what it is told."""

    def __init__(self, plan):
        spec = load("smoke")
        self.todo = [cell.typical.model_copy(update={"seed": search_seed(spec, 0)}) for cell in plan[:2]]
        self.plan, self.log, self.warnings, self.reason = plan, [], set(), None
        self.places = {}

    @property
    def done(self):
        return not self.todo

    def next(self):
        from study.plan import Assignment

        return Assignment(self.plan[0], "search", len(self.todo), self.todo.pop()) if self.todo else None

    def started(self, assignment):
        self.log.append(("started", assignment.number))

    def report(self, _folder, rows):
        self.log.append(("report", [epoch for epoch, _ in rows]))

    def note(self, _seconds, warning):
        self.warnings |= {warning} - {None}

    def placed(self, folder, host, device):
        self.places[folder] = host, device

    def say(self, text):
        self.log.append(("say", text))

    def end(self, _folder, outcome):
        self.reason = outcome.reason
        self.log.append(("end", outcome.status, dict(outcome.metrics)))


def test_the_searcher_hands_trials_out_and_their_reports_back(plan, tmp_path):
    source = Source(plan)
    searcher = TuneSearcher(source, tmp_path, slots=1)
    given = searcher.suggest("a")
    assert given["config"]["optimizer"]["name"] == "sgd"
    assert given["test"] is False
    assert searcher.suggest("b") is None  # the one slot is taken
    began = Progress("running", [(1, {"val/accuracy": 0.1})])
    assert not searcher.on_report("a", {"progress": began, "hostname": "node-3", "device": "an H100"})
    (place,) = source.places.values()
    assert place == ("node-3", "an H100")
    last = Progress("complete", [(2, {"val/accuracy": 0.2, "train/loss": 1.0})], {"test/accuracy": 0.3})
    assert not searcher.on_report("a", {"progress": last})
    searcher.on_trial_complete("a", {"progress": last})
    assert searcher.suggest("b") is not None
    searcher.on_trial_complete("b", {"progress": Outcome("failed", reason="its own")})
    assert searcher.suggest("c") == searcher.FINISHED
    assert source.log == [
        ("started", 2), ("report", [1]), ("report", [2]),
        ("end", "complete", {"val/accuracy": 0.2, "test/accuracy": 0.3}),
        ("started", 1), ("end", "failed", {}),
    ]  # fmt: skip


def test_a_trial_whose_worker_died_is_handed_out_again_at_once_but_not_for_ever(plan, tmp_path):
    source = Source(plan)
    searcher = TuneSearcher(source, tmp_path, slots=1)
    first = searcher.suggest("0")
    for death in range(1, engine.MAX_DEATHS):
        searcher.on_trial_complete(str(death - 1), None, error=True)
        assert searcher.suggest(str(death)) == first
    searcher.on_trial_complete(str(engine.MAX_DEATHS - 1), None, error=True)
    assert searcher.suggest("other")["folder"] != first["folder"]
    assert source.log == [("started", 2), ("end", "failed", {}), ("started", 1)]
    assert source.warnings == {"a worker died (nothing is known of it); its trial is handed out again"}
    assert source.reason == "the worker process died 4 times, at last with: nothing is known of it"


def test_a_worker_that_dies_over_the_very_last_trial_costs_no_more_than_another(plan, tmp_path):
    source = Source(plan)
    searcher = TuneSearcher(source, tmp_path, slots=2)
    last = [searcher.suggest(name) for name in "ab"][1]
    assert source.done
    searcher.on_trial_complete("a", {"progress": Outcome("failed", reason="its own")})
    assert searcher.suggest("c") is None  # after FINISHED Tune would ask for no more
    searcher.on_trial_complete("b", None, error=True)
    assert searcher.suggest("d") == last
    searcher.on_trial_complete("d", {"progress": Outcome("failed", reason="its own")})
    assert searcher.suggest("e") == searcher.FINISHED


def test_what_a_worker_said_stands_in_its_trials_reason(plan, tmp_path):
    source = Source(plan)
    searcher = TuneSearcher(source, tmp_path, slots=1)
    for death in range(engine.MAX_DEATHS):
        searcher.suggest(str(death))
        searcher.look([tune_trial(each, tmp_path) for each in map(str, range(death + 1))])
        searcher.on_trial_complete(str(death), None, error=True)
    assert source.warnings == {"a worker died (OSError: no room on node 10.0.0.2); its trial is handed out again"}
    told, heading = source.reason.rsplit("\n", 1)
    assert told == "The actor died (pid=7, ip=10.0.0.2)\nOSError: no room"
    assert heading == "the worker process died 4 times, at last with: OSError: no room on node 10.0.0.2"


def tune_trial(name: str, folder: Path) -> SimpleNamespace:
    """A trial as Tune shows it, whose worker died twice, each death noted in its file."""
    file = folder / f"{name}-error.txt"
    deaths = ["Failure # 1 (at noon)\nsomething else\n", "Failure # 2 (at one)\nThe actor died (pid=7, ip=10.0.0.2)\n"]
    file.write_text("".join(deaths) + "OSError: no room\n")
    return SimpleNamespace(trial_id=name, error_file=str(file), temporary_state=SimpleNamespace(ray_actor=None))


def test_a_worker_that_is_silent_for_too_long_is_killed(plan, tmp_path, monkeypatch):
    monkeypatch.setenv("STUDY_SILENCE", "5")
    monkeypatch.setattr(engine, "LOOK_SECONDS", 0.0)
    clock, killed = Clock(), []
    monkeypatch.setattr(engine.ray, "kill", killed.append)
    source = Source(plan)
    searcher = TuneSearcher(source, tmp_path, slots=2)
    searcher.watch = Watch(source.say, clock.monotonic)
    workers = [tune_trial(name, tmp_path) for name in "ab"]
    for worker in workers:
        searcher.suggest(worker.trial_id)
        worker.temporary_state.ray_actor = f"worker of {worker.trial_id}"
    report = {"progress": Progress("running", [(1, {})]), "epochs": (0.1,), "pid": 7, "hostname": "n", "node_ip": "ip"}
    for worker in workers:
        engine.Watchman(searcher).on_trial_result(0, workers, worker, report)
    for second in range(12):
        engine.Watchman(searcher).on_step_begin(second, workers)
        searcher.on_report("a", report)
        clock.now += 1
    assert killed == ["worker of b"]
    said = [words for kind, *words in source.log if kind == "say"]
    assert any("on process 7 of n (ip) has been silent since " in words[0] for words in said)


def test_a_trial_that_the_source_gives_up_is_stopped_and_ends_so(plan, tmp_path):
    source = Source(plan)
    source.report = lambda _folder, _rows: Outcome("pruned", {"val/accuracy": 0.1}, 1)
    searcher = TuneSearcher(source, tmp_path, slots=2)
    halt = engine.Halt(searcher)
    searcher.suggest("a")
    result = {"progress": Progress("running", [(1, {"val/accuracy": 0.1})])}
    assert halt("a", result)
    assert not halt("b", result)  # none of ours
    searcher.on_trial_complete("a", result)
    assert source.log == [("started", 2), ("end", "pruned", {"val/accuracy": 0.1})]


def test_a_trial_that_tune_stops_stays_unfinished(plan, tmp_path):
    source = Source(plan)
    searcher = TuneSearcher(source, tmp_path, slots=2)
    searcher.suggest("a")
    searcher.on_trial_complete("a", {"progress": Progress("running", [])})
    assert source.log == [("started", 2)]


def test_the_data_key_ignores_what_does_not_change_the_splits(plan):
    config = plan[0].typical
    augmented = config.model_copy(update={"data": config.data.model_copy(update={"augment": True})})
    other = config.model_copy(update={"data": config.data.model_copy(update={"split_seed": 1})})
    assert data_key(config) == data_key(augmented) != data_key(other)


def test_what_stops_the_engine_is_one_message_and_a_log(capsys, tmp_path, monkeypatch):
    def broken(*_):
        raise RuntimeError("first line\nthe disk is full")

    monkeypatch.setattr(engine, "run", broken)
    result = study(capsys, "run", "smoke", "--dir", tmp_path / "s")
    assert result.status == 1
    said = " ".join(result.err.split())
    assert "study: the run stopped: RuntimeError: the disk is full (all of it in" in said
    assert "Traceback" not in said
    assert result.err.endswith("What ended is stored. The same command tries again.\n")
    assert "first line" in (tmp_path / "s" / "error.log").read_text()


def test_an_error_in_a_callback_is_kept_and_ends_the_run(plan, tmp_path):
    source = Source(plan)
    searcher = TuneSearcher(source, tmp_path, slots=2)
    halt = engine.Halt(searcher)
    searcher.suggest("a")
    source.report = None  # what is called next breaks
    assert not halt.stop_all()
    searcher.on_report("a", {"progress": Progress("running", [(1, {})])})
    assert halt.stop_all()
    assert isinstance(searcher.error, TypeError)
    assert searcher.suggest("b") == searcher.FINISHED


def test_the_copy_that_tune_makes_of_the_searcher_knows_of_no_error(plan, tmp_path):
    copy = pickle.loads(pickle.dumps(engine.Halt(TuneSearcher(Source(plan), tmp_path, slots=1))))
    assert not copy.stop_all()


@pytest.mark.faults
def test_a_store_that_breaks_in_the_middle_is_one_message_and_the_study_goes_on_later(
    capsys, smoke, tmp_path, monkeypatch
):
    from study.store import Store

    written = []

    def breaks(self, record, *metrics):
        written.append(metrics)
        if len(written) > 4 + 3:  # past the parameters of the four cells
            raise RuntimeError("database is locked")
        original(self, record, *metrics)

    original = Store._send
    asked = []
    stop_all = engine.Halt.stop_all
    monkeypatch.setattr(engine.Halt, "stop_all", lambda halt: asked.append(stop_all(halt)) or asked[-1])
    monkeypatch.setattr(Store, "_send", breaks)
    result = study(capsys, "run", "smoke", "--dir", tmp_path / "s")
    assert result.status == 1
    assert "the run stopped: RuntimeError: database is locked (all of it in" in " ".join(result.err.split())
    assert asked[-1]  # Tune was told to stop, and did not run what was left
    monkeypatch.setattr(Store, "_send", original)
    assert study(capsys, "run", "smoke", "--dir", tmp_path / "s").status == 0
    same(tmp_path / "s", smoke)


def test_a_store_whose_making_was_cut_off_is_made_again(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "run", lambda *_: None)
    folder = tmp_path / "s"
    folder.mkdir()
    (folder / "store.yaml").write_text("study_id: one\n")
    (folder / "mlflow.db").write_bytes(b"half a database")
    assert study(capsys, "run", "smoke", "--dir", folder).status == 130
    assert run.open_store("smoke", run.Directory(folder), {"study_id": "one"}).identity().study_id == "one"


def test_failed_trials_end_the_study_with_status_1_and_their_reason(capsys, tmp_path, monkeypatch):
    def all_fail(source, *_):
        while (assignment := source.next()) is not None:
            source.started(assignment)
            source.end(assignment.folder, Outcome("failed", reason="Traceback …\nMemoryError: no room"))

    monkeypatch.setattr(engine, "run", all_fail)
    result = study(capsys, "run", "smoke", "--dir", tmp_path / "s")
    assert result.status == 1
    assert "trials failed, first sgd/16/search-0000-" in " ".join(result.err.split())
    assert "MemoryError: no room" in result.err
    assert [count.failed for count in counts(run.Directory(tmp_path / "s")).values()] == [3] * 4


def test_a_run_stopped_while_its_last_trials_run_is_not_at_its_end(tmp_path, monkeypatch):
    """Ctrl-C when everything has been handed out: the next study of a collection must not begin."""

    def stopped(source, *_):
        while (assignment := source.next()) is not None:
            source.started(assignment)

    monkeypatch.setattr(engine, "run", stopped)
    fixed = ["search/trials=0", "arms/sgd/optimizer={lr: 0.1, beta: 0}", "arms/lars/optimizer={gamma: 0.1}"]
    spec = load("smoke", overrides=fixed)
    with pytest.raises(Interrupted):
        run.run(spec, Directory(tmp_path), engine.Machine(), None, Display(PlainConsole(quiet=True), "smoke", 1))
