"""What a study would cost: counted exactly, timed in passes no larger than the trials' own, and never in their way."""

from __future__ import annotations

import math

import pytest
import torch

from study import cost, engine
from study.cost import Cost, Speed, Timings, Total, costs, total
from study.plan import cells, load_data
from study.spec import Spec, load
from tests.study.commands import study
from trainables.optimizers.sgd import SGDSettings
from trainables.timing import StepTime

FIXED = "{name: sgd, lr: 0.1, momentum: 0.9, beta: 0}"


def planned(*overrides: str) -> tuple[Spec, list, dict]:
    spec = load("smoke", overrides=list(overrides))
    plan = cells(spec)
    return spec, plan, load_data(plan)


def by_cell(*overrides: str) -> dict[str, Cost]:
    spec, plan, data = planned(*overrides)
    return dict(zip([cell.name for cell in plan], costs(spec, plan, data), strict=True))


@pytest.fixture
def timed(monkeypatch) -> list[tuple[str, int, int | None, int, int]]:
    """Each step that is timed: optimizer, images, micro-batch, epoch, period. It is not taken, and lasts n seconds."""
    steps = []

    def time_step(trial, n, epoch, period):
        steps.append((trial.config.optimizer.name, n, trial.config.micro_batch, epoch, period))
        return StepTime(float(n))

    monkeypatch.setattr(cost, "time_step", time_step)
    monkeypatch.setattr(cost, "time_evaluation", lambda _: 0.0)
    monkeypatch.setattr(cost, "ENOUGH_SECONDS", math.inf)
    return steps


