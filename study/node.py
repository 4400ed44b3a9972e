"""What a machine of a cluster has, asked of each before a study begins.

It imports nothing heavy, so that a node answers within seconds.
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from study.versions import PACKAGE
from trainables.errors import Refused


@dataclass(frozen=True)
class Facts:
    """Of this package, its version there, empty where it runs without having been installed; whether a file is seen."""

    package: str
    python: str
    sees: bool


def look(marker: str) -> Facts:
    """The facts of the machine where this runs; `marker`: a file that lies in the study's directory, or above it."""
    try:
        package = version(PACKAGE)
    except PackageNotFoundError:
        package = ""
    return Facts(package, platform.python_version(), os.path.exists(marker))


def strange(name: str, there: Facts | str, here: Facts, folder: str) -> Refused | None:
    """What refuses a study on the machine `name`, which has answered `there`, or failed with these words."""
    same = f"install {PACKAGE} {here.package} there, as it is here".replace("  ", " ")
    if isinstance(there, str):
        return Refused("--address", name, f"this package cannot be loaded there ({there})", same)
    if there.package and here.package and there.package != here.package:
        return Refused("--address", name, f"has {PACKAGE} {there.package}, and here it is {here.package}", same)
    if not there.sees:
        rule = f"the machine {name} does not see what lies in it, or above it, here"
        return Refused("--dir", folder, rule, "give one on storage that all machines see under the same path")
    return None
