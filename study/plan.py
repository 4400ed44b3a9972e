"""The plan: a spec's arms × batch sizes = cells, each with what is fixed and what is searched."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite, prod
from typing import Any, Literal

from pydantic import ValidationError

from search_spaces import Choice, Float, Range, spaces
from study.cell_name import RECORD, CellName
from study.memory import give_back
from study.scaling import Scaled, is_scaled, scaled, whole
from study.seeds import SEARCH_SEEDS
from study.spec import Spec
from study.transfer import KEY, Source
from trainables.config import TrialConfig
from trainables.data import Data, Splits
from trainables.errors import Refused, explain, together
from trainables.settings import nearest
from trainables.train import METRICS, check_batch_sizes
from trainables.tree import flatten, merge, unflatten

Phase = Literal["search", "confirm"]
MOST_COMBINATIONS = 10_000


@dataclass(frozen=True)
class Cell:
    """An arm at a batch size in a reading. `fixed` and `space` are keyed as everywhere (`optimizer/gamma`).

    A `repeat` above 0 is another, independent search of the same cell: it separates search luck from seed luck. A cell
    with a `source` searches nothing: it waits for that cell's search to end, and takes what it found.
    """

    arm: str
    batch_size: int
    fixed: Mapping[str, Any]
    space: Mapping[str, Range]
    repeat: int = 0
    reading: str = RECORD
    source: Source | None = None

    @property
    def name(self) -> str:
        """`sgd/32`, or as `study.cell_name` says."""
        return str(CellName(self.arm, self.batch_size, self.reading, self.repeat))

    @property
    def where(self) -> str:
        """Where the spec states it, for messages."""
        return f"arms/{self.arm}" if self.reading == RECORD else f"readings/{self.reading}/arms/{self.arm}"

    @property
    def open(self) -> Mapping[str, Range]:
        """What a search decides, here or in the source."""
        return self.source.space if self.source else self.space

    @property
    def settled(self) -> dict[str, Any]:
        """The parameters that are the same in all its trials, under the spec's keys."""
        return {key: value for key, value in self.typical.flat().items() if key not in {*self.open, "seed"}}

    @property
    def biased(self) -> str:
        """What makes early curves mislead about the end, so that pruning would be unfair; empty if nothing does."""
        warm = "schedule/warmup_epochs"
        reasons = ["warm-up"] if warm in self.space or self.fixed.get(warm, 0) else []
        return ", ".join([*reasons, *self.typical.trick])

    def config(self, values: Mapping[str, Any], seed: int) -> TrialConfig:
        """The configuration of a trial with these `values` of a search. Raises Refused outside a domain."""
        own = self.source.taken(values, self.batch_size, self.fixed) if self.source else values
        try:
            return TrialConfig.model_validate(unflatten({**self.fixed, **own, "seed": seed}))
        except ValidationError as error:
            raise explain(error).under(self.where) from None

    @property
    def typical(self) -> TrialConfig:
        """The configuration in the middle of every range."""
        return self.config({key: range_.value(range_.centre()) for key, range_ in self.open.items()}, seed=0)


@dataclass(frozen=True)
class Assignment:
    """A trial to run: its number in the cell's search, or the index of its confirm seed."""

    cell: Cell
    phase: Phase
    number: int
    config: TrialConfig

    @property
    def folder(self) -> str:
        """Where it lies below `trials/`."""
        return f"{self.cell.name}/{self.phase}-{self.number:04d}-{self.config.hash()[:8]}"


def search_seed(spec: Spec, number: int) -> int:
    """The training seed of search trial `number`, the same in every cell, never a confirm seed."""
    return SEARCH_SEEDS * (1 + spec.search.seed) + number


