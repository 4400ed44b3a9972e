"""What the kernels know of k tensors: their chunks, once, and where everything lies, whenever it has moved.

A gradient is often new memory in every step. Its address goes to the device with all others in one small copy, which
nothing waits for; where no address has changed there is none. In a step that is captured as a CUDA graph the copy is
part of the graph, from host memory that is set aside for it and to device memory of the graph's own, so that replays
and later steps know nothing of each other.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from trainables.optimizers.kernels import layout
from trainables.optimizers.kernels.chunks import Chunks, launch, upload
from trainables.optimizers.kernels.numbers import DTYPES, WIDE
from trainables.optimizers.tensor_statistics import stride

ADDRESS = Tensor.data_ptr
CAPTURES = 4  # graphs that may be captured of one list of tensors, without a plain step between them
ALIGNED = 16  # bytes of the widest load
UNPREPARED = (
    f"these tensors cannot be captured as a CUDA graph now: take a plain step of the optimizer first, with gradients "
    f"for the same tensors, as `torch.cuda.graph` wants it; after {CAPTURES} captures take another"
)


class Sample(NamedTuple):
    """The entries of a tensor that a median is of."""

    chunks: Chunks
    places: Tensor  # (k, 3), int64: the stride, and C and S of `layout`
    sampled: bool


@dataclass(frozen=True)
class Step:
    """One step's tensors: addresses, (k,), int64, on the device."""

    walk: Walk
    weights: Tensor
    grads: Tensor
    counters: Tensor
    states: tuple[Tensor, ...]
    kinds: Mapping[str, Any]  # constants of most kernels

    def launch(self, kernel: Any, programs: int, *args: Any, **constants: Any) -> None:
        """`programs` of a kernel."""
        launch(kernel, programs, self.walk.device, *args, **constants)


class Walk:
    """k tensors of one device and dtype, all of which fit, as the kernels walk them; the excluded ones come last.

    Attributes:
        adapted: how many are not excluded.
        radius: (k,), float64, of the last step; `radius_of` has each adapted tensor's own.
        counters, every, states, known: what the optimizer found of these tensors, for it to keep.
    """

    def __init__(self, params: list[Tensor], adapted: int) -> None:
        self.params, self.adapted = params, adapted
        self.count, self.device, self.dtype = len(params), params[0].device, params[0].dtype
        if self._capturing():
            raise RuntimeError(UNPREPARED)
        self.double = self.dtype == torch.float64
        self.sizes = [p.numel() for p in params]
        self.chunks = Chunks(self.sizes, self.device)
        self.radius = torch.zeros(self.count, dtype=torch.float64, device=self.device)
        self.radius_of = dict(zip(params[:adapted], self.radius.unbind(), strict=False))
        self.counters: tuple[object, list[Tensor]] = None, []
        self.every: list[Any] = [None]  # unlike any state
        self.states: list[dict[str, Any]] = []
        self.known: dict[str, list[Tensor]] = {}
        self._parts: dict[tuple[int, ...], Walk] = {}
        self._samples: dict[int | None, Sample] = {}
        self._addresses: list[int] = []
        self._counters: Sequence[Tensor] = []
        self._spare: list[Tensor] = []  # host memory that captures may have
        self._kept: list[Tensor] = []  # and that which graphs read from

    @property
    def captured(self) -> bool:
        """Whether a graph walks here, which needs these tables as long as it lives."""
        return bool(self._kept) or any(part.captured for part in self._parts.values())

    def part(self, places: Sequence[int]) -> Walk:
        """Some of the tensors, in their order."""
        if len(places) == self.count:
            return self
        key = tuple(places)
        if key not in self._parts:
            adapted = sum(place < self.adapted for place in places)
            self._parts[key] = Walk([self.params[place] for place in places], adapted)
        return self._parts[key]

    def sample(self, entries: int | None) -> Sample:
        """About so many entries of each adapted tensor that has more; None: all of all of them."""
        if entries not in self._samples:
            params, sizes = self.params[: self.adapted], self.sizes[: self.adapted]
            steps = [1 if entries is None else stride(size, entries) for size in sizes]
            places = upload([x for p, step in zip(params, steps, strict=True) for x in (step, *layout(p))], self.device)
            sampled = any(step > 1 for step in steps)
            thinned = [-(-size // step) for size, step in zip(sizes, steps, strict=True)]
            self._samples[entries] = Sample(Chunks(thinned, self.device), places, sampled)
        return self._samples[entries]

    def step(self, grads: Sequence[Tensor], counters: Sequence[Tensor], *states: Sequence[Tensor]) -> Step:
        """A step along `grads`; the guards' `counters` and the optimizer's `states` are those of the same tensors."""
        addresses = [*map(ADDRESS, itertools.chain(self.params, grads, *states))]
        capturing = self._capturing()
        if capturing or addresses != self._addresses or counters is not self._counters:
            everything = [*addresses, *map(ADDRESS, counters)]
            if capturing:
                return self._step(addresses, self._captured(everything))
            self._latest = self._step(addresses, upload(everything, self.device))
            self._addresses, self._counters = addresses, counters
            self._set_aside(len(everything))
        return self._latest

    def _capturing(self) -> bool:
        return self.device.type == "cuda" and torch.cuda.is_current_stream_capturing()

    def _step(self, addresses: list[int], there: Tensor) -> Step:
        weights, grads, *states, counters = there.view(-1, self.count).unbind()
        aligned = not any(address % ALIGNED for address in addresses)
        kinds = {"DTYPE": DTYPES[self.dtype], "WIDE": WIDE[self.dtype], "ALIGNED": aligned}
        return Step(self, weights, grads, counters, tuple(states), kinds)

    def _set_aside(self, size: int) -> None:
        """Host memory for captures: during one it cannot be had."""
        if self.device.type == "cuda":
            missing = CAPTURES - len(self._spare)
            self._spare += [torch.empty(size, dtype=torch.int64, pin_memory=True) for _ in range(missing)]

    def _captured(self, addresses: list[int]) -> Tensor:
        if not self._spare:
            raise RuntimeError(UNPREPARED)
        host = self._spare.pop()
        host.copy_(torch.tensor(addresses))
        self._kept.append(host)
        return torch.empty(len(addresses), dtype=torch.int64, device=self.device).copy_(host, non_blocking=True)
