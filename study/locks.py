"""Who keeps an SQLite file locked: a process that is stopped in the middle of a write does, until it goes on."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def keepers(file: Path) -> dict[int, str]:
    """Processes of this machine that hold a lock on the file: each one's number and state, `T` for stopped.

    Without those of this process, and of other users; none where the system does not tell.
    """
    found: dict[int, str] = {}
    with suppress(OSError, IndexError, ValueError):
        inode = file.stat().st_ino
        for line in Path("/proc/locks").read_text().splitlines():
            words = line.split()  # 1: POSIX ADVISORY WRITE 4711 fe:00:2147776 0 EOF; one that waits has -> in front
            pid, place = int(words[4]), words[5]
            if words[1] == "POSIX" and place.endswith(f":{inode}") and pid != os.getpid() and _opened(pid, file):
                found[pid] = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return found


def _opened(pid: int, file: Path) -> bool:
    """Whether the process has the file open: another file system may have a file of the same number."""
    with suppress(OSError):
        return any(link.exists() and link.samefile(file) for link in Path(f"/proc/{pid}/fd").iterdir())
    return False


def locked_by(file: Path | None, error: str) -> str:
    """What to add to an `error` that says that the file is locked; empty for any other, and where nobody is known."""
    if file is None or "is locked" not in error:
        return ""
    told = [f"process {pid}{', which is stopped' * (state == 'T')}" for pid, state in keepers(file).items()]
    return f" by {' and '.join(told)}" if told else ""