def cells(spec: Spec) -> list[Cell]:
    """Every cell of the spec: of record in its order, then of each reading, then repeats.

    Raises Refused for settings and ranges outside their domains, all of them at once.
    """
    plan: list[Cell] = []
    refused: dict[tuple[str, str], Refused] = {}  # by what is wrong below the arm: base's mistakes are told once
    for reading in (RECORD, *spec.readings):
        for arm in spec.arms:
            for n in spec.batch_sizes:
                if spec.has_cell(arm, n):
                    try:
                        plan.append(_cell(spec, arm, n, reading))
                    except Refused as whole:
                        for each in whole.apart():
                            refused.setdefault((each.field.partition(f"arms/{arm}/")[2], f"{each.value!r}"), each)
    if refused:
        raise together(refused.values())
    return plan + [
        replace(cell, repeat=number) for cell in plan for number in range(1, spec.search.repeat.get(cell.name, 1))
    ]


def chosen(plan: Sequence[Cell], asked: str | None) -> list[Cell]:
    """The cells of record, and of the readings `asked` for: all (None), `none`, or names joined by commas.

    Raises Refused for a reading that the plan does not have.
    """
    known = list(dict.fromkeys(cell.reading for cell in plan if cell.reading != RECORD))
    wanted = {None: known, "all": known, "none": []}.get(asked, (asked or "").split(","))
    remedy = f"all, none, or some of {', '.join(known)}" if known else "this spec has none; leave it out"
    for name in wanted:
        if name not in known:
            raise Refused("--readings", name, "is no reading of this spec", remedy)
    return [cell for cell in plan if cell.reading in (RECORD, *wanted)]


def readings_of(studies: Mapping[str, Spec], readings: str | None) -> dict[str, str | None]:
    """The readings asked of each study, those of the names that it has. Raises Refused for a name that none has."""
    if readings in (None, "all", "none"):
        return dict.fromkeys(studies, readings)
    names = str(readings).split(",")
    known = list(dict.fromkeys(name for spec in studies.values() for name in spec.readings))
    for name in names:
        if name not in known:
            remedy = f"all, none, or some of {', '.join(known)}"
            raise Refused("--readings", name, "is no reading of these studies", remedy)
    return {
        study: ",".join(name for name in names if name in spec.readings) or "none" for study, spec in studies.items()
    }


def _tree(spec: Spec, arm: str, reading: str) -> dict[str, Any]:
    """The arm laid on the base, and the reading on both."""
    over = spec.readings.get(reading, {})
    common = {key: value for key, value in over.items() if key not in ("arms", "confirm")}
    (first, tree), *others = spec.lineage(arm)
    tree = merge(spec.base, tree)
    for _, own in others:
        tree = _laid(tree, own)
    tree = _laid(tree, common)
    for each in (first, *(name for name, _ in others)):
        tree = _laid(tree, over.get("arms", {}).get(each, {}))
    return tree


