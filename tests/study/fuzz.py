"""Specs that are wrong in one place, made from the models themselves, and what the platform may do with them.

Whatever a spec says, it is accepted or refused in one bounded line; and it is accepted only if each of its fields is
within its domain, which `within` reads from the fields' own declarations, independently of pydantic's validation.

    python -m tests.study.fuzz 2000     # with counts; another seed each time, or the one given second
"""

from __future__ import annotations

import random
import re
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import StringConstraints
from pydantic.fields import FieldInfo

from study import engine, yaml_core
from study.plan import cells, load_data
from study.pruners import pruners
from study.samplers import samplers
from study.scaling import PLUGINS
from study.spec import Baseline, Bound, Collection, Confirm, Resources, Search, Spec, load
from tests.study.simulation import curve, run
from trainables.config import TrialConfig
from trainables.errors import Refused
from trainables.plugins import OneOf
from trainables.settings import Settings

Path_ = tuple[str, ...]
Tree = dict[str, Any]
LONGEST_MESSAGE, SECONDS = 4000, 20

BASE: Tree = {
    "name": "own", "question": "Q?", "claims": [],
    "base": {
        "model": {"name": "alexnet", "width": 0.03}, "data": {"name": "digits", "train_size": 240, "validation": 0.25},
        "schedule": {"name": "constant"}, "epochs": 3,
    },
    "arms": {"a": {"optimizer": {"name": "sgd", "lr": 0.1}}},
    "batch_sizes": [16], "baseline": {"arm": "a", "batch_size": 16},
    "search": {"trials": 3, "window": 1, "constraints": {"train/loss": {"high": 9.0}}, "repeat": {}},
    "confirm": {"seeds": 1}, "resources": {"cpus": 1},
    "readings": {"r": {"precision": "bfloat16"}},
}  # fmt: skip
COLLECTION: Tree = {"name": "own", "question": "Q?", "studies": ["smoke"], "claims": ["figure-6"]}
NEEDED: dict[str, Any] = {  # of plug-ins, what has no default
    "lr": 0.1, "gamma": 0.01, "p": 0.3, "epochs": 2, "batch_size": 16, "factor": 2.0, "every": 1, "sigma": 0.01,
    "percent": 10.0,
}  # fmt: skip


@dataclass(frozen=True)
class Site:
    """A field: where it stands in a spec that is valid with it, what it is, and the names of all that stand there."""

    path: Path_
    field: FieldInfo
    tree: Tree
    names: frozenset[str]


def sites() -> list[Site]:
    """Every field that a spec or a collection may state, of every plug-in that is registered."""
    found = [*_of(Spec, (), BASE), *_of(Collection, (), COLLECTION)]
    for model, at in ((Search, "search"), (Confirm, "confirm"), (Resources, "resources"), (Baseline, "baseline")):
        found += _of(model, (at,), BASE)
    found += _of(Bound, ("search", "constraints", "train/loss"), BASE)
    own = ("epochs", "micro_batch", "precision")
    found += [site for site in _of(TrialConfig, ("base",), BASE) if site.path[-1] in own]
    for kind, registry in {**PLUGINS, "sampler": samplers, "pruner": pruners}.items():
        for name in registry.names():
            if name != "cifar10":  # its files may be missing
                found += _of(registry.get(name), *_with_plugin(kind, name, registry.get(name)))
    return found


def _of(model: type[Settings], path: Path_, tree: Tree) -> Iterator[Site]:
    fields = model.model_fields
    return (Site((*path, name), field, tree, frozenset(fields)) for name, field in fields.items())


def _with_plugin(kind: str, name: str, model: type[Settings]) -> tuple[Path_, Tree]:
    """Where the plug-in stands, in a spec that is valid with it."""
    tree = deepcopy(BASE)
    path: Path_ = {
        "optimizer": ("arms", "a", kind), "sampler": ("search", kind), "pruner": ("search", kind),
        "trick": ("base", kind, name), "probe": ("base", kind, name),
    }.get(kind, ("base", kind))  # fmt: skip
    options = {key: NEEDED[key] for key, field in model.model_fields.items() if field.is_required() and key in NEEDED}
    if kind not in ("trick", "probe"):
        options["name"] = name
    below = at(tree, path[:-1], make=True)
    below[path[-1]] = {**(below.get(path[-1], {}) if kind == "data" else {}), **options}
    if name in ("gradient_law", "radius_law"):
        tree["base"]["micro_batch"] = 4  # which it averages up
    if kind == "sampler" and not samplers.get(name).constrained:
        tree["search"]["constraints"] = {}
    if kind == "sampler" and samplers.get(name).discrete:
        tree["search"]["trials"] = 0
        tree["base"]["optimizer"] = {}
    return path, tree


