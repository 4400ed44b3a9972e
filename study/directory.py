"""A study's directory: its files, its owner, and whether a spec continues what lies there."""

from __future__ import annotations

import fcntl
import os
import shlex
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import yaml

from study import sources, transfer, yaml_core
from study.credentials import without_password
from study.drivers import same_database
from study.owner import REMEDY, Owner, Ownership, owning
from study.plan import Cell, cells
from study.schema import FORMAT, Identity
from study.spec import Collection, Spec, parse, parse_collection
from trainables.config import TrialConfig
from trainables.errors import Refused
from trainables.tree import flatten

WHOLE = 1024  # bytes of a lock file, which are written at once
RAISABLE = ("search/trials", "confirm/seeds")  # a larger budget tops up
FREE = ("question", "claims", "resources/gpus")  # no trial's result depends on them


class Directory:
    """`spec.yaml`, `optuna.journal`, `mlflow.db`, `trials/` and `report/` below `path`.

    `store.yaml` says whose the study is and where it lives: `study_id`; `tracking_uri` and `storage` where they are not
    in the directory itself; the `format` of the version that last ran it; `begun` once a store has accepted it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.spec_file, self.journal = path / "spec.yaml", path / "optuna.journal"
        self.trials, self.report = path / "trials", path / "report"
        self.identity_file = path / "store.yaml"

    @property
    def begun(self) -> bool:
        """Whether a store has accepted the study: from then on there may be results to lose."""
        stated = "begun" in self._stored_identity()
        return stated or self.spec_file.exists() or self.journal.exists()  # version 0.1 did not state it

    def spec(self) -> Spec:
        """The resolved spec of the study here, as any former version stored it.

        Raises Refused where there is none, or a newer version wrote it.
        """
        self._check_format(self._stored_identity())
        if not self.spec_file.is_file():
            raise Refused(
                "DIR",
                str(self.path),
                "holds no study (no spec.yaml)",
                "name a directory that `study run` made",
            )
        return parse(sources.read(self.spec_file, "DIR"), str(self.spec_file))

    def check(self, spec: Spec) -> None:
        """Raises Refused when `spec` means something else than the study that lies here."""
        if CollectionDirectory.lies_at(self.path):
            raise Refused("--dir", str(self.path), "holds a collection of studies", "use another --dir")
        if self.spec_file.exists():
            _continues(self.spec(), spec, self.path)

    def identity(self, asked: str | None, storage: str | None = None) -> dict[str, str]:
        """`study_id`, and where the study lives if not in the directory itself.

        These are `tracking_uri` for the results, which is `asked` for the first time, and `storage` for the search;
        without passwords.

        Raises Refused when another store is asked for than the one that holds the study.
        """
        from_environment = os.environ.get("MLFLOW_TRACKING_URI")
        asked, storage, usual = (place and without_password(place) for place in (asked, storage, from_environment))
        chosen = {"tracking_uri": asked or usual, "storage": storage}
        fresh = {"study_id": uuid.uuid4().hex} | {key: place for key, place in chosen.items() if place}
        if same_database(*(fresh.get(key, "") for key in chosen)):
            rule = "is the database for the results, too; MLflow and Optuna want one each"
            raise Refused("--storage", fresh["storage"], rule, "name another for the search, or leave it out")
        known = self._stored_identity()
        if not known:
            return fresh
        self._check_format(known)
        if not self.begun:  # no store has accepted it yet: another may be tried
            return fresh | {"study_id": known["study_id"]}
        if asked and asked != known.get("tracking_uri"):
            where = known.get("tracking_uri", "mlflow.db in its directory")
            raise Refused("--tracking-uri", asked, f"this study's results are at {where}", "leave it out")
        if storage and storage != known.get("storage"):
            where = known.get("storage", "optuna.journal in its directory")
            raise Refused("--storage", storage, f"this study's search is at {where}", "leave it out")
        return known

    def _stored_identity(self) -> dict[str, str]:
        """What `store.yaml` holds, empty where there is none. Raises Refused where it is damaged."""
        if not self.identity_file.exists():
            return {}
        try:
            known = {str(key): str(text) for key, text in yaml.safe_load(self.identity_file.read_text()).items()}
            places = {key: without_password(text) for key, text in known.items() if key in ("tracking_uri", "storage")}
            return {**known, "study_id": known["study_id"], **places}  # version 0.1 stored passwords
        except (yaml.YAMLError, UnicodeDecodeError, AttributeError, KeyError):
            rule, remedy = "is damaged", "restore it from a copy, or start in another --dir"
            raise Refused("store.yaml", str(self.identity_file), rule, remedy) from None

    def _check_format(self, known: Mapping[str, str]) -> None:
        Identity.from_tags({key: known[key] for key in ("format",) if key in known}).check(str(self.path))

    @contextmanager
    def owned(self, spec: Spec, say: Callable[[str], None] = print, *, take_over: bool = False) -> Iterator[Ownership]:
        """Hold the directory while a study runs in it; `say` tells the user what takes a while.

        Raises Refused when it cannot be written, or another process runs it and we do not `take_over`.
        """
        self.check(spec)
        there = self.path.is_dir()
        with _locked(self.path, say, take_over=take_over) as ownership:
            self.trials.mkdir(exist_ok=True)
            try:
                yield ownership
            except Refused:
                if not self.identity_file.exists() and not self.begun:
                    self._leave(there=there)
                raise

    def _leave(self, *, there: bool) -> None:
        """Remove what `owned` made, for a study that was refused: the directory, too, unless it was `there`."""
        with suppress(OSError):  # something of another's lies in it
            self.trials.rmdir()
        (self.path / ".lock").unlink(missing_ok=True)
        if not there:
            with suppress(OSError):
                self.path.rmdir()

    def begin(self, identity: dict[str, str]) -> None:
        """Before the store is opened: note whose it will be, and clear away one whose making was cut off."""
        fresh = not self.begun
        _write(self.identity_file, yaml.safe_dump({**identity, "format": str(FORMAT)}))
        if fresh:
            (self.path / "mlflow.db").unlink(missing_ok=True)

    def accept(self, spec: Spec) -> None:
        """Make it this study's directory, once the store has accepted it."""
        _write(self.identity_file, yaml.safe_dump({**self._stored_identity(), "begun": "true"}))
        _write(self.spec_file, spec.dump())


