"""Batch norm's running statistics where one step takes several forward passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


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
