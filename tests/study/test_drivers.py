"""Plain URLs of databases work with whichever driver is installed."""

from __future__ import annotations

import pytest

from study import drivers
from study.drivers import with_driver


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
