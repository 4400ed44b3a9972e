"""What the store holds: every tag, metric and artifact of a study, of a cell's run and of a trial's run.

Each class below is a set of tags that are written together: `to_tags` gives their text, `from_tags` reads it back.
Lists and mappings are JSON. Nothing is cut: a text that is too long for a tag or a parameter goes to an artifact, and
a `Pointer` stands in its place (`study.store` writes and follows it).

Stores of format 1 (up to version 0.1) joined lists by commas, and cut a study's tags at `CUT` characters; they are read
as well. A reader refuses a store of a later format than its own `FORMAT`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any, Literal, Self

from study.cell_name import RECORD
from trainables.errors import Refused

FORMAT = 2
CUT = 4900  # characters, at which stores of format 1 cut the tags of an experiment

# What any MLflow server takes, and any database below it: the shortest of the bounds of client, server and columns.
TAG_LENGTH = 5000  # characters of a tag's text: an experiment's column; a run's holds 8,000, which older servers refuse
PARAM_LENGTH = 6000  # characters of a parameter's text; MLflow cuts longer ones, and says so in its log only
KEY_LENGTH = 250  # characters of the name of a tag, a metric or a parameter


# How a value is written


@dataclass(frozen=True)
class Kind:
    """The form of a tag's value; `listed` for one that is several values, which a table shows as JSON."""

    write: Callable[[Any], str]
    read: Callable[[str], Any]
    listed: bool = False


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _names(separator: str) -> Callable[[str], tuple[str, ...]]:
    """Reads a JSON list, and what format 1 joined by `separator`: no name of ours begins with a bracket."""

    def read(text: str) -> tuple[str, ...]:
        given = json.loads(text) if text.startswith("[") else filter(None, text.split(separator))
        return tuple(map(str, given))

    return read


def _table(text: str) -> dict[str, Any]:
    given = json.loads(text or "{}")
    if not isinstance(given, dict):
        raise ValueError("a JSON object is wanted")
    return given


def _tables(text: str) -> tuple[dict[str, Any], ...]:
    return tuple(dict(each) for each in json.loads(text))


def _truth(text: str) -> bool:
    return {"true": True, "false": False}[text]


TEXT = Kind(str, str)
WHOLE = Kind(str, int)
NUMBER = Kind(repr, float)
TRUTH = Kind(lambda value: "true" if value else "false", _truth)
NAMES = Kind(lambda names: _json(list(names)), _names(","), listed=True)
SENTENCES = Kind(lambda texts: _json(list(texts)), _names("; "), listed=True)
TABLE = Kind(lambda table: _json(dict(table)), _table, listed=True)
TABLES = Kind(lambda tables: _json([dict(each) for each in tables]), _tables, listed=True)


def tag(kind: Kind, name: str | None = None) -> dict[str, Any]:
    """The metadata of a field that is a tag, called like the field or `name`."""
    return {"kind": kind, "name": name}


@dataclass(frozen=True)
class Tags:
    """Tags that are written together: a field of None is not written, an absent tag leaves its field's default."""

    @classmethod
    def kinds(cls) -> dict[str, tuple[str, Kind]]:
        """Each tag's field and kind, by the tag's name."""
        return {each.metadata["name"] or each.name: (each.name, each.metadata["kind"]) for each in fields(cls)}

    def to_tags(self) -> dict[str, str]:
        """Each tag's text, by its name."""
        values = {name: (getattr(self, key), kind) for name, (key, kind) in self.kinds().items()}
        return {name: kind.write(value) for name, (value, kind) in values.items() if value is not None}

    @classmethod
    def from_tags(cls, tags: Mapping[str, str]) -> Self:
        """Read back what `to_tags` wrote; other tags are left alone. Raises Refused for a tag that is damaged."""
        found = {key: value_of(name, tags[name], kind) for name, (key, kind) in cls.kinds().items() if name in tags}
        try:
            return cls(**found)
        except TypeError:
            lacking = [name for name in cls.kinds() if name not in tags]
            raise Refused("store", sorted(tags), f"a run there lacks its tags {', '.join(lacking)}", _RESTORE) from None


