"""Seeds as points behind their mean, so that a reader sees from how many, and how unlike, values a mean comes.

A figure's table has a row a mean, whose `seed` is empty, and below these a row a seed with its own value for the mean.
"""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

ASIDE = 6  # pixels
MEANS, SEEDS = "!isValid(datum.seed)", "isValid(datum.seed)"  # filters of Vega


def below(means: pd.DataFrame, seeds: list[dict[str, Any]]) -> pd.DataFrame:
    """`means` with an empty column `seed`, and the rows `seeds` below; what a seed's row lacks stays empty."""
    more = pd.DataFrame(seeds, columns=[*means.columns, "seed"])
    tables = [table for table in (means.assign(seed=float("nan")), more) if len(table)]
    return pd.concat(tables, ignore_index=True) if tables else means.assign(seed=float("nan"))


def of_means(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that are means."""
    return table[table["seed"].isna()]


def points(base: alt.Chart, **channels: Any) -> alt.Chart:
    """The layer of seeds, where `channels` say, a little beside the bar of their mean."""
    aside = {"xOffset": ASIDE} if "y" in channels else {"yOffset": ASIDE}
    mark = base.transform_filter(SEEDS).mark_point(filled=True, size=16, opacity=0.55, clip=True, **aside)
    return mark.encode(tooltip=["seed:Q", alt.Tooltip("mean:Q", format=".4~g", title="value")], **channels)
