"""The command line: `study run SPEC` and its companions."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from study.console import PlainConsole, open_standard_streams
from trainables.errors import Refused

if TYPE_CHECKING:
    from study.directory import Directory
    from study.findings import Findings
    from study.machine import Machine
    from study.progress import Display
    from study.reports import ReportFiles
    from study.spec import Collection, Resources, Spec
    from study.store import Store
    from trainables.data import Splits

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None,
    help="Fair, resumable studies of the generalization gap of large-batch training.",
)  # fmt: skip
out, err = PlainConsole(), PlainConsole(stderr=True)


def _print_versions(wanted: bool) -> None:
    if wanted:
        from study.versions import installed

        out.say("\n".join(f"{name} {text}" for name, text in installed().items()))
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_versions, help="Of this package and its parts.")
    ] = False,
) -> None:
    """What goes before any command."""


SpecArgument = Annotated[str, typer.Argument(metavar="SPEC", help="A YAML file or a built-in name (`study list`).")]
DirArgument = Annotated[Path, typer.Argument(metavar="DIR", help="A study's directory.")]
SetOption = Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override, KEY as in a/b/c.")]
ScaleOption = Annotated[
    str | None,
    typer.Option("--scale", help="The spec's section of this name; small: for a small machine."),
]
SlotsOption = Annotated[int | None, typer.Option("--slots", help="Trials at once; changes no result.")]
UriOption = Annotated[str | None, typer.Option("--tracking-uri", help="MLflow server [$MLFLOW_TRACKING_URI].")]
ReadingsOption = Annotated[
    str | None, typer.Option("--readings", metavar="NAMES", help="all, none or some, as a,b; others wait [all].")
]
StorageOption = Annotated[
    str | None, typer.Option("--storage", help="Optuna's database, as postgresql://… [DIR/optuna.journal].")
]
TakeOverOption = Annotated[
    bool, typer.Option("--take-over", help="From another run of it, on whatever machine, dead or alive.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="For scripts.")]
PortOption = Annotated[int, typer.Option("--port", min=1, max=65535, help="On loopback.")]


def _such_as(*commands: str) -> str:
    """What stands below a command's help; a form feed keeps the lines as they are."""
    return "\b\nExamples:\n" + "\n".join(f"  study {command}" for command in commands)


@app.command(epilog=_such_as("init mine.yaml"))
def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The spec to write; none may be there.")] = Path(
        "study.yaml"
    ),
) -> None:
    """Write a commented spec to begin with; as it is, it runs on handwritten digits in minutes."""
    template = (files("study") / "template.yaml").read_text(encoding="utf-8")
    if file.suffix not in (".yaml", ".yml"):
        raise Refused("FILE", str(file), "a spec's file ends in .yaml or .yml", "rename it")
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(template)
    except FileExistsError:
        raise Refused("FILE", str(file), "is there already", "choose another name") from None
    except OSError as error:
        raise Refused("FILE", str(file), f"cannot be written ({error.strerror})", "choose another place") from None
    out.say(f"{file}: edit it, then study check {shlex.quote(str(file))}, then study run {shlex.quote(str(file))}")


@app.command(epilog=_such_as("run quickstart", "run mine.yaml --set search/trials=20", "run paper --scale small"))
def run(
    spec: SpecArgument,
    dir: Annotated[Path | None, typer.Option("--dir", help="Where the study lives [studies/NAME].")] = None,
    set: SetOption = [],
    scale: ScaleOption = None,
    slots: SlotsOption = None,
    address: Annotated[str | None, typer.Option("--address", help="A Ray cluster; local if left out.")] = None,
    tracking_uri: UriOption = None,
    storage: StorageOption = None,
    readings: ReadingsOption = None,
    take_over: TakeOverOption = False,
) -> None:
    """Run a study, or every study of a collection; the same command again resumes, and a raised budget tops up."""
    from study import run, work
    from study import spec as specs
    from study.machine import Machine

    _check_slots(slots)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getpid(), signal.SIGINT))  # one clean way to stop
    request = specs.load(spec, scale=scale, overrides=set)
    path = dir or Path("studies") / request.name
    run.refuse_relative_in_job(path)
    machine = Machine(slots, address)
    try:
        with work.interruptible():
            if isinstance(request, specs.Collection):
                _run_collection(request, path, machine, set, tracking_uri, storage, readings, take_over=take_over)
            else:
                _run_study(request, path, machine, tracking_uri, storage, readings, take_over=take_over)
    except KeyboardInterrupt:
        again = " ".join(["study", *sys.argv[1:]])
        err.say(f"stopped; nothing that ended is lost. To go on: {again}")
        raise typer.Exit(130) from None
    except run.Failed as failure:
        err.say(f"study: {failure}\n{failure.then}")
        raise typer.Exit(1) from None


