"""What every optimizer here shares: torch's contract, excluded tensors, and guards that count."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.optim import Optimizer

from trainables.optimizers import split_groups
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

LR = 1e-3  # unless given, as in torch's SGD
DTYPES = (torch.float64, torch.float32, torch.bfloat16)
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
        for options, params in [batch for group in self.param_groups for batch in self._batches(group)]:
            self._update(options, params, _gradients(params, options["maximize"]))
        return loss

    def _begin(self) -> None:
        """What a step does first, once the gradients are there."""

    def _update(self, options: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        """Moves `params`, tensors of one device and dtype, by their `grads`.

        `options` are the group's, with the `lr` and `weight_decay` of these tensors, and `excluded`: whether they are.
        """
        raise NotImplementedError

    def _batches(self, group: dict[str, Any]) -> Iterable[tuple[dict[str, Any], list[Tensor]]]:
        """The group's tensors that have a gradient, with their options: those that one call can move, together."""
        batches: dict[tuple[bool, object, object, int], list[Tensor]] = {}
        entries = {True: 0, False: 0}
        for p in group["params"]:
            if p.grad is None:
                continue
            _check_gradient(type(self), p.grad)
            excluded = self.excludes(group, p)
            if self.entries and not use_foreach(group["foreach"], p):
                entries[excluded] += p.numel()
            kind = excluded, p.device, p.dtype, entries[excluded] // (self.entries or 1)
            batches.setdefault(kind, []).append(p)
        options = {excluded: self._options(group, excluded) for excluded in {kind[0] for kind in batches}}
        return [(options[kind[0]], params) for kind, params in batches.items()]

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

    # Guards and radii

    def _record(self, params: list[Tensor], fired: dict[str, Tensor], radius: Tensor | None) -> None:
        never = torch.zeros_like(fired["overflow"])
        flags = torch.stack([fired.get(name, never) for name in self.guard_names], dim=1).long()
        for p in params:
            if p not in self._fired:
                self._fired[p] = torch.zeros(len(self.guard_names), dtype=torch.long, device=p.device)
        torch._foreach_add_([self._fired[p] for p in params], list(flags.unbind()))
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
            self._fired.clear()
        return {guard: {name: count[i] for name, count in counts.items()} for i, guard in enumerate(self.guard_names)}

    def radii(self) -> dict[str, float]:
        """R of each tensor's last step, in the groups' order, by name as in `guards`; excluded tensors have none.

        R is in weight²/loss (LAMB: weight), after the guards' floor and cap. Synchronises.
        """
        return {name: self._radius[p].item() for p, name in parameter_names(self).items() if p in self._radius}


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


def _gradients(params: list[Tensor], maximize: bool) -> list[Tensor]:
    grads = [p.grad for p in params if p.grad is not None]
    return [-g for g in grads] if maximize else grads


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
