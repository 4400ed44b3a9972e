"""Two lists of versions for pip's option `-c`, each in a file beside this one. `make constraints` writes both.

`tested.txt` holds what is installed in the environment that runs this: every package that `pyproject.toml` leads to.
`lowest.txt` holds the lower bound of every requirement in `pyproject.toml`.

Both leave out torch and torchvision, with what only they need: which build is right (CPU, or which CUDA) depends on
the machine. `tested.txt` says in a comment which ones they were.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HERE = Path(__file__).parent
PROJECT = HERE.parent / "pyproject.toml"
TORCH = ("torch", "torchvision")


def requirements() -> list[Requirement]:
    """The requirements of the project and of its extras, but those that name the project itself."""
    project = tomllib.loads(PROJECT.read_text())["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    every = [Requirement(line) for lines in lists for line in lines]
    return [one for one in every if one.name != project["name"]]


def lowest() -> str:
    """The text of `lowest.txt`: a line `NAME==BOUND` for each requirement with a lower bound."""
    bounds = {
        f"{one.name}=={bound.version}"
        for one in requirements()
        for bound in one.specifier
        if bound.operator == ">=" and one.name not in TORCH
    }
    return _text("The lower bounds of pyproject.toml, for `make lowest`.", sorted(bounds, key=str.lower))


def tested() -> str:
    """The text of `tested.txt`: a line `NAME==VERSION` for each installed package that the project leads to."""
    pins = [f"{name}=={version(name)}" for name in sorted(_reached(requirements()))]
    torch = [f"# {name}=={version(name).partition('+')[0]}" for name in TORCH]
    return _text("The versions that the tests last passed with, for `make install`.", [*pins, *torch])


def _reached(wanted: Iterable[Requirement]) -> set[str]:
    """The names of the installed packages that the requirements lead to, directly or through others."""
    waiting = list(wanted)
    seen: set[tuple[str, frozenset[str]]] = set()
    names: set[str] = set()
    while waiting:
        one = waiting.pop()
        name = canonicalize_name(one.name)
        if name in TORCH or (key := (name, frozenset(one.extras))) in seen:
            continue
        seen.add(key)
        try:
            waiting += _needs(name, one.extras)
        except PackageNotFoundError:
            continue  # of an extra that is not installed here
        names.add(name)
    return names


def _needs(name: str, extras: set[str]) -> Iterator[Requirement]:
    """What an installed package requires here, with these extras of it."""
    for line in distribution(name).requires or ():
        one = Requirement(line)
        if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield one


def _text(title: str, lines: Iterable[str]) -> str:
    return "\n".join([f"# {title} Written by `make constraints`.", *lines, ""])


if __name__ == "__main__":
    (HERE / "lowest.txt").write_text(lowest())
    (HERE / "tested.txt").write_text(tested())