def _run_study(
    spec: Spec, path: Path, machine: Machine, tracking_uri: str | None, storage: str | None, readings: str | None,
    *, take_over: bool,
) -> None:  # fmt: skip
    from study import run
    from study.directory import Directory
    from study.statistics import trained
    from study.stored import findings

    directory = Directory(path)
    display = _display(machine)(spec.name, spec.resources)
    store, reports = run.run(
        spec, directory, machine, tracking_uri, display, storage=storage, readings=readings, take_over=take_over
    )
    if trained(trials := store.trials()):
        _print_gaps(findings(store, trials), path)
    _print_alarms(store)
    _print_reports(reports)


def _run_collection(
    collection: Collection,
    path: Path,
    machine: Machine,
    overrides: Sequence[str],
    tracking_uri: str | None,
    storage: str | None,
    readings: str | None,
    *,
    take_over: bool,
) -> None:
    from study.collection import run_all
    from study.directory import CollectionDirectory

    studies = collection.load(overrides)
    folder, display = CollectionDirectory(path), _display(machine)
    reports = run_all(
        collection, studies, folder, machine, tracking_uri, display, storage, readings, take_over=take_over
    )
    _print_reports(reports)


def _display(machine: Machine) -> Callable[[str, Resources], Display]:
    from study.machine import slots_here
    from study.progress import Display

    if machine.address is not None:
        return lambda name, _: Display(out, name, machine.slots)
    return lambda name, resources: Display(out, name, machine.slots or slots_here(resources))


@app.command(epilog=_such_as("check mine.yaml", "check cifar10 --scale small --set confirm/seeds=3"))
def check(
    spec: SpecArgument,
    set: SetOption = [],
    scale: ScaleOption = None,
    slots: SlotsOption = None,
    readings: ReadingsOption = None,
) -> None:
    """Validate a spec; print its cells, trials and an estimate. Runs no trial."""
    from study import spec as specs

    _check_slots(slots)
    request = specs.load(spec, scale=scale, overrides=set)
    if isinstance(request, specs.Collection):
        _check_collection(request, request.load(set), slots, readings)
    else:
        _check_study(request, slots, readings)


def _check_study(spec: Spec, slots: int | None, readings: str | None) -> None:
    from study.cost import costs, total
    from study.fairness import notes
    from study.machine import slots_here
    from study.plan import cells, chosen, load_data
    from study.progress import price
    from study.search import pruning

    plan, missing = chosen(cells(spec), readings), dict[str, Refused]()
    each = costs(spec, plan, load_data(plan, missing=missing))
    table = _table("cell", "search", "confirm", "epochs", "steps", "searched", left=("cell", "searched"))
    for cell, cost in zip(plan, each, strict=True):
        numbers = (cost.search, cost.confirm, cost.epochs, cost.steps)
        searched = f"as {cell.source.cell}" if cell.source else ", ".join(cell.space) or "–"
        table.add_row(cell.name, *map(str, numbers), searched)
    out.show(table)
    for note in notes(spec, plan):
        out.say(note)
    for cell in plan if spec.search.pruner.name != "none" else []:
        out.say(f"pruning in {cell.name}: {pruning(spec, cell)}")
    at_once, whole = slots or slots_here(spec.resources), total(each)
    words = price(replace(whole, seconds=whole.seconds / at_once), at_once)
    out.say(f"{spec.name} is valid: {len(plan)} cells, {words}")
    _say_missing(missing)


