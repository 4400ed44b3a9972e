"""What keeps a local Ray to its user: it listens on loopback alone, and asks for a token that nobody else can read.

Its sockets, logs and token lie in one folder that only the user can enter and that goes with it. The home directory is
left alone: Ray would write a token there that everybody can read, and that another Ray of the user's then asks for.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from trainables.errors import Refused

SOCKET_BYTES = 107  # of a path, at most, that the system takes for a socket
PREFIX, OWNER = "study-ray-", "owner.lock"  # of the folder, and of the file in it that its run holds a lock on
BELOW = len(f"/{PREFIX}abcdefgh/r/session_2026-11-26_21-15-02_887268_1234567/sockets/plasma_store_1")
REMOVING_SECONDS = 5.0


@contextmanager
def private_folder() -> Iterator[Path]:
    """A new folder of mode 0700, gone at the end. What killed runs of this user left goes too.

    Ray's own folder belongs inside it, for Ray opens that to everybody.
    Raises Refused where no place for it can be written, or each is too long for sockets.
    """
    base = _base()
    _remove_abandoned(base)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
    try:
        with (folder / "new").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # freed by the system, however the process ends
            (folder / "new").rename(folder / OWNER)  # nobody finds it before it is locked
            yield folder
    finally:
        _remove(folder)


@contextmanager
def private_environment(folder: Path) -> Iterator[None]:
    """Inside, a Ray that starts keeps to loopback and takes the token that lies in `folder`."""
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text(_token())
    wanted = {
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_AUTH_TOKEN": None,  # would come before the file
        "RAY_AUTH_MODE": None,  # Ray turns its authentication on by itself, unless this is set
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # Ray's own name for "this machine alone"
    }
    with _environment(wanted):
        yield


@cache
def _token() -> str:
    """One for all the Rays of this process, which keeps the first that it reads."""
    return secrets.token_hex(32)


def _base() -> Path:
    """The first folder that Ray's sockets may lie in: the user's choice, the system's, then short ones."""
    asked = [os.environ[key] for key in ("RAY_TMPDIR", "TMPDIR") if os.environ.get(key)]
    for place in (*asked, "/tmp", "/dev/shm"):
        base = Path(place).resolve()
        if len(os.fsencode(base)) + BELOW <= SOCKET_BYTES and os.access(base, os.W_OK | os.X_OK) and base.is_dir():
            return base
    rule = f"Ray's sockets need a folder that can be written, with a path of {SOCKET_BYTES - BELOW} bytes at most"
    raise Refused("TMPDIR", os.environ.get("TMPDIR"), rule, "make /tmp writable, or set RAY_TMPDIR to another folder")


def _remove_abandoned(base: Path) -> None:
    """Remove the folders of runs that were killed: those whose lock nobody holds."""
    for folder in base.glob(f"{PREFIX}*"):
        with suppress(OSError):
            status = folder.lstat()  # of a link itself, wherever another user lets it point
            if status.st_mode != stat.S_IFDIR | 0o700 or status.st_uid != os.geteuid():
                continue
            with (folder / OWNER).open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(folder)


def _remove(folder: Path) -> None:
    """Remove it, though a process that is ending may still write there."""
    until = time.monotonic() + REMOVING_SECONDS
    while folder.exists() and time.monotonic() < until:
        shutil.rmtree(folder, ignore_errors=True)
        if folder.exists():
            time.sleep(0.1)


@contextmanager
def _environment(wanted: Mapping[str, str | None]) -> Iterator[None]:
    """Inside, these variables have these values, or are not there; afterwards all is as before."""
    before = {key: os.environ.get(key) for key in wanted}
    _set(wanted)
    try:
        yield
    finally:
        _set(before)


def _set(values: Mapping[str, str | None]) -> None:
    for key, value in values.items():
        if value is None:
            os.environ.pop(key, None)
        else:
            os.environ[key] = value
