"""What refuses a machine of a cluster, by what it says of itself."""

from __future__ import annotations

import pytest

from study.node import Facts, look, strange

HERE = Facts("0.2.0", "3.11.7", sees=True)


def test_a_machine_tells_what_it_has_and_sees(tmp_path):
    file = tmp_path / "marker"
    assert not look(str(file)).sees
    file.touch()
    facts = look(str(file))
    assert facts.sees
    assert facts.python.startswith("3.")
    assert strange("node-3", facts, facts, "/shared/s") is None


@pytest.mark.parametrize(
    ("there", "told"),
    [
        ("ModuleNotFoundError: no study", "--address = 'node-3': this package cannot be loaded there (ModuleNotFound"),
        (
            Facts("0.1.0", "3.11.7", sees=True),
            "--address = 'node-3': has generalization-gap 0.1.0, and here it is 0.2.0",
        ),
        (Facts("0.2.0", "3.11.7", sees=False), "--dir = '/shared/s': the machine node-3 does not see what lies in it"),
    ],
)
def test_one_that_could_not_run_the_study_is_named_with_the_remedy(there, told):
    refused = str(strange("node-3", there, HERE, "/shared/s"))
    assert refused.startswith(told)
    assert refused.endswith(
        ("install generalization-gap 0.2.0 there, as it is here", "all machines see under the same path")
    )


def test_a_package_that_runs_without_being_installed_has_no_version_to_compare():
    assert strange("node-3", Facts("", "3.11.7", sees=True), HERE, "/s") is None
    assert strange("node-3", HERE, Facts("", "3.11.7", sees=True), "/s") is None