def _check_collection(
    collection: Collection, studies: Mapping[str, Spec], slots: int | None, readings: str | None
) -> None:
    from study.cost import Speed, Total, costs, total
    from study.machine import slots_here
    from study.plan import cells, chosen, load_data, readings_of
    from study.progress import price

    data: dict[str, Splits] = {}
    missing: dict[str, Refused] = {}
    speed, everything = Speed(), Total()
    table = _table("study", "cells", "trials", "steps", "images", "minutes")
    asked = readings_of(studies, readings)
    for name, spec in studies.items():
        plan = chosen(cells(spec), asked[name])
        whole = total(costs(spec, plan, load_data(plan, data, missing), speed))
        whole = replace(whole, seconds=whole.seconds / (slots or slots_here(spec.resources)))
        table.add_row(
            name, str(len(plan)), str(whole.trials), f"{whole.steps:,}", f"{whole.images:,}",
            "?" if whole.failure else f"{whole.seconds / 60:.1f}",
        )  # fmt: skip
        everything += whole
    out.show(table)
    out.say(f"{collection.name} is valid: {table.row_count} studies, {price(everything)}")
    _say_missing(missing)


def _say_missing(missing: Mapping[str, Refused]) -> None:
    for name, refused in missing.items():
        out.say(
            f"{name} is not here, and was priced by noise of its size; a run needs it: {refused.rule}; {refused.remedy}"
        )


@app.command(epilog=_such_as("status studies/mine"))
def status(dir: DirArgument, as_json: JsonOption = False) -> None:
    """Where each cell stands, or each study of a collection, and whether it runs."""
    from study.directory import CollectionDirectory, Directory, owner
    from study.progress import counts_table, studies_table
    from study.standing import counts, standing

    if CollectionDirectory.lies_at(dir):
        studies, again = standing(CollectionDirectory(dir)), "the command that began it"
        flat = [
            {"study": study, "cell": name, **asdict(n)} for study, each in studies.items() for name, n in each.items()
        ]
        shown = studies_table(studies)
    else:
        here, again = counts(Directory(dir)), shlex.join(["study", "run", f"{dir}/spec.yaml", "--dir", str(dir)])
        studies, shown = {"": here}, counts_table(here)
        flat = [{"cell": name, **asdict(count)} for name, count in here.items()]
    if as_json:
        out.say(json.dumps(flat, indent=2))
        return
    out.show(shown)
    if at_work := owner(dir):
        out.say(f"at work: {at_work}")
    elif any(not cells or any(count.left > 0 for count in cells.values()) for cells in studies.values()):
        out.say(f"stopped before its end; to go on: {again}")


@app.command(epilog=_such_as("report studies/mine"))
def report(dir: DirArgument, tracking_uri: UriOption = None) -> None:
    """Write DIR/report: index.html, its figures and gap.csv; for a collection, each study's and the common page."""
    from study.directory import CollectionDirectory, Directory
    from study.stored import rewrite, write_reports

    if CollectionDirectory.lies_at(dir):
        reports = rewrite(CollectionDirectory(dir), tracking_uri)
    else:
        directory = Directory(dir)
        reports = write_reports(_store(directory, tracking_uri), directory)
    for each in reports:
        out.say(f"report: {each.page}")


@app.command(epilog=_such_as("compare studies/mine studies/yours --to both"))
def compare(
    dirs: Annotated[list[Path], typer.Argument(metavar="DIR DIR …", help="Directories of two studies or more.")],
    to: Annotated[Path, typer.Option("--to", help="The page's folder.")] = Path("comparison"),
) -> None:
    """One page for several studies: which settings differ, and their arms side by side."""
    from study.comparison import compared
    from study.directory import Directory

    for each in compared([(path, _store(Directory(path), None)) for path in dirs], to):
        out.say(f"comparison: {each.page}")


