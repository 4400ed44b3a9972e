"""Where specs come from: YAML files and built-in ones, what they extend, their scales, and `--set`.

Everything here works on plain mappings; `study.spec` says what they mean.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import reduce
from importlib.resources import files
from pathlib import Path
from typing import Any

from study import yaml_core
from trainables.errors import Refused
from trainables.settings import nearest
from trainables.tree import merge

Tree = dict[str, Any]
SHORT = "small"  # the scale whose section may also stand at the top of a spec
SUFFIXES = (".yaml", ".yml")
LARGEST = 200_000  # bytes of a spec's file; ours have some thousand
SPECS = Path(str(files("study") / "specs"))


def builtin() -> dict[str, Path]:
    """The built-in specs by name."""
    return {path.stem: path for path in sorted(SPECS.glob("*.yaml"))}


def extendable() -> dict[str, Path]:
    """What `extends` reaches by name: the built-in specs, and the settings that they share, such as `setting/laws`."""
    return builtin() | {f"setting/{path.stem}": path for path in sorted((SPECS / "setting").glob("*.yaml"))}


def find(request: str, scale: str | None, field: str = "SPEC") -> tuple[Path, str | None]:
    """The file `request`, or the built-in spec of that name, and at which scale: NAME-small is NAME at small.

    Raises Refused, about `field`.
    """
    path = Path(request)
    if path.suffix in SUFFIXES or os.path.isfile(path):  # not of Path, which raises for a name that is too long
        return path, scale
    plain, _, suffix = request.rpartition("-")
    name, scale = (plain, suffix) if request not in builtin() and plain in builtin() else (request, scale)
    if name not in builtin():
        rule = f"there is no built-in spec {name!r}, nor such a file"
        raise Refused(field, request, rule, nearest(name, builtin()))
    return builtin()[name], scale


def read(path: Path, field: str = "SPEC") -> str:
    """The file's text. Raises Refused, about `field`."""
    try:
        if os.path.exists(path) and not os.path.isfile(path):  # opening a pipe would wait for its writer
            raise Refused(field, str(path), "is no file", "name a readable YAML file")
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise Refused(field, str(path), f"has more than the {LARGEST:,} bytes of a spec", "name a YAML file")
        return content.decode()
    except Refused:
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "is not text"
        raise Refused(field, str(path), f"the file cannot be read ({reason})", "name a readable YAML file") from None


def tree(text: str, source: str) -> Tree:
    """The mapping that the YAML `text` of `source` holds, which a person wrote. Raises Refused."""
    return _mapping(yaml_core.parse(text, source), source)


def stored(text: str, source: str) -> Tree:
    """The mapping that a study's directory stores as `text`. Raises Refused."""
    return _mapping(yaml_core.parse_stored(text, source), source)


def _mapping(given: Any, source: str) -> Tree:
    """Raises Refused where it is none, without a word of the file: it may be anyone's."""
    if not isinstance(given, dict):
        raise Refused("SPEC", source, "a spec is a mapping of keys to values", "see `study list` for examples")
    return given


def extended(given: Tree, path: Path | None, chain: Sequence[str] = ()) -> Tree:
    """`given`, the content of `path`, laid on what it extends. Raises Refused, also for a circle."""
    if "extends" not in given:
        return given
    parent = given["extends"]
    if not isinstance(parent, str):
        raise Refused("extends", parent, "the name of a built-in spec or a file is wanted", nearest("", builtin()))
    below = extendable().get(parent) or _file_to_extend(path, parent)
    chain = (*chain, str(path.resolve()) if path else "")
    if str(below.resolve()) in chain:
        raise Refused("extends", parent, "the specs extend each other in a circle", "let one of them stand alone")
    under = extended(tree(read(below, "extends"), str(below)), below, chain)
    own = {key: value for key, value in plain(given).items() if key != "extends"}
    whole = laid({key: value for key, value in plain(under).items() if key != "name"}, own)
    sections = [scales(each) for each in (under, given)]
    merged = {
        name: reduce(merge, [each[name] for each in sections if name in each]) for each in sections for name in each
    }
    return {**whole, "scales": merged} if merged else whole  # their nulls take out keys of the whole


