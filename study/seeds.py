"""Which training seeds are whose: confirm trials take those below `SEARCH_SEEDS`, search trials from there on."""

SEARCH_SEEDS = 10_000