class CollectionDirectory:
    """A collection's directory: `collection.yaml`, `report/`, and its studies' own directories by their names."""

    def __init__(self, path: Path) -> None:
        self.path, self.file, self.report = path, path / "collection.yaml", path / "report"

    @staticmethod
    def lies_at(path: Path) -> bool:
        """Whether `path` is one."""
        return (path / "collection.yaml").is_file()

    def collection(self) -> Collection:
        """The collection here, its studies named as their directories. Raises Refused when the file is damaged."""
        return parse_collection(sources.read(self.file, "DIR"), str(self.file))

    def study(self, name: str) -> Directory:
        """The directory of its study of that name."""
        return Directory(self.path / name)

    def begun(self) -> dict[str, Directory]:
        """The directories of its studies that hold something."""
        found = {name: self.study(name) for name in self.collection().studies}
        return {name: directory for name, directory in found.items() if directory.spec_file.is_file()}

    def check(self, collection: Collection, studies: Mapping[str, Spec]) -> None:
        """Raises Refused when something else lies here."""
        if Directory(self.path).begun:
            raise Refused("--dir", str(self.path), "holds a study", "use another --dir")
        if self.lies_at(self.path) and self.collection().name != collection.name:
            rule = f"the collection in {self.path} is {self.collection().name!r}"
            raise Refused("name", collection.name, rule, "use another --dir")
        for name, spec in studies.items():
            self.study(name).check(spec)

    @contextmanager
    def owned(
        self, collection: Collection, studies: Mapping[str, Spec], say: Callable[[str], None] = print,
        *, take_over: bool = False,
    ) -> Iterator[None]:  # fmt: skip
        """Hold the directory while the collection runs in it. Raises Refused as `Directory.owned` does."""
        self.check(collection, studies)
        with _locked(self.path, say, take_over=take_over):
            _write(self.file, collection.dump(list(studies)))
            yield


class LockFile:
    """The board of a directory: its file `.lock`, which the owner holds a lock on as well.

    It states its own number on the disk first: a copy of the file, in a copy of the directory, says nothing.
    """

    def __init__(self, path: Path) -> None:
        """Raises OSError where it cannot be written."""
        self.path = path
        self.file = self._open()

    def _open(self) -> IO[bytes]:
        return os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644), "r+b", buffering=0)

    def close(self) -> None:
        """And give the lock back."""
        self.file.close()

    def lock(self) -> bool:
        """Whether the lock is ours now; the system frees it, however the process ends."""
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        with suppress(FileNotFoundError):  # its owner has just removed it
            return os.fstat(self.file.fileno()).st_ino == self.path.stat().st_ino  # else another has taken it over
        return False

    def replace(self) -> None:
        """A new file in its place, for whoever holds the lock may be dead, as on a network file system."""
        self.path.unlink(missing_ok=True)
        self.close()
        self.file = self._open()

    def read(self) -> str:
        return _stated(self.path)

    def write(self, text: str) -> None:
        whole = f"{os.fstat(self.file.fileno()).st_ino} {text}".encode().ljust(WHOLE)
        os.pwrite(self.file.fileno(), whole, 0)  # at once: nobody reads a half, nor nothing in between
        self.file.truncate(len(whole))


