"""Which versions took part in a study: recorded, said once, shown."""

from __future__ import annotations

from importlib.metadata import version

from study.schema import Study
from study.versions import PACKAGE, changes, installed, joined, news, recorded

OLD = {"torch": "2.11.0", "ray": "2.60.0"}
NEW = {"torch": "2.14.1", "ray": "2.60.0"}


def test_the_installed_versions_are_those_of_the_packages():
    found = installed()
    assert found[PACKAGE] == version("generalization-gap")
    assert {"python", "torch", "ray", "optuna", "mlflow"} < set(found)


def test_versions_are_recorded_where_they_change():
    assert joined((), OLD) == (OLD,)
    assert joined((OLD,), OLD) == (OLD,)
    assert joined((OLD, NEW), OLD) == (OLD, NEW, OLD)


def test_a_store_of_format_1_has_those_of_its_environment():
    old = Study(environment={"torch": "2.11.0", "ray": "2.60.0", "cores": 2, "date": "then"})
    assert recorded(old) == (OLD,)
    assert recorded(Study()) == ()
    assert recorded(Study(environment={"torch": "x"}, versions=(OLD, NEW))) == (OLD, NEW)


def test_what_changed_is_told_from_first_to_last():
    assert changes((OLD, NEW, OLD)) == {"torch": "2.11.0, then 2.14.1, then 2.11.0"}
    assert changes((OLD,)) == {}
    assert changes((OLD, {**OLD, PACKAGE: "0.2"})) == {PACKAGE: "an unrecorded version, then 0.2"}


def test_it_is_said_when_versions_change_and_only_then():
    assert news((), NEW) == news((NEW,), NEW) == ""
    assert news((OLD,), NEW) == (
        "versions have changed since this study last trained (torch 2.11.0, then 2.14.1); its page names those that "
        "took part"
    )