_RESTORE = "restore the store from a copy, or start in another --dir"


def value_of(name: str, text: str, kind: Kind) -> Any:
    """The value of the tag `name`. Raises Refused where its text is none of that kind."""
    try:
        return kind.read(text)
    except (ValueError, KeyError, TypeError):
        raise Refused("store", text, f"is no value of the tag {name}", _RESTORE) from None


# The study: tags of the experiment


@dataclass(frozen=True, kw_only=True)
class Identity(Tags):
    """Whose the experiment is, from its making on: a `study_id` that its directory also holds; the store's format."""

    study_id: str = field(default="", metadata=tag(TEXT))
    format: int = field(default=1, metadata=tag(WHOLE))

    def check(self, place: str) -> None:
        """Raises Refused where a newer version of this package wrote the store, or the directory, at `place`."""
        if self.format > FORMAT:
            rule = f"is of format {self.format}, and this version reads formats up to {FORMAT}"
            raise Refused("store", place, rule, "install the version that wrote it, or a newer one")


@dataclass(frozen=True, kw_only=True)
class Study(Tags):
    """What the study is, written whole whenever it begins or goes on."""

    question: str = field(default="", metadata=tag(TEXT))
    baseline: str = field(default="", metadata=tag(TEXT))  # a cell
    cells: tuple[str, ...] = field(default=(), metadata=tag(NAMES))  # as the spec orders them, all readings
    readings: Mapping[str, Any] = field(default_factory=dict, metadata=tag(TABLE))  # what each sets, by leaf path
    repeats: tuple[str, ...] = field(default=(), metadata=tag(NAMES))  # further searches of cells, `sgd~1/32`
    claims: tuple[str, ...] = field(default=(), metadata=tag(NAMES))  # that the report judges, in this order
    margin: float = field(default=1.0, metadata=tag(NUMBER))  # points of accuracy, within which arms are the same
    unequal: str = field(default="", metadata=tag(TEXT))  # says where arms search spaces of unequal size
    spec: str = field(default="", metadata=tag(TEXT))  # resolved, as YAML
    environment: Mapping[str, Any] = field(default_factory=dict, metadata=tag(TABLE))  # of the last run
    versions: tuple[Mapping[str, str], ...] = field(default=(), metadata=tag(TABLES))  # that trained, in this order


@dataclass(frozen=True, kw_only=True)
class Standing(Tags):
    """How far the study has come.

    `complete` is true from the moment when all trials have ended and the report is written, until `study run` finds
    something to do in it; None where no version of format 2 has run it. `busy` is the share of the slots' time that
    went into training and evaluation. `looked`: so many confirm seeds the cells had when the study was complete, before
    it was given more.
    """

    complete: bool | None = field(default=None, metadata=tag(TRUTH))
    busy: float | None = field(default=None, metadata=tag(NUMBER, "time/busy"))
    looked: int | None = field(default=None, metadata=tag(WHOLE))


# Runs: one a cell, one a trial below it


@dataclass(frozen=True, kw_only=True)
class CellRun(Tags):
    """A cell's run: an arm at a batch size, and the keys that its search tunes."""

    cell: str = field(metadata=tag(TEXT))
    arm: str = field(metadata=tag(TEXT))
    batch_size: int = field(metadata=tag(WHOLE))
    reading: str = field(default=RECORD, metadata=tag(TEXT))  # one without the tag is of record
    searched: tuple[str, ...] = field(default=(), metadata=tag(NAMES))
    repeat: int | None = field(default=None, metadata=tag(WHOLE))  # which further search of the cell, from 1
    tuned_at: str | None = field(default=None, metadata=tag(TEXT))  # the cell whose search its values are from
    phase: str = field(default="cell", metadata=tag(TEXT))