def _stated(lock: Path) -> str:
    """What the lock file says; nothing where it is a copy."""
    number, _, text = lock.read_text().partition(" ")
    return text if number == str(lock.stat().st_ino) else ""


def owner(path: Path) -> Owner | None:
    """Who runs what lies in the directory, by its lock; None for nobody, and for a process here that has ended."""
    try:
        stated = Owner.read(_stated(path / ".lock"))
    except OSError:
        return None
    return stated if stated is not None and stated.alive_here is not False else None


@contextmanager
def _locked(path: Path, say: Callable[[str], None], *, take_over: bool) -> Iterator[Ownership]:
    """A directory of one process. Raises Refused when it cannot be written, or is another's."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        board = LockFile(path / ".lock")
    except OSError as error:
        raise Refused("--dir", str(path), f"cannot be written ({error.strerror})", "choose another --dir") from None

    def refuse(rule: str) -> Refused:
        return Refused("--dir", str(path), rule, REMEDY)

    with closing(board):
        if not board.lock():
            if not take_over:
                owner = Owner.read(board.read())
                raise refuse(f"another `study run` is at work there: {owner or 'it does not say which'}")
            board.replace()
            board.lock()
        with owning(board, Owner(str(path.resolve())), refuse, say, take_over=take_over) as ownership:
            yield ownership


def _write(file: Path, text: str) -> None:
    """All of it or nothing."""
    partial = file.with_suffix(".partial")
    partial.write_text(text)
    partial.replace(file)


def _adds_to_readings(key: str, old: Spec, new: Spec, path: Path) -> bool:
    """Whether what differs at this key, below `readings`, is one more reading, or more seeds of one.

    Raises Refused for a reading that the new spec leaves out.
    """
    _, name, setting = key.split("/", 2)
    if name not in new.readings:
        rule = f"the study in {path} has this reading"
        raise Refused(f"readings/{name}", None, rule, "keep it in the spec; --readings none leaves it out of a run")
    more = setting == "confirm/seeds" and new.confirm_seeds(name) >= old.confirm_seeds(name)
    return more or name not in old.readings


def _continues(old: Spec, new: Spec, path: Path) -> None:
    """Raises Refused where `new` asks for less than `old`, or gives one of its trials another meaning.

    Values are compared as they are validated: `1e-2` is 0.01, and a setting in `base` is the same as one in every arm.
    """
    own = shlex.join(["study", "run", str(path / "spec.yaml"), "--dir", str(path)])
    remedy = f"use another --dir, or go on with the spec it was begun with: `{own}`"
    before, after = (dict(flatten(spec.model_dump(mode="json"))) for spec in (old, new))
    missing: Any = object()
    changed: set[str] | None = None
    for key in {**before, **after}:
        was, now = before.get(key, missing), after.get(key, missing)
        arm = key.split("/")[1] if key.startswith("arms/") else None
        if yaml_core.same(was, now) or key in FREE or (arm is not None and arm not in old.arms):
            continue
        if key.startswith("readings/") and _adds_to_readings(key, old, new, path):
            continue
        if (key in RAISABLE and now > was) or (key == "batch_sizes" and set(was) <= set(now)):
            continue
        if key.startswith("search/repeat") and (was in (missing, {}) or (now is not missing and now > was)):
            continue  # more searches beside those that were
        if arm is not None or key.startswith("base/"):
            changed = _changed(old, new) if changed is None else changed
            setting = key.split("/", 2 if arm else 1)[-1]
            if not any(_within(setting, each) or _within(each, setting) for each in changed):
                continue
        shown = "nothing" if was is missing else repr(was)
        raise Refused(key, None if now is missing else now, f"the study in {path} was run with {shown}", remedy)


def _within(key: str, other: str) -> bool:
    return f"{key}/".startswith(f"{other}/")


def _changed(old: Spec, new: Spec) -> set[str]:
    """The settings (`optimizer/lr`) that a cell of the old spec has with another value or range in the new one.

    Raises Refused where the new spec makes no cells.
    """
    now = {cell.name: _settings(cell) for cell in cells(new)}
    try:
        plan = cells(old)
    except Refused:  # by a rule that is younger than the study: what differs in its text may differ in its meaning
        return set(TrialConfig.model_fields)
    arms = [arm for arm in old.arms if arm in new.arms]
    changed = {transfer.KEY for arm in arms if old.tuned_at(arm) != new.tuned_at(arm)}
    for cell in plan:
        was = _settings(cell)
        if cell.arm not in new.arms:
            changed |= set(was)
        elif cell.name in now:  # else its batch size or its repeat is what the new spec leaves out
            changed |= {key for key in {**was, **now[cell.name]} if was.get(key) != now[cell.name].get(key)}
    return changed


def _settings(cell: Cell) -> dict[str, Any]:
    """Every setting of the cell's trials: its value as it is validated, or the range that is searched."""
    return {**cell.typical.flat(), **cell.open}
