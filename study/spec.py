"""A spec: a YAML file that says what a study asks and what it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import BeforeValidator, StringConstraints, ValidationError, model_validator

from study.pruners import Pruner, pruners
from study.samplers import Sampler, samplers
from trainables.config import TrialConfig, merge
from trainables.errors import Refused, explain
from trainables.plugins import named
from trainables.settings import BatchSize, Settings, about, nearest

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
ELSEWHERE = {
    "batch_size": "batch_sizes",
    "seed": "confirm/seeds and search/seed",
    "threads": "resources/cpus",
}


def _partial_config(given: Any) -> Any:
    """A part of a trial's configuration: known keys only, none that the spec states elsewhere."""
    if not isinstance(given, Mapping):
        raise Refused("", given, "a mapping is wanted", f"known: {', '.join(_SETTABLE)}")
    for key in given:
        if key in ELSEWHERE:
            raise Refused(str(key), given[key], "is not set here", f"use {ELSEWHERE[key]}")
        if key not in TrialConfig.model_fields:
            raise Refused(str(key), given[key], "unknown key", nearest(str(key), _SETTABLE))
    return {key: _section(key, value) for key, value in given.items()}


_SETTABLE = sorted(set(TrialConfig.model_fields) - set(ELSEWHERE))


def _section(key: str, value: Any) -> Any:
    """A plug-in by its name alone becomes a mapping; a section that is no mapping is refused."""
    if key in ("model", "data", "optimizer", "schedule") and isinstance(value, str):
        return {"name": value}
    if key in ("model", "data", "optimizer", "schedule", "trick", "probe") and not isinstance(value, Mapping):
        raise Refused(key, value, "a mapping is wanted", "for example trick: {discard: {p: 0.3, epochs: 8}}")
    if key in ("trick", "probe"):
        for name, options in value.items():
            if options is not None and not isinstance(options, Mapping):
                raise Refused(f"{key}/{name}", options, "a mapping of options is wanted", "write its options in braces")
        return {name: options or {} for name, options in value.items()}
    return value


Partial = Annotated[dict[str, Any], BeforeValidator(_partial_config)]


class Baseline(Settings):
    """The cell that every other is compared with."""

    arm: Name
    batch_size: BatchSize


class Bound(Settings):
    """What a metric of the last epoch must keep to."""

    low: Annotated[float | None, about("", "not below this")] = None
    high: Annotated[float | None, about("", "not above this")] = None

    @model_validator(mode="after")
    def _bounds_something(self) -> Self:
        if self.low is None and self.high is None:
            raise Refused("", {}, "bounds nothing", "give high or low, as in {high: 50}")
        return self

    def excess(self, value: float) -> float:
        """By how much `value` breaks the bound; at most 0 where it keeps to it."""
        ends = [] if self.high is None else [value - self.high]
        ends += [] if self.low is None else [self.low - value]
        return max(ends)


class Search(Settings):
    """The search phase: its budget is the same for every cell."""

    trials: Annotated[int, about("", "search trials in each cell; 0: every value is fixed", ge=0)] = 0
    sampler: named(samplers, Sampler) = "tpe"  # type: ignore[valid-type]
    pruner: named(pruners, Pruner) = "none"  # type: ignore[valid-type]
    prune_biased: Annotated[bool, about("", "prune arms with warm-up, discard or first_epoch too")] = False
    constraints: Annotated[dict[str, Bound], about("", "bounds on a trial's last metrics, as train/loss")] = {}
    seed: Annotated[int, about("", "seed of the sampler and of the search trials", ge=0, lt=10_000)] = 0
    reproducible: Annotated[bool, about("", "no result depends on slots or timing; false: on what has ended")] = True
    window: Annotated[
        int, about("", "trial k is suggested from trials up to k - window, whatever else has finished", ge=1)
    ] = 4
    widen: Annotated[bool, about("", "widen a rate's range where the best lies at its end, with trials for all")] = (
        False
    )
    repeat: Annotated[
        dict[str, Annotated[int, about("", "searches", ge=1, le=100)]],
        about("", "independent searches of a cell, as {sgd/32: 3}: search luck beside seed luck"),
    ] = {}

    @model_validator(mode="after")
    def _sampler_can(self) -> Self:
        if self.constraints and not self.sampler.constrained:
            able = ", ".join(name for name in samplers.names() if samplers.get(name).constrained)
            raise Refused(
                "constraints", list(self.constraints), f"the sampler {self.sampler.name} ignores them", f"use {able}"
            )
        return self


class Confirm(Settings):
    """The confirm phase: each cell's best configuration on fresh seeds, the same ones in every cell."""

    seeds: Annotated[int, about("", "training runs of each cell on the test split", ge=1, le=10_000)] = 5


