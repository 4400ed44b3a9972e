"""The built-in specs in groups, for `study list`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from study import sources
from study.sources import Tree, builtin

FIRST = ("quickstart", "cifar10", "optimizers", "curvature", "smoke", "paper", "beyond")


@dataclass(frozen=True)
class Entry:
    """A line of the list; `small`: it has a twin for a small machine."""

    name: str
    question: str
    small: bool


def catalogue() -> list[tuple[str, list[Entry]]]:
    """Each heading with its specs: those of no collection, then each collection with its studies and what extends them.

    Questions are read, nothing is validated.
    """
    own = {name: sources.tree(sources.read(path), name) for name, path in builtin().items()}
    trees = {name: sources.extended(tree, builtin()[name]) for name, tree in own.items()}
    claims = {name: set(tree.get("claims", ())) for name, tree in trees.items()}
    groups: list[tuple[str, list[Entry]]] = []
    left = set(own)
    for name in _sorted(set(trees)):
        tree = trees[name]
        if not tree.get("studies"):
            continue
        member = {one for one in left if {one, own[one].get("extends")} & set(tree["studies"])}
        member |= {one for one in left - member if "studies" in own[one] and claims[one] & claims[name]}
        member.discard(name)
        left -= member | {name}
        groups.append(
            (f"study run {name}", [_entry(name, tree), *(_entry(one, trees[one]) for one in _sorted(member))])
        )
    return [("", [_entry(one, trees[one]) for one in _sorted(left)]), *groups]


def _entry(name: str, tree: Tree) -> Entry:
    return Entry(name, str(tree.get("question", "")), "small" in sources.scales(tree) or bool(tree.get("studies")))


def _sorted(names: set[str]) -> list[str]:
    """figure-2 before figure-10."""

    def key(name: str) -> tuple[int, list[int | str]]:
        first = FIRST.index(name) if name in FIRST else len(FIRST)
        return first, [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]

    return sorted(names, key=key)
