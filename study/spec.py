"""A spec: a YAML file that says what a study asks and what it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, floor
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from study import sources, transfer, yaml_core
from study.cell_name import RECORD, CellName
from study.pruners import NoPruner, Pruner, pruners
from study.samplers import TPE, Sampler, samplers
from study.seeds import SEARCH_SEEDS
from study.sources import find
from trainables.config import MOST_CORES, TrialConfig
from trainables.errors import Refused, explain, masked
from trainables.plugins import OneOf, Registry
from trainables.settings import STORED, BatchSize, Settings, about, nearest

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
KEPT_FREE = (RECORD, "none", "all")  # words that a reading is not called by
EVERY_STORES = "Default"  # an experiment that MLflow makes in every store
FILES = {  # in the directory of a collection, or taken for a sign of a study's
    "collection.yaml", "collection.partial", "report", "spec.yaml", "spec.partial", "store.yaml", "store.partial",
    "optuna.journal", "mlflow.db", "artifacts", "trials", "trials.csv", "trials.parquet", "error.log",
}  # fmt: skip
ELSEWHERE = {
    "batch_size": "batch_sizes",
    "seed": "confirm/seeds and search/seed",
    "threads": "resources/cpus",
}


def _check_tree(given: Any, stored: bool, path: str = "") -> None:
    """Raises Refused for a key that is no text, for nesting without end, and for what nobody should find in a study.

    That is a password, for the store, the page and the directory have the spec; one that is `stored` there is spared.
    """
    if path.count("/") > yaml_core.DEEPEST:
        raise Refused(path, given, "is nested too deeply", "a spec has some seven levels")
    if isinstance(given, str) and not stored and masked(given) != given:
        remedy = 'leave it to the environment: README, "Compare runs", says how'
        raise Refused(path, given, "a spec is stored with its study, and a password would be with it", remedy)
    if isinstance(given, Mapping):
        for key, value in given.items():
            if not isinstance(key, str):
                raise Refused(f"{path}/{key}".strip("/"), value, "a key is text", "put the name in quotes")
            _check_tree(key, stored, path)
            _check_tree(value, stored, f"{path}/{key}".strip("/"))
    if isinstance(given, list | tuple):
        for at, each in enumerate(given):
            _check_tree(each, stored, f"{path}/{at}")


class Written(Settings):
    """What a person writes into a file: checked as a tree before anything else."""

    @model_validator(mode="before")
    @classmethod
    def _is_sound(cls, given: Any, info: ValidationInfo) -> Any:
        _check_tree(given, stored=info.context == STORED)
        return given


def _partial_config(given: Any) -> Any:
    """A part of a trial's configuration: known keys only, none that the spec states elsewhere."""
    if not isinstance(given, Mapping):
        raise Refused("", given, "a mapping is wanted", f"known: {', '.join(_SETTABLE)}")
    _check_keys(given)
    for key in given:
        if key in ELSEWHERE:
            raise Refused(str(key), given[key], "is not set here", f"use {ELSEWHERE[key]}")
        if key not in TrialConfig.model_fields:
            raise Refused(str(key), given[key], "unknown key", nearest(str(key), _SETTABLE))
    return {key: _section(key, value) for key, value in given.items()}


def _check_keys(given: Any) -> None:
    """Raises Refused for a key that would be taken for several."""
    for key, value in given.items() if isinstance(given, Mapping) else ():
        if "/" in str(key):
            raise Refused(str(key), value, "a key has no /", "nest it: {a: {b: 1}} in place of {a/b: 1}")
        _check_keys(value)


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
    if value == {} and key not in ("model", "data", "optimizer", "schedule"):  # it would pass as nothing stated
        raise Refused(key, value, "a value is wanted", "give one, or leave it out")
    return value


Partial = Annotated[dict[str, Any], BeforeValidator(_partial_config)]


def _arm(given: Any) -> Any:
    """A partial configuration, and beside it `tuned_at`: where the values are from that it does not search itself."""
    if not isinstance(given, Mapping) or transfer.KEY not in given:
        return _partial_config(given)
    own = _partial_config({key: value for key, value in given.items() if key != transfer.KEY})
    return {**own, transfer.KEY: transfer.tuned_at(given[transfer.KEY])}


Arm = Annotated[dict[str, Any], BeforeValidator(_arm)]


