"""Reports hand back what they wrote; this package knows none of their files."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import study as package
from study import stored
from study.reports import ReportFiles, collection_reports, study_reports
from tests.study.commands import study

VERDICTS = "claim,status,effect,low,high,unit,seeds\nits-claim,confirmed,0.5,0.25,0.75,points,5\n"


def stranger(_store, out: Path) -> ReportFiles:
    """A report of another package, with file names of its own."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "paper.pdf").write_bytes(b"%PDF-")
    (out / "judged.csv").write_text(VERDICTS)
    return ReportFiles(out / "paper.pdf", out / "judged.csv")


def test_our_own_reports_are_installed():
    assert len(study_reports()) == len(collection_reports()) == 1


def test_the_command_shows_the_page_and_verdicts_of_whatever_report_is_installed(capsys, smoke, tmp_path, monkeypatch):
    copy = shutil.copytree(smoke, tmp_path / "copy")
    monkeypatch.setattr(stored, "study_reports", lambda: [stranger])
    told = study(capsys, "run", "smoke", "--dir", copy)
    assert told.status == 0, told.err
    assert f"report: {copy / 'report' / 'paper.pdf'}" in told.out
    assert re.search(r"its-claim +confirmed +0\.5 +\[0\.25, 0\.75\] +points", told.out)
    assert f"report: {copy / 'report' / 'paper.pdf'}" in study(capsys, "report", copy).out


def test_no_file_of_a_report_is_named_below_the_reports():
    sources = Path(package.__file__).parent.glob("*.py")
    assert [file.name for file in sources if "verdicts.csv" in file.read_text()] == []
