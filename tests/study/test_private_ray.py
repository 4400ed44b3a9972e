"""A local Ray is its user's own: who may reach it, where its files lie, and what it leaves behind."""

from __future__ import annotations

import fcntl
import os
import stat
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from study import private_ray
from study.private_ray import OWNER, PREFIX, SOCKET_BYTES, private_environment, private_folder
from trainables.errors import Refused

LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
LISTENING = "0A"


def descendants(pid: int) -> list[int]:
    try:
        children = [path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:  # it has ended
        return []
    return [pid, *(each for group in children for child in group for each in descendants(int(child)))]


def open_files(pid: int) -> list[str]:
    """What a process has open; nothing where it has just ended."""
    try:
        return [os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:
        return []


def listening(pid: int) -> set[str]:
    """The addresses, as the kernel writes them, at which a process or those that it started can be reached."""
    lines = [
        line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    addresses = {f"socket:[{line[9]}]": line[1].partition(":")[0] for line in lines if line[3] == LISTENING}
    found = set()
    for each in descendants(pid):
        found |= {addresses[link] for link in open_files(each) if link in addresses}
    return found


def files(folder: Path) -> dict[str, str]:
    return {str(path): oct(path.lstat().st_mode) for path in folder.rglob("*")}


@dataclass
class Seen:
    """What was seen of a run while it ran, and afterwards."""

    home: Path
    long: Path
    before: dict[str, str]  # the home directory's files with their modes
    addresses: set[str] = field(default_factory=set)
    modes: dict[str, int] = field(default_factory=dict)  # of its folder in /tmp, and of the token there
    output: str = ""
    status: int = -1
    left: set[Path] = field(default_factory=set)


def private_folders(pid: int) -> set[Path]:
    """Those whose lock the process holds open."""
    return {Path(link).parent for link in open_files(pid) if link.endswith(f"/{OWNER}")}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Seen:
    """The smoke study with a long TMPDIR, in a home where another Ray left a token and that cannot be written."""
    base = tmp_path_factory.mktemp("private")
    home, long = base / "home", base / ("long" * 30)
    (home / ".ray").mkdir(parents=True)
    (home / ".ray" / "auth_token").write_text("another Ray's")
    long.mkdir()
    for folder in (home / ".ray", home):
        folder.chmod(0o500)
    seen, mine = Seen(home, long, files(home)), set()
    environment = {key: value for key, value in os.environ.items() if key != "RAY_TMPDIR"}
    environment |= {"HOME": str(home), "TMPDIR": str(long), "XDG_CACHE_HOME": str(base / "cache")}  # the page's script
    command = [sys.executable, "-m", "study.cli", "run", "smoke", "--dir", str(base / "study"), "--slots", "2"]
    with (base / "output").open("w") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
        while process.poll() is None:
            seen.addresses |= listening(process.pid)
            mine |= private_folders(process.pid)
            for folder in mine:
                paths = [path for path in (folder, folder / "token") if path.exists()]
                seen.modes |= {path.name: stat.S_IMODE(path.stat().st_mode) for path in paths}
            time.sleep(0.5)
    seen.output, seen.status = (base / "output").read_text(), process.returncode
    seen.left = {folder for folder in mine if folder.exists()}
    return seen


def test_a_long_tmpdir_and_a_home_of_another_ray_stop_nothing(run):
    assert run.status == 0, run.output


def test_it_listens_on_loopback_alone(run):
    assert len(run.addresses) > 0
    assert run.addresses <= LOOPBACK


def test_its_folder_and_token_are_the_users_alone_and_go_with_it(run):
    assert run.modes.pop("token") == 0o600
    assert set(run.modes.values()) == {0o700}
    assert run.left == set()


def test_it_touches_nothing_in_the_home_directory(run):
    assert files(run.home) == run.before
    assert [path.name for path in run.long.iterdir() if "ray" in path.name] == []  # torch may leave a folder there


def test_the_environment_is_as_before_afterwards(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    before = dict(os.environ)
    with private_environment(tmp_path):
        assert "RAY_AUTH_MODE" not in os.environ
        assert Path(os.environ["RAY_AUTH_TOKEN_PATH"]).read_text() == private_ray._token()
    assert dict(os.environ) == before


def test_a_place_for_sockets_is_chosen_by_its_length_and_its_permissions(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", "/dev/shm")
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / ("a" * SOCKET_BYTES)))
    with private_folder() as folder:
        assert folder.parent == Path("/dev/shm")
    assert not folder.exists()
    monkeypatch.setenv("TMPDIR", "/nowhere")
    with private_folder() as folder:
        assert folder.parent == Path("/tmp")
    monkeypatch.setattr(os, "access", lambda *_: False)
    pattern = (
        r"TMPDIR = '/nowhere': Ray's sockets need a folder .* path of \d+ bytes at most; make /tmp writable, or set"
    )
    with pytest.raises(Refused, match=pattern), private_folder():
        pass


def test_what_killed_runs_left_is_removed_and_nothing_else(tmp_path):
    places = {name: tmp_path / f"{PREFIX}{name}" for name in ("killed", "alive", "open", "strange")}
    for name, folder in places.items():
        folder.mkdir(mode=0o755 if name == "open" else 0o700)
        if name != "strange":
            (folder / OWNER).touch()
    (tmp_path / f"{PREFIX}link").symlink_to(places["open"])
    with (places["alive"] / OWNER).open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        private_ray._remove_abandoned(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{PREFIX}{name}" for name in ("alive", "open", "strange", "link")
    }
