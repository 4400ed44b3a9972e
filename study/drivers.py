"""Which Python package speaks to a database whose URL names none, and whose tables it holds.

SQLAlchemy goes by its own version: `postgresql://` is psycopg2 to 2.0 and psycopg 3 to 2.1, whichever is installed.

MLflow and Optuna each keep a table `alembic_version`, and neither opens a database in which the other wrote its own.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from sqlalchemy import URL, create_engine, inspect, make_url
from sqlalchemy.exc import ArgumentError

DRIVERS = {"postgresql": ("psycopg", "psycopg2"), "postgres": ("psycopg", "psycopg2")}  # the first one preferred


def with_driver(url: str) -> str:
    """The URL with the installed driver named: `postgresql://host` → `postgresql+psycopg://host`.

    One that names its driver, or for which none is installed, stays as it is.
    """
    scheme, separator, rest = url.partition("://")
    installed = next((driver for driver in DRIVERS.get(scheme, ()) if find_spec(driver)), None)
    return f"postgresql+{installed}{separator}{rest}" if separator and installed else url


def same_database(one: str, other: str) -> bool:
    """Whether two URLs lead to one database, whoever logs in and with whichever driver."""
    places = [_place(url) for url in (one, other)]
    return None not in places and places[0] == places[1]


def _place(text: str) -> tuple[str, str | None, int | None, str | None] | None:
    try:
        url: URL = make_url(text)
    except (ArgumentError, ValueError):
        return None
    backend = url.drivername.partition("+")[0]
    backend = "postgresql" if backend == "postgres" else backend
    usual = {"postgresql": 5432, "mysql": 3306}.get(backend)
    return backend, url.host, url.port or usual, url.database


def database_file(uri: str) -> Path | None:
    """The file of an SQLite store; None for any other store."""
    if not uri.startswith("sqlite"):
        return None
    url = make_url(uri)
    name = url.database or ""
    return Path(unquote(name.removeprefix("file:")) if url.query.get("uri") == "true" else name)


def tables(url: str, **waits: Any) -> set[str]:
    """What the tables in the database at `url` are called; none where its file is not there yet.

    Raises SQLAlchemy's errors where it does not answer, ImportError without its driver.
    """
    file = make_url(url).database if url.startswith("sqlite") else None
    if file is not None and not Path(file).is_file():
        return set()
    engine = create_engine(url, connect_args=waits)
    try:
        return set(inspect(engine).get_table_names())
    finally:
        engine.dispose()
