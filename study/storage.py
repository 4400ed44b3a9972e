"""Where the search's trials live: a journal in the study's directory, or a database that a team shares.

In a database, a study's Optuna studies are called `NAME: CELL`, and each carries the study's identity.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage, get_storage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from study.credentials import with_password, without_password
from study.drivers import database_file, tables, with_driver
from study.locks import locked_by
from study.patience import Anchor, passing
from study.text import first_line
from trainables.errors import Refused

Storage = BaseStorage  # Optuna's, for those who only hand it on
OWNER = "owner"  # the attribute that says which driver runs the study
MLFLOWS = "experiments"  # a table by which its databases are known
CONNECT_SECONDS = 10  # for a database to answer, on first contact


class Journal(JournalFileBackend):
    """Optuna's journal file, which neither a full disk nor its deletion can damage. One process owns it."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self.path, self.anchor = path, Anchor(path)
        self.gathered: list[dict[str, Any]] | None = None

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:  # type: ignore[override]
        self.anchor.check()
        return super().read_logs(log_number_from)

    @contextmanager
    def gathering(self) -> Iterator[None]:
        """What is appended inside goes to the disk at the end, in one piece; nothing does if an error ends it."""
        self.gathered = []
        try:
            yield
            logs = self.gathered
        finally:
            self.gathered = None
        if logs:
            self.append_logs(logs)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        if self.gathered is not None:
            self.gathered += logs
            return
        self.anchor.check()
        size = self.path.stat().st_size
        try:
            super().append_logs(logs)
        except OSError:  # half a line would spoil what follows it
            with suppress(OSError):
                os.truncate(self.path, size)
            raise


class FileStorage(JournalStorage):
    """Optuna's storage on a journal of ours."""

    def __init__(self, path: Path) -> None:
        self.journal = Journal(path)
        super().__init__(self.journal)


def at_once(storage: BaseStorage) -> AbstractContextManager[None]:
    """Inside it, what is written about a trial goes to a journal in one piece; a database takes it line by line."""
    return storage.journal.gathering() if isinstance(storage, FileStorage) else nullcontext()


def open_storage(path: Path, known_as: Path | None = None) -> FileStorage:
    """The journal at `path`, a copy of the one `known_as`. Raises Refused when it holds something else."""
    try:
        storage = FileStorage(path)
        for line in path.read_bytes().splitlines()[-1:]:  # Optuna takes a last line that it cannot read for a half one
            json.loads(line)
        return storage
    except Exception as error:  # Optuna raises whatever the damage leads to
        raise Refused(
            "optuna.journal",
            str(known_as or path),
            f"is damaged ({type(error).__name__}: {error})",
            "restore it from a copy, or start in another --dir",
        ) from None


def open_database(url: str) -> BaseStorage:
    """The database at `url`. Raises Refused when it does not answer, or Python lacks its driver."""
    url = without_password(url)
    to_connect = with_driver(with_password(url))
    waits = {} if url.startswith("sqlite") else {"connect_timeout": CONNECT_SECONDS}
    try:
        if MLFLOWS in tables(to_connect, **waits):
            rule = "MLflow keeps its results in this database, and Optuna wants one of its own"
            raise Refused("--storage", url, rule, "create another for the search")
        return get_storage(RDBStorage(to_connect, engine_kwargs={"pool_pre_ping": True, "connect_args": waits}))
    except ImportError as error:
        package = getattr(error.__cause__ or error, "name", None)
        rule = f"needs the Python package {package}"
        raise Refused("--storage", url, rule, "pip install generalization-gap[postgres], or [mysql]") from None
    except (ArgumentError, ValueError) as error:
        raise Refused("--storage", url, first_line(error), "for example postgresql://user@host/database") from None
    except (SQLAlchemyError, StorageInternalError, RuntimeError) as error:
        reason = first_line(error.__cause__ or error)
        remedy = "start it, correct the URL, give the password in it or in ~/.pgpass, or leave it out"
        if by := locked_by(database_file(url), reason):
            reason, remedy = reason + by, "end that process, or let it go on"
        raise Refused("--storage", url, f"the database there does not answer ({reason})", remedy) from None


def passes(error: Exception) -> bool:
    """Whether the error is that of a storage which is away, or full: a further try may succeed."""
    return isinstance(error, SQLAlchemyError | StorageInternalError) or passing(error)


def study_name(storage: BaseStorage, study: str, cell: str) -> str:
    """What a cell's Optuna study is called."""
    return cell if isinstance(storage, JournalStorage) else f"{study}: {cell}"


def claim(storage: BaseStorage, study: str, study_id: str) -> None:
    """Raises Refused where the storage holds a study of this name from another directory."""
    if isinstance(storage, JournalStorage):
        return
    for stored in storage.get_all_studies():
        if not stored.study_name.startswith(f"{study}: "):
            continue
        owner = stored.user_attrs.get("study_id")
        number = storage.get_study_id_from_name(stored.study_name)
        if owner is None and not storage.get_n_trials(number):
            storage.set_study_user_attr(number, "study_id", study_id)
        elif owner != study_id:
            rule = "the storage has a study of this name from another directory"
            raise Refused("name", study, rule, "rename this one with --set name=…")


class OwnersNote:
    """The board of a study whose search lies in a database: an attribute of one of its Optuna studies."""

    def __init__(self, storage: BaseStorage, study: str) -> None:
        """The study has at least one cell in the storage."""
        self.storage = storage
        stored = {each.study_name: each.user_attrs for each in storage.get_all_studies()}
        ours = sorted(name for name in stored if name.startswith(f"{study}: "))
        chosen = next((name for name in ours if OWNER in stored[name]), ours[0])
        self.number = storage.get_study_id_from_name(chosen)

    def read(self) -> str:
        return str(self.storage.get_study_user_attrs(self.number).get(OWNER, ""))

    def write(self, text: str) -> None:
        self.storage.set_study_user_attr(self.number, OWNER, text)


def mend(path: Path) -> None:
    """Undo what a killed process may have left of the journal: half a line, locks. For the study's owner only."""
    for left in path.parent.iterdir() if path.parent.is_dir() else ():
        if left.name.startswith(f"{path.name}.lock"):  # Optuna renames its lock before it removes it
            left.unlink(missing_ok=True)
    whole = path.read_bytes() if path.exists() else b""
    if whole and not whole.endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(whole.rfind(b"\n") + 1)