@app.command(epilog=_such_as("export studies/mine --to trials.parquet"))
def export(
    dir: DirArgument,
    to: Annotated[Path | None, typer.Option("--to", help="FILE.csv or FILE.parquet [DIR/trials.csv].")] = None,
    tracking_uri: UriOption = None,
) -> None:
    """Every trial as one table; for a collection with the column `study`."""
    from study.directory import CollectionDirectory, Directory
    from study.stored import table, tables

    target = to or dir / "trials.csv"
    if target.suffix not in (".csv", ".parquet"):
        raise Refused("--to", str(target), "the file ends in .csv or .parquet", "rename it")
    if CollectionDirectory.lies_at(dir):
        trials = tables(CollectionDirectory(dir), tracking_uri)
    else:
        trials = table(_store(Directory(dir), tracking_uri))
    try:
        if target.suffix == ".csv":
            trials.to_csv(target, index=False)
        else:
            trials.to_parquet(target, index=False)
    except OSError as error:
        raise Refused("--to", str(target), f"cannot be written ({error.strerror})", "choose another file") from None
    out.say(f"{len(trials)} trials: {target}")


@app.command("list", epilog=_such_as("list", "list --json"))
def list_specs(as_json: JsonOption = False) -> None:
    """The built-in specs, each collection's together; * has a small twin (--scale small)."""
    from study.catalogue import catalogue

    if as_json:
        flat = [{"group": heading, **asdict(entry)} for heading, entries in catalogue() for entry in entries]
        out.say(json.dumps(flat, indent=2, ensure_ascii=False))
        return
    rows = Table(box=None, pad_edge=False, show_header=False)
    for heading, entries in catalogue():
        rows.add_row(Text(heading, style="bold"))
        for entry in entries:
            rows.add_row(f"{entry.name}{' *' if entry.small else ''}", entry.question)
    out.show(rows)
    out.say("* has a small twin: --scale small")


@app.command(epilog=_such_as("schema > study.schema.json", "schema --markdown > specs.md"))
def schema(
    markdown: Annotated[
        bool, typer.Option("--markdown", help="As a text for people, with symbols and sources.")
    ] = False,
) -> None:
    """All that a spec may say, plug-ins included: the JSON schema by which editors complete keys."""
    from study.json_schema import json_schema
    from study.reference import reference

    print(reference() if markdown else json.dumps(json_schema(), indent=1, ensure_ascii=False), end="")


@app.command(epilog=_such_as("data cifar10"))
def data(name: Annotated[str, typer.Argument(metavar="NAME", help="A data set, such as cifar10.")]) -> None:
    """Prepare a data set ahead: trials never download."""
    from trainables.data import datasets

    dataset = datasets.get(name, "NAME")(name=name)
    dataset.prepare()
    splits = dataset.splits()
    out.say(
        f"{name}: {len(splits.train)} training, {len(splits.validation)} validation and {len(splits.test)} test images"
    )


@app.command(epilog=_such_as("ui studies/mine", "ui studies/mine --port 5001"))
def ui(
    dir: DirArgument,
    port: PortOption = 5000,
    tracking_uri: UriOption = None,
) -> None:
    """MLflow's UI on loopback, at this study."""
    from study.directory import CollectionDirectory, Directory

    if CollectionDirectory.lies_at(dir):
        raise Refused("DIR", str(dir), "holds a collection", f"name one of its studies, such as {dir}/NAME")
    directory = Directory(dir)
    store = _store(directory, tracking_uri)
    base = store.uri if store.uri.startswith("http") else f"http://127.0.0.1:{port}"
    out.say(f"{base}{store.link()}")
    if base != store.uri:
        os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # eight helpers that a viewer has no use for
        os.environ["MLFLOW_BACKEND_STORE_URI"] = store.uri_to_connect  # which everyone could read among its words
        words = [
            "mlflow",
            "server",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--workers",
            "1",
        ]
        os.execv(sys.executable, [sys.executable, "-m", *words])


