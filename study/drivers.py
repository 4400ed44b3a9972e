"""Which Python package speaks to a database whose URL names none.

SQLAlchemy goes by its own version: `postgresql://` is psycopg2 to 2.0 and psycopg 3 to 2.1, whichever is installed.
"""

from __future__ import annotations

from importlib.util import find_spec

DRIVERS = {"postgresql": ("psycopg", "psycopg2"), "postgres": ("psycopg", "psycopg2")}  # the first one preferred


def with_driver(url: str) -> str:
    """The URL with the installed driver named: `postgresql://host` → `postgresql+psycopg://host`.

    One that names its driver, or for which none is installed, stays as it is.
    """
    scheme, separator, rest = url.partition("://")
    installed = next((driver for driver in DRIVERS.get(scheme, ()) if find_spec(driver)), None)
    return f"postgresql+{installed}{separator}{rest}" if separator and installed else url