def _file_to_extend(path: Path | None, parent: str) -> Path:
    if Path(parent).suffix not in SUFFIXES and os.path.isfile(parent):
        rule = "is neither a built-in spec nor a YAML file"
        raise Refused("extends", parent, rule, f"a file to extend ends in {' or '.join(SUFFIXES)}")
    return find(str(beside(path, parent)), None, "extends")[0]


def beside(path: Path | None, request: str) -> Path | str:
    """A file that the spec at `path` names is looked for in the spec's own folder; a built-in name stays."""
    return path.parent / request if path and Path(request).suffix in SUFFIXES else request


def at_scale(given: Tree, scale: str) -> Tree | None:
    """`given` at this scale: NAME-SCALE, with the scale's section laid on the rest; None without a section."""
    section = scales(given).get(scale)
    if section is None:
        return None
    for key in ("name", "small", "scales", "extends"):
        if key in section:
            raise Refused(
                f"{where(scale)}/{key}", section[key], "is not set there", f"set {key} at the top of the spec"
            )
    return laid({**plain(given), "name": f"{given.get('name')}-{scale}"}, section, f"{where(scale)}/")


def scales(given: Tree) -> dict[str, Tree]:
    """The sections of the spec by scale: those below `scales`, and `small`. Raises Refused for what is no section."""
    sections = given.get("scales", {})
    if not isinstance(sections, Mapping):
        raise Refused(
            "scales", sections, "sections by name are wanted", "for example scales: {gpu: {base: {epochs: 3}}}"
        )
    if SHORT in sections and SHORT in given:
        raise Refused(SHORT, given[SHORT], "stands below scales, too", "state it once")
    found = dict(sections) | ({SHORT: given[SHORT]} if given.get(SHORT) is not None else {})
    for name, section in found.items():
        if not isinstance(section, Mapping):
            example = f"{where(name)}: {{base: {{epochs: 3}}}}"
            raise Refused(where(name), section, "a part of the spec is wanted", f"for example {example}")
    return found


def where(scale: str) -> str:
    """The path of a scale's section, for a message."""
    return SHORT if scale == SHORT else f"scales/{scale}"


def plain(given: Tree) -> Tree:
    """`given` without the sections of its scales."""
    return {key: value for key, value in given.items() if key not in ("scales", SHORT)}


def laid(under: Tree, over: Mapping[str, Any], where: str = "") -> Tree:
    """`over` laid on `under` at any depth; a key set to null is taken out. Raises Refused where there is none."""
    return _without_nulls(merge(under, over), under, over, where)


def _without_nulls(merged: Tree, under: Any, over: Mapping[str, Any], where: str) -> Tree:
    """`merged` without the keys that `over` sets to null. Raises Refused for one that `under` does not have."""
    kept = dict(merged)
    for key, value in over.items():
        below = under.get(key) if isinstance(under, Mapping) else None
        if isinstance(value, Mapping):
            kept[key] = _without_nulls(kept[key], below, value, f"{where}{key}/")
        elif value is None:
            if not isinstance(under, Mapping) or key not in under:
                rule = "null takes out a key, and there is none"
                raise Refused(f"{where}{key}", None, rule, "write {} for no options")
            del kept[key]
    return kept


def overridden(given: Tree, overrides: Sequence[str]) -> Tree:
    """`given` with each `KEY=VALUE` laid on it. Raises Refused."""
    for override in overrides:
        given = merge(given, _override(override))
    return given


def _override(text: str) -> Tree:
    """`a/b=1` → `{"a": {"b": 1}}`."""
    path, equals, value = text.partition("=")
    if not equals or not path:
        raise Refused(
            "--set",
            text,
            "KEY=VALUE is wanted, the key's parts joined by /",
            "for example --set search/trials=20",
        )
    if "." in path.partition("/")[0]:
        rule, meant = "the key's parts are joined by /", f"{path.replace('.', '/')}={value}"
        raise Refused("--set", text, rule, f"write --set {meant}")
    if path.count("/") >= yaml_core.DEEPEST:
        raise Refused("--set", text, "is nested too deeply", "a spec has some seven levels")
    given = yaml_core.parse(value, f"--set {text}")
    for key in reversed(path.split("/")):
        given = {key: given}
    assert isinstance(given, dict)
    return given
