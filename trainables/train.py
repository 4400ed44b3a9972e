"""The one training loop. ARCHITECTURE.md shows it as pseudocode, with every hook in its place."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainables.batch_norm import BatchNormStatistics
from trainables.config import TrialConfig
from trainables.data import Splits
from trainables.data.batches import Batches, Draws, layout, normalisation
from trainables.errors import Refused
from trainables.optimizers.protocols import RunsBackward, name_parameters
from trainables.probes import Hooks
from trainables.seeds import derive, generator, reseed
from trainables.step import Part, Step

EVALUATION_BATCH = 500
METRICS = (
    "train/loss",
    "train/accuracy",
    "time/train_seconds",
    "val/loss",
    "val/accuracy",
)  # of an epoch, beside probes
CHECK_EVERY = {"cpu": 1, "cuda": 20}  # steps between checks that the loss is finite: each makes the host wait for a GPU


class Diverged(Exception):
    """The loss stopped being finite at `step` (counted from 1 over the whole trial)."""

    def __init__(self, step: int, reason: str) -> None:
        self.step, self.reason = step, reason
        super().__init__(f"step {step}: {reason}")


def resolve_device(name: str) -> torch.device:
    """`auto` is a GPU where there is one. Raises Refused for `cuda` where there is none."""
    if name == "cuda" and not torch.cuda.is_available():
        raise Refused("device", name, "torch sees no GPU here", "use device: auto or cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def batch_size(config: TrialConfig, epoch: int, images: int) -> int:
    """n in `epoch` (from 1), after the tricks, with a training split of `images` images."""
    n = config.batch_size
    for trick in config.trick.values():
        n = trick.resize(epoch, n, images)
    return n


def check_batch_sizes(config: TrialConfig, images: int) -> None:
    """Raises Refused when some epoch's batch is larger than the training split of `images` images."""
    epochs = config.epochs if config.trick else 1  # without a trick all are alike
    largest = max(batch_size(config, epoch, images) for epoch in range(1, epochs + 1))
    if largest > images:
        raise Refused(
            "batch_size", largest, f"the training split has {images} images",
            "lower the batch size, raise data/train_size, or lower data/validation",
        )  # fmt: skip


Backward = Callable[[Tensor, Tensor, Tensor], None]  # is given a loss, its logits (n, classes) and its weights (n,)


def plain_backward(loss: Tensor, logits: Tensor, weights: Tensor) -> None:  # noqa: ARG001
    """Adds the gradient of `loss` to `p.grad`."""
    torch.autograd.backward(loss)


