"""A claim in every reading: on what its verdict depends, in words and as a specification curve."""

from __future__ import annotations

from typing import Any

import pytest

from reports.claims.shared.claim import Judgement, Status
from reports.drawing import specification
from reports.figures.specification_curve import figure, rows
from reports.readings import InReading, choices, dependence
from study.cell_name import RECORD
from study.intervals import Estimate


def verdict(reading: str, status: Status, effect: float = 0.0, seeds: int = 3, **sets: str) -> InReading:
    measured = Estimate(effect, effect - 0.1, effect + 0.1, seeds)
    return InReading(reading, sets, Judgement(status, measured, "slope", "A sentence."))


RECORD_OF = verdict(RECORD, "confirmed", -0.5)


@pytest.mark.parametrize(
    ("others", "sentence"),
    [
        ([], ""),
        ([verdict("a", "confirmed", dropout="0.5")], "Confirmed in the setting of record and in the other reading."),
        (
            [verdict("a", "confirmed", dropout="0.5"), verdict("b", "confirmed", momentum="0.9")],
            "Confirmed in the setting of record and in all 2 other readings.",
        ),
        (
            [verdict("a", "refuted", initialisation="kaiming"), verdict("b", "confirmed", dropout="0.5")],
            "Confirmed in the setting of record and in 1 of 2 other readings; "
            "initialisation (kaiming: refuted) turns it.",
        ),
        (  # the same choice turns it at one value only
            [verdict("a", "undecided", initialisation="kaiming"), verdict("b", "confirmed", initialisation="xavier")],
            "Confirmed in the setting of record and in 1 of 2 other readings; "
            "initialisation (kaiming: undecided) turns it.",
        ),
        (
            [verdict("a", "refuted", initialisation="kaiming"), verdict("b", "refuted", momentum="0.9")],
            "Confirmed in the setting of record and in 0 of 2 other readings; "
            "initialisation (kaiming: refuted) and momentum (0.9: refuted) turn it.",
        ),
        (
            [verdict("a", "refuted", initialisation="kaiming", dropout="0.5")],
            "Confirmed in the setting of record and in 0 of 1 other reading; "
            "wherever it turns, initialisation and dropout differ.",
        ),
        (
            [
                verdict("a", "refuted", initialisation="kaiming", dropout="0.5"),
                verdict("b", "refuted", momentum="0.9", schedule="cosine"),
            ],
            "Confirmed in the setting of record and in 0 of 2 other readings; it turns in a, b.",
        ),
    ],
)
def test_the_sentence_says_what_turns_the_verdict(others: list[InReading], sentence: str) -> None:
    assert dependence([RECORD_OF, *others]) == sentence


@pytest.mark.parametrize(
    ("sets", "words"),
    [
        ({"model/init": "kaiming"}, {"initialisation": "kaiming"}),
        ({"arms/sgd/optimizer/momentum": 0.9}, {"momentum": "0.9"}),
        ({"arms/sgd/optimizer/momentum": 0.9, "arms/lars/optimizer/momentum": 0.9}, {"momentum": "0.9"}),
        ({"arms/sgd/optimizer/momentum": 0.9, "arms/lars/optimizer/momentum": 0}, {"momentum": "0.9, 0"}),
        (
            {
                "arms/sgd/optimizer/lr/value": 0.05,
                "arms/sgd/optimizer/lr/at": 8192,
                "arms/sgd/optimizer/lr/scale": "sqrt",
            },
            {"rate as": "n^0.5"},
        ),
        (
            {"optimizer/lr/value": 0.05, "optimizer/lr/scale": "power", "optimizer/lr/exponent": 0.83},
            {"rate as": "n^0.83"},
        ),
        ({"confirm/seeds": 3, "model/dropout": 0.5}, {"dropout": "0.5"}),
        ({"schedule/name": "cosine"}, {"schedule/name": "cosine"}),
    ],
)
def test_choices_are_in_words(sets: dict[str, Any], words: dict[str, str]) -> None:
    assert choices(sets) == words


FOUND = [
    RECORD_OF,
    verdict("kaiming", "refuted", 0.1, initialisation="kaiming"),
    verdict("dropout", "confirmed", -0.45, dropout="0.5"),
    verdict("unmeasured", "undecided", seeds=0, dropout="0.9"),
]
STATED = {"initialisation": "torch", "dropout": "0"}


def test_the_curve_sorts_readings_by_effect_and_marks_what_each_chooses() -> None:
    table = rows(FOUND, STATED)
    assert list(dict.fromkeys(table["reading"])) == ["of record", "dropout", "kaiming"]
    made = table[table["made"]].groupby("reading")["choice"].apply(sorted)
    assert made["of record"] == ["dropout: 0", "initialisation: torch"]
    assert made["kaiming"] == ["dropout: 0", "initialisation: kaiming"]
    assert made["dropout"] == ["dropout: 0.5", "initialisation: torch"]


def test_the_curve_is_drawn_from_two_readings_on() -> None:
    drawn = figure("figure-3", FOUND, STATED)
    results: Any = None  # the figure holds its own data
    data = drawn.data(results)
    spec = specification(drawn.chart(data, results), "")
    above, below = spec["vconcat"]
    assert drawn.name == "figure-3-readings"
    assert len(above["layer"]) == 2
    assert below["height"] == 22 * 4  # of two initialisations and two dropouts
    assert figure("figure-3", FOUND[:1], STATED).data(results).empty
