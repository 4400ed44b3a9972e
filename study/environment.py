"""What the results may depend on beside the spec: versions, code and machine."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from pathlib import Path

import torch

from study.versions import installed


def environment() -> dict[str, str | int]:
    """What the results may depend on: versions, code and machine."""
    cuda = torch.cuda.is_available()
    return {
        **installed(),
        "commit": git_commit(),
        "machine": f"{platform.system()} {platform.machine()}, {_processor()}",
        "cores": len(os.sched_getaffinity(0)),
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def git_commit() -> str:
    """The commit of the checkout this code runs from, `+` if it was changed; `unknown` outside a checkout."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