class Trial:
    """One training run, advanced an epoch at a time.

    Order, augmentation and dropout depend on (seed, epoch, step) alone: a trial continued from `state_dict`
    equals one that was never interrupted, bit for bit on CPU.

    Arguments:
        config: what decides every bit of it.
        splits: the images; `config.data.splits()` gives those that the configuration names.
        model: a network of one's own, (n, 3, 32, 32) → (n, classes), in place of the one that `config.model` builds.
            The images take its parameters' dtype.

    Raises Refused for a batch larger than the training split.
    """

    def __init__(self, config: TrialConfig, splits: Splits, model: nn.Module | None = None) -> None:
        check_batch_sizes(config, len(splits.train))
        self.config = config
        self.device = resolve_device(config.device)
        with self.own_randomness():
            torch.manual_seed(derive(config.seed, "initialisation"))
            built = config.model.build(splits.classes) if model is None else model
            self.model = built.to(self.device).to(memory_format=layout(self.device))
            self.optimizer = config.optimizer.build(self.model.parameters())
        name_parameters(self.optimizer, self.model)
        for group in self.optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        # an optimizer that needs curvature runs the backward pass itself
        optimizer = self.optimizer
        self.backward: Backward = optimizer.backward if isinstance(optimizer, RunsBackward) else plain_backward
        mean, std = normalisation(splits.train, config.data.normalisation)
        dtype = next(self.model.parameters()).dtype
        self.train, self.validation, self.test = (
            Batches(split, mean, std, self.device, dtype) for split in (splits.train, splits.validation, splits.test)
        )
        self.statistics = BatchNormStatistics(self.model)
        self.epoch = 0  # how many are completed
        self.steps = 0  # how many are completed, over all epochs
        self.rows: list[dict[str, float]] = []  # each completed epoch's metrics
        self._uniform: dict[int, Tensor] = {}  # by n: the weights of n samples that no trick weighs
        self.observers = {name: probe.start(self) for name, probe in config.probe.items()}
        self.hooks = Hooks(self.observers.values())

    @property
    def finished(self) -> bool:
        """Whether every epoch is completed."""
        return self.epoch == self.config.epochs

    def run_epoch(self) -> dict[str, float]:
        """Train one epoch and evaluate on the validation split; returns the epoch's metrics.

        Raises Diverged when the loss stops being finite.
        """
        started = time.perf_counter()
        with self.own_randomness():
            row = self.train_epoch(self.epoch + 1)
        row["time/train_seconds"] = time.perf_counter() - started
        if len(self.validation):
            row["val/loss"], row["val/accuracy"] = self.evaluate(self.validation)
        self._check([row.get("val/loss", 0.0)])
        self.epoch += 1
        self.rows.append(row)
        return row

    def run_test(self) -> dict[str, float]:
        """Test metrics and the train-test gap, both splits in evaluation mode (the generalization gap).

        Raises Diverged when the last step left parameters that are not finite.
        """
        loss, accuracy = self.evaluate(self.test)
        self._check([loss])
        _, fitted = self.evaluate(self.train)
        return {
            "test/loss": loss,
            "test/accuracy": accuracy,
            "test/chance": self.test.chance(),
            "gap/train_test": fitted - accuracy,
        }

    @torch.no_grad()
    def evaluate(self, batches: Batches, most: int | None = None) -> tuple[float, float]:
        """Mean loss and accuracy over a split (its first `most` images), in evaluation mode, without augmentation."""
        self.model.eval()
        count = min(len(batches), most or len(batches))
        loss, correct = torch.zeros((), device=self.device), torch.zeros((), device=self.device)
        for start in range(0, count, EVALUATION_BATCH):
            images, labels = batches.take(slice(start, min(start + EVALUATION_BATCH, count)))
            losses, logits = self._losses(images, labels)
            loss, correct = loss + losses.sum(), correct + _hits(logits, labels)
        return float(loss) / count, float(correct) / count

    def state_dict(self) -> dict[str, Any]:
        """All that `load_state_dict` needs to go on after the last completed epoch."""
        return {
            "config": self.config.hash(), "epoch": self.epoch, "steps": self.steps, "rows": list(self.rows),
            "model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(),
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises Refused for another trial's state."""
        if state["config"] != self.config.hash():
            raise Refused(
                "config_hash", state["config"], f"this trial's is {self.config.hash()}",
                "give each trial a folder of its own",
            )  # fmt: skip
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch, self.steps, self.rows = state["epoch"], state["steps"], list(state["rows"])

    def train_epoch(self, epoch: int) -> dict[str, float]:
        """Takes the steps of `epoch` (from 1); returns what they and the probes measured.

        Raises Diverged when the loss stops being finite.
        """
        self.model.train()
        n = batch_size(self.config, epoch, len(self.train))
        steps = len(self.train) // n  # the last partial batch is dropped
        order = torch.randperm(len(self.train), generator=self.generator("order", epoch)).to(self.device)
        losses, hits = [], torch.zeros((), device=self.device)
        for hook in self.hooks.before_epoch:
            hook(epoch)
        for number in range(steps):
            step = self.step(epoch, number, steps, order[number * n : (number + 1) * n])
            loss, hit = self.gradient(step)
            self.move(step)
            losses.append(loss)
            hits += hit
            self.steps += 1
            if (number + 1) % CHECK_EVERY[self.device.type] == 0 or number + 1 == steps:
                self._check(torch.stack(losses[-CHECK_EVERY[self.device.type] :]).tolist())
        row = {"train/loss": float(torch.stack(losses).mean()), "train/accuracy": float(hits) / (n * steps)}
        for name, observer in self.observers.items():
            row |= {f"probe/{name}/{key}": value for key, value in observer.after_epoch().items()}
        return row

    def step(self, epoch: int, number: int, steps: int, images: Tensor) -> Step:
        """Step `number` (from 0) of the `steps` in `epoch`, over the training images at `images` (n,).

        This states the step; `gradient` and then `move` take it.
        """
        rate = self._full_rate() * self.config.schedule.at(epoch - 1 + number / steps, 1 / steps, self.config.epochs)
        for trick in self.config.trick.values():
            rate = trick.rerate(epoch, rate)
        draws = None
        if self.config.data.augment:
            draws = Draws.sample(len(images), self.generator("augmentation", epoch, number))
        return Step(epoch, number, rate, images, draws, self.config.micro_batch or len(images))

    def gradient(self, step: Step) -> tuple[Tensor, Tensor]:
        """Leaves the gradient of the batch's weighted mean loss in `p.grad`, and the step's rate in the optimizer.

        Returns the mean loss and the number of hits of all samples, scalars on the device.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * (step.rate / self._full_rate())
        self.optimizer.zero_grad(set_to_none=True)
        ranked = any(trick.selects(step.epoch) for trick in self.config.trick.values())
        weights = None if ranked else self._equal_weights(len(step.images))
        if ranked and len(step.slices) > 1:  # rank the whole batch first; a single part ranks its own losses
            with torch.no_grad(), self.statistics.kept():
                weights = self._weights(step, torch.cat([self._forward(step, rows)[0] for rows in step.slices]))
        total, hits = [], torch.zeros((), device=self.device)
        with self.statistics.moved_once(len(step.slices)) as next_part:
            for rows in step.slices:
                losses, logits, labels = self._forward(step, rows)
                own = self._weights(step, losses.detach()) if weights is None else weights[rows]
                self._backward(Part(step, (losses * own).sum(), logits, own))
                next_part()
                total.append(losses.detach().sum())
                hits += _hits(logits, labels)
        return torch.stack(total).sum() / len(step.images), hits

    def move(self, step: Step) -> None:
        """Moves the parameters: probes see the gradient and the optimizer's step, tricks come next to it."""
        for hook in self.hooks.before_step:
            hook(step)
        for trick in self.config.trick.values():
            trick.before_step(step, self.optimizer)
        self.optimizer.step()
        for hook in self.hooks.after_step:
            hook(step)
        for name, trick in self.config.trick.items():
            trick.after_step(step, self.optimizer, derive(self.config.seed, name, step.epoch, step.number))

    def losses(self, step: Step, rows: Tensor) -> Tensor:
        """Losses (k,) of the step's images at `rows` (k,), in a pass of their own.

        As the step's own pass but for dropout's mask; batch norm's statistics stay.
        """
        draws = step.draws and Draws(*(draw[rows.cpu()] for draw in step.draws))
        with self.statistics.kept():
            return self._losses(*self.train.take(step.images[rows], draws), step)[0]

    def generator(self, *words: object) -> torch.Generator:
        """Random numbers of their own for each use, the same in every run of this trial."""
        return generator(self.config.seed, *words)

    def own_randomness(self) -> AbstractContextManager[None]:
        """What is drawn inside, on the CPU or on the trial's GPU, leaves the caller's random numbers as they were."""
        return torch.random.fork_rng([self.device] if self.device.type == "cuda" else [])

    def _full_rate(self) -> float:
        full: float = getattr(self.config.optimizer, self.config.optimizer.rate)
        return full

    def _forward(self, step: Step, rows: slice) -> tuple[Tensor, Tensor, Tensor]:
        """Losses (k,), logits (k, classes) and labels (k,) of a part of the step, with the part's own dropout."""
        reseed(self.device, derive(self.config.seed, "dropout", step.epoch, step.number, rows.start))
        images, labels = self.train.take(step.images[rows], step.draws and step.draws.part(rows))
        return *self._losses(images, labels, step), labels

    def _backward(self, part: Part) -> None:
        """Adds the gradient of a part's loss to `p.grad`."""
        for hook in self.hooks.before_backward:
            hook(part)
        alone = gradient_alone(list(self.model.parameters())) if self.hooks.after_part else nullcontext()
        with alone:
            self.backward(part.loss, part.logits, part.weights)
            for hook in self.hooks.after_part:
                hook(part)
        for hook in self.hooks.after_backward:
            hook(part)

    def _equal_weights(self, n: int) -> Tensor:
        """1/n, n times."""
        if n not in self._uniform:
            ones = torch.ones(n, device=self.device, dtype=self.train.dtype)
            self._uniform[n] = ones / ones.sum()
        return self._uniform[n]

    def _weights(self, step: Step, losses: Tensor) -> Tensor:
        """Weights (n,) of the samples, summing to 1, as the tricks that select give them."""
        weights = torch.ones_like(losses)
        for trick in self.config.trick.values():
            if trick.selects(step.epoch):
                weights = trick.weights(step, losses, weights)
        return weights / weights.sum()

    def _losses(self, images: Tensor, labels: Tensor, step: Step | None = None) -> tuple[Tensor, Tensor]:
        """Loss (n,) of each sample, and the logits (n, classes); in a training `step` as tricks change them."""
        autocast = self.config.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16) if autocast else nullcontext():
            logits = self.model(images)
        logits = logits.to(images.dtype)
        if step:
            for trick in self.config.trick.values():
                logits = trick.relogit(step, logits)
        return F.cross_entropy(logits, labels, reduction="none"), logits

    def _check(self, losses: list[float]) -> None:
        """Raises Diverged at the first of the latest steps' losses that is not finite."""
        for ago, loss in zip(range(len(losses) - 1, -1, -1), losses, strict=True):
            if not math.isfinite(loss):
                raise Diverged(self.steps - ago, f"the loss is {loss}")


def _hits(logits: Tensor, labels: Tensor) -> Tensor:
    """How many are classified rightly."""
    return (logits.detach().argmax(1) == labels).sum()


@contextmanager
def gradient_alone(params: Sequence[Tensor]) -> Iterator[None]:
    """Inside, `p.grad` is empty and takes what a backward pass adds alone; afterwards it holds the sum again.

    The sum has the bits that accumulating would have given.
    """
    sums = [p.grad for p in params]
    for p in params:
        p.grad = None
    yield
    for p, sum_ in zip(params, sums, strict=True):
        if sum_ is not None:
            p.grad = sum_ if p.grad is None else sum_.add_(p.grad)
