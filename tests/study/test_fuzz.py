"""No spec that is wrong in one place passes, and none ends in a traceback, a long message or a long wait."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.study import fuzz

SITES = fuzz.sites()
LOADED: dict[str, Any] = {}  # the data, read once


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


def test_every_field_is_reached_in_a_spec_that_is_valid(folder):
    """What is done to a site is what is wrong: without it, each of the specs is accepted."""
    assert len(SITES) > 150
    for tree in {id(site.tree): site.tree for site in SITES}.values():
        site = next(site for site in SITES if site.tree is tree)
        assert fuzz.judged(fuzz.Mutant(tree, "none", site, None, False), folder, LOADED) == fuzz.Verdict(True)


@pytest.mark.parametrize(
    ("field", "inside", "outside"),
    [
        ("confirm/seeds", [1, 10_000, 2.0, "3"], [0, 10_001, 1.5, True, None, "x", [1], {"a": 1}, 1e300, "nan"]),
        ("arms/a/optimizer/lr", [1e-9, 3, "0.1"], [0, -1, 1e39, 1e-300, True, [0.1], "x", None]),
        ("resources/gpus", [0, 0.5, 2], [-1, 1e300, False, "a"]),
        ("base/precision", ["float32"], ["float", 32, None, ["float32"]]),
        ("base/micro_batch", [None, 1], [0, 0.5, True]),
        ("batch_sizes", [[1], [16, 4]], [[], 16, [0], [True], "16", [1.5]]),
        ("arms/a/optimizer/nesterov", [True, "no"], [2, "x", None, []]),
        ("name", ["a", "a.b"], ["", "a/b", 1, None, "x" * 70]),
    ],
)
def test_a_domain_is_read_from_a_fields_own_declaration(field, inside, outside):
    site = next(site for site in SITES if "/".join(site.path) == field)
    assert [fuzz.allowed(site, value) for value in inside] == [True] * len(inside)
    assert [fuzz.allowed(site, value) for value in outside] == [False] * len(outside)


def no_fault(folder, site, draw):
    mutant = fuzz.mutant(site, draw)
    verdict = fuzz.judged(mutant, folder, LOADED)
    assert not verdict.fault, f"{'/'.join(site.path)} ({mutant.kind}) = {mutant.value!r:.200}: {verdict.fault}"


ANYWHERE = given(st.sampled_from(SITES), st.randoms(use_true_random=False))
PATIENT = settings(deadline=None, suppress_health_check=list(HealthCheck), database=None, print_blob=True)


@settings(PATIENT, max_examples=200, derandomize=True)
@ANYWHERE
def test_no_spec_that_is_wrong_in_one_place_passes(folder, site, draw):
    no_fault(folder, site, draw)


@pytest.mark.faults
@pytest.mark.timeout(1800)
@settings(PATIENT, max_examples=2000)
@ANYWHERE
def test_no_spec_of_two_thousand_passes(folder, site, draw):
    no_fault(folder, site, draw)