@dataclass(frozen=True, kw_only=True)
class TrialRun(CellRun):
    """A trial's run: every tag of its cell's run but the phase, and which trial it is."""

    phase: str = field(metadata=tag(TEXT))  # search or confirm
    trial: int = field(metadata=tag(WHOLE))  # the number of a search trial; a confirm trial's seed
    seed: int = field(metadata=tag(WHOLE))
    status: str = field(default="running", metadata=tag(TEXT))
    config_hash: str = field(default="", metadata=tag(TEXT))
    git_commit: str = field(default="", metadata=tag(TEXT))


@dataclass(frozen=True, kw_only=True)
class CellEnd(Tags):
    """How a cell's run stands after each `study run`."""

    status: Literal["running", "complete"] = field(default="running", metadata=tag(TEXT))
    gap: Literal["defined", "undefined"] = field(default="undefined", metadata=tag(TEXT))  # its metrics stay
    boundary: tuple[str, ...] = field(default=(), metadata=tag(SENTENCES))  # where the best lies at the end of a range
    pruning: str = field(default="", metadata=tag(TEXT))
    untried: tuple[str, ...] = field(default=(), metadata=tag(SENTENCES))  # choices that no search trial had
    broken: tuple[str, ...] = field(
        default=(), metadata=tag(SENTENCES)
    )  # constraints, where all search trials break one


@dataclass(frozen=True, kw_only=True)
class TrialEnd(Tags):
    """How a trial ended: `complete`, `pruned`, `diverged` or `failed`, and why."""

    status: str | None = field(default=None, metadata=tag(TEXT))
    pruned_epoch: int | None = field(default=None, metadata=tag(WHOLE))  # the last one it trained
    diverged_step: int | None = field(default=None, metadata=tag(WHOLE))
    reason: str | None = field(default=None, metadata=tag(TEXT))
    superseded: bool | None = field(default=None, metadata=tag(TRUTH))  # a top-up has beaten its configuration
    counts: bool | None = field(default=None, metadata=tag(TRUTH))  # its test accuracy is in gap.csv
    host: str | None = field(default=None, metadata=tag(TEXT))  # the machine that it ended on
    device: str | None = field(default=None, metadata=tag(TEXT))  # cpu, or the GPU's name


@dataclass(frozen=True)
class Summary:
    """A cell's run as a whole: what it is, how it stands, and its metrics (`gap/batch`, …)."""

    run: CellRun
    end: CellEnd
    metrics: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Keys(Tags):
    """The whole names of metrics and parameters that MLflow takes only in another form, by that form."""

    keys: Mapping[str, str] = field(default_factory=dict, metadata=tag(TABLE))


RUN_KINDS: dict[str, Kind] = {
    name: kind
    for group in (CellRun, TrialRun, CellEnd, TrialEnd, Keys)
    for name, (_, kind) in group.kinds().items()
}  # fmt: skip


def shown(name: str, text: str) -> str | int | float:
    """The tag's value as a table shows it: a number as a number, a list as JSON, else its text. Raises Refused."""
    kind = RUN_KINDS.get(name, TEXT)
    value = value_of(name, text, kind)
    if kind.listed:
        return kind.write(value)
    return text if isinstance(value, bool) or not isinstance(value, int | float) else value


# Metrics


METRICS: dict[str, str] = {
    "train/loss": "mean over the epoch's steps",
    "train/accuracy": "of the epoch's steps; after the last epoch in evaluation mode",
    "val/loss": "on the validation split, where there is one",
    "val/accuracy": "on the validation split",
    "test/loss": "of a confirm trial, after the last epoch",
    "test/accuracy": "of a confirm trial, after the last epoch; of a cell, the mean over its confirm seeds",
    "test/accuracy_low": "of a cell: the lower end of the mean's 95 % interval",
    "test/accuracy_high": "of a cell: the upper end",
    "test/chance": "of a confirm trial: test accuracy up to which a net may have learned nothing",
    "gap/train_test": "train accuracy minus test accuracy; of a cell, the mean over its confirm seeds",
    "gap/batch": "of a cell: the baseline cell's test accuracy minus this one's, paired over confirm seeds",
    "gap/batch_low": "of a cell: the lower end of that difference's 95 % interval",
    "gap/batch_high": "of a cell: the upper end",
    "gap/own": "of a cell: its arm's test accuracy at the smallest batch size minus this one's, over shared seeds",
    "gap/winner": "of a cell: the best search trial's validation accuracy minus the confirm trials' mean",
    "gap/winner_low": "of a cell: the lower end of that difference's 95 % interval",
    "gap/winner_high": "of a cell: the upper end",
    "search/val_accuracy": "of a cell: the best search trial's validation accuracy",
    "search/trials": "of a cell: the search trials of its budget",
    "best/…": "of a cell: the value of the key … that its search found, where that is a number",
    "trials/done": "of a cell: complete trials",
    "trials/diverged": "of a cell: diverged trials",
    "trials/pruned": "of a cell: pruned trials",
    "probe/…": "what the probe NAME measured of a layer: probe/NAME/LAYER",
    "trick/…": "what the trick NAME did: trick/NAME/…",
    "time/…": "anything of the clock",
}
"""Every metric by epoch, from 1, and what it means; `…` stands for what a plug-in names."""