def _store(directory: Directory, tracking_uri: str | None) -> Store:
    from study.stored import open_store

    spec = directory.spec()
    return open_store(spec.name, directory, directory.identity(tracking_uri))


def _table(*titles: str, left: Sequence[str] = ()) -> Table:
    """Numbers to the right, but for the first column and those named."""
    table = Table(box=None, pad_edge=False)
    for title in titles:
        table.add_column(title, justify="left" if title in (*left, titles[0]) else "right")
    return table


def _check_slots(slots: int | None) -> None:
    if slots is not None and slots < 1:
        raise Refused("--slots", slots, "at least one trial runs at once", "give 1 or more")


def _print_gaps(found: Findings, path: Path) -> None:
    table = Table(
        box=None,
        pad_edge=False,
        title="test accuracy and generalization gap, % (95 % intervals)",
        title_justify="left",
    )
    for title in (
        "arm",
        "batch size",
        "test accuracy",
        f"against {found.baseline}",
        "test − train",
        "seeds",
        "diverged",
    ):
        table.add_column(title, justify="left" if title == "arm" else "right")
    for row in found.gaps.to_dict("records"):
        won = (0 - row[key] for key in ("gap_batch", "gap_batch_high", "gap_batch_low"))  # as on the page
        table.add_row(
            row["arm"], str(row["batch_size"]), _interval(row["test_accuracy"], row["test_low"], row["test_high"]),
            _interval(*won), _percent(0 - row["gap_train_test"]), str(row["seeds"]), str(row["diverged"]),
        )  # fmt: skip
    out.show(table)
    told, trend = found.answer, found.verdict
    command = told.command(path, found.seeds)
    decide = f"To decide it: {command} ({told.promise})" if command else ""
    for sentence in filter(None, (told.sentence, told.doubt, decide, trend.headline, *trend.doubts)):
        out.say(sentence)


def _print_alarms(store: Store) -> None:
    """Where a search ended at the edge of what it was allowed to try, what it never tried, and where it was in vain."""
    for cell, summary in store.summaries().items():
        if edges := "; ".join(summary.end.boundary):
            out.say(f"at the edge: {cell}: {edges}; a wider range, or search/widen: true, may find better")
        if never := "; ".join(summary.end.untried):
            out.say(f"never tried: {cell}: {never}; more trials, or the sampler grid, would")
        if broken := "; ".join(summary.end.broken):
            out.say(f"constraints broken: {cell}: {broken}; nothing there is confirmed")


def _print_reports(reports: Iterable[ReportFiles]) -> None:
    for each in reports:
        if each.verdicts is not None:
            _print_verdicts(each.verdicts)
        out.say(f"report: {each.page}")


def _print_verdicts(file: Path) -> None:
    """A report's table of verdicts."""
    import pandas as pd

    from study.cell_name import RECORD

    rows = pd.read_csv(file).to_dict("records")
    more = ("reading",) if any(row.get("reading", RECORD) != RECORD for row in rows) else ()
    table = _table("claim", *more, "verdict", "effect", "95 % interval", "unit", left=("verdict", "unit", "reading"))
    for row in rows:
        effect, low, high = (f"{row[key]:.3g}" for key in ("effect", "low", "high"))
        words = [str(row[key]) for key in ("claim", *more, "status")]
        table.add_row(*words, effect, f"[{low}, {high}]", str(row["unit"]))
    out.show(table)


def _percent(value: float) -> str:
    return f"{100 * value:.1f}" if value == value else "–"


def _interval(mean: float, low: float, high: float) -> str:
    ends = f" [{_percent(low)}, {_percent(high)}]" if low == low else ""
    return _percent(mean) + ends


def main() -> None:
    """Entry point of the console script: a refused request ends with its message and status 2."""
    open_standard_streams()
    try:
        app()
    except Refused as refused:
        err.say(f"study: {refused}")
        raise SystemExit(2) from None
    except OSError as error:  # a full disk, a folder that went away
        err.say(f"study: {error.filename or 'writing'}: {error.strerror or error}; what was stored stays")
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