def _reading(given: Any) -> Any:
    """A partial configuration, and beside it `arms` (what holds for some arms alone) and `confirm` (its own seeds)."""
    if not isinstance(given, Mapping):
        raise Refused("", given, "a mapping is wanted", "for example kaiming: {model: {init: kaiming}}")
    reading = _partial_config({key: value for key, value in given.items() if key not in ("arms", "confirm")})
    arms = given.get("arms") or {}
    if not isinstance(arms, Mapping):
        raise Refused("arms", arms, "a mapping of arms is wanted", "for example arms: {sgd: {optimizer: {lr: 0.1}}}")
    for arm, part in arms.items():
        try:
            reading.setdefault("arms", {})[arm] = _partial_config(part)
        except Refused as refused:
            raise refused.under(f"arms/{arm}") from None
    if "confirm" in given:
        try:
            reading["confirm"] = Seeds.model_validate(given["confirm"]).model_dump()
        except ValidationError as error:
            raise explain(error).under("confirm") from None
        except Refused as refused:
            raise refused.under("confirm") from None
    if not reading:
        raise Refused("", dict(given), "changes nothing", "name what this reading sets, or leave it out")
    return reading


Reading = Annotated[dict[str, Any], BeforeValidator(_reading)]


claims: Registry[Any] = Registry("study.claims")


def _known_claim(name: str, info: ValidationInfo) -> str:
    """A claim's name; the claim itself is loaded by the report alone, which says so where it is not installed."""
    if name not in claims and info.context != STORED:
        raise Refused("", name, "none of the claims is called so", nearest(name, claims.names()))
    return name