GAP_METRICS = {
    "gap_batch": "gap/batch",
    "gap_batch_low": "gap/batch_low",
    "gap_batch_high": "gap/batch_high",
    "gap_own": "gap/own",
    "gap_train_test": "gap/train_test",
    "test_accuracy": "test/accuracy",
    "test_low": "test/accuracy_low",
    "test_high": "test/accuracy_high",
}
"""The metrics of a cell's run that hold the columns of gap.csv, and `gap_own`."""


# Names and texts that MLflow would refuse or cut


_REFUSED_CHARACTERS = re.compile(r"[^\w.\- /]")


@lru_cache(maxsize=10_000)
def safe_key(key: str) -> str:
    """`key` in a form that MLflow takes as the name of a metric or a parameter; nearly always `key` itself.

    A character that MLflow refuses becomes `:HEX:`, as does what it would read as a folder's `.` or `..`. Too long a
    key keeps its beginning, and ends with a digest of the whole.
    """
    parts = [_REFUSED_CHARACTERS.sub(_escaped, part) for part in key.split("/")]
    safe = "/".join(_escape(part) if part in ("", ".", "..") else part for part in parts)
    if len(safe) <= KEY_LENGTH:
        return safe
    return f"{safe[:200].rstrip('/.')}:-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def whole_key(safe: str, keys: Mapping[str, str]) -> str:
    """The inverse of `safe_key`; `keys` holds what it shortened."""
    if safe in keys:
        return keys[safe]
    return re.sub(r":([0-9a-f.]*):", lambda match: _unescaped(match[1]), safe)


def is_shortened(key: str) -> bool:
    """Whether `safe_key` leaves out a part of the key, which then must be kept elsewhere."""
    return whole_key(safe_key(key), {}) != key


def _escaped(match: re.Match[str]) -> str:
    return _escape(match[0])


def _escape(text: str) -> str:
    return f":{'.'.join(f'{ord(character):x}' for character in text)}:"


def _unescaped(digits: str) -> str:
    return "".join(chr(int(each, 16)) for each in digits.split(".") if each)


@dataclass(frozen=True)
class Pointer:
    """Stands in a tag or a parameter for a text of `characters` that is the artifact at `artifact` of the run `run`."""

    artifact: str
    run: str
    characters: int

    def __str__(self) -> str:
        return _json({"artifact": self.artifact, "run": self.run, "characters": self.characters})

    @classmethod
    def read(cls, text: str) -> Self | None:
        """The pointer that `text` is, if it is one."""
        if not text.startswith(_POINTS):
            return None
        try:
            return cls(**json.loads(text))
        except (ValueError, TypeError):
            return None


_POINTS = '{"artifact": "'


def fits(text: str, length: int) -> bool:
    """Whether `text` may stand in a tag or parameter itself: short enough, and not to be taken for a pointer."""
    return len(text) <= length and not text.startswith(_POINTS)


def artifact(name: str) -> str:
    """Where the text of the tag or parameter `name` lies among a run's artifacts, if it is too long."""
    return f"facts/{re.sub(r'[^A-Za-z0-9_-]', '.', name)[:80]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}.txt"
