"""Room for trials: what the machines have, against what a trial wants. A trial runs on one machine, whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from study.spec import Resources
from trainables.errors import Refused

NAMED = 5  # nodes in a message, at most


@dataclass(frozen=True)
class Node:
    """A machine with so many CPU cores and GPUs in all."""

    name: str
    cpus: float
    gpus: float = 0.0

    def __str__(self) -> str:
        gpus = f", {self.gpus:g} GPUs" if self.gpus else ""
        return f"{self.name}: {self.cpus:g} CPUs{gpus}"

    def fits(self, resources: Resources) -> int:
        """How many trials run on it at once."""
        cpus = int(self.cpus / resources.cpus)
        return min(cpus, int(self.gpus / resources.gpus)) if resources.gpus else cpus


def room(resources: Resources, nodes: Sequence[Node]) -> int:
    """Trials that run at once on all nodes together."""
    return sum(node.fits(resources) for node in nodes)


def short(resources: Resources, nodes: Sequence[Node], remedy: str) -> Refused | None:
    """What refuses a trial that fits on no node, with what there is; None where one has room."""
    if room(resources, nodes):
        return None
    largest = sorted(nodes, key=lambda node: (node.gpus, node.cpus), reverse=True)
    there = "; ".join(map(str, largest[:NAMED])) + ("; …" if len(nodes) > NAMED else "")
    rule = f"no machine has so much for one trial ({there or 'there is none'})"
    if all(node.gpus < resources.gpus for node in nodes):
        return Refused("resources/gpus", resources.gpus, rule, remedy)
    if all(node.cpus < resources.cpus for node in nodes):
        return Refused("resources/cpus", resources.cpus, rule, remedy)
    return Refused("resources", f"{resources.cpus} CPUs and {resources.gpus:g} GPUs", rule, remedy)
