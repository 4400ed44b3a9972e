"""Every claim comes out as the made-up truth has it, and says so where it cannot be told."""

# ruff: noqa: ARG005  (every trial is given arm, batch size and a generator, and few need all)

from __future__ import annotations

import math
from dataclasses import replace

import pandas as pd
import pytest

from reports.claims import Claim, Sketch, claims
from reports.claims.shared.claim import above, all_of, below, within
from reports.claims.shared.exponents import reach
from reports.drawing import specification
from study.intervals import Estimate
from tests.reports.worlds import HOW, World, bare, world

CLAIMS = [name for name in claims.names() if isinstance(claims.get(name), Claim)]
SKETCHES = [name for name in claims.names() if name not in CLAIMS]


def claim(name: str) -> Claim:
    found = claims.get(name)
    assert isinstance(found, Claim)
    return found


def test_the_papers_figures_and_sections_are_all_there() -> None:
    assert {f"figure-{number}" for number in range(1, 17)} < set(claims.names())
    assert {"section-3.1", "section-4.2", "section-5.1", "section-5.2"} < set(CLAIMS)
    assert SKETCHES == ["figure-15", "figure-6"]


@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_states_its_rule(name: str) -> None:
    each = claim(name)
    assert each.name == each.figure.name == name
    for text in (each.says, each.statistic, each.confirms, each.refutes):
        assert text.endswith((".", ").")), text
    assert "95 %" in each.statistic


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("name", CLAIMS)
def test_the_verdict_is_the_made_up_truth(name: str, how: str) -> None:
    results = world(name, how).results()
    found = claim(name).judge(results)
    assert found.status == how, found
    assert found.effect.low < found.effect.high
    assert found.unit
    assert "nan" not in found.sentence
    assert found.sentence.endswith(".")
    data = claim(name).figure.data(results)
    assert len(data)
    specification(claim(name).figure.chart(data, results), claim(name).figure.caption(results))


@pytest.mark.parametrize("name", CLAIMS)
def test_what_is_missing_is_said(name: str) -> None:
    results = bare(name).results()
    if name in ("figure-8", "figure-11", "figure-13"):  # what they judge by is the loss itself, of one epoch here
        assert claim(name).judge(results).sentence.startswith("Nothing can be said yet: ")
        return
    found = claim(name).judge(results)
    assert found.status == "undecided"
    assert found.sentence.startswith("Nothing can be said yet: ")
    assert math.isnan(found.effect.mean)
    assert claim(name).figure.data(results).empty


@pytest.mark.parametrize("name", CLAIMS)
def test_one_seed_decides_nothing(name: str) -> None:
    whole = world(name, "confirmed")
    found = claim(name).judge(replace(whole, seeds=1, diverges=()).results())
    assert found.status == "undecided"
    assert "nan" not in found.sentence


@pytest.mark.parametrize("name", CLAIMS)
def test_where_every_trial_diverged_nothing_can_be_said(name: str) -> None:
    whole = world(name, "confirmed")
    lost = World(name, whole.cells, lambda arm, n, draw: [{"train/loss": 1.0}], 2,
                 diverges=tuple((cell, seed) for cell in whole.cells for seed in range(2)))  # fmt: skip
    assert claim(name).judge(lost.results()).sentence.startswith("Nothing can be said yet: ")


@pytest.mark.parametrize("name", SKETCHES)
def test_sketches_say_that_they_are(name: str) -> None:
    sketch = claims.get(name)
    assert isinstance(sketch, Sketch)
    assert sketch.caption.startswith("Sketch, nothing measured")
    assert specification(sketch.chart(), sketch.caption)["layer"]


NAN = math.nan


@pytest.mark.parametrize(
    ("effect", "rules"),
    [
        ((1, 0.5, 1.5), ("confirmed", "refuted", "undecided")),
        ((-1, -1.5, -0.5), ("refuted", "confirmed", "undecided")),
        ((0.1, -0.5, 0.6), ("undecided", "undecided", "confirmed")),
        ((3, 2, 4), ("confirmed", "refuted", "refuted")),
        ((1, 1, 1), ("undecided", "undecided", "undecided")),
        ((0.5, 0, 1), ("undecided", "undecided", "undecided")),  # an end on a bound is on neither side of it
        ((1, NAN, NAN), ("undecided", "undecided", "undecided")),
    ],
)
def test_rules_decide_by_the_whole_interval(effect: tuple[float, float, float], rules: tuple[str, str, str]) -> None:
    estimate = Estimate(*effect, 3)
    assert (above(estimate), below(estimate), within(estimate, -1, 1)) == rules


def test_together_one_refutation_is_enough_and_nothing_confirms_nothing() -> None:
    assert all_of(["confirmed", "refuted", "undecided"]) == "refuted"
    assert all_of(["confirmed", "undecided"]) == "undecided"
    assert all_of(["confirmed"]) == "confirmed"
    assert all_of([]) == "undecided"


@pytest.mark.parametrize(
    ("name", "how", "end"),
    [
        ("figure-3", "confirmed", "throughout"),
        ("figure-4", "confirmed", "throughout"),
        ("figure-3", "refuted", "up to n = 512"),
        ("figure-7", "refuted", "nowhere beyond it"),
    ],
)
def test_how_far_a_law_reaches_is_said(name: str, how: str, end: str) -> None:
    """E|g| bends by n/2B: figure 3's made-up noise scale B of 3,000 turns 1/√n wrong by 10 % near n = 600."""
    sentence = claim(name).judge(world(name, how).results()).sentence
    assert f"is right to 10 % {end}." in sentence
    sizes = (32, 64, 2048, 4096) if name == "figure-3" else (32, 64, 512, 1024)
    assert f"({sizes[0]} → {sizes[1]}) to " in sentence
    assert f"({sizes[2]} → {sizes[3]})" in sentence


@pytest.mark.parametrize(
    ("measured", "reaches"),
    [
        ([1.0, 0.5, 0.25, 0.125], 512),
        ([1.0, 0.54, 0.25, 0.2], 128),  # 7 % off at 32, and 38 % at 512
        ([1.0, 0.6, 0.25, 0.125], None),  # sizes that are right again do not count
        ([1.0, math.nan, 0.25, 0.125], None),
    ],
)
def test_a_law_reaches_to_the_last_size_before_its_first_error(measured: list[float], reaches: int | None) -> None:
    sizes = [8, 32, 128, 512]
    table = pd.DataFrame([measured, measured], columns=sizes)
    assert reach(table, sizes, -0.5) == reaches
    assert reach(3 * table, sizes, -0.5) == reaches


def test_discarding_is_told_in_percent_per_ten_percent() -> None:
    """Made up: log E|g| rises by 0.12 per 10 % discarded, by 0.04 where they are discarded at random."""
    found = claim("figure-9").judge(world("figure-9", "confirmed").results())
    assert found.effect.mean == pytest.approx(100 * math.expm1(0.12), abs=2)
    parts = {part.label: part.effect.mean for part in found.parts}
    assert parts["discarded at random (control)"] == pytest.approx(100 * math.expm1(0.04), abs=1)
    assert parts["share of the rise that p alone explains"] == pytest.approx(100 / 3, abs=8)


def test_diverged_seeds_are_told_beside_the_means() -> None:
    found = claim("figure-1").judge(world("figure-1", "confirmed").results())
    assert "Diverged seeds are in none of these numbers: sgd/2048 (1 of 5)." in found.sentence
    assert found.effect.n == 4
