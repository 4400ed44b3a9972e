"""The command line: `study run SPEC` and its companions."""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from trainables.errors import Refused

if TYPE_CHECKING:
    from study.directory import Directory
    from study.store import Store

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    help="Fair, resumable studies of the generalization gap of large-batch training.",
)  # fmt: skip
out = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
err = Console(stderr=True, highlight=False)

SpecArgument = Annotated[str, typer.Argument(metavar="SPEC", help="A YAML file or a built-in name (`study list`).")]
DirArgument = Annotated[Path, typer.Argument(metavar="DIR", help="A study's directory.")]
SetOption = Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override, KEY as in a/b/c.")]
ScaleOption = Annotated[
    str | None, typer.Option("--scale", help="small: the built-in spec's twin for a small machine.")
]
SlotsOption = Annotated[int | None, typer.Option("--slots", help="Trials at once; changes no result.")]
UriOption = Annotated[str | None, typer.Option("--tracking-uri", help="MLflow server [$MLFLOW_TRACKING_URI].")]
StorageOption = Annotated[
    str | None, typer.Option("--storage", help="Optuna's database, as postgresql://… [DIR/optuna.journal].")
]
PortOption = Annotated[int, typer.Option("--port", min=1, max=65535, help="On loopback.")]


@app.command()
def run(
    spec: SpecArgument,
    dir: Annotated[Path | None, typer.Option("--dir", help="Where the study lives [studies/NAME].")] = None,
    set: SetOption = [],
    scale: ScaleOption = None,
    slots: SlotsOption = None,
    address: Annotated[str | None, typer.Option("--address", help="A Ray cluster; local if left out.")] = None,
    tracking_uri: UriOption = None,
    storage: StorageOption = None,
) -> None:
    """Run a study; the same command again resumes it, and a raised budget tops it up."""
    from study import engine, run
    from study import spec as specs
    from study.directory import Directory
    from study.progress import Display

    _check_slots(slots)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getpid(), signal.SIGINT))  # one clean way to stop
    study = specs.load(spec, scale=scale, overrides=set)
    path = dir or Path("studies") / study.name
    run.refuse_relative_in_job(path)
    directory = Directory(path)
    display = Display(out, study.name, slots or engine.slots_here(study.resources))
    try:
        store = run.run(study, directory, engine.Machine(slots, address), tracking_uri, display, storage)
    except KeyboardInterrupt:
        again = " ".join(["study", *sys.argv[1:]])
        err.print(f"stopped; nothing that ended is lost. To go on: {again}")
        raise typer.Exit(130) from None
    except run.Failed as failure:
        err.print(
            f"study: {failure}\nWhat ended is stored; the same command goes on.",
            markup=False,
        )
        raise typer.Exit(1) from None
    _print_gaps(store)
    out.print(f"report: {directory.report / 'index.html'}", soft_wrap=True)


@app.command()
def check(spec: SpecArgument, set: SetOption = [], scale: ScaleOption = None, slots: SlotsOption = None) -> None:
    """Validate a spec; print its cells, trials and an estimate. Runs no trial."""
    from study import engine
    from study import spec as specs
    from study.estimate import estimate
    from study.plan import cells, load_data
    from study.progress import duration

    _check_slots(slots)
    study = specs.load(spec, scale=scale, overrides=set)
    plan = cells(study)
    splits = load_data(plan)
    costs = estimate(study, plan, splits)
    table = Table(box=None, pad_edge=False)
    for title in ("cell", "search", "confirm", "epochs", "steps", "searched"):
        table.add_column(title, justify="right" if title in ("search", "confirm", "epochs", "steps") else "left")
    for cell, cost in zip(plan, costs, strict=True):
        table.add_row(
            cell.name,
            str(cost.search),
            str(cost.confirm),
            str(cost.epochs),
            str(cost.steps),
            ", ".join(cell.space) or "–",
        )
    out.print(table)
    at_once = slots or engine.slots_here(study.resources)
    trials = sum(cost.search + cost.confirm for cost in costs)
    seconds = sum((cost.search + cost.confirm) * cost.seconds for cost in costs) / at_once
    out.print(
        f"{study.name} is valid: {len(plan)} cells, {trials} trials; roughly {duration(seconds)} with {at_once} at "
        "once (from a few training steps timed here just now)", soft_wrap=True,
    )  # fmt: skip


@app.command()
def status(dir: DirArgument, as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False) -> None:
    """Where each cell stands."""
    from study.directory import Directory
    from study.progress import counts_table
    from study.run import counts

    found = counts(Directory(dir))
    if as_json:
        print(json.dumps([{"cell": name, **asdict(count)} for name, count in found.items()], indent=2))
    else:
        out.print(counts_table(found))


