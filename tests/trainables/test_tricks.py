import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.tiny import config, noise_splits
from trainables.errors import Refused
from trainables.train import Trial, batch_size, check_batch_sizes
from trainables.tricks.discard import Discard, discard
from trainables.tricks.first_epoch import FirstEpoch


@given(losses=st.lists(st.floats(0, 100, width=32), min_size=1, max_size=60), p=st.floats(0, 0.99))
def test_discard_drops_the_lowest_and_keeps_the_rest(losses, p):
    losses = torch.tensor(losses)
    keep = discard(losses, p)
    dropped = len(losses) - int(keep.sum())
    assert dropped == int(p * len(losses) + 1e-9) < len(losses)
    if dropped:
        assert losses[~keep].max() <= losses[keep].min()


def test_discard_counts_in_tenths_as_people_do():
    assert int((~discard(torch.arange(10.0), 0.3)).sum()) == 3


def test_discard_breaks_ties_by_position():
    assert discard(torch.zeros(4), 0.5).tolist() == [False, False, True, True]


def test_discard_ends_after_its_epochs():
    trick = Discard(p=0.3, epochs=2)
    assert [trick.selects(epoch) for epoch in (1, 2, 3)] == [True, True, False]
    assert not Discard(p=0, epochs=2).selects(1)


@pytest.mark.parametrize("p", [1.0, 1.5, -0.1])
def test_discarding_everything_is_refused(p):
    with pytest.raises(ValidationError, match="p\n  Input should be"):
        Discard(p=p, epochs=1)


def test_discard_gives_the_mean_gradient_of_the_kept_samples():
    splits = noise_splits(train=20)
    plain = Trial(config(batch_size=20, model={"dropout": 0}, data={"augment": False}), splits)
    tricked = Trial(
        config(
            batch_size=20, model={"dropout": 0}, data={"augment": False}, trick={"discard": {"p": 0.4, "epochs": 1}}
        ),
        splits,
    )
    order = torch.arange(20)
    plain.model.train()
    losses, _ = plain._losses(*plain.train.take(order))
    kept = losses.detach().argsort()[8:]
    losses[kept].mean().backward()
    tricked.model.train()
    tricked._gradient(1, 0, order)
    for expected, got in zip(plain.model.parameters(), tricked.model.parameters(), strict=True):
        torch.testing.assert_close(got.grad, expected.grad, rtol=1e-4, atol=1e-7)
    tricked._gradient(2, 0, order)  # past its epochs
    losses, _ = plain._losses(*plain.train.take(order))
    plain.model.zero_grad()
    losses.mean().backward()
    for expected, got in zip(plain.model.parameters(), tricked.model.parameters(), strict=True):
        torch.testing.assert_close(got.grad, expected.grad, rtol=1e-4, atol=1e-7)


def test_first_epoch_changes_batch_size_and_rate_of_epoch_one_only():
    trial = config(batch_size=64, trick={"first_epoch": {"batch_size": 8, "lr": 0.003}})
    assert [batch_size(trial, epoch, 200) for epoch in (1, 2, 3)] == [8, 64, 64]
    trick = FirstEpoch(batch_size=8, lr=0.003)
    assert [trick.rerate(epoch, 0.5) for epoch in (1, 2)] == [0.003, 0.5]


def test_first_epoch_drives_the_optimizer_and_its_excluded_tensors_alike():
    trial = Trial(
        config(
            optimizer={"name": "lars", "gamma": 0.01, "excluded_lr": 0.5},
            trick={"first_epoch": {"batch_size": 8, "lr": 0.001}},
        ),
        noise_splits(),
    )
    trial._set_rate(1, 0.0, 0.1)
    assert sorted(group["lr"] for group in trial.optimizer.param_groups) == pytest.approx([0.001, 0.05])


def test_tricks_compose():
    trial = Trial(
        config(trick={"first_epoch": {"batch_size": 8, "lr": 0.003}, "discard": {"p": 0.5, "epochs": 3}}),
        noise_splits(),
    )
    trial.run_epoch()
    assert trial.steps == 5
    trial.run_epoch()
    assert trial.steps == 7


def test_a_first_epoch_larger_than_the_training_split_is_refused():
    trial = config(trick={"first_epoch": {"batch_size": 500, "lr": 0.1}})
    with pytest.raises(Refused, match="batch_size = 500: the training split has 40 images; lower the batch size"):
        check_batch_sizes(trial, 40)
