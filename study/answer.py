"""The study's answer in plain words: which arm is best at the largest batch size, how surely, and what would tell.

Points are percentage points of test accuracy; those won are positive, those lost negative.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from study.intervals import SEEDS, Estimate
from study.ranking import Pair, Place, Ranking, reach, seeds_wanted
from study.seeds import SEARCH_SEEDS
from study.text import listed


@dataclass(frozen=True)
class Answer:
    """`sentence`: who is best, and what that wins back. `doubt`: what the seeds leave open; empty where nothing.

    `seeds`: so many more would tell; None where nothing is open, or no number that a spec may ask for would do.
    `promise` says what they tell.
    """

    sentence: str
    doubt: str = ""
    seeds: int | None = None
    promise: str = ""

    def command(self, directory: Path, given: int) -> str:
        """What gives the study in `directory` the seeds that decide, beside the `given` ones; empty for none."""
        if self.seeds is None or given + self.seeds > SEARCH_SEEDS:
            return ""
        seeds = f"confirm/seeds={given + self.seeds}"
        return shlex.join(["study", "run", str(directory / "spec.yaml"), "--dir", str(directory), "--set", seeds])


def answer(ranking: Ranking, baseline: str, loss: Estimate) -> Answer:
    """At the largest batch size; `loss` is what the `baseline` arm loses there against its baseline cell."""
    if not ranking.places:
        return Answer("No confirm seed is complete: there is no answer yet.")
    size = max(place.batch_size for place in ranking.places)
    places = ranking.at(size)
    first = places[0]
    found = (ranking.pair(size, first.arm, place.arm) for place in places[1:])
    pairs = [pair for pair in found if pair is not None]
    sentence = f"At batch size {size:,}, {_best(first, places)}{_won(ranking, first, baseline, loss)}."
    return Answer(sentence, _doubt(first, pairs), *_more(pairs, len(ranking.pairs)))


def _more(pairs: Sequence[Pair], compared: int) -> tuple[int | None, str]:
    """How many new seeds tell what is open in these pairs, of so many compared in all, and what they tell."""
    left = [pair for pair in pairs if pair.standing == "undecided"]
    if not left:
        return None, ""
    if min(pair.difference.n for pair in left) < SEEDS:
        return SEEDS, f"{SEEDS} seeds are the fewest that show their own spread"
    wanted = [seeds_wanted(pair.spread, pair.margin, 1 - 0.05 / compared) for pair in left]
    most = max((each for each in wanted if each is not None), default=None)
    if most is None or None in wanted:
        return None, ""
    margin = 100 * left[0].margin
    unit = "point" if margin == 1 else "points"
    told = f"{most} new seeds narrow what is open to ± {margin:g} {unit}, and they alone decide then"
    few = 2 * max(SEEDS, *(pair.difference.n for pair in left))
    if most <= few:
        return most, told
    ends = max(reach(pair.spread, few, 1 - 0.05 / compared) for pair in left)
    return most, f"{told}; {few}, to ± {100 * ends:.1f}"


def _best(first: Place, places: Sequence[Place]) -> str:
    level = f"{100 * first.accuracy.mean:.1f} %"
    if len(places) == 1:
        return f"{first.arm} reaches {level}"
    return f"{first.arm} is best of {len(places)} arms ({level})"


def _won(ranking: Ranking, first: Place, baseline: str, loss: Estimate) -> str:
    """What the best arm wins back of the baseline arm's loss, or what that loses where it is best itself."""
    lost = f"{100 * loss.mean:.1f} points" if loss.n else ""
    if first.arm == baseline:
        return f": it loses {lost} against its baseline" if loss.n and loss.mean > 0 else ""
    pair = ranking.pair(first.batch_size, first.arm, baseline)
    if pair is None:
        return f"; {baseline} has no complete seed there"
    won = 100 * pair.difference.mean
    if loss.sign > 0 and won < 100 * loss.mean:
        return f": it wins back {won:.1f} of the {lost} that {baseline} loses"
    if loss.sign > 0:
        return f": it wins back all of the {lost} that {baseline} loses, and {won - 100 * loss.mean:.1f} more"
    return f", {won:.1f} points above {baseline}"


def _doubt(first: Place, pairs: Sequence[Pair]) -> str:
    """What the seeds say of the best arm against each other one, the sure first."""
    if not pairs:
        return ""
    said = []
    for standing, words in (
        ("better", "better than {} beyond doubt"),
        ("same", "the same as {} to within {} points"),
        ("undecided", "perhaps no better than {}"),
    ):
        arms = [pair.other for pair in pairs if pair.standing == standing]
        if arms:
            said.append(words.format(listed(arms), f"{100 * pairs[0].margin:g}"))
    n = min(pair.difference.n for pair in pairs)
    few = f"; fewer than {SEEDS} seeds tell nothing" if n < SEEDS else ""
    return f"With {n} seed{'s' if n > 1 else ''} {first.arm} is {'; '.join(said)}{few}."
