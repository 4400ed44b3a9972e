"""A claim in every reading: does its verdict depend on what the question's source leaves open?

Each reading is judged by the same rule as the reading of record (after Simonsohn, Simmons & Nelson 2020, *Specification
curve analysis*: run every defensible choice, show them all).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from reports.claims.shared.claim import Claim, Judgement
from reports.results import Results
from study.cell_name import RECORD

NOUNS = {
    "model/name": "net",
    "model/width": "width",
    "model/init": "initialisation",
    "model/dropout": "dropout",
    "data/normalisation": "input scaling",
    "optimizer/momentum": "momentum",
    "optimizer/beta": "weight decay",
    "optimizer/lr": "rate as",
    "optimizer/reading": "MCLR's medians",
}
BY_SIZE = {"linear": "n", "sqrt": "n^0.5", "constant": "constant"}


@dataclass(frozen=True)
class InReading:
    """A claim's judgement in one reading, and what that reading sets: `{"initialisation": "kaiming"}`."""

    reading: str
    choices: Mapping[str, str]
    judgement: Judgement

    @property
    def of_record(self) -> bool:
        return self.reading == RECORD


def judged(claim: Claim, results: Results) -> list[InReading]:
    """The claim's judgement in the reading of record, then in each other that a trial has run in."""
    record = InReading(RECORD, {}, claim.judge(results))
    others = ((choices(sets), results.reading(name)) for name, sets in results.readings.items())
    begun = [InReading(there.reading_name, sets, claim.judge(there)) for sets, there in others if len(there.trials)]
    return [record, *begun]


def choices(sets: Mapping[str, object]) -> dict[str, str]:
    """What a reading sets, by leaf path (`arms/sgd/optimizer/lr/scale`), in the words of a page.

    What it sets for several arms alike is one choice; a value that follows the batch size is its rule.
    """
    found: dict[str, list[str]] = {}
    for path, value in sets.items():
        key, text = _choice(path, value)
        if text and text not in found.setdefault(key, []):
            found[key].append(text)
    return {NOUNS.get(key, key): ", ".join(texts) for key, texts in found.items() if texts}


def _choice(path: str, value: object) -> tuple[str, str]:
    parts = path.split("/")
    if parts[0] == "confirm":
        return path, ""  # how many seeds is no setting
    if parts[0] == "arms":
        parts = parts[2:]
    if parts[-1] in ("value", "at"):
        return "/".join(parts[:-1]), ""  # the rule tells
    if parts[-1] == "scale":
        return "/".join(parts[:-1]), BY_SIZE.get(str(value), "")
    if parts[-1] == "exponent":
        return "/".join(parts[:-1]), f"n^{value}"
    return "/".join(parts), f"{value:g}" if isinstance(value, float) else str(value)


def dependence(found: Sequence[InReading]) -> str:
    """On what the verdict depends, as a sentence; empty where there is one reading alone.

    A choice *turns* the verdict where a reading that makes no other choice has another one; where none does, the
    choices that all the turned readings share are named.
    """
    record, others = found[0], list(found[1:])
    if not others:
        return ""
    status = record.judgement.status
    turned = [each for each in others if each.judgement.status != status]
    if not turned:
        return f"{status.capitalize()} in the setting of record and in {_all(len(others))}."
    stands = len(others) - len(turned)
    start = f"{status.capitalize()} in the setting of record and in {stands} of {_readings(len(others))}"
    return f"{start}; {turning(turned)}."


def standing(found: Sequence[InReading]) -> str:
    """`stands in 3 of 5 other readings; dropout (0.5: refuted) turns it`; empty where there is one reading alone."""
    record, others = found[0], list(found[1:])
    turned = [each for each in others if each.judgement.status != record.judgement.status]
    if not others:
        return ""
    start = f"stands in {len(others) - len(turned)} of {_readings(len(others))}"
    return f"{start}; {turning(turned)}" if turned else start


def turning(turned: Sequence[InReading]) -> str:
    """What turns the verdict in these readings: `initialisation (kaiming, xavier) turns it`."""
    alone = [each for each in turned if len(each.choices) == 1]
    if alone:
        by_noun: dict[str, list[str]] = {}
        for each in alone:
            ((noun, value),) = each.choices.items()
            by_noun.setdefault(noun, []).append(f"{value}: {each.judgement.status}")
        named = [f"{noun} ({', '.join(values)})" for noun, values in by_noun.items()]
        return f"{_listed(named)} {'turns' if len(named) == 1 else 'turn'} it"
    shared = [noun for noun in turned[0].choices if all(noun in each.choices for each in turned)]
    if shared:
        return f"wherever it turns, {_listed(shared)} {'differs' if len(shared) == 1 else 'differ'}"
    return f"it turns in {', '.join(each.reading for each in turned)}"


def _listed(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def _readings(n: int) -> str:
    return f"{n} other reading{'' if n == 1 else 's'}"


def _all(n: int) -> str:
    return "the other reading" if n == 1 else f"all {n} other readings"