class Resources(Settings):
    """What one trial occupies."""

    cpus: Annotated[int, about("", "CPU cores and threads a trial", ge=1)] = 1
    gpus: Annotated[float, about("", "GPUs a trial, fractions included", ge=0)] = 0.0


class Spec(Settings):
    """A whole study."""

    name: Name
    question: Annotated[str, StringConstraints(min_length=1)]
    base: Partial = {}
    arms: Annotated[dict[Name, Partial], about("", "an optimizer with its tricks", min_length=1)]
    batch_sizes: Annotated[tuple[BatchSize, ...], about("n", "batch sizes", unit="image", min_length=1)]
    baseline: Baseline
    search: Search = Search()
    confirm: Confirm = Confirm()
    resources: Resources = Resources()

    @model_validator(mode="after")
    def _baseline_is_a_cell(self) -> Self:
        if self.baseline.arm not in self.arms:
            raise Refused(
                "baseline/arm",
                self.baseline.arm,
                "is no arm of this spec",
                nearest(self.baseline.arm, self.arms),
            )
        if self.baseline.batch_size not in self.batch_sizes:
            sizes = ", ".join(map(str, self.batch_sizes))
            raise Refused("baseline/batch_size", self.baseline.batch_size, "is none of batch_sizes", f"known: {sizes}")
        known = [f"{arm}/{n}" for arm in self.arms for n in self.batch_sizes]
        for cell in self.search.repeat:
            if cell not in known:
                raise Refused("search/repeat", cell, "is no cell of this spec", nearest(cell, known))
        if len(set(self.batch_sizes)) != len(self.batch_sizes):
            raise Refused("batch_sizes", list(self.batch_sizes), "a batch size stands twice", "name each once")
        return self

    def dump(self) -> str:
        """The resolved spec as YAML; `parse` of it gives the same spec."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def parse(text: str, source: str, overrides: Sequence[str] = ()) -> Spec:
    """The spec in `text`, with `KEY=VALUE` overrides. Raises Refused."""
    tree = _load_yaml(text, source)
    if not isinstance(tree, dict):
        raise Refused(source, tree, "a spec is a mapping of keys to values", "see `study list` for examples")
    for override in overrides:
        tree = merge(tree, _override(override))
    try:
        return Spec.model_validate(tree)
    except ValidationError as error:
        raise explain(error) from None


def load(request: str, *, scale: str | None = None, overrides: Sequence[str] = ()) -> Spec:
    """The spec in the file `request`, or the built-in one of that name. `scale="small"`: its small twin."""
    path = Path(request)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        if scale is not None:
            raise Refused("--scale", scale, "only built-in specs have a small twin", "leave it out, or use --set")
        return parse(_read(path), str(path), overrides)
    name = f"{request}-{scale}" if scale else request
    if name not in builtin():
        field, given = ("--scale", scale) if scale and request in builtin() else ("SPEC", request)
        rule = f"there is no built-in spec {name!r}, nor such a file"
        raise Refused(field, given, rule, nearest(name, builtin()))
    return parse(_read(builtin()[name]), name, overrides)


def builtin() -> dict[str, Path]:
    """The built-in specs by name."""
    return {path.stem: path for path in sorted(Path(str(files("study") / "specs")).glob("*.yaml"))}


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is not text"
        raise Refused("SPEC", str(path), f"the file cannot be read ({reason})", "name a readable YAML file") from None


class _Loader(yaml.SafeLoader):
    """YAML without silently dropped keys."""


def _unique_keys(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    tree: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in tree:
            raise yaml.MarkedYAMLError("", None, f"the key {key!r} stands twice", key_node.start_mark)
        tree[key] = loader.construct_object(value_node, deep=True)
    return tree


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_keys)


def _load_yaml(text: str, source: str) -> Any:
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        where = f"{source}, line {error.problem_mark.line + 1}" if error.problem_mark else source
        raise Refused("SPEC", where, f"is not valid YAML ({error.problem})", "correct that line") from None
    except yaml.YAMLError as error:
        raise Refused("SPEC", source, f"is not valid YAML ({str(error).splitlines()[0]})", "correct it") from None


def _override(text: str) -> dict[str, Any]:
    """`a/b=1` → `{"a": {"b": 1}}`."""
    path, equals, value = text.partition("=")
    if not equals or not path:
        raise Refused(
            "--set",
            text,
            "KEY=VALUE is wanted, the key's parts joined by /",
            "for example --set search/trials=20",
        )
    tree = _load_yaml(value, f"--set {text}")
    for key in reversed(path.split("/")):
        tree = {key: tree}
    assert isinstance(tree, dict)
    return tree
