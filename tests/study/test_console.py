"""Text that is not ours is written as it is: in messages, tables, help and paths, whoever reads them and however."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Group
from rich.table import Table

import study as package
from study import engine
from study.console import PlainConsole
from study.outcome import Count, Outcome
from study.plan import Assignment, cells
from study.progress import Display, counts_table
from study.spec import load
from study.text import first_line, last_line, printable
from tests.study.commands import study

FOREIGN = ["[/pytorch/aten/pair.cc:525] Read error", "[bold]x[/bold]", "a [/] b", ":smile:", r"\[x] [link=y]"]


def written(console: PlainConsole) -> str:
    return console.file.getvalue()


@pytest.mark.parametrize("text", FOREIGN)
def test_a_message_and_a_tables_title_header_and_cells_are_literal(text):
    console = PlainConsole(io.StringIO())
    table = Table(title=text, box=None)
    table.add_column(text)
    table.add_row(text)
    console.say(text)
    console.print(Group(text, table))
    assert [line.strip() for line in written(console).splitlines()] == [text] * 5


def test_a_trial_that_fails_with_brackets_in_its_reason_fails_alone(capsys, tmp_path, monkeypatch):
    def all_fail(source, *_):
        while (assignment := source.next()) is not None:
            source.started(assignment)
            source.end(assignment.folder, Outcome("failed", reason=f"Traceback …\nRuntimeError: {FOREIGN[0]}"))

    monkeypatch.setattr(engine, "run", all_fail)
    result = study(capsys, "run", "smoke", "--dir", tmp_path / "s[/a]")
    assert result.status == 1
    assert "failed: sgd/16/search-0000-" in result.out
    assert result.out.count(FOREIGN[0]) == 12
    assert f"RuntimeError: {FOREIGN[0]} (all of it in its tag `reason`)" in result.err


@pytest.mark.parametrize("terminal", [False, True])
def test_the_display_takes_any_reason_even_none(terminal):
    view = Display(PlainConsole(io.StringIO(), force_terminal=terminal, width=300), "smoke", 2)
    cell = cells(load("smoke"))[0]
    trial = Assignment(cell, "search", 0, cell.typical)
    with view.live({cell.name: Count(5)}):
        for reason in (*FOREIGN, "", "\n"):
            view.trial_ended(trial, Outcome("failed", reason=reason), 1.0, Count(5))
    for text in (*FOREIGN, "unknown reason"):
        assert f": {text}" in written(view.console)


def test_a_path_with_brackets_is_printed_whole(capsys, smoke, tmp_path):
    folder = tmp_path / "a[b]" / "[bold]c"
    folder.parent.mkdir()
    shutil.copytree(smoke, folder)
    assert f"trials: {folder / 'trials.csv'}\n" in study(capsys, "export", folder).out
    assert f"DIR = '{folder / 'no'}': holds no study" in study(capsys, "status", folder / "no").err


@pytest.mark.parametrize("command", ["run", "check", "status", "report", "export", "list", "data", "ui"])
def test_help_keeps_its_brackets(capsys, command):
    shown = " ".join(study(capsys, command, "--help").out.split())
    if command == "run":
        assert "Where the study lives [studies/NAME]." in shown
    if command == "export":
        assert "FILE.csv or FILE.parquet [DIR/trials.csv]." in shown
    assert f"{command} [OPTIONS]" in shown


def test_a_wrong_option_is_quoted_literally(capsys):
    assert "No such option: --[/x]" in study(capsys, "run", "--[/x]").err


def test_characters_that_steer_a_terminal_are_shown_by_their_codes():
    assert printable("a\x1b[31m\tb\r\nc\x07\x9b") == "a\\x1b[31m\tb\nc\\x07\\x9b"
    console = PlainConsole(io.StringIO())
    console.print(counts_table({"a\x1b[2J": Count(1)}))
    assert "\x1b" not in written(console)


def test_an_error_without_a_message_has_a_first_and_a_last_line():
    assert first_line(OSError()) == "OSError"
    assert first_line(ValueError("\n one\ntwo")) == "one"
    assert last_line(None) == last_line(" \n") == "unknown reason"
    assert last_line("Traceback\nMemoryError: no room\n") == "MemoryError: no room"


def test_a_screen_that_cannot_be_written_stops_no_study():
    class Full(io.StringIO):
        def write(self, _text):
            raise OSError(28, "No space left on device")

    Display(PlainConsole(Full()), "smoke", 1).say("a line")


def test_every_console_is_the_plain_one():
    sources = Path(package.__file__).parent.glob("*.py")
    using = [
        file.name for file in sources if re.search(r"rich\.console import .*Console|[^n]Console\(", file.read_text())
    ]
    assert using == ["console.py"]


def shell(line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The line in bash, `study` standing for the command line of this checkout."""
    function = f'study() {{ "{sys.executable}" -m study.cli "$@"; }}; set -o pipefail; '
    surroundings = {**os.environ, **environment}
    return subprocess.run(
        ["bash", "-c", function + line], env=surroundings, capture_output=True, text=True, timeout=120
    )


