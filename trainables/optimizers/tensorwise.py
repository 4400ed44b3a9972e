"""What every optimizer here shares: torch's contract, excluded tensors, and guards that count."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from operator import attrgetter, is_
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor
from torch.optim import Optimizer

from trainables.optimizers import kernels, split_groups
from trainables.optimizers.options import (
    FLAG,
    FLAG_OR_NONE,
    RATE,
    SHARE,
    Rule,
    at_least,
    check_names,
    check_values,
    keywords,
    one_of,
    rules,
)  # fmt: skip
from trainables.optimizers.protocols import parameter_names

if TYPE_CHECKING:
    from trainables.optimizers.kernels.walks import Walk

LR = 1e-3  # unless given, as in torch's SGD
DTYPES = (torch.float64, torch.float32, torch.bfloat16)
PLANS = 16  # ways in which tensors had gradients whose batches are kept
CONSTRUCTION = ("lr_at_construction", "lr_reaches_excluded", "weight_decay_reaches_excluded")


class TensorWise(Optimizer):
    """Base of optimizers whose rate differs from tensor to tensor.

    A param group that is given is one param group, in torch's own form. With `exclude="1d"` its tensors of at most one
    dimension (biases, norm weights) are *excluded* from the rule: they move at `excluded_rate(group)` and without
    weight decay. Where every tensor of a group is excluded, an `lr` or `weight_decay` stated in that group is theirs.
    Stated means other than the constructor's, for wrappers write the constructor's values into every group
    (ZeroRedundancyOptimizer, SAM).

    A subclass names its options as keywords of its constructor, states their rules in `rules` (laid over its bases'),
    and writes `_update`. An argument that no class names is a TypeError with the nearest name, also where a constructor
    passes `**others` on.

    Finite weights and gradients (in float64, up to 1e300) never give a non-finite weight; a non-finite gradient
    reaches its own tensor only, unnoticed and without a synchronisation, as in torch's optimizers.

    float16 parameters are refused: squares and steps of usual size vanish there, and a LAMB on them climbs.

    Raises ValueError for an argument outside its domain, and TypeError for an unknown argument and for a parameter that
    is not a tensor of float64, float32 or bfloat16. `step` raises RuntimeError for a gradient that is not dense, or of
    float16, before anything moved.
    """

    rules: ClassVar[dict[str, Rule]] = {
        "lr": RATE,
        "momentum": SHARE,
        "weight_decay": at_least(0),
        "exclude": one_of("1d", "none"),
        "maximize": FLAG,
        "foreach": FLAG_OR_NONE,
    }
    guard_names: ClassVar[tuple[str, ...]] = ("overflow",)
    # A loop takes this many entries at a time, where copies of all tensors at once would cost their memory.
    entries: ClassVar[int | None] = None

    def __new__(cls, *_: Any, **given: Any) -> Self:
        check_names(cls, given, keywords(cls, TensorWise))
        return super().__new__(cls)

    def __init__(self, params: Any, options: dict[str, Any]) -> None:
        self._remember_nothing()
        check_values(type(self), options)
        super().__init__(params, options)

    def _remember_nothing(self) -> None:
        """Starts what is not the optimizer's state: a checkpoint continues without it."""
        self._fired: dict[Tensor, Tensor] = {}
        self._radius: dict[Tensor, Tensor] = {}
        self._plans: dict[tuple[object, ...], tuple[list[object] | None, list[_Batch]]] = {}

    # Parameters

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds one group, whose options override the constructor's."""
        check_values(type(self), {**self.defaults, **param_group})
        given = param_group["params"]
        if not isinstance(given, (Tensor, set)):  # torch refuses a set itself
            given = param_group["params"] = list(given)
            for one in given:
                self._check_parameter(one[1] if isinstance(one, tuple) else one)
        stated = [
            name for name in ("lr", "weight_decay") if param_group.get(name, self.defaults[name]) != self.defaults[name]
        ]
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        alone = all(self.excludes(group, p) for p in group["params"])
        group.setdefault("lr_at_construction", float(group["lr"]))
        group.setdefault("lr_reaches_excluded", alone and "lr" in stated)
        group.setdefault("weight_decay_reaches_excluded", alone and "weight_decay" in stated)

    def _check_parameter(self, p: object) -> None:
        if isinstance(p, Tensor) and p.dtype == torch.float16:
            if p.requires_grad:  # frozen ones are often given along with the rest
                raise TypeError(_float16(type(self)))
        elif not isinstance(p, Tensor) or p.dtype not in DTYPES:
            kind = p.dtype if isinstance(p, Tensor) else type(p).__name__
            raise TypeError(
                f"{type(self).__name__} takes real floating-point tensors, not {kind}; "
                "a complex parameter has no radius: give torch.view_as_real of it"
            )

    @staticmethod
    def excludes(group: dict[str, Any], p: Tensor) -> bool:
        """Whether the rule leaves `p`, a tensor of `group`, out."""
        return bool(group["exclude"] == "1d" and p.ndim <= 1)

    def excluded_rate(self, group: dict[str, Any]) -> Any:
        """The rate of the group's excluded tensors now: a float, or a tensor where `lr` is one."""
        return group["lr"]

    # State

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Loads a state; options that it lacks, being older, take this optimizer's defaults.

        States saved up to version 0.1.0, with two groups for each one given, are joined. Raises ValueError as torch
        does where the groups do not fit.
        """
        saved = state_dict["param_groups"]
        if split_groups.is_split(saved):
            saved = split_groups.joined(saved, self.param_groups, self.excludes)
        fitting = len(saved) == len(self.param_groups)
        own = (
            [{key: group[key] for key in CONSTRUCTION} for group in self.param_groups] if fitting else [{}] * len(saved)
        )
        filled = [{**self.defaults, **mine, **group} for mine, group in zip(own, saved, strict=True)]
        super().load_state_dict({**state_dict, "param_groups": filled})

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "_fired" not in self.__dict__:  # a copy or a pickle, which an older version may have made
            self._remember_nothing()
            named = keywords(type(self), TensorWise)
            for name in rules(type(self)):
                if named.get(name, inspect.Parameter.empty) is not inspect.Parameter.empty:
                    self.defaults.setdefault(name, named[name])
            for index, group in enumerate(self.param_groups):
                if "excluded" in group:
                    self.param_groups[index] = split_groups.converted(group)
                for name, value in self.defaults.items():
                    self.param_groups[index].setdefault(name, value)

    # The step

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step along the gradients in `.grad`, which it leaves alone. Returns the closure's loss."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._begin()
        # All are gathered before any moves, so that a gradient that is refused leaves every parameter where it was.
        batches = [(group, *batch) for group in self.param_groups for batch in self._batches(group)]
        for group, batch, grads in batches:
            if group["maximize"]:
                grads = _opposite(grads)
            if batch.walk is None:
                self._update(self._options(group, batch.excluded), batch.params, grads)
            else:
                self._update_by_kernels(group, batch.walk, grads)
        return loss

    def _begin(self) -> None:
        """What a step does first, once the gradients are there."""

    def _update(self, options: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        """Moves `params`, tensors of one device and dtype, by their `grads`.

        `options` are the group's, with the `lr` and `weight_decay` of these tensors, and `excluded`: whether they are.
        """
        raise NotImplementedError

    def _update_by_kernels(self, group: dict[str, Any], walk: Walk, grads: list[Tensor]) -> None:
        """Moves the tensors of `walk`, adapted and excluded ones, by their `grads`."""
        raise NotImplementedError

    def _fits(self, _group: dict[str, Any], _p: Tensor, _g: Tensor) -> bool:
        """Whether kernels move a tensor of the group along its gradient: where `_update_by_kernels` is written."""
        return False

    def _batches(self, group: dict[str, Any]) -> list[tuple[_Batch, list[Tensor]]]:
        """The group's tensors that have a gradient, and these: those that one call can move, together."""
        params = [p for p in group["params"] if p.grad is not None]
        grads: list[Tensor] = [p.grad for p in params]
        key = group["exclude"], group["foreach"], kernels.state(), *map(id, params)
        facts = _facts(params, grads)
        plan = self._plans.get(key)
        if plan is None or facts is None or plan[0] != facts:
            for g in grads:
                _check_gradient(type(self), g)
            if len(self._plans) >= PLANS:
                self._plans = {old: plan for old, plan in self._plans.items() if any(x.captured for x in plan[1])}
            plan = self._plans[key] = facts, self._plan(group, params, grads)
        return [(batch, [grads[place] for place in batch.places]) for batch in plan[1]]

    def _plan(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> list[_Batch]:
        """How tensors fall into batches: the work of the first of many like steps."""
        kinds: dict[tuple[bool | None, object, object, int], list[int]] = {}
        entries = {True: 0, False: 0}
        for place, (p, g) in enumerate(zip(params, grads, strict=True)):
            excluded = self.excludes(group, p)
            fits = self._fits(group, p, g)
            if not fits and self.entries and not use_foreach(group["foreach"], p):
                entries[excluded] += p.numel()
            kind = (
                None if fits else excluded,
                p.device,
                p.dtype,
                0 if fits else entries[excluded] // (self.entries or 1),
            )
            kinds.setdefault(kind, []).append(place)
        batches = []
        for (excluded_or_both, *_), places in kinds.items():
            if excluded_or_both is None:
                places.sort(key=lambda place: self.excludes(group, params[place]))
                adapted = sum(not self.excludes(group, params[place]) for place in places)
                walk = kernels.walk([params[place] for place in places], adapted)
                batches.append(_Batch(walk.params, places, False, walk))
            else:
                batches.append(_Batch([params[place] for place in places], places, excluded_or_both, None))
        return batches

    def _options(self, group: dict[str, Any], excluded: bool) -> dict[str, Any]:
        """The group's options as they hold for its excluded tensors, or for the others."""
        if not excluded:
            return {**group, "excluded": False}
        decay = group["weight_decay"] if group["weight_decay_reaches_excluded"] else 0.0
        return {**group, "excluded": True, "lr": self.excluded_rate(group), "weight_decay": decay}

    def _bounded(self, rates: Tensor, reach: Tensor, dtype: torch.dtype, momentum: float) -> tuple[Tensor, Tensor]:
        """The last guard: `rates` cut so that no step can overflow, and where it cut. Shapes (k,).

        `reach` bounds every entry of what a rate multiplies. A buffer built of steps within (1 - m)·h stays
        within h, and h, less than half the spacing of the largest floats, added to any of them is absorbed.
        """
        # A non-finite gradient is none of this guard's business: it propagates.
        bound = largest_step(dtype, momentum) / torch.where(reach.isfinite(), reach, 1.0).clamp_min(1.0)
        return torch.minimum(rates, bound), rates > bound

    def _states_of(self, walk: Walk, name: str) -> list[Tensor]:
        """The tensors of that name of the state of each of the walk's, zeros at first, laid out in memory as those are.

        What was found is found again as long as the state holds the same objects, which is quick to tell.
        """
        every = [*self.state.values()]
        if not _same(every, walk.every):
            walk.states = [self.state[p] for p in walk.params]
            walk.every = [*self.state.values()]
        found = [state.get(name) for state in walk.states]
        if not _same(found, walk.known.get(name, [])):
            walk.known[name] = [_laid_out(p, x) for p, x in zip(walk.params, found, strict=True)]
            for state, x in zip(walk.states, walk.known[name], strict=True):
                state[name] = x
        return walk.known[name]

    # Guards and radii

    def _counters(self, params: list[Tensor]) -> list[Tensor]:
        """How often each guard fired for each tensor: long, one count a guard, on its device."""
        for p in params:
            if p not in self._fired:
                self._fired[p] = torch.zeros(len(self.guard_names), dtype=torch.long, device=p.device)
        return [self._fired[p] for p in params]

    def _counters_of(self, walk: Walk) -> list[Tensor]:
        """The same, found once: they stay until they are reset."""
        if walk.counters[0] is not self._fired:
            walk.counters = self._fired, self._counters(walk.params)
        return walk.counters[1]

    def _record(self, params: list[Tensor], fired: dict[str, Tensor], radius: Tensor | None) -> None:
        never = torch.zeros_like(fired["overflow"])
        flags = torch.stack([fired.get(name, never) for name in self.guard_names], dim=1).long()
        torch._foreach_add_(self._counters(params), list(flags.unbind()))
        if radius is not None:
            self._radius.update(zip(params, radius.unbind(), strict=True))

    def guards(self, *, reset: bool = False) -> dict[str, dict[str, int]]:
        """How many steps each guard fired in since the last reset: guard → tensor's name → count.

        Every tensor that has stepped is listed, by its name where the parameters were given with names
        (`model.named_parameters()`), else by its place: "0.3" is the fourth tensor of the first group. The counts
        live on the device, so this call synchronises; they are not part of `state_dict`.
        """
        names = parameter_names(self)
        counts = {names[p]: self._fired[p].tolist() for p in names if p in self._fired}
        if reset:
            self._fired = {}
        return {guard: {name: count[i] for name, count in counts.items()} for i, guard in enumerate(self.guard_names)}

    def radii(self) -> dict[str, float]:
        """R of each tensor's last step, in the groups' order, by name as in `guards`; excluded tensors have none.

        R is in weight²/loss (LAMB: weight), after the guards' floor and cap. Synchronises.
        """
        return {name: self._radius[p].item() for p, name in parameter_names(self).items() if p in self._radius}


@dataclass(frozen=True)
class _Batch:
    """Tensors that one call moves: by kernels where there is a walk, then excluded ones and others together."""

    params: list[Tensor]
    places: list[int]  # in the group, of those that have a gradient
    excluded: bool
    walk: Walk | None

    @property
    def captured(self) -> bool:
        return self.walk is not None and self.walk.captured


LAYOUT, DTYPE = attrgetter("layout"), attrgetter("dtype")


def _facts(params: list[Tensor], grads: list[Tensor]) -> list[object] | None:
    """What decides how tensors fall into batches and is the same in most steps; None where a gradient is not dense.

    Of the gradients torch sees to sizes and devices. Bound methods of C and no loop of Python's: every step asks.
    """
    if [*map(LAYOUT, grads)].count(torch.strided) < len(grads):
        return None
    of_grads = chain(map(DTYPE, grads), map(Tensor.stride, grads))
    of_params = (map(ask, params) for ask in (DTYPE, Tensor.get_device, Tensor.numel, Tensor.stride))
    return [*chain(of_grads, *of_params)]


def _same(some: list[Any], others: list[Any]) -> bool:
    """Whether both lists hold the same objects."""
    return len(some) == len(others) and all(map(is_, some, others))


def _laid_out(p: Tensor, x: Tensor | None) -> Tensor:
    """`x`, or zeros where it is None, in the order of memory of `p`: a checkpoint may have another."""
    if x is None:
        return torch.zeros_like(p, memory_format=torch.preserve_format)
    return x if x.stride() == p.stride() else torch.empty_like(p, memory_format=torch.preserve_format).copy_(x)


def _float16(kind: type) -> str:
    return (
        f"{kind.__name__} does not take torch.float16, in which gradients' squares and small steps vanish; "
        "keep the parameters in float32 and use torch.autocast, or use bfloat16"
    )


def _check_gradient(kind: type, g: Tensor) -> None:
    if g.layout != torch.strided:
        raise RuntimeError(f"{kind.__name__} takes dense gradients, not {g.layout}; build the layer with sparse=False")
    if g.dtype == torch.float16:
        raise RuntimeError(_float16(kind))


def _opposite(grads: list[Tensor]) -> list[Tensor]:
    if grads[0].device.type == "cpu":
        return [-g for g in grads]
    return list(torch._foreach_neg(grads))


def largest_step(dtype: torch.dtype, momentum: float) -> float:
    """The size within which no step overflows, however many follow: see `TensorWise._bounded`."""
    limits = torch.finfo(dtype)
    return float((1 - momentum) * limits.max * limits.eps / 8)


def use_foreach(asked: bool | None, tensor: Tensor) -> bool:
    """Multi-tensor calls pay on a GPU; on a CPU they are slower than a loop."""
    return asked if asked is not None else tensor.device.type == "cuda"


def scalars(numbers: Tensor) -> list[Any]:
    """One factor per tensor: Python floats on a CPU, elsewhere 0-d tensors, which cost no synchronisation."""
    return numbers.tolist() if numbers.device.type == "cpu" else list(numbers.unbind())


def add_scaled(x: Tensor, y: Tensor, factor: Any) -> None:
    """x ← x + factor·y in one pass; `factor` as `scalars` gives it."""
    if isinstance(factor, float):
        x.add_(y, alpha=factor)
    else:
        x.addcmul_(y, factor)
