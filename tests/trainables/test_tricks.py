import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.tiny import config, noise_splits, step
from trainables.errors import Refused
from trainables.train import Trial, batch_size, check_batch_sizes
from trainables.tricks import tricks
from trainables.tricks.discard import Discard, discard
from trainables.tricks.discard_gradients import DiscardGradients, smallest
from trainables.tricks.first_epoch import FirstEpoch
from trainables.tricks.grow import Grow
from trainables.tricks.noise import Noise
from trainables.tricks.sharpen import Sharpen


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
    tricked.gradient(tricked.step(1, 0, 1, order))
    for expected, got in zip(plain.model.parameters(), tricked.model.parameters(), strict=True):
        torch.testing.assert_close(got.grad, expected.grad, rtol=1e-4, atol=1e-7)
    tricked.gradient(tricked.step(2, 0, 1, order))  # past its epochs
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
    trial.gradient(trial.step(1, 0, 5, torch.arange(8)))
    (group,) = trial.optimizer.param_groups
    assert (group["lr"], trial.optimizer.excluded_rate(group)) == pytest.approx((0.001, 0.05))


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


def test_the_batch_grows_every_so_many_epochs_up_to_the_whole_split():
    trick = Grow(factor=2, every=3)
    assert [trick.resize(epoch, 10, 50) for epoch in range(1, 11)] == [10] * 3 + [20] * 3 + [40] * 3 + [50]
    assert trick.resize(10**6, 10, 50) == 50
    assert Grow(factor=1.5, every=1).resize(3, 7, 1000) == round(7 * 1.5**2)
    trial = config(batch_size=8, epochs=7, trick={"grow": {"factor": 2, "every": 2}})
    check_batch_sizes(trial, 40)
    with pytest.raises(Refused, match="batch_size = 41: the training split has 40 images"):
        check_batch_sizes(config(batch_size=41, trick={"grow": {"factor": 2, "every": 2}}), 40)
    run = Trial(config(batch_size=8, epochs=3, trick={"grow": {"factor": 2, "every": 1}}), noise_splits(train=40))
    steps = [(run.run_epoch(), run.steps)[1] for _ in range(3)]
    assert steps == [5, 7, 8]


@pytest.mark.parametrize("factor", [1.0, 0.5, -2])
def test_a_batch_that_does_not_grow_is_refused(factor):
    with pytest.raises(ValidationError, match="factor\n  Input should be greater than 1"):
        Grow(factor=factor, every=1)


def net():
    torch.manual_seed(0)
    return torch.nn.Linear(40, 50)


def test_noise_is_relative_to_the_tensors_size_and_spares_biases():
    layer, trick = net(), Noise(sigma=0.1, epochs=2)
    before, optimizer = [p.detach().clone() for p in layer.parameters()], torch.optim.SGD(layer.parameters(), 0.1)
    trick.after_step(step(2), optimizer, seed=5)
    moved = layer.weight.detach() - before[0]
    expected = torch.randn(50, 40, generator=torch.Generator().manual_seed(5)) * 0.1 * before[0].square().mean().sqrt()
    torch.testing.assert_close(moved, expected, rtol=1e-4, atol=1e-7)
    assert float(moved.std()) == pytest.approx(0.1 * float(before[0].square().mean().sqrt()), rel=0.1)
    assert torch.equal(layer.bias, before[1])
    after = layer.weight.detach().clone()
    trick.after_step(step(3), optimizer, seed=5)  # past its epochs
    assert torch.equal(layer.weight, after)


def test_noise_differs_by_step_and_by_seed():
    moved = []
    for seed in (5, 5, 6):
        layer = net()
        Noise(sigma=0.1, epochs=1).after_step(step(1), torch.optim.SGD(layer.parameters(), 0.1), seed)
        moved.append(layer.weight.detach())
    assert torch.equal(moved[0], moved[1])
    assert not torch.equal(moved[0], moved[2])


def test_the_gradients_small_values_are_dropped_tensor_by_tensor():
    layer, trick = net(), DiscardGradients(p=0.3, epochs=1)
    optimizer = torch.optim.SGD(layer.parameters(), 0.1)
    for p in layer.parameters():
        p.grad = torch.randn_like(p)
    before = [p.grad.clone() for p in layer.parameters()]
    trick.before_step(step(2), optimizer)  # past its epochs
    assert torch.equal(layer.weight.grad, before[0])
    trick.before_step(step(1), optimizer)
    for p, old in zip(layer.parameters(), before, strict=True):
        dropped = p.grad == 0
        assert int(dropped.sum()) == int(0.3 * p.numel())
        assert old[dropped].abs().max() <= old[~dropped].abs().min()
        assert torch.equal(p.grad[~dropped], old[~dropped])


def test_dropping_counts_in_tenths_as_people_do():
    assert sorted(smallest(torch.tensor([5.0, -1, 4, 2, -3, 6, 7, 8, 9, 10]), 0.3).tolist()) == [1, 3, 4]


def test_a_sharper_loss_is_the_cross_entropy_of_larger_logits():
    splits = noise_splits(train=20)
    trial = Trial(
        config(
            batch_size=20, model={"dropout": 0}, data={"augment": False}, trick={"sharpen": {"factor": 3, "epochs": 1}}
        ),
        splits,
    )
    trial.model.train()
    order = torch.arange(20)
    images, labels = trial.train.take(order)
    for epoch, factor in ((1, 3), (2, 1)):
        logits = factor * trial.model(images)
        expected = torch.autograd.grad(
            torch.nn.functional.cross_entropy(logits, labels), list(trial.model.parameters())
        )
        trial.gradient(trial.step(epoch, 0, 1, order))
        for p, g in zip(trial.model.parameters(), expected, strict=True):
            torch.testing.assert_close(p.grad, g, rtol=1e-4, atol=1e-7)
    plain, _ = trial.evaluate(trial.train)
    assert plain == pytest.approx(torch.nn.functional.cross_entropy(trial.model(images), labels).item(), rel=1e-5)
    assert Sharpen(factor=2, epochs=1).relogit(step(2), labels) is labels


ALL = {
    "grow": {"factor": 2, "every": 1},
    "noise": {"sigma": 0.01, "epochs": 2},
    "discard_gradients": {"p": 0.4, "epochs": 2},
    "sharpen": {"factor": 2, "epochs": 2},
    "discard": {"p": 0.3, "epochs": 2},
    "first_epoch": {"batch_size": 5, "lr": 1e-3},
}


def rows(trial):
    while not trial.finished:
        trial.run_epoch()
    return [{key: x for key, x in row.items() if not key.startswith("time/")} for row in trial.rows]


@pytest.mark.parametrize("names", [*([name] for name in ALL), list(ALL)], ids=lambda names: "+".join(names))
def test_a_trial_with_tricks_resumes_bit_for_bit_and_they_matter(names):
    assert set(ALL) == set(tricks.names())
    whole = config(batch_size=10, micro_batch=4, trick={name: ALL[name] for name in names})
    through, first, second = (Trial(whole, noise_splits()) for _ in range(3))
    expected = rows(through)
    first.run_epoch()
    torch.rand(7)
    second.load_state_dict(first.state_dict())
    assert rows(second) == expected
    for a, b in zip(through.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(a, b)
    assert rows(Trial(config(batch_size=10, micro_batch=4), noise_splits())) != expected