def test_closed_streams_are_no_reason_to_stop():
    assert shell("study list <&- >&- 2>&-").returncode == 0
    refused = shell("study status /nowhere <&- >&-")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("study: DIR = '/nowhere': holds no study")


def test_no_file_takes_the_place_of_a_closed_stream():
    """Else what Ray's daemons print would go into the study's files."""
    line = (
        "python -c 'from study.console import open_standard_streams as o; import os, subprocess; o(); "
        'file = open("/dev/zero"); assert file.fileno() > 2; '
        'subprocess.run(["sh", "-c", "for n in 0 1; do p=$(readlink /proc/$$/fd/$n); echo $p >&2; done"])\' <&- >&-'
    )
    assert shell(line.replace("python", sys.executable, 1)).stderr.split() == ["/dev/null"] * 2


def test_a_reader_that_goes_away_ends_nothing():
    heard = shell("study list | head -1")
    assert (heard.returncode, heard.stderr) == (0, "")
    assert len(heard.stdout.splitlines()) == 1


def test_a_locale_without_our_characters_gets_their_codes():
    told = shell("study list", PYTHONIOENCODING="ascii")
    assert told.returncode == 0, told.stderr
    assert r"batch size 64, and at which \u03b3?" in told.stdout


def test_a_narrow_terminal_keeps_every_word():
    console = PlainConsole(io.StringIO(), width=20)
    counts = {"first-epoch-long/8192": Count(5, done=3, best=0.5)}
    console.show(counts_table(counts))
    assert "first-epoch-long/8192   3/5     50.0 %" in written(console)
    console.say("/a/path/that/is/longer/than/twenty/columns")
    assert "/a/path/that/is/longer/than/twenty/columns" in written(console)


@pytest.mark.parametrize(("width", "table"), [(20, False), (100, True)])
def test_the_live_screen_is_one_line_where_its_table_does_not_fit(width, table):
    view = Display(PlainConsole(io.StringIO(), force_terminal=True, width=width), "smoke", 1)
    with view.live({"first-epoch-long/8192": Count(5, done=3)}):
        view.screen.refresh()
    assert ("first-epoch-long/8192" in written(view.console)) == table
    assert "3/5 trials" in written(view.console)


def test_version_says_with_what_a_study_would_run(capsys):
    said = study(capsys, "--version")
    assert said.status == 0
    assert {"python", "torch", "ray", "optuna", "mlflow"} <= {line.split()[0] for line in said.out.splitlines()}


def test_the_list_of_specs_is_there_for_scripts(capsys):
    listed = json.loads(study(capsys, "list", "--json").out)
    assert {"group", "name", "question", "small"} == set(listed[0])
    assert "quickstart" in {entry["name"] for entry in listed}


@pytest.mark.parametrize(
    ("key", "meant"), [("search.trials=4", "search/trials=4"), ("base.optimizer/lr=1.5", "base/optimizer/lr=1.5")]
)
def test_a_key_with_points_is_refused_with_the_one_that_was_meant(capsys, key, meant):
    refused = study(capsys, "check", "smoke", "--set", key)
    assert refused.status == 2
    assert f"--set = '{key}': the key's parts are joined by /; write --set {meant}" in " ".join(refused.err.split())
