"""The noise scale against its definition."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from tests.tiny import config
from tests.trainables.probes.tiny import Double, measured
from trainables.errors import Refused, explain


def definition(trial: Double) -> float:
    """tr Σ/|G|² over the training images, sample by sample."""
    g = torch.cat([x.flatten(1) for x in trial.gradients(torch.arange(len(trial.train))).values()], dim=1)
    return float(g.var(0, correction=0).sum() / g.mean(0).square().sum())


@pytest.mark.parametrize("micro", [None, 1])
def test_on_the_full_batch_it_is_the_definition(micro: int | None) -> None:
    trial = Double(probe={"noise_scale": {"samples": 40}}, batch_size=40, micro_batch=micro)
    expected = definition(trial)
    assert measured(trial, "noise_scale")["simple"] == pytest.approx(expected, rel=1e-6)


def test_two_batch_sizes_estimate_the_definition_without_bias() -> None:
    """At a rate too small to move, every epoch draws other batches from the same net."""
    changes = {"batch_size": 20, "micro_batch": 5, "optimizer": {"lr": 1e-12}, "epochs": 150}
    trial = Double(probe={"noise_scale": {"steps": 2}}, **changes)
    expected = definition(trial)
    observer = trial.observers["noise_scale"]
    observer.after_epoch, take = dict, observer.after_epoch
    rows = []
    for epoch in range(1, 151):
        trial.train_epoch(epoch)
        rows += observer.rows
    observer.rows = rows
    assert take()["simple"] == pytest.approx(expected, rel=0.15)


def test_samples_that_a_trick_drops_do_not_count() -> None:
    trick = {"discard": {"p": 0.5, "epochs": 1}}
    trial = Double(probe={"noise_scale": {"samples": 40}}, batch_size=40, trick=trick)
    observer = trial.observers["noise_scale"]
    observer.before_epoch(1)
    trial.model.train()
    step = trial.step(1, 0, 1, torch.arange(40))
    trial.gradient(step)
    observer.before_step(step)
    _, inverse_small, _, inverse_whole = observer.rows[0].tolist()
    assert (inverse_small, inverse_whole) == pytest.approx((1, 1 / 20))


def test_a_batch_of_one_is_refused() -> None:
    with pytest.raises(ValidationError) as caught:
        config(probe={"noise_scale": {}}, batch_size=1)
    with pytest.raises(Refused, match="batch_size = 1: noise_scale compares single images with batches; use at least"):
        raise explain(caught.value)