@app.command()
def report(dir: DirArgument, tracking_uri: UriOption = None) -> None:
    """Write DIR/report: index.html, its figures and gap.csv."""
    from study.directory import Directory
    from study.run import write_reports

    directory = Directory(dir)
    store = _store(directory, tracking_uri)
    for page in write_reports(store, directory):
        out.print(f"report: {page}", soft_wrap=True)


@app.command()
def export(
    dir: DirArgument,
    to: Annotated[Path | None, typer.Option("--to", help="FILE.csv or FILE.parquet [DIR/trials.csv].")] = None,
    tracking_uri: UriOption = None,
) -> None:
    """Every trial as one table."""
    from study.directory import Directory

    directory = Directory(dir)
    target = to or dir / "trials.csv"
    if target.suffix not in (".csv", ".parquet"):
        raise Refused("--to", str(target), "the file ends in .csv or .parquet", "rename it")
    trials = _store(directory, tracking_uri).trials()
    try:
        if target.suffix == ".csv":
            trials.to_csv(target, index=False)
        else:
            trials.to_parquet(target, index=False)
    except OSError as error:
        raise Refused("--to", str(target), f"cannot be written ({error.strerror})", "choose another file") from None
    out.print(f"{len(trials)} trials: {target}", soft_wrap=True)


@app.command("list")
def list_specs() -> None:
    """The built-in specs."""
    from study.spec import builtin, load

    table = Table(box=None, pad_edge=False, show_header=False)
    for name in builtin():
        table.add_row(name, load(name).question)
    out.print(table)


@app.command()
def data(name: Annotated[str, typer.Argument(metavar="NAME", help="A data set, such as cifar10.")]) -> None:
    """Prepare a data set ahead: trials never download."""
    from trainables.data import datasets

    dataset = datasets.get(name, "NAME")(name=name)
    dataset.prepare()
    splits = dataset.splits()
    out.print(
        f"{name}: {len(splits.train)} training, {len(splits.validation)} validation and {len(splits.test)} test images"
    )


@app.command()
def ui(
    dir: DirArgument,
    port: PortOption = 5000,
    tracking_uri: UriOption = None,
) -> None:
    """MLflow's UI on loopback, at this study."""
    from study.directory import Directory

    directory = Directory(dir)
    store = _store(directory, tracking_uri)
    base = store.uri if store.uri.startswith("http") else f"http://127.0.0.1:{port}"
    out.print(f"{base}{store.link()}", soft_wrap=True)
    if base != store.uri:
        os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # eight helpers that a viewer has no use for
        words = [
            "mlflow",
            "server",
            "--backend-store-uri",
            store.uri,
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--workers",
            "1",
        ]
        os.execv(sys.executable, [sys.executable, "-m", *words])


def _store(directory: Directory, tracking_uri: str | None) -> Store:
    from study.run import open_store

    spec = directory.spec()
    return open_store(spec.name, directory, directory.identity(tracking_uri))


def _check_slots(slots: int | None) -> None:
    if slots is not None and slots < 1:
        raise Refused("--slots", slots, "at least one trial runs at once", "give 1 or more")


def _print_gaps(store: Store) -> None:
    from study.statistics import gap_table, verdict

    facts, trials = store.facts(), store.trials()
    order = facts["cells"].split(",")
    rows = gap_table(trials, facts["baseline"], order)
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
        "gap to baseline",
        "train - test",
        "seeds",
        "diverged",
    ):
        table.add_column(title, justify="left" if title == "arm" else "right")
    for row in rows.to_dict("records"):
        table.add_row(
            row["arm"], str(row["batch_size"]), _interval(row["test_accuracy"], row["test_low"], row["test_high"]),
            _interval(row["gap_batch"], row["gap_batch_low"], row["gap_batch_high"]), _percent(row["gap_train_test"]),
            str(row["seeds"]), str(row["diverged"]),
        )  # fmt: skip
    out.print(table)
    out.print(verdict(trials, facts["baseline"], order).headline)


def _percent(value: float) -> str:
    return f"{100 * value:.1f}" if value == value else "–"


def _interval(mean: float, low: float, high: float) -> str:
    ends = f" [{_percent(low)}, {_percent(high)}]" if low == low else ""
    return _percent(mean) + ends


def main() -> None:
    """Entry point of the console script: a refused request ends with its message and status 2."""
    try:
        app()
    except Refused as refused:
        err.print(f"study: {refused}", markup=False, soft_wrap=True)
        raise SystemExit(2) from None
    except OSError as error:  # a full disk, a folder that went away
        err.print(f"study: {error.filename}: {error.strerror}; what was stored stays", markup=False, soft_wrap=True)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