def at(tree: Any, path: Path_, make: bool = False) -> Any:
    """What stands there, with empty mappings on the way if `make`."""
    for key in path:
        tree = tree.setdefault(key, {}) if make else tree[key]
    return tree


# Values

ABSURD: list[Any] = [
    True, False, None, "", "x", "true", "1", "1e-3", [], {}, [1], [True], {"a": 1}, [[]], 0, 1, -1, 2, 3, 0.5, 1.5,
    -0.0, 1e-5, 1e-45, 1e-300, 5e-324, 1e38, 1e39, 1e300, -1e300, 1.7e308, float("inf"), float("nan"), 10**3, 10**6,
    10**9, 10**12, 2**31, 2**53 + 1, 2**63, 10**30, "a/b", "a b", "ü", "\x1b[31m", "x" * 5000, "../..", "report",
    "Default", "http://me:pw@host", {"low": 1, "high": 0}, {"low": 0.1, "high": 0.2}, {"low": -1, "high": 1e300},
    {"choices": []}, {"choices": [1, 1]}, {"choices": [True, "x", 1e300]}, {"value": 1e300, "at": 1, "scale": "linear"},
    {"value": 1, "at": 0, "scale": "linear"}, {"value": 2, "at": 16, "scale": "power", "exponent": 1e9},
    {"low": float("nan"), "high": 1}, {"low": True, "high": 2}, {"low": 1, "high": 2, "log": "x"}, {"name": "nothing"},
]  # fmt: skip


def edges(field: FieldInfo) -> list[Any]:
    """The ends of the field's domain, their neighbours, and its named values, one of them misspelt."""
    found: list[Any] = []
    for rule in _rules(field):
        for end in (getattr(rule, key, None) for key in ("ge", "gt", "le", "lt", "min_length")):
            if isinstance(end, int | float):
                found += [end, end - 1, end + 1, float(end), end - 1e-9, end + 1e-9, -end, str(end)]
    for name in (each for kind in _leaves(field.annotation) for each in get_args(kind) if get_origin(kind) is Literal):
        found += [name, f"{name}x", [name], {"name": name}]
    return found


def _rules(field: FieldInfo) -> list[Any]:
    below = [each for kind in _leaves(field.annotation) for each in getattr(kind, "__metadata__", ())]
    return _flat([*field.metadata, *below])


def _flat(metadata: Iterable[Any]) -> list[Any]:
    return [rule for each in metadata for rule in (each.metadata if isinstance(each, FieldInfo) else [each])]


def _leaves(annotation: Any) -> Iterator[Any]:
    yield annotation
    if get_origin(annotation) is not Literal:
        for each in get_args(annotation):
            yield from _leaves(each)


# Domains


def within(kind: Any, rules: list[Any], value: Any) -> bool | None:
    """Whether the value is in the domain that a field's annotation and metadata declare; None where they do not say."""
    origin = get_origin(kind)
    if origin is Annotated:
        inner, *more = get_args(kind)
        return within(inner, [*rules, *_flat(more)], value)
    if origin in (Union, UnionType):
        each = [within(one, rules, value) for one in get_args(kind)]
        return True if True in each else None if None in each else False
    if origin is Literal:
        return any(value == one and isinstance(value, type(one)) for one in get_args(kind))
    if origin in (tuple, dict):
        return _within_several(kind, rules, value)
    if kind in _SCALARS:
        return _SCALARS[kind](value) and all(_keeps(rule, value) for rule in rules)
    return None