@pytest.mark.usefixtures("timed")
def test_costs_count_every_step_of_every_trial():
    found = by_cell(f"arms/small={{optimizer: {FIXED}, trick: {{first_epoch: {{batch_size: 8, lr: 0.1}}}}}}")
    assert (found["sgd/16"].search, found["sgd/16"].confirm) == (3, 2)
    assert found["sgd/16"].steps == 2 * (180 // 16)
    assert found["small/64"].steps == 180 // 8 + 180 // 64
    assert found["small/64"].search == 0
    assert found["small/64"].images == 180 // 8 * 8 + 180 // 64 * 64
    assert found["small/64"].seconds == pytest.approx(found["small/64"].images)  # a second an image


def test_a_real_step_takes_time():
    assert all(cost.seconds > 0 and not cost.failure for cost in by_cell().values())


@pytest.mark.usefixtures("timed")
def test_a_total_adds_trials_or_those_that_are_left():
    spec, plan, data = planned()
    each = costs(spec, plan, data)
    whole = total(each)
    assert whole.trials == 4 * (3 + 2)
    assert whole.steps == 5 * sum(cost.steps for cost in each)
    assert whole.seconds == pytest.approx(5 * sum(cost.seconds for cost in each))
    assert total(each, [1, 0, 0, 0]) == Total(1, each[0].steps, each[0].images, each[0].seconds)
    assert total(each, [0, 0, 0, 0]) == Total()


def test_each_optimizer_is_timed_by_itself_once_and_by_what_is_no_matter_of_degree(timed):
    spec, plan, data = planned(
        f"arms/same={{optimizer: {FIXED}}}",
        "arms/cblr={optimizer: {name: cblr, gamma: 0.1}}",
        "arms/seldom={optimizer: {name: cblr, gamma: 0.1, interval: 1000}}",
    )
    speed = Speed()
    costs(spec, plan, data, speed)
    assert [step[0] for step in timed if step[1] == 64] == ["sgd", "lars", "cblr", "cblr"]
    assert {step[4] for step in timed if step[0] == "cblr"} == {
        10,
        cost.MAX_PERIOD,
    }  # a refresh of the curvature is in it
    assert {step[4] for step in timed if step[0] != "cblr"} == {1}
    before = len(timed)
    costs(spec, plan, data, speed)
    assert len(timed) == before


def test_no_pass_is_larger_than_the_trials_own(timed):
    by_cell("batch_sizes=[16, 160]", "baseline/batch_size=16")
    assert {step[1] for step in timed} == {8, 32, 128, 160}
    timed.clear()
    by_cell("base/micro_batch=16", "batch_sizes=[16, 160]", "baseline/batch_size=16")
    assert {step[1:3] for step in timed} == {(8, 16), (16, 16), (32, 16), (64, 16)}
    timed.clear()
    by_cell("batch_sizes=[4]", "baseline/batch_size=4")
    assert {step[1] for step in timed} == {4}


def test_the_extra_passes_of_a_trick_count_in_its_epochs(timed):
    words = f"arms/drop={{optimizer: {FIXED}, trick: {{discard: {{p: 0.3, epochs: 1}}}}, micro_batch: 8}}"
    by_cell(words)
    assert {step[3] for step in timed if step[2] == 8} == {1, 2}  # with the ranking pass, and without


def test_a_ranking_pass_costs_time():
    """A micro-batched step that ranks its batch first runs every image forward twice."""
    forwards = []
    hook = torch.nn.modules.module.register_module_forward_hook(
        lambda module, images, _: forwards.append(len(images[0])) if type(module).__name__ == "AlexNet" else None
    )
    try:
        _, plan, data = planned(
            f"arms/drop={{optimizer: {FIXED}, trick: {{discard: {{p: 0.3, epochs: 1}}}}, micro_batch: 8}}"
        )
        drop = next(cell for cell in plan if cell.name == "drop/16").typical
        trial = cost.Trial(drop, next(iter(data.values())))
        cost.time_step(trial, 16, 1)
        ranked = len(forwards)
        cost.time_step(trial, 16, 2)
    finally:
        hook.remove()
    assert set(forwards) == {8}
    assert ranked == 2 * (len(forwards) - ranked)


class Broken(torch.optim.SGD):
    """An optimizer of a plug-in that fails at its first step."""

    def step(self, closure=None):  # noqa: ARG002
        raise RuntimeError("[/kernel] out of luck")


def test_an_optimizer_that_fails_when_timed_stops_neither_check_nor_run(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(SGDSettings, "build", lambda _, params: Broken(params, lr=0.1))
    reached = []
    monkeypatch.setattr(engine, "run", lambda *_: reached.append(True))
    words = "how long they take is unknown (sgd: RuntimeError: [/kernel] out of luck)"
    checked = study(capsys, "check", "smoke")
    assert checked.status == 0
    assert f"20 trials, 260 training steps, 6,080 images; {words}" in checked.out
    ran = study(capsys, "run", "smoke", "--dir", tmp_path / "s")
    assert reached == [True]
    assert "smoke: how long it takes is unknown (sgd: RuntimeError: [/kernel] out of luck)" in ran.out


def test_what_cannot_be_timed_leaves_the_counts(monkeypatch):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(cost, "time_step", fail)
    threads = torch.get_num_threads()
    found = by_cell()["sgd/16"]
    assert (found.steps, found.failure) == (2 * (180 // 16), "sgd: MemoryError: MemoryError")
    assert math.isnan(found.seconds)
    assert torch.get_num_threads() == threads


def test_probes_and_evaluation_are_priced(monkeypatch):
    """An epoch's first step takes 10 s more, evaluating an image 1 s: 36 validate, and 180 + 45 end a confirm trial."""
    monkeypatch.setattr(cost, "time_step", lambda *_: StepTime(0.0, 10.0))
    monkeypatch.setattr(cost, "time_evaluation", lambda _: 1.0)
    spec, plan, data = planned(f"arms/fixed={{optimizer: {FIXED}}}")
    (splits,) = data.values()
    found = dict(zip([cell.name for cell in plan], costs(spec, plan, data), strict=True))
    end = len(splits.test) + len(splits.train)
    assert found["fixed/16"].seconds == 2 * (10 + len(splits.validation)) + end
    assert found["sgd/16"].seconds == 2 * (10 + len(splits.validation)) + 2 / 5 * end  # 3 of 5 only search


def test_a_probe_that_cannot_measure_the_smallest_steps_leaves_an_estimate():
    """The gradient's law wants several micro-batches."""
    found = by_cell(
        "base/probe={gradient_law: {}}", "base/micro_batch=16", "batch_sizes=[160]", "baseline/batch_size=160"
    )
    assert all(cost.seconds > 0 and not cost.failure for cost in found.values())


def test_a_probe_that_looks_at_the_first_step_costs_time_there():
    _, plan, data = planned("base/probe={curvature_radius: {draws: 8}}")
    (splits,) = data.values()
    trial = cost.Trial(plan[0].typical, splits)
    with_probe = cost.time_step(trial, 16)
    assert with_probe.first > 2 * with_probe.seconds  # some thirty passes in place of one
    bare = cost.Trial(plan[0].typical.model_copy(update={"probe": {}}), splits)
    assert cost.time_step(bare, 16).first == 0
    assert cost.time_evaluation(bare) > 0


def test_times_of_other_sizes_lie_on_the_line_through_those_measured():
    timings = Timings({8: 1.8, 32: 4.2}, 32)  # 1 + 0.1 n
    assert timings.step(4) == 1.8
    assert timings.step(8) == 1.8
    assert timings.step(16) == pytest.approx(2.6)
    assert timings.step(132) == pytest.approx(14.2)
    assert Timings({8: 1.0}, 8).step(16) == 2.0
    assert Timings({8: 2.0, 32: 1.0}, 32).step(64) == 2.0  # noise makes no step free
    assert math.isnan(Timings({}, 8, "failed").step(8))
