"""Plain URLs of databases work with whichever driver is installed."""

from __future__ import annotations

import pytest

from study import drivers
from study.drivers import same_database, with_driver
from study.storage import open_database
from study.store import Store
from tests.study.commands import study
from tests.study.test_errors import one_message


@pytest.mark.parametrize(
    ("installed", "scheme"),
    [
        ({"psycopg", "psycopg2"}, "postgresql+psycopg"),
        ({"psycopg"}, "postgresql+psycopg"),
        ({"psycopg2"}, "postgresql+psycopg2"),
    ],
)
def test_a_plain_url_takes_the_driver_that_is_installed(monkeypatch, installed, scheme):
    monkeypatch.setattr(drivers, "find_spec", lambda name: name if name in installed else None)
    assert with_driver("postgresql://me:a+b@host/db?x=://") == f"{scheme}://me:a+b@host/db?x=://"
    assert with_driver("postgres://host/db") == f"{scheme}://host/db"


@pytest.mark.parametrize("url", ["postgresql+psycopg2://host/db", "sqlite:///x.db", "http://host:5000", "nonsense", ""])
def test_other_urls_stay_as_they_are(url):
    assert with_driver(url) == url


def test_without_any_driver_the_url_stays_for_the_database_layer_to_refuse(monkeypatch):
    monkeypatch.setattr(drivers, "find_spec", lambda _: None)
    assert with_driver("postgresql://host/db") == "postgresql://host/db"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("postgresql://me@host/db", "postgresql+psycopg://you:x@host:5432/db", True),
        ("postgres://host/db", "postgresql://host/db", True),
        ("sqlite:///x.db", "sqlite:///x.db", True),
        ("postgresql://host/db", "postgresql://host/other", False),
        ("postgresql://host/db", "mysql://host/db", False),
        ("postgresql://host/db", "http://host:5000", False),
        ("postgresql://host/db", "", False),
        ("", "", False),
    ],
)
def test_one_database_is_known_whoever_logs_in(one, other, same):
    assert same_database(one, other) is same


BOTH = r"--storage = '.*both.db': is the database for the results, too; MLflow and Optuna want one each; name another"
MLFLOWS = r"--storage = '.*mlflow.db': MLflow keeps its results in this database, and Optuna wants one of its own"
OPTUNAS = r"tracking_uri = '.*optuna.db': Optuna keeps a search in this database, and MLflow wants one of its own"
DRIVERLESS = r"tracking_uri = 'mysql://.*': needs the Python package MySQLdb; pip install generalization-gap"


@pytest.mark.parametrize(
    ("words", "pattern"),
    [
        (("--tracking-uri", "sqlite:///{0}/both.db", "--storage", "sqlite:///{0}/both.db"), BOTH),
        (("--storage", "sqlite:///{0}/mlflow.db"), MLFLOWS),
        (("--tracking-uri", "sqlite:///{0}/optuna.db"), OPTUNAS),
        (("--tracking-uri", "mysql://me@127.0.0.1:9/x"), DRIVERLESS),
    ],
)
def test_mlflow_and_optuna_do_not_share_a_database(capsys, tmp_path, words, pattern):
    Store(f"sqlite:///{tmp_path}/mlflow.db", "another", create=tmp_path, study_id="one")
    open_database(f"sqlite:///{tmp_path}/optuna.db")
    before = sorted(tmp_path.iterdir())
    asked = [word.format(tmp_path) for word in words]
    one_message(study(capsys, "run", "smoke", "--dir", tmp_path / "s", *asked), 2, pattern)
    assert sorted(tmp_path.iterdir()) == before
