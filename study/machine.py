"""Where trials run, and how many fit there at once."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch

from study.spec import Resources


@dataclass(frozen=True)
class Machine:
    """Where trials run: a Ray `address` (None: a local Ray of this process), and how many at once."""

    slots: int | None = None
    address: str | None = None


def slots_here(resources: Resources) -> int:
    """Trials that fit on this machine at once."""
    by_cpu = len(os.sched_getaffinity(0)) // resources.cpus
    by_gpu = int(torch.cuda.device_count() / resources.gpus) if resources.gpus else by_cpu
    return max(1, min(by_cpu, by_gpu))
