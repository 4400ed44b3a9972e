"""`study compare`: what it takes, and how it tells studies apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from study import comparison
from study.reports import ReportFiles
from tests.study.commands import study


class Named:
    """As much of a store as has a name."""

    def __init__(self, name: str) -> None:
        self.experiment = name


@pytest.mark.parametrize(
    ("names", "folders", "expected"),
    [
        (["one", "other"], ["a", "b"], ["one", "other"]),
        (["one", "one"], ["a", "b"], ["a", "b"]),
        (["one", "one"], ["x/a", "y/a"], ["one 1", "one 2"]),
        (["one", "one"], ["x@1", "x@2"], ["one 1", "one 2"]),
    ],
)
def test_studies_are_told_apart_by_name_then_by_folder_then_by_number(monkeypatch, tmp_path, names, folders, expected):
    given = []
    monkeypatch.setattr(comparison, "comparison_reports", lambda: [lambda stores, _: given.extend(stores)])
    comparison.compared([(tmp_path / f, Named(n)) for f, n in zip(folders, names, strict=True)], tmp_path)
    assert given == expected


def test_every_installed_comparison_is_written(monkeypatch, tmp_path):
    page = ReportFiles(Path("page"))
    monkeypatch.setattr(comparison, "comparison_reports", lambda: [lambda *_: page] * 2)
    assert comparison.compared([(tmp_path / n, Named(n)) for n in "ab"], tmp_path) == [page, page]


@pytest.mark.parametrize(
    ("dirs", "message"),
    [
        ([], "Missing argument 'DIR DIR …'"),
        (["a"], "two studies are the fewest to compare; name another"),
        (["a", "a"], "stands twice; name each study once"),
    ],
)
def test_what_is_no_two_studies_is_refused(capsys, tmp_path, monkeypatch, dirs, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("study.cli._store", lambda directory, _: Named(directory.path.name))
    result = study(capsys, "compare", *dirs)
    assert result.status == 2
    assert message in " ".join(result.err.split())
    assert not (tmp_path / "comparison").exists()


def test_a_folder_that_holds_no_study_is_refused(capsys, tmp_path):
    result = study(capsys, "compare", tmp_path, tmp_path / "b", "--to", tmp_path / "page")
    assert result.status == 2
    assert f"{tmp_path}' : " in result.err.replace("': ", "' : ")
    assert not (tmp_path / "page").exists()
