import math

import pytest
import torch
from torch import nn

from tests.tiny import config, noise_splits
from trainables.checkpoint import CheckpointedTrial
from trainables.config import TrialConfig
from trainables.errors import Refused
from trainables.optimizers import optimizers
from trainables.train import Diverged, Trial, resolve_device


def run(trial: Trial) -> list[dict[str, float]]:
    while not trial.finished:
        trial.run_epoch()
    return [timeless(row) for row in trial.rows]


def timeless(row: dict[str, float]) -> dict[str, float]:
    return {key: value for key, value in row.items() if not key.startswith("time/")}


def state(trial: Trial) -> list[torch.Tensor]:
    return [tensor.clone() for tensor in trial.model.state_dict().values()]


def equal(left: list[torch.Tensor], right: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


OPTIMIZERS = {name: {"name": name, "gamma": 1e-3} for name in optimizers.names()}
OPTIMIZERS["sgd"] = {"name": "sgd", "lr": 0.02}
OPTIMIZERS["cblr"] |= {"interval": 3, "samples": 2}


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
@pytest.mark.parametrize("stop", [1, 2])
def test_a_resumed_trial_equals_an_uninterrupted_one_bit_for_bit(name, stop, tmp_path):
    """With augmentation, dropout, tricks, schedule and momentum all at work."""
    whole = config(
        optimizer=OPTIMIZERS[name],
        schedule={"name": "cosine", "warmup_epochs": 0.5},
        trick={"discard": {"p": 0.3, "epochs": 2}, "first_epoch": {"batch_size": 8, "lr": 1e-3}},
        probe={"guards": {}, "radius": {}},
    )
    splits = noise_splits(train=60)
    through = Trial(whole, splits)
    expected = run(through)
    first = Trial(whole, splits)
    for _ in range(stop):
        first.run_epoch()
    torch.save(first.state_dict(), tmp_path / "state.pt")
    torch.rand(17)  # whatever else drew random numbers in between
    second = Trial(whole, splits)
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert run(second) == expected
    assert equal(state(second), state(through))


def test_training_leaves_the_callers_random_numbers_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    Trial(config(), noise_splits()).run_epoch()
    assert torch.equal(torch.rand(3), expected)


def test_another_seed_gives_another_run():
    splits = noise_splits()
    assert run(Trial(config(seed=1), splits)) != run(Trial(config(seed=2), splits))


@pytest.mark.parametrize("trick", [{}, {"discard": {"p": 0.4, "epochs": 5}}])
@pytest.mark.parametrize("micro", [1, 7, 16, 20])
def test_accumulated_gradients_equal_those_of_the_whole_batch(trick, micro):
    changes = {"model": {"dropout": 0}, "batch_size": 20, "trick": trick}
    whole, parts = (in_double(config(micro_batch=size, **changes)) for size in (None, micro))
    loss_whole, loss_parts = (trial.gradient(trial.step(1, 0, 1, torch.arange(20) * 2))[0] for trial in (whole, parts))
    torch.testing.assert_close(loss_parts, loss_whole, rtol=1e-12, atol=0)
    for a, b in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        torch.testing.assert_close(b.grad, a.grad, rtol=1e-9, atol=1e-12)


def in_double(trial_config: TrialConfig) -> Trial:
    """A trial of the configuration's own net, in float64 and in training mode."""
    torch.manual_seed(0)
    trial = Trial(trial_config, noise_splits(), trial_config.model.build(3).double())
    trial.model.train()
    return trial


def test_a_network_of_ones_own_is_trained_in_its_own_dtype():
    net = nn.Sequential(nn.Flatten(), nn.Linear(3072, 3)).double()
    before = net[1].weight.detach().clone()
    trial = Trial(config(), noise_splits(), net)
    trial.run_epoch()
    assert trial.model is net
    assert net[1].weight.dtype == torch.float64
    assert not torch.equal(net[1].weight, before)
    assert trial.train.take(slice(None))[0].dtype == torch.float64


def test_without_a_gpu_no_step_pays_for_seeding_one(monkeypatch):
    """torch.manual_seed remembers its caller for a GPU that may come: 0.2 ms a call, a step's fifth on a small net."""
    trial = Trial(config(micro_batch=4), noise_splits())
    monkeypatch.setattr(torch, "manual_seed", lambda _: pytest.fail("a step calls torch.manual_seed"))
    trial.run_epoch()


@pytest.mark.parametrize("trick", [{}, {"discard": {"p": 0.4, "epochs": 5}}])
def test_batch_norm_moves_once_a_step_however_many_passes_it_takes(trick):
    changes = {"model": {"name": "resnet18", "width": 0.05}, "data": {"augment": False}, "trick": trick}
    trial = Trial(config(batch_size=20, micro_batch=5, **changes), noise_splits())
    norm = trial.model.bn1
    trial.model.train()
    images, _ = trial.train.take(torch.arange(20))
    parts = trial.model.conv1(images).split(5)
    expected = torch.stack([part.mean((0, 2, 3)) for part in parts]).mean(0) * norm.momentum
    trial.gradient(trial.step(1, 0, 1, torch.arange(20)))
    assert norm.num_batches_tracked == 1
    torch.testing.assert_close(norm.running_mean, expected, rtol=1e-4, atol=1e-6)


def test_the_last_partial_batch_is_dropped():
    trial = Trial(config(batch_size=16), noise_splits(train=40))
    trial.run_epoch()
    assert trial.steps == 2


def test_every_image_is_seen_once_an_epoch():
    trial = Trial(config(batch_size=10), noise_splits(train=40))
    seen = []
    original = trial.train.take
    trial.train.take = lambda index, draws=None: (seen.extend(index.tolist()), original(index, draws))[1]
    trial.train_epoch(1)
    assert sorted(seen) == list(range(40))
    first = list(seen)
    seen.clear()
    trial.train_epoch(2)
    assert seen != first


def test_divergence_names_its_step_and_reason():
    trial = Trial(config(optimizer={"lr": 1e30, "momentum": 0.0, "nesterov": False}), noise_splits())
    with pytest.raises(Diverged, match=r"step [23]: the loss is (nan|inf)") as caught:
        run(trial)
    assert caught.value.step in (2, 3)
    assert trial.rows == []


def test_parameters_spoilt_by_the_last_step_are_found_by_validation_and_by_test():
    for splits_of, call in ((noise_splits, "run_epoch"), (noise_splits, "run_test")):
        trial = Trial(config(batch_size=40, epochs=1), splits_of())
        for group in trial.optimizer.param_groups:
            group["initial_lr"] = math.inf
        if call == "run_test":
            with torch.no_grad():
                next(trial.model.parameters()).fill_(math.nan)
        with pytest.raises(Diverged, match="the loss is nan"):
            getattr(trial, call)()


def test_test_metrics_and_the_train_test_gap():
    trial = Trial(config(), noise_splits())
    run(trial)
    metrics = trial.run_test()
    trial.model.eval()
    accuracy = {}
    for name, batches in (("train", trial.train), ("test", trial.test)):
        images, labels = batches.take(slice(None))
        accuracy[name] = float((trial.model(images).argmax(1) == labels).float().mean())
    loss = nn.functional.cross_entropy(trial.model(images), labels).item()
    assert set(metrics) == {"test/loss", "test/accuracy", "test/chance", "gap/train_test"}
    assert metrics["test/loss"] == pytest.approx(loss, rel=1e-5)
    assert metrics["test/accuracy"] == pytest.approx(accuracy["test"], rel=1e-6)
    assert metrics["gap/train_test"] == pytest.approx(accuracy["train"] - accuracy["test"], rel=1e-5)


def test_metrics_carry_the_contracts_names():
    row = Trial(config(), noise_splits()).run_epoch()
    assert set(row) == {"train/loss", "train/accuracy", "val/loss", "val/accuracy", "time/train_seconds"}


def test_without_a_validation_split_there_are_no_validation_metrics():
    trial_config = config(data={"validation": 0})
    row = Trial(trial_config, trial_config.data.splits()).run_epoch()
    assert set(timeless(row)) == {"train/loss", "train/accuracy"}


def test_schedule_drives_the_excluded_tensors_too():
    trial = Trial(
        config(optimizer={"name": "lars", "gamma": 0.1, "excluded_lr": 1.0}, schedule={"name": "polynomial"}, epochs=2),
        noise_splits(),
    )
    trial.gradient(trial.step(2, 0, 2, torch.arange(20)))
    (group,) = trial.optimizer.param_groups
    assert (group["lr"], trial.optimizer.excluded_rate(group)) == pytest.approx((0.025, 0.25))


def test_bfloat16_trains_close_to_float32():
    splits = noise_splits()
    full, half = (Trial(config(precision=p, epochs=1), splits).run_epoch() for p in ("float32", "bfloat16"))
    assert half["train/loss"] == pytest.approx(full["train/loss"], rel=0.1)
    assert half["train/loss"] != full["train/loss"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_asking_for_a_gpu_where_there_is_none_is_refused():
    assert resolve_device("auto").type == "cpu"
    with pytest.raises(Refused, match="device = 'cuda': torch sees no GPU here; use device: auto or cpu"):
        resolve_device("cuda")


def test_a_batch_larger_than_the_training_split_is_refused():
    with pytest.raises(Refused, match="batch_size = 41: the training split has 40 images"):
        Trial(config(batch_size=41), noise_splits(train=40))


def test_another_trials_state_is_refused():
    state_of_one = Trial(config(seed=1), noise_splits()).state_dict()
    with pytest.raises(Refused, match=r"config_hash = .*: this trial's is .*; give each trial a folder of its own"):
        Trial(config(seed=2), noise_splits()).load_state_dict(state_of_one)


def collect(trial: CheckpointedTrial):
    while True:
        progress = trial.advance()
        yield progress
        if progress.status != "running":
            return


def test_checkpoints_survive_the_process_and_hand_out_earlier_rows_again(tmp_path):
    splits = noise_splits()
    whole: TrialConfig = config(epochs=4)
    through = list(collect(CheckpointedTrial(whole, splits, tmp_path / "a", test=True, every=0)))
    first = CheckpointedTrial(whole, splits, tmp_path / "b", test=True, every=0)
    first.advance(), first.advance()
    (again, *_rest) = second = list(collect(CheckpointedTrial(whole, splits, tmp_path / "b", test=True, every=0)))
    assert [epoch for epoch, _ in again.rows] == [1, 2, 3]
    rows = [(epoch, timeless(row)) for progress in second for epoch, row in progress.rows]
    assert rows == [(epoch, timeless(row)) for progress in through for epoch, row in progress.rows]
    assert second[-1].final == through[-1].final


def test_a_half_written_checkpoint_is_never_read(tmp_path):
    trial = CheckpointedTrial(config(epochs=4), noise_splits(), tmp_path, test=False, every=0)
    trial.advance()
    whole = (tmp_path / "checkpoint.pt").read_bytes()
    (tmp_path / "checkpoint.12345").write_bytes(whole[: len(whole) // 2])  # as a killed process leaves it
    assert CheckpointedTrial(config(epochs=4), noise_splits(), tmp_path, test=False, every=0).trial.epoch == 1


def test_checkpoints_are_no_more_frequent_than_asked(tmp_path):
    trial = CheckpointedTrial(config(epochs=3), noise_splits(), tmp_path, test=False, every=1e9)
    trial.advance()
    assert not list(tmp_path.iterdir())


def test_divergence_is_reported_not_raised(tmp_path):
    wild = config(optimizer={"lr": 1e30, "momentum": 0.0, "nesterov": False})
    *_, last = collect(CheckpointedTrial(wild, noise_splits(), tmp_path, test=True))
    assert (last.status, last.step in (2, 3)) == ("diverged", True)
    assert "the loss is" in last.reason
