from __future__ import annotations

import pytest
import vl_convert

from reports import drawing


@pytest.fixture(autouse=True)
def _forgotten():
    drawing.library.cache_clear()
    yield
    drawing.library.cache_clear()


def test_the_bundle_is_made_once_and_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    script = drawing.library()
    assert "vegaEmbed" in script
    (kept,) = (tmp_path / "generalization-gap").iterdir()
    assert kept.read_text(encoding="utf-8") == script
    drawing.library.cache_clear()
    monkeypatch.setattr(vl_convert, "javascript_bundle", None)
    assert drawing.library() == script


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    (tmp_path / "generalization-gap").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(vl_convert, "javascript_bundle", lambda *_, **__: "made")
    assert drawing.library() == "made"
