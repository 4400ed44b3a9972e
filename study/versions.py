"""Which versions took part in a study: of this package, and of what its results may depend on.

A study goes on with whatever is installed. It then says so once, and its store and its page name every version that
trained, as trials of two torch versions may differ in their last bits. What no version may do is read a store of a
later format (`study.schema.Identity.check`).
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version

from study.schema import Study

PACKAGE = "generalization-gap"
PACKAGES = (PACKAGE, "torch", "torchvision", "ray", "optuna", "mlflow", "numpy")

Versions = Mapping[str, str]  # by package, and of `python`


def installed() -> dict[str, str]:
    """The versions in this process; `unknown` for a package that runs without having been installed."""
    return {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def recorded(study: Study) -> tuple[Versions, ...]:
    """The versions that trained in a study so far, from first to last; of format 1, those of its last run alone."""
    if study.versions:
        return study.versions
    last = {name: str(study.environment[name]) for name in ("python", *PACKAGES) if name in study.environment}
    return (last,) if last else ()


def joined(former: Sequence[Versions], now: Versions) -> tuple[Versions, ...]:
    """The former versions, and those that train from now on where they are others."""
    return tuple(former) if former and former[-1] == now else (*former, now)


def changes(versions: Sequence[Versions]) -> dict[str, str]:
    """What changed in the course of a study, by package: `{"torch": "2.11.0, then 2.14.1"}`."""
    names = dict.fromkeys(name for each in versions for name in each)
    courses = {name: _course([each.get(name, "an unrecorded version") for each in versions]) for name in names}
    return {name: ", then ".join(course) for name, course in courses.items() if len(course) > 1}


def _course(versions: Sequence[str]) -> list[str]:
    """Without repetitions of what went before."""
    return [each for at, each in enumerate(versions) if at == 0 or each != versions[at - 1]]


def news(former: Sequence[Versions], now: Versions) -> str:
    """A sentence on what has changed since the study last trained; empty where nothing has."""
    if not former or not (changed := changes([former[-1], now])):
        return ""
    told = "; ".join(f"{name} {course}" for name, course in changed.items())
    return f"versions have changed since this study last trained ({told}); its page names those that took part"