def _within_several(kind: Any, rules: list[Any], value: Any) -> bool | None:
    if any(isinstance(rule, OneOf) for rule in rules):
        return None
    if not isinstance(value, Mapping if get_origin(kind) is dict else list):
        return False
    if not all(_keeps(rule, value) for rule in rules):
        return False
    inside = [within(get_args(kind)[-1 if get_origin(kind) is dict else 0], [], each)
              for each in (value.values() if isinstance(value, Mapping) else value)]  # fmt: skip
    return False if False in inside else None if None in inside else True


def _number(value: Any, whole: bool) -> bool:
    """A number that float32 has, or text that spells one, as version 0.1 stored it."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return False
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return False
    if whole:
        return isfinite(number) and number % 1 == 0 and abs(number) <= 2**53
    return isfinite(number) and (number == 0 or 1.1e-38 < abs(number) < 3.5e38)


TRUTHS = ("true", "false", "yes", "no", "on", "off", "1", "0", "1.0", "0.0", "-0.0", "t", "f", "y", "n")
_SCALARS: dict[Any, Callable[[Any], bool]] = {
    int: lambda value: _number(value, whole=True),
    float: lambda value: _number(value, whole=False),
    bool: lambda value: str(value).lower() in TRUTHS,
    str: lambda value: isinstance(value, str),
    NoneType: lambda value: value is None,
}  # fmt: skip


def _keeps(rule: Any, value: Any) -> bool:
    """Whether the value keeps to one rule of a field's metadata; rules of another kind are not ours to judge."""
    if isinstance(rule, StringConstraints):
        long_enough = rule.min_length is None or len(value) >= rule.min_length
        return long_enough and (rule.pattern is None or bool(re.search(str(rule.pattern), value)))
    if isinstance(rule, annotated_types.MinLen):
        return len(value) >= rule.min_length
    bounds = annotated_types.Ge | annotated_types.Gt | annotated_types.Le | annotated_types.Lt
    if value is None or not isinstance(rule, bounds):
        return True
    number = float(value)
    return all(
        getattr(rule, key, None) is None or holds(number, float(getattr(rule, key)))
        for key, holds in {
            "ge": float.__ge__, "gt": float.__gt__, "le": float.__le__, "lt": float.__lt__
        }.items()
    )  # fmt: skip


RANGES = [{"low", "high"}, {"low", "high", "log"}, {"choices"}]
RANGES += [{"value", "at", "scale"}, {"value", "at", "scale", "exponent"}]


def allowed(site: Site, value: Any) -> bool | None:
    """Whether a spec may have this value at the site; None where its own declaration does not say."""
    trial = site.path[0] in ("base", "arms") and len(site.path) > 1
    if trial and isinstance(value, Mapping) and set(value) in RANGES:
        inner = value.get("choices", [value.get("low", 0), value.get("high", 0)])
        bad = [each for each in inner if within(site.field.annotation, site.field.metadata, each) is False]
        return False if bad and "value" not in value else None
    return within(site.field.annotation, site.field.metadata, value)


# Mutations


@dataclass(frozen=True)
class Mutant:
    """A spec that differs from a valid one in one place; `wrong` where it must be refused."""

    tree: Tree
    kind: str
    site: Site
    value: Any
    wrong: bool
    scale: str | None = None  # small where the spec's small section holds what was done


def mutant(site: Site, draw: random.Random) -> Mutant:
    """The site's spec with something done to the site."""
    kind = draw.choice(["absurd", "absurd", "edge", "edge", "key", "level"])
    tree = deepcopy(site.tree)
    if kind == "key":
        return _misspelt(tree, site, draw)
    if kind == "level":
        return _moved(tree, site, draw)
    parent, key, ends = at(tree, site.path[:-1], make=True), site.path[-1], edges(site.field)
    value = draw.choice(ends if kind == "edge" and ends else ABSURD)
    if isinstance(value, float) and draw.random() < 0.2:
        value = value * (1 + draw.choice([-1, 1]) * 2**-52)  # a neighbour
    wrong = allowed(site, value) is False
    if draw.random() < 0.15 and site.tree is not COLLECTION and site.path[0] != "name" and value is not None:
        tree["small"] = {}
        at(tree["small"], site.path[:-1], make=True)[key] = value
        return Mutant(tree, kind, site, value, wrong and not isinstance(value, Mapping), "small")
    parent[key] = value
    return Mutant(tree, kind, site, value, wrong)