def _laid(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`merge`, but that another scale by batch size does not keep the exponent of the one below."""
    merged = merge(under, over)
    for path, _ in flatten(over):
        *parents, key = path.split("/")
        at, above = merged, over
        for parent in parents:
            at, above = at[parent], above[parent]
        if key == "scale" and "exponent" not in above:
            at.pop("exponent", None)
    return merged


def stated(spec: Spec) -> dict[str, Any]:
    """What the reading of record has for each leaf that another reading sets, by the path there.

    A leaf under `arms/ARM/` is that arm's, any other the baseline arm's.
    """
    paths = dict.fromkeys(path for over in spec.readings.values() for path, _ in flatten(over))
    found: dict[str, Any] = {}
    for path in paths:
        part, _, rest = path.partition("/")
        arm, key = rest.split("/", 1) if part == "arms" else (spec.baseline.arm, path)
        known = _known(spec, arm)
        keys = [key.removesuffix("scale") + each for each in ("scale", "exponent")] if key.endswith("/scale") else [key]
        found |= {path.removesuffix(key) + each: known[each] for each in keys if each in known}
    return found


def _known(spec: Spec, arm: str) -> dict[str, Any]:
    """Every leaf of the arm in the reading of record, at the baseline's batch size."""
    cell = _cell(spec, arm, spec.baseline.batch_size, RECORD)
    return {**dict(flatten(cell.typical.model_dump())), **dict(flatten(_tree(spec, arm, RECORD)))}


def _cell(spec: Spec, arm: str, n: int, reading: str) -> Cell:
    """The arm at batch size `n` in the reading. Raises Refused."""
    where = Cell(arm, n, {}, {}, reading=reading).where
    tree = _tree(spec, arm, reading)
    given, follows = _given(spec, tree, where, n)
    told = {key: str(value) for key, value in follows.items()}  # how what follows the batch size does so
    own = {key: value for key, value in given.items() if isinstance(value, Float | Choice)}
    fixed = {key: value for key, value in given.items() if key not in own}
    if source := _source(spec, arm, reading, own, fixed):
        cell = Cell(arm, n, fixed, {}, reading=reading, source=source)
        told |= {key: f"{source.cell}'s, {rule}" for key, rule in source.scale.items()}
    else:
        cell = Cell(arm, n, fixed, _space(spec, tree, where, n, given, own), reading=reading)
    repeats = spec.search.repeat.get(cell.name, 1)
    if repeats > 1 and not cell.space:
        raise Refused(f"search/repeat/{cell.name}", repeats, "nothing is searched there", "leave it out")
    try:
        _check_domains(cell)
    except Refused as refused:
        key = refused.field.removeprefix(f"{where}/")
        if key not in told:
            raise
        rule = f"{refused.rule}, at batch size {n} ({told[key]})"
        raise Refused(refused.field, refused.value, rule, "change its value, at or scale") from None
    _check_validation(spec, cell)
    _check_constraints(spec, cell)
    return cell


def _space(
    spec: Spec, tree: Mapping[str, Any], where: str, n: int, given: Mapping[str, Any], own: Mapping[str, Range]
) -> dict[str, Range]:
    """What the cell searches: the spec's `own` ranges, and the usual ones of what is not `given`. Raises Refused."""
    if own and not spec.search.trials:
        raise Refused(f"{where}/{next(iter(own))}", "a range", "search/trials is 0", "fix the value, or search")
    fixed = {key: value for key, value in given.items() if key not in own}
    ranges = {**_offered(spec, tree, where, n, given), **own}
    space = {key: range_ for key, range_ in ranges.items() if key not in fixed}
    _check_ranges(space, fixed, where)
    if spec.search.sampler.discrete:
        _check_choices(space, where, spec.search.sampler.name)
    return space


def _source(spec: Spec, arm: str, reading: str, own: Mapping[str, Range], fixed: Mapping[str, Any]) -> Source | None:
    """Where the arm's cells in the reading have what they do not fix from; `own` are the ranges that they state."""
    tuned = spec.tuned_at(arm)
    if tuned is None:
        return None
    found = _cell(spec, tuned.arm, tuned.batch_size, reading)
    where = Cell(arm, tuned.batch_size, {}, {}, reading=reading).where
    for key, range_ in own.items():
        if found.space.get(key) != range_:
            rule = f"this arm searches nothing: it has its values from {found.name}"
            raise Refused(f"{where}/{key}", "a range", rule, f"fix the value, or leave {KEY} out")
    if fixed["optimizer/name"] != found.fixed["optimizer/name"]:
        rule = f"its values are from {found.name}, which is {found.fixed['optimizer/name']}"
        raise Refused(f"{where}/optimizer/name", fixed["optimizer/name"], rule, "leave the name out")
    taken = {key: range_ for key, range_ in found.space.items() if key not in fixed}
    if not taken:
        rule = f"{found.name} searches nothing" + (" that this arm does not fix" if found.space else "")
        raise Refused(f"{where}/{KEY}", tuned.arm, f"{rule}, so there is nothing to take", "name an arm that searches")
    source = Source(found.name, tuned.batch_size, taken, tuned.scale)
    source.check(where)
    return source


def _given(spec: Spec, tree: Mapping[str, Any], where: str, n: int) -> tuple[dict[str, Any], dict[str, Scaled]]:
    """What the spec says of the arm, by key, at batch size `n`; and those of them that follow the batch size."""
    given = dict(_leaves(tree, where))
    if "optimizer/name" not in given:
        raise Refused(f"{where}/optimizer/name", None, "an arm has an optimizer", "add optimizer: {name: …}")
    given |= {"batch_size": n, "threads": spec.resources.cpus}
    follows = {key: value for key, value in given.items() if isinstance(value, Scaled)}
    return given | {key: value.at_size(n, whole(key, given)) for key, value in follows.items()}, follows


def _offered(spec: Spec, tree: Mapping[str, Any], where: str, n: int, given: Mapping[str, Any]) -> dict[str, Range]:
    """The usual ranges of the arm's optimizer and tricks; none where nothing is searched."""
    plugins = (given["optimizer/name"], *tree.get("trick", {})) if spec.search.trials else ()
    names = [name for name in plugins if name in spaces]
    return {key: range_ for name in names for key, range_ in spaces.get(name)(n, _epochs(given, where)).items()}


def _check_ranges(space: Mapping[str, Range], fixed: Mapping[str, Any], where: str) -> None:
    for key in space:
        inside = {path.removeprefix(f"{key}/"): value for path, value in fixed.items() if path.startswith(f"{key}/")}
        if inside:
            remedy = "a range is {low: …, high: …, log: true} or {choices: [ … ]}"
            raise Refused(f"{where}/{key}", inside, "is neither a value nor a range", remedy)
        if key.startswith("data/") and key != "data/augment":
            raise Refused(f"{where}/{key}", "a range", "the data are the same for every trial of a cell", "fix it")


def _check_choices(space: Mapping[str, Range], where: str, sampler: str) -> None:
    """Raises Refused where a sampler that tries every combination would meet a range of numbers, or too many."""
    for key, range_ in space.items():
        if isinstance(range_, Float):
            rule = f"the sampler {sampler} tries every combination, and a range of numbers has no end of them"
            remedy = "fix it, or write {choices: [ … ]}"
            raise Refused(f"{where}/{key}", f"from {range_.ends()[0]:g} to {range_.ends()[1]:g}", rule, remedy)
    combinations = prod(len(range_.choices) for range_ in space.values() if isinstance(range_, Choice))
    if combinations > MOST_COMBINATIONS:
        rule = f"a grid has at most {MOST_COMBINATIONS:,} combinations"
        raise Refused(where, combinations, rule, "offer fewer choices, or use another sampler")


def _epochs(given: Mapping[str, Any], where: str) -> int:
    epochs = given.get("epochs")
    if isinstance(epochs, bool) or not isinstance(epochs, int | float) or epochs < 1 or epochs % 1:
        raise Refused(f"{where}/epochs", epochs, "a whole number of at least 1 is wanted", "set base/epochs")
    return int(epochs)  # 1e2 is a hundred


def _check_domains(cell: Cell) -> None:
    """Both ends of every range must be values that the trial accepts."""
    middle = {key: range_.value(range_.centre()) for key, range_ in cell.open.items()}
    for key, range_ in cell.open.items():
        within = [range_.low + 0.381966 * (range_.high - range_.low)] if isinstance(range_, Float) else []
        for end in (*range_.ends(), *map(range_.value, within)):  # within: a field of whole numbers has no ranges
            try:
                cell.config({**middle, key: end}, seed=0)
            except Refused as refused:
                if not refused.field.endswith(key):
                    raise
                inside = f"a search range at batch size {cell.batch_size} leaves the field's domain ({refused.rule})"
                raise Refused(refused.field, refused.value, inside, "narrow the range") from None
    cell.config(middle, seed=0)


def _check_validation(spec: Spec, cell: Cell) -> None:
    if spec.search.trials and cell.space and cell.typical.data.validation == 0:
        raise Refused(
            "data/validation", 0, "the search chooses by validation accuracy",
            "hold out a fraction such as 0.2, or fix every value and set search/trials: 0",
        )  # fmt: skip


def _check_constraints(spec: Spec, cell: Cell) -> None:
    """Raises Refused for a constraint on a metric that no trial of the cell can report.

    What a probe calls its metrics is known when the first trial has ended: see `Work`.
    """
    probes = [f"probe/{name}/" for name in cell.typical.probe]
    for key in spec.search.constraints if cell.space else ():
        if key not in METRICS and not any(key.startswith(probe) and key != probe for probe in probes):
            known = [*METRICS, *(f"{probe}…" for probe in probes)]
            raise Refused("search/constraints", key, f"{cell.where} reports no such metric", nearest(key, known))


def _leaves(tree: Mapping[str, Any], where: str) -> Iterable[tuple[str, Any]]:
    """The tree's leaves by path, each `{low, high, log}` or `{choices}` a range, each `{value, at, scale}` a Scaled."""

    def ranged(at: Any, path: str) -> Any:
        if not isinstance(at, Mapping):
            return at
        if {"low", "high"} <= set(at) <= {"low", "high", "log"}:
            return _own_range(at, path)
        if is_scaled(at):
            return scaled(at, path)
        if set(at) == {"choices"} and isinstance(at["choices"], list) and at["choices"]:
            return _own_choice(at["choices"], path)
        return {key: ranged(value, f"{path}/{key}") for key, value in at.items()}

    return flatten(ranged(tree, where))


def _own_choice(given: Sequence[Any], path: str) -> Choice:
    """The choices. Raises Refused."""
    known: set[Any] = set()
    for each in given:
        if isinstance(each, Mapping):
            raise Refused(path, each, "a choice is a single value", "name the key that is searched, as schedule/name")
        mark = json.dumps(each) if isinstance(each, list) else each
        if mark in known:
            raise Refused(path, each, "stands twice among the choices", "name each once")
        known.add(mark)
    return Choice(tuple(given))


def _own_range(given: Mapping[str, Any], path: str) -> Float:
    """`{low, high, log}` as a range. Raises Refused."""
    example = "for example {low: 0.01, high: 1, log: true}"
    try:
        low, high = (float(given[end]) for end in ("low", "high"))
    except (TypeError, ValueError, OverflowError):
        raise Refused(path, dict(given), "low and high are numbers", example) from None
    if bool in (type(given["low"]), type(given["high"])) or not (isfinite(low) and isfinite(high)):
        raise Refused(path, dict(given), "low and high are finite numbers", example)
    log = given.get("log", False)
    if not isinstance(log, bool):
        raise Refused(f"{path}/log", log, "is true or false", example)
    if not low < high or (log and low <= 0):
        raise Refused(path, dict(given), "low is below high, and above 0 if log", "correct the range")
    return Float(low, high, log)


def load_data(
    plan: Iterable[Cell], known: dict[str, Splits] | None = None, missing: dict[str, Refused] | None = None
) -> dict[str, Splits]:
    """Each data set that the cells use, once, by `data_key`; what is `known` is not read again, and grows.

    Where the files of one are not here, and it is to be priced alone, noise stands in for it, and `missing` takes its
    name and the reason.

    Raises Refused for a batch larger than the split.
    """
    known = {} if known is None else known
    loaded: dict[str, Splits] = {}
    before = len(known)
    for cell in plan:
        config = cell.typical
        key = data_key(config)
        if key not in known:
            known[key] = _splits(config.data, missing)
        loaded[key] = known[key]
        if cell.space and not len(loaded[key].validation):
            raise Refused(
                f"{cell.where}/data/validation", config.data.validation,
                "leaves no image for the search to choose by", "hold out a fraction such as 0.2",
            )  # fmt: skip
        try:
            check_batch_sizes(config, len(loaded[key].train))
        except Refused as refused:
            raise refused.under(cell.where) from None
    if len(known) > before:  # a subset was cut out of a whole data set
        give_back()
    return loaded


def _splits(data: Data, missing: dict[str, Refused] | None) -> Splits:
    try:
        return data.splits()
    except Refused as refused:
        blank = data.blank() if missing is not None and refused.field == "data/name" else None
        if missing is None or blank is None:
            raise
        missing[data.name] = refused
        return data.splits(blank)


def data_key(config: TrialConfig) -> str:
    """Equal for configurations that read the same splits."""
    return json.dumps(config.data.model_dump(exclude={"augment", "normalisation"}))
