"""Where and with what the study ran."""

from __future__ import annotations

from reports.results import Results
from reports.tables.words import NONE, value


def facts(results: Results) -> list[tuple[str, str]]:
    """Name and text: the store's environment first, then what the trials tell."""
    trials = results.trials
    commits = sorted(set(trials["git_commit"].dropna().astype(str))) if "git_commit" in trials else []
    seeds = sorted(set(results.confirmed["seed"].dropna().astype(int)))
    ended = trials["status"].value_counts()
    more = {
        "baseline": results.baseline,
        "code": ", ".join(commits) or NONE,
        "confirm seeds": ", ".join(map(str, seeds)) or NONE,
        "trials": ", ".join(f"{count} {status}" for status, count in ended.items()) or NONE,
    }
    if "host" in trials and (placed := trials.dropna(subset=["host", "device"])).size:
        places = (placed["device"] + " of " + placed["host"]).value_counts(sort=False)
        more["trained on"] = ", ".join(f"{place} ({count} trials)" for place, count in places.items())
    if "time/trial_seconds" in trials and (known := trials["time/trial_seconds"].dropna()).size:
        missing = "" if len(known) == len(trials) else f" of {len(known)} of {len(trials)}"
        more["training time"] = f"{known.sum() / 3600:.2f} hours, summed over trials{missing}"
    environment = {str(key): value(fact) for key, fact in results.environment.items()}
    return list((environment | {key: text for key, text in more.items() if key not in environment}).items())