def _misspelt(tree: Tree, site: Site, draw: random.Random) -> Mutant:
    """A key that there is none of: a letter more, less or twice, another case, a number, a slash."""
    parent, key = at(tree, site.path[:-1], make=True), site.path[-1]
    others = [f"{key}s", key[:-1], key.upper(), f" {key}", "", f"{key}/{key}", key.replace("_", "-"), 3]
    other: Any = draw.choice(others)
    parent[other] = parent.pop(key, 1)
    return Mutant(tree, "key", site, other, other not in site.names | {"extends", "small", "scales"})


def _moved(tree: Tree, site: Site, draw: random.Random) -> Mutant:
    """Structure one level off: the value in a list or a mapping, its content in its place, or its mapping left out."""
    parent, key = at(tree, site.path[:-1], make=True), site.path[-1]
    value = parent.get(key, 1)
    content = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else [value]
    inner = next(iter(content), None)
    moved = draw.choice([[value], {key: value}, {"name": value}, inner, [[value]], {"": value}])
    if len(site.path) > 1 and draw.random() < 0.3:
        at(tree, site.path[:-2])[site.path[-2]] = value
        return Mutant(tree, "level", site, value, False)
    parent[key] = moved
    return Mutant(tree, "level", site, moved, allowed(site, moved) is False)


# Judgement


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant: accepted, refused with this line, or the fault that it shows."""

    accepted: bool
    said: str = ""
    fault: str = ""


def judged(mutant: Mutant, folder: Path, known: dict[str, Any]) -> Verdict:
    """Read it as a file, or as a tree in Python where YAML has no such key; plan it, and search without training."""
    before = signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(SECONDS)
    try:
        _use(mutant, folder, known)
    except Refused as refused:
        said = str(refused)
        return Verdict(False, said, f"a message of {len(said)} characters" if len(said) > LONGEST_MESSAGE else "")
    except Exception as error:
        return Verdict(False, "", f"{type(error).__name__}: {error}\n{traceback.format_exc(limit=-4)}")
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    return Verdict(True, fault="accepted" if mutant.wrong else "")


def _too_long(*_: object) -> None:
    raise TimeoutError(f"no answer within {SECONDS} s")


def _use(mutant: Mutant, folder: Path, known: dict[str, Any]) -> None:
    file = folder / "spec.yaml"
    file.write_text(yaml_core.dump(mutant.tree))
    spec = load(str(file), scale=mutant.scale)
    if isinstance(spec, Collection):
        spec.load()
        return
    plan = cells(spec)
    load_data(plan, known)
    engine.check(spec.resources, engine.Machine())
    if mutant.site.path[0] == "search" and spec.search.trials < 100 and sum(cell.repeat for cell in plan) < 9:
        journal = folder / "journal"
        journal.unlink(missing_ok=True)
        run(journal, spec, 2, random.Random(0), follow=_curve)


def _curve(assignment: Any) -> list[tuple[int, dict[str, float]]]:
    return [(epoch, {**row, "train/accuracy": 0.5}) for epoch, row in curve(assignment)]


def main(count: int, seed: int) -> int:
    """Prints what became of so many mutants; returns the number of faults."""
    draw, known, counts, faults = random.Random(seed), {}, Counter[str](), Counter[str]()
    everywhere = sites()
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(count):
            each = mutant(draw.choice(everywhere), draw)
            verdict = judged(each, Path(folder), known)
            counts[f"{each.kind}: {'accepted' if verdict.accepted else 'refused'}"] += 1
            if verdict.fault:
                faults[f"{'/'.join(each.site.path)} ({each.kind}) = {each.value!r:.200}: {verdict.fault}"] += 1
    for fault, times in faults.items():
        print(f"{times} × {fault}")
    print(f"seed {seed}: {count} specs over {len(everywhere)} fields, {sum(faults.values())} faults")
    for kind, times in sorted(counts.items()):
        print(f"  {kind} {times}")
    return sum(faults.values())


if __name__ == "__main__":
    words = [int(word) for word in sys.argv[1:]]
    sys.exit(min(1, main(*(words[:1] or [2000]), *(words[1:2] or [random.randrange(10**6)]))))
