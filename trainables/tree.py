"""Nested mappings, as specs are: their leaves by path, and one laid on another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of a nested mapping by path, `{"a": {"b": 1}}` → `("a/b", 1)`; below the top, `{}` is a leaf too."""
    for key, value in tree.items():
        if isinstance(value, Mapping) and (value or not prefix):
            yield from flatten(value, f"{prefix}{key}/")
        else:
            yield prefix + key, value


def unflatten(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `flatten`."""
    tree: dict[str, Any] = {}
    for path, value in leaves.items():
        *parents, key = path.split("/")
        at = tree
        for parent in parents:
            at = at.setdefault(parent, {})
        at[key] = value
    return tree


def merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid on `under`, at any depth. A different `name` starts that mapping afresh: it is another plug-in."""
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            other = "name" in value and value["name"] != below.get("name", value["name"])
            merged[key] = dict(value) if other else merge(below, value)
        else:
            merged[key] = value
    return merged
