"""What every optimizer here shares: a rate per tensor, 1-D tensors apart, guards that count."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from numbers import Real
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from trainables.optimizers.protocols import parameter_names

EXCLUDE = ("1d", "none")
LR = 1e-3  # unless given, as in torch's SGD


def _number(value: object) -> bool:
    return isinstance(value, Real) and not math.isnan(value)


def _rate(value: object) -> bool:
    """A number, or as in torch's optimizers a tensor of one, which may change in place."""
    plain = value.item() if isinstance(value, Tensor) and value.ndim == 0 else value
    return _number(plain) and 0 <= plain < math.inf  # type: ignore[operator]


RULES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "lr": ("must be a finite number ≥ 0", _rate),
    "excluded_lr": ("must be a finite number ≥ 0", _rate),
    "weight_decay": ("must be a finite number ≥ 0", lambda x: _number(x) and 0 <= x < math.inf),
    "momentum": ("must lie in [0, 1)", lambda x: _number(x) and 0 <= x < 1),
    "beta2": ("must lie in [0, 1)", lambda x: _number(x) and 0 <= x < 1),
    "eps": ("must be a finite number ≥ 1e-30", lambda x: _number(x) and 1e-30 <= x < math.inf),
    "r_max": ("must be a finite number > 0", lambda x: _number(x) and 0 < x < math.inf),
    "floor": ("must be a finite number ≥ 1e-30", lambda x: _number(x) and 1e-30 <= x < math.inf),
    "weight_floor": ("must be a finite number ≥ 1e-30", lambda x: _number(x) and 1e-30 <= x < math.inf),
    "exclude": (f"must be one of {', '.join(EXCLUDE)}", lambda x: x in EXCLUDE),
    "samples": ("must be a whole number ≥ 1", lambda x: isinstance(x, int) and x >= 1),
    "interval": ("must be a whole number ≥ 1", lambda x: isinstance(x, int) and x >= 1),
    "ema": ("must lie in [0, 1)", lambda x: _number(x) and 0 <= x < 1),
    "sample": ("must be None or a whole number ≥ 1", lambda x: x is None or (isinstance(x, int) and x >= 1)),
    "curvature": ("must be one of hutchinson, gnb, exact", lambda x: x in ("hutchinson", "gnb", "exact")),
    "reading": ("must be one of abs, signed, radius", lambda x: x in ("abs", "signed", "radius")),
}


def check(options: Mapping[str, Any]) -> None:
    """Raises ValueError naming the first option that breaks its rule, its value and the rule."""
    for name, (rule, holds) in RULES.items():
        if name in options and not holds(options[name]):
            raise ValueError(f"{name} = {options[name]!r}: {rule}")


class TensorWise(Optimizer):
    """Base of optimizers whose rate differs from tensor to tensor.

    Every param group given is split in two: tensors with two or more dimensions, and (with `exclude="1d"`)
    the others, whose group carries `excluded=True`, no weight decay, and `lr=excluded_lr` where that option
    exists. A learning-rate scheduler therefore drives both. A subclass writes `_update`.

    Finite weights and gradients (in float64, up to 1e300) never give a non-finite weight; a non-finite gradient
    reaches its own tensor only, unnoticed and without a synchronisation, as in torch's optimizers.

    Raises ValueError for an argument outside its domain and TypeError for a parameter that is not a real
    floating-point tensor; `step` raises RuntimeError for a gradient that is not dense, before anything moved.
    """

    guard_names: ClassVar[tuple[str, ...]] = ("overflow",)
    entries: ClassVar[int | None] = None  # that a loop takes at a time, where whole copies would cost their memory

    def __init__(self, params: Any, options: dict[str, Any]) -> None:
        check(options)
        self._remember_nothing()
        super().__init__(params, options)

    def _remember_nothing(self) -> None:
        # Neither belongs to the optimizer's state: a checkpoint continues without them.
        self._fired: dict[Tensor, Tensor] = {}
        self._radius: dict[Tensor, Tensor] = {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "_fired" not in self.__dict__:  # a copy or a pickle
            self._remember_nothing()

    # Parameters

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds one group, split as the class says. Its options override the constructor's."""
        options = {**self.defaults, **param_group}
        check(options)
        params = [options["params"]] if isinstance(options["params"], Tensor) else options["params"]
        if isinstance(params, set):
            raise TypeError(f"{type(self).__name__} takes parameters in an order, and a set has none; give a list")
        wide: list[Any] = []
        thin: list[Any] = []
        for given in params:
            tensor = given[1] if isinstance(given, tuple) else given  # (name, parameter) or bare
            self._check_parameter(tensor)
            (thin if options["exclude"] == "1d" and tensor.ndim <= 1 else wide).append(given)
        if wide or not thin:
            super().add_param_group({**param_group, "params": wide, "excluded": False})
        if thin:
            own = {"weight_decay": 0.0, "lr": options.get("excluded_lr", options["lr"])}
            super().add_param_group({**param_group, **own, "params": thin, "excluded": True})

    def _check_parameter(self, p: object) -> None:
        if not isinstance(p, Tensor) or not p.is_floating_point():
            kind = p.dtype if isinstance(p, Tensor) else type(p).__name__
            raise TypeError(
                f"{type(self).__name__} takes real floating-point tensors, not {kind}; "
                "a complex parameter has no radius: give torch.view_as_real of it"
            )

    # The step

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step along the gradients in `.grad`, which it leaves alone. Returns the closure's loss."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._begin()
        # gathered first: a gradient that is refused leaves every parameter unmoved
        for group, params in [(g, batch) for g in self.param_groups for batch in self._batches(g)]:
            self._update(group, params, _gradients(params, group["maximize"]))
        return loss

    def _begin(self) -> None:
        """What a step does first, once the gradients are there."""

    def _update(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        """Moves `params`, tensors of one device and dtype, by their `grads`."""
        raise NotImplementedError

    def _batches(self, group: dict[str, Any]) -> Iterable[list[Tensor]]:
        """The group's tensors that have a gradient, those of one device and dtype together."""
        batches: dict[tuple[object, ...], list[Tensor]] = {}
        entries = 0
        for p in group["params"]:
            if p.grad is None:
                continue
            if p.grad.layout != torch.strided:
                raise RuntimeError(
                    f"{type(self).__name__} takes dense gradients, not {p.grad.layout}; "
                    "build the layer with sparse=False"
                )
            if self.entries and not use_foreach(group["foreach"], p):
                entries += p.numel()
            batches.setdefault((p.device, p.dtype, entries // (self.entries or 1)), []).append(p)
        return batches.values()

    def _bounded(self, rates: Tensor, reach: Tensor, dtype: torch.dtype, momentum: float) -> tuple[Tensor, Tensor]:
        """The last guard: `rates` cut so that no step can overflow, and where it cut. Shapes (k,).

        `reach` bounds every entry of what a rate multiplies. A buffer built of steps within (1 - m)·h stays
        within h, and h, less than half the spacing of the largest floats, added to any of them is absorbed.
        """
        # a non-finite gradient is none of this guard's business: it propagates
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
