"""Passwords that come with the URL of a store: used for its connections, and kept nowhere but in this process.

A store is named, recognised and stored by its URL without them. The same command later takes them from where its
drivers look: `~/.pgpass` and `PGPASSWORD`, MLflow's `MLFLOW_TRACKING_USERNAME` and `MLFLOW_TRACKING_PASSWORD`, or the
URL again.
"""

from __future__ import annotations

import os
import re
from urllib.parse import unquote, urlsplit

OF_A_SERVER = re.compile(r"^(https?://)[^/?#]*@")  # a user without a password would come before MLflow's variables
OF_A_DATABASE = re.compile(r"^([\w+.-]+://[^:/@?]*):[^?]*@")  # up to the last @, for a password may hold one
PARAMETER = re.compile(r"(?i)(?<=[?&])(?:(?:ssl)?password|passwd|pwd)=[^&]*&?")  # as drivers take it in the query
IN_ODBC = re.compile(r"(?i)(?:%3B|;|\b)(?:pwd|password)(?:%3D|=)(?:(?!%3B)[^&;])*")

_whole: dict[str, str] = {}  # the URLs that came with a password, by those without


def without_password(url: str) -> str:
    """The URL that names the store; what is left out is remembered for `with_password`."""
    if url.startswith("http"):
        plain = OF_A_SERVER.sub(r"\1", url)
    else:
        plain = PARAMETER.sub("", OF_A_DATABASE.sub(r"\1@", url)).rstrip("?&") if "://" in url else url
        plain = IN_ODBC.sub("", plain) if "odbc_connect=" in plain else plain
    if plain != url:
        _whole[plain] = url
    return plain


def with_password(plain: str) -> str:
    """The URL to connect with: the one that was given to this process, if it came with a password."""
    return _whole.get(plain, plain)


def log_in(plain: str) -> str:
    """The URL that MLflow is given, which it prints: a server's user and password reach it by its variables alone."""
    if not plain.startswith("http"):
        return with_password(plain)
    login = urlsplit(with_password(plain))
    for key, text in {"USERNAME": login.username, "PASSWORD": login.password}.items():
        if text:
            os.environ[f"MLFLOW_TRACKING_{key}"] = unquote(text)
    return plain
