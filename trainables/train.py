"""The one training loop."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from trainables.config import TrialConfig
from trainables.data import Splits
from trainables.data.batches import Batches, Draws, normalisation
from trainables.errors import Refused
from trainables.optimizers.protocols import name_parameters
from trainables.probes import Hooks

EVALUATION_BATCH = 500
CHECK_EVERY = {"cpu": 1, "cuda": 20}  # steps between looks at the loss: on a GPU each one waits for it


class Diverged(Exception):
    """The loss stopped being finite at `step` (counted from 1 over the whole trial)."""

    def __init__(self, step: int, reason: str) -> None:
        self.step, self.reason = step, reason
        super().__init__(f"step {step}: {reason}")


def derive(seed: int, *words: object) -> int:
    """A seed of its own for each use, so that any epoch can be repeated without those before it."""
    digest = hashlib.blake2b(repr((seed, *words)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


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
    largest = max(batch_size(config, epoch, images) for epoch in range(1, config.epochs + 1))
    if largest > images:
        raise Refused(
            "batch_size", largest, f"the training split has {images} images",
            "lower the batch size, raise data/train_size, or lower data/validation",
        )  # fmt: skip


Backward = Callable[[Tensor, Tensor, Tensor], None]  # of the loss, the logits (n, classes), the weights (n,)


def plain_backward(loss: Tensor, logits: Tensor, weights: Tensor) -> None:  # noqa: ARG001
    """Adds the gradient of `loss` to `p.grad`."""
    torch.autograd.backward(loss)


class Trial:
    """One training run, advanced an epoch at a time.

    Order, augmentation and dropout depend on (seed, epoch, step) alone: a trial continued from `state_dict`
    equals one that was never interrupted, bit for bit on CPU.
    """

    def __init__(self, config: TrialConfig, splits: Splits) -> None:
        check_batch_sizes(config, len(splits.train))
        self.config = config
        self.device = resolve_device(config.device)
        mean, std = normalisation(splits.train)
        self.train, self.validation, self.test = (
            Batches(split, mean, std, self.device) for split in (splits.train, splits.validation, splits.test)
        )
        with torch.random.fork_rng(self._cuda()):
            torch.manual_seed(derive(config.seed, "initialisation"))
            self.model = config.model.build(splits.classes).to(self.device).to(memory_format=self.train.layout)
            self.optimizer = config.optimizer.build(self.model.parameters())
        # an optimizer that needs curvature runs the backward pass itself
        self.backward: Backward = getattr(self.optimizer, "backward", plain_backward)
        name_parameters(self.optimizer, self.model)
        for group in self.optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        self.statistics = BatchNormStatistics(self.model)
        self.epoch = 0  # completed
        self.steps = 0  # completed
        self.rows: list[dict[str, float]] = []  # metrics by completed epoch
        self.rate = self._full_rate()  # of the step under way: lr or γ
        self.batch = torch.arange(0)  # of the step under way: indices (n,) into `train`, and their augmentation
        self.draws: Draws | None = None
        self.observers = {name: probe.start(self) for name, probe in config.probe.items()}
        self.hooks = Hooks(self.observers.values())

    @property
    def finished(self) -> bool:
        return self.epoch == self.config.epochs

    def run_epoch(self) -> dict[str, float]:
        """Train one epoch and evaluate on the validation split; returns the epoch's metrics.

        Raises Diverged when the loss stops being finite.
        """
        started = time.perf_counter()
        with torch.random.fork_rng(self._cuda()):
            row = self._train_epoch(self.epoch + 1)
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
        return {"test/loss": loss, "test/accuracy": accuracy, "gap/train_test": fitted - accuracy}

    def time_step(self, n: int) -> float:
        """Seconds of a training step of `n` images, once warm. The trial is spoilt for training."""
        seconds = 0.0
        with torch.random.fork_rng(self._cuda()):
            for step in range(3):
                started = time.perf_counter()
                float(self._gradient(1, step, torch.arange(n, device=self.device))[0])
                self.optimizer.step()
                seconds = time.perf_counter() - started
        return seconds

    @torch.no_grad()
    def evaluate(self, batches: Batches) -> tuple[float, float]:
        """Mean loss and accuracy over a split, in evaluation mode, without augmentation."""
        self.model.eval()
        loss, correct = torch.zeros((), device=self.device), torch.zeros((), device=self.device)
        for start in range(0, len(batches), EVALUATION_BATCH):
            images, labels = batches.take(slice(start, start + EVALUATION_BATCH))
            losses, logits = self._losses(images, labels)
            loss, correct = loss + losses.sum(), correct + _hits(logits, labels)
        return float(loss) / len(batches), float(correct) / len(batches)

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

    def _train_epoch(self, epoch: int) -> dict[str, float]:
        self.model.train()
        n = batch_size(self.config, epoch, len(self.train))
        steps = len(self.train) // n  # the last partial batch is dropped
        order = torch.randperm(len(self.train), generator=self.generator("order", epoch)).to(self.device)
        losses, hits = [], torch.zeros((), device=self.device)
        for hook in self.hooks.before_epoch:
            hook(epoch)
        for step in range(steps):
            self._set_rate(epoch, step / steps, 1 / steps)
            loss, hit = self._gradient(epoch, step, order[step * n : (step + 1) * n])
            self._step(epoch, step)
            losses.append(loss)
            hits += hit
            self.steps += 1
            if (step + 1) % CHECK_EVERY[self.device.type] == 0 or step + 1 == steps:
                self._check(torch.stack(losses[-CHECK_EVERY[self.device.type] :]).tolist())
        row = {"train/loss": float(torch.stack(losses).mean()), "train/accuracy": float(hits) / (n * steps)}
        for name, observer in self.observers.items():
            row |= {f"probe/{name}/{key}": value for key, value in observer.after_epoch().items()}
        return row

    def _step(self, epoch: int, step: int) -> None:
        """Move the parameters: probes see the gradient and the optimizer's step, tricks come next to it."""
        for hook in self.hooks.before_step:
            hook()
        for trick in self.config.trick.values():
            trick.before_step(epoch, self.optimizer)
        self.optimizer.step()
        for hook in self.hooks.after_step:
            hook()
        for name, trick in self.config.trick.items():
            trick.after_step(epoch, self.optimizer, derive(self.config.seed, name, epoch, step))

    def _full_rate(self) -> float:
        full: float = getattr(self.config.optimizer, self.config.optimizer.rate)
        return full

    def _set_rate(self, epoch: int, done: float, step: float) -> None:
        full = self._full_rate()
        rate = full * self.config.schedule.at(epoch - 1 + done, step, self.config.epochs)
        for trick in self.config.trick.values():
            rate = trick.rerate(epoch, rate)
        self.rate = rate
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * (rate / full)

    def _gradient(self, epoch: int, step: int, index: Tensor) -> tuple[Tensor, Tensor]:
        """Leave the gradient of the batch's weighted mean loss in `p.grad`; mean loss and hits of all samples."""
        draws = None
        if self.config.data.augment:
            draws = Draws.sample(len(index), self.generator("augmentation", epoch, step))
        self.batch, self.draws = index, draws
        size = self.config.micro_batch or len(index)
        parts = [slice(start, start + size) for start in range(0, len(index), size)]
        selecting = any(trick.selects(epoch) for trick in self.config.trick.values())

        def forward(part: slice) -> tuple[Tensor, Tensor, Tensor]:
            torch.manual_seed(derive(self.config.seed, "dropout", epoch, step, part.start))
            images, labels = self.train.take(index[part], draws and draws.part(part))
            return *self._losses(images, labels, epoch), labels

        self.optimizer.zero_grad(set_to_none=True)
        weights = self._weights(epoch, torch.ones(len(index), device=self.device))
        if selecting and len(parts) > 1:  # rank the whole batch first; a single part ranks its own losses
            with torch.no_grad(), self.statistics.kept():
                weights = self._weights(epoch, torch.cat([forward(part)[0] for part in parts]))
        total, hits = [], torch.zeros((), device=self.device)
        with self.statistics.moved_once(len(parts)) as next_part:
            for part in parts:
                losses, logits, labels = forward(part)
                if selecting and len(parts) == 1:
                    weights = self._weights(epoch, losses.detach())
                outcome = (losses * weights[part]).sum(), logits, weights[part]
                self._backward(*outcome)
                next_part()
                total.append(losses.detach().sum())
                hits += _hits(logits, labels)
        return torch.stack(total).sum() / len(index), hits

    def _backward(self, loss: Tensor, logits: Tensor, weights: Tensor) -> None:
        """Add the gradient of a micro-batch's share of the loss to `p.grad`."""
        for hook in self.hooks.before_backward:
            hook(loss, logits, weights)
        if not self.hooks.after_part:
            self.backward(loss, logits, weights)
        else:
            params = list(self.model.parameters())
            sums = set_aside(params)
            self.backward(loss, logits, weights)
            for hook in self.hooks.after_part:
                hook(weights)
            add_back(params, sums)
        for hook in self.hooks.after_backward:
            hook()

    def _weights(self, epoch: int, losses: Tensor) -> Tensor:
        """Weights (n,) of the samples, summing to 1; 1/n each unless a trick selects."""
        weights = torch.ones_like(losses)
        for trick in self.config.trick.values():
            if trick.selects(epoch):
                weights = trick.weights(losses, weights)
        return weights / weights.sum()

    def losses(self, rows: Tensor) -> Tensor:
        """Losses (k,) of the images at `rows` (k,) of the step under way, in a pass of their own.

        As the step's own pass but for dropout's mask; batch norm's statistics stay.
        """
        draws = self.draws and Draws(*(draw[rows.cpu()] for draw in self.draws))
        with self.statistics.kept():
            return self._losses(*self.train.take(self.batch[rows], draws), self.epoch + 1)[0]

    def _losses(self, images: Tensor, labels: Tensor, epoch: int = 0) -> tuple[Tensor, Tensor]:
        """Loss (n,) of each sample, and the logits (n, classes); as tricks change them in training `epoch`."""
        autocast = self.config.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16) if autocast else nullcontext():
            logits = self.model(images)
        logits = logits.float()
        if epoch:
            for trick in self.config.trick.values():
                logits = trick.relogit(epoch, logits)
        return F.cross_entropy(logits, labels, reduction="none"), logits

    def _check(self, losses: list[float]) -> None:
        """Raises Diverged at the first of the latest steps' losses that is not finite."""
        for ago, loss in zip(range(len(losses) - 1, -1, -1), losses, strict=True):
            if not math.isfinite(loss):
                raise Diverged(self.steps - ago, f"the loss is {loss}")

    @property
    def parts(self) -> int:
        """Micro-batches of the step under way."""
        return -(-len(self.batch) // (self.config.micro_batch or len(self.batch)))

    def generator(self, *words: object) -> torch.Generator:
        """Random numbers of their own for each use, the same in every run of this trial."""
        return torch.Generator().manual_seed(derive(self.config.seed, *words))

    def _cuda(self) -> list[torch.device]:
        return [self.device] if self.device.type == "cuda" else []


def _hits(logits: Tensor, labels: Tensor) -> Tensor:
    """How many are classified rightly."""
    return (logits.detach().argmax(1) == labels).sum()


def set_aside(params: Sequence[Tensor]) -> list[Tensor | None]:
    """Takes the gradients out of `p.grad`, so that the next backward pass leaves its own there, alone."""
    sums = [p.grad for p in params]
    for p in params:
        p.grad = None
    return sums


def add_back(params: Sequence[Tensor], sums: Sequence[Tensor | None]) -> None:
    """Adds the gradients in `p.grad` to what was set aside, with the bits that accumulating would have given."""
    for p, sum_ in zip(params, sums, strict=True):
        if sum_ is not None:
            p.grad = sum_ if p.grad is None else sum_.add_(p.grad)


class BatchNormStatistics:
    """Keeps batch norm's running statistics honest when one step takes several forward passes."""

    def __init__(self, model: nn.Module) -> None:
        self.norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
        self.buffers = [buffer for norm in self.norms for buffer in norm.buffers()]

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Passes inside leave the statistics as they were, and their graphs can still be walked afterwards."""
        before = [(norm, name, buffer) for norm in self.norms for name, buffer in norm.named_buffers()]
        for norm, name, buffer in before:
            setattr(norm, name, buffer.clone())
        yield
        for norm, name, buffer in before:
            setattr(norm, name, buffer)

    @contextmanager
    def moved_once(self, parts: int) -> Iterator[Callable[[], None]]:
        """The statistics move once, to the mean of where each of `parts` passes alone would move them.

        Yields what to call after each pass.
        """
        if parts == 1 or not self.buffers:
            yield lambda: None
            return
        before = [buffer.clone() for buffer in self.buffers]
        total = [torch.zeros_like(buffer) for buffer in self.buffers]

        def next_part() -> None:
            for buffer, old, sum_ in zip(self.buffers, before, total, strict=True):
                sum_ += buffer
                buffer.copy_(old)

        yield next_part
        for buffer, sum_ in zip(self.buffers, total, strict=True):
            buffer.copy_(sum_ / parts)