def _each_once(names: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
    if len(set(names)) < len(names) and info.context != STORED:
        raise Refused("", list(names), "a claim stands twice", "name each once")
    return names


Claims = Annotated[
    tuple[Annotated[str, AfterValidator(_known_claim)], ...],
    AfterValidator(_each_once),
    about("", "claims that the report judges, in this order"),
]
Question = Annotated[str, StringConstraints(min_length=1)]


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

    @model_validator(mode="after")
    def _leaves_room(self, info: ValidationInfo) -> Self:
        if self.low is not None and self.high is not None and self.low > self.high and info.context != STORED:
            raise Refused("", {"low": self.low, "high": self.high}, "low is not above high", "correct the bounds")
        return self

    def excess(self, value: float) -> float:
        """By how much `value` breaks the bound; at most 0 where it keeps to it."""
        ends = [] if self.high is None else [value - self.high]
        ends += [] if self.low is None else [self.low - value]
        return max(ends)


class Search(Settings):
    """The search phase: its budget is the same for every cell."""

    trials: Annotated[int, about("", "search trials in each cell; 0: every value is fixed", ge=0)] = 0
    sampler: Annotated[Sampler, OneOf(samplers)] = TPE()
    pruner: Annotated[Pruner, OneOf(pruners)] = NoPruner()
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


class Seeds(Settings):
    """The fresh seeds on which each cell's best configuration is trained, the same ones in every cell."""

    seeds: Annotated[int, about("", "training runs of each cell on the test split", ge=1, le=SEARCH_SEEDS)] = 5


class Confirm(Seeds):
    """The confirm phase, and what counts as the same where arms are compared by it."""

    margin: Annotated[float, about("points", "test accuracies that differ by no more are the same", gt=0, le=100)] = 1.0


SMALLEST_SHARE = 1e-4  # of a GPU, as Ray counts them


class Resources(Settings):
    """What one trial occupies."""

    cpus: Annotated[int, about("", "CPU cores and threads a trial", ge=1, le=MOST_CORES)] = 1
    gpus: Annotated[float, about("", "GPUs a trial, fractions included", ge=0)] = 0.0

    @model_validator(mode="after")
    def _ray_can_share(self) -> Self:
        if 0 < self.gpus < SMALLEST_SHARE:
            rule = f"Ray shares a GPU out in parts of at least {SMALLEST_SHARE}"
            raise Refused("gpus", self.gpus, rule, "give a larger share, or 0")
        if self.gpus > 1 and self.gpus % 1:
            remedy = f"give {floor(self.gpus)}, {ceil(self.gpus)} or 0.5"
            raise Refused("gpus", self.gpus, "more than one GPU are whole ones", remedy)
        return self


class Spec(Written):
    """A whole study."""

    name: Name
    question: Question
    claims: Claims = ()
    base: Partial = {}
    arms: Annotated[dict[Name, Arm], about("", "an optimizer with its tricks", min_length=1)]
    batch_sizes: Annotated[tuple[BatchSize, ...], about("n", "batch sizes", unit="image", min_length=1)]
    baseline: Baseline
    search: Search = Search()
    confirm: Confirm = Confirm()
    resources: Resources = Resources()
    readings: Annotated[
        dict[Name, Reading], about("", "what the question's source leaves open, set otherwise: laid over base and arm")
    ] = {}

    @model_validator(mode="after")
    def _name_is_its_own(self) -> Self:
        if self.name == EVERY_STORES:
            raise Refused("name", self.name, "MLflow's own experiment is called so", "choose another")
        return self

    @model_validator(mode="after")
    def _readings_are_of_its_arms(self) -> Self:
        for name, reading in self.readings.items():
            if name in KEPT_FREE:
                raise Refused(f"readings/{name}", reading, "this name has a meaning of its own", "choose another")
            for arm in reading.get("arms", {}):
                if arm not in self.arms:
                    raise Refused(f"readings/{name}/arms", arm, "is no arm of this spec", nearest(arm, self.arms))
        return self

    @model_validator(mode="after")
    def _values_are_from_searches(self) -> Self:
        for arm in self.arms:
            if (tuned := self.tuned_at(arm)) is None:
                continue
            where = f"arms/{arm}/{transfer.KEY}"
            searching = [each for each in self.arms if transfer.KEY not in self.arms[each]]
            if tuned.arm not in self.arms:
                raise Refused(f"{where}/arm", tuned.arm, "is no arm of this spec", nearest(tuned.arm, searching))
            if tuned.arm not in searching:
                rule = "searches nothing itself: it has its values from another cell"
                raise Refused(f"{where}/arm", tuned.arm, rule, nearest(tuned.arm, searching))
            if tuned.batch_size not in self.batch_sizes:
                sizes = ", ".join(map(str, self.batch_sizes))
                raise Refused(f"{where}/batch_size", tuned.batch_size, "is none of batch_sizes", f"known: {sizes}")
        return self

    def tuned_at(self, arm: str) -> transfer.TunedAt | None:
        """Where the arm has its values from; None for one that searches, or fixes, its own."""
        given = self.arms[arm].get(transfer.KEY)
        return None if given is None else transfer.TunedAt.model_validate(given)

    def lineage(self, arm: str) -> list[tuple[str, dict[str, Any]]]:
        """What makes up the arm, each laid over the one before: the arm whose values it takes, and itself."""
        tuned = self.tuned_at(arm)
        own = {key: value for key, value in self.arms[arm].items() if key != transfer.KEY}
        return [*(self.lineage(tuned.arm) if tuned else ()), (arm, own)]

    def has_cell(self, arm: str, batch_size: int) -> bool:
        """Whether the arm has a cell at this batch size.

        All have but one that takes its values from the very batch size and sets nothing else: it would be that cell.
        """
        tuned = self.tuned_at(arm)
        if tuned is None or tuned.batch_size != batch_size:
            return True
        return len(self.arms[arm]) > 1 or any(arm in reading.get("arms", {}) for reading in self.readings.values())

    def confirm_seeds(self, reading: str) -> int:
        """Confirm trials of each cell in `reading`: the spec's number, unless the reading names its own."""
        own: int = self.readings.get(reading, {}).get("confirm", {}).get("seeds", self.confirm.seeds)
        return own

    def baseline_in(self, reading: str) -> str:
        """The name of the cell that every cell in `reading` is compared with."""
        return str(CellName(self.baseline.arm, self.baseline.batch_size, reading))

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
        if not self.has_cell(self.baseline.arm, self.baseline.batch_size):
            remedy = f"name {self.lineage(self.baseline.arm)[0][0]}"
            raise Refused(
                "baseline/arm", self.baseline.arm, "is no cell of its own where it has its values from", remedy
            )
        known = [f"{arm}/{n}" for arm in self.arms for n in self.batch_sizes]
        for cell in self.search.repeat:
            if cell not in known:
                raise Refused("search/repeat", cell, "is no cell of this spec", nearest(cell, known))
        if len(set(self.batch_sizes)) != len(self.batch_sizes):
            raise Refused("batch_sizes", list(self.batch_sizes), "a batch size stands twice", "name each once")
        return self

    def dump(self) -> str:
        """The resolved spec as YAML; `parse` of it gives the same spec."""
        return yaml_core.dump(self.model_dump(mode="json"))


class Collection(Written):
    """Studies that belong together: run one after another, on one page."""

    name: Name
    question: Question
    studies: Annotated[tuple[str, ...], about("", "built-in names, or files beside this one")]
    claims: Annotated[Claims, about("", "claims that need no study: drawn sketches")] = ()
    scale: str | None = None

    @model_validator(mode="after")
    def _holds_something(self) -> Self:
        if not self.studies and not self.claims:
            raise Refused("studies", [], "an empty collection has nothing to run or draw", "name its studies")
        return self

    def load(self, overrides: Sequence[str] = ()) -> dict[str, Spec]:
        """Its studies by name, each with the overrides. Raises Refused."""
        loaded: dict[str, Spec] = {}
        for at, request in enumerate(self.studies):
            find(request, self.scale, f"studies/{at}")
            try:
                study = load(request, scale=self.scale, overrides=overrides)
            except Refused as refused:
                raise refused.under(Path(request).stem) from None
            if isinstance(study, Collection):
                raise Refused(f"studies/{at}", request, "is a collection itself", "name its studies one by one")
            if study.name in FILES:
                rule = f"a collection's directory has a file called {study.name!r}"
                raise Refused(f"studies/{at}", request, rule, "give it another name")
            if study.name in loaded:
                raise Refused(f"studies/{at}", request, f"a second study called {study.name}", "give it another name")
            loaded[study.name] = study
        return loaded

    def dump(self, studies: Sequence[str]) -> str:
        """The collection as YAML, its `studies` by their resolved names."""
        tree = self.model_dump(mode="json", exclude={"scale"}) | {"studies": list(studies)}
        return yaml_core.dump(tree)


def parse(text: str, source: str) -> Spec:
    """The study whose resolved spec a directory stores as `text`: what `Spec.dump` wrote, if years ago. Raises Refused.

    A field that it lacks has its default. A rule that was made stricter since spares it: see `STORED`.
    """
    return _validated(Spec, sources.stored(text, source), context=STORED)


def parse_collection(text: str, source: str) -> Collection:
    """The collection that a directory stores as `text`: what `Collection.dump` wrote. Raises Refused."""
    return _validated(Collection, sources.stored(text, source), context=STORED)


def load(request: str, *, scale: str | None = None, overrides: Sequence[str] = ()) -> Spec | Collection:
    """What the file `request` holds, or the built-in spec of that name; with the section of `scale` laid on it.

    Raises Refused.
    """
    path, scale = find(request, scale)
    tree = sources.extended(sources.tree(sources.read(path), str(path)), path)
    return _collection(tree, path, scale) if "studies" in tree else _study(tree, scale, overrides)


def _study(tree: sources.Tree, scale: str | None, overrides: Sequence[str]) -> Spec:
    """Every scale is checked, whichever is asked for."""
    plain, known = sources.plain(tree), sources.scales(tree)
    if scale is None:
        for each in known:
            _validated(Spec, sources.at_scale(tree, each) or plain, sources.where(each))
        return _validated(Spec, sources.overridden(plain, overrides))
    scaled = sources.at_scale(tree, scale)
    if scaled is None:
        rule = f"the spec {tree.get('name')!r} has no {scale} section"
        remedy = f"it has {' and '.join(known)}" if known else "leave it out, or use --set"
        raise Refused("--scale", scale, rule, remedy)
    return _validated(Spec, sources.overridden(scaled, overrides))


def _collection(tree: sources.Tree, path: Path, scale: str | None) -> Collection:
    scaled = None
    if scale:
        scaled = sources.at_scale({**tree, "scales": {scale: {}, **sources.scales(tree)}}, scale)
    chosen = scaled or sources.plain(tree)
    collection = _validated(Collection, {**chosen, **({"scale": scale} if scale else {})})
    return collection.model_copy(
        update={"studies": tuple(str(sources.beside(path, each)) for each in collection.studies)}
    )


AnySpec = TypeVar("AnySpec", Spec, Collection)


def _validated(
    kind: type[AnySpec], tree: sources.Tree, under: str = "", context: Mapping[str, bool] | None = None
) -> AnySpec:
    try:
        return kind.model_validate(tree, context=context)
    except ValidationError as error:
        refused = explain(error)
        raise refused.under(under) if under else refused from None
