"""The figure of curvature estimates, from made-up measurements in a real store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reports.drawing import save, specification
from reports.figures import FIGURES, curvature_estimates
from reports.results import Results, read
from study.store import Store
from tests.reports import studies
from tests.reports.studies import MadeUp, invent

LAYERS = ("features.0.weight", "features.3.weight", "features.10.weight", "classifier.1.weight")


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Results:
    class Probed(studies._Cell):
        def metrics(self, value: float) -> dict[str, float]:
            found = {}
            for layer in LAYERS:
                for rank, name in ((0.9, "hutchinson"), (0.7, "gnb"), (0.2, "w-over-g")):
                    found[f"probe/curvature/rank/{name}/{layer}"] = rank * value
                    if layer != LAYERS[0]:  # what was not finite was not logged
                        found[f"probe/curvature/ratio/{name}/{layer}"] = 10 * rank
            return super().metrics(value) | found

        def trial(self, *args: Any) -> None:
            original = self.store.open_run

            def with_options(known: Any, name: str, tags: Any, params: Any, parent: str | None) -> Any:
                return original(known, name, tags, {**params, "probe/curvature/samples": 1}, parent)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(self.store, "open_run", with_options)
                super().trial(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(studies, "_Cell", Probed)
        study = MadeUp("curved", ("one/64", "ten/64"), search=0, seeds=2, validation=False)
        return read(invent(study, tmp_path_factory.mktemp("curved")))


def test_a_row_a_seed_estimate_layer_and_kind(measured: Results) -> None:
    table = curvature_estimates.data(measured)
    assert list(table) == curvature_estimates.COLUMNS
    assert len(table) == 2 * 2 * 3 * (4 + 3)
    assert set(table["estimate"]) == set(curvature_estimates.ESTIMATES.values())
    ratio = table[(table["kind"] == "ratio") & (table["estimate"] == "|w/g| (17)")]
    assert set(ratio["value"]) == {2.0}


def test_layers_are_in_the_nets_order(measured: Results) -> None:
    layers = list(dict.fromkeys(curvature_estimates.data(measured)["layer"]))
    assert layers == ["features.0", "features.3", "features.10", "classifier.1"]


def test_every_panel_shows_its_own_cell_and_kind(measured: Results, tmp_path: Path) -> None:
    table = curvature_estimates.data(measured)
    spec = specification(curvature_estimates.chart(table, measured), curvature_estimates.caption(measured))
    assert [panel["title"]["text"] for panel in spec["concat"]] == ["one/64", "one/64", "ten/64", "ten/64"]
    for number, panel in enumerate(spec["concat"]):
        rows = (
            spec["datasets"][panel["layer"][1]["data"]["name"]]
            if "data" in panel["layer"][1]
            else spec["datasets"][panel["data"]["name"]]
        )
        assert {row["kind"] for row in rows} == {("rank", "ratio")[number % 2]}
    save(spec, tmp_path / "curvature")
    assert "Hutchinson" in (tmp_path / "curvature.svg").read_text()


def test_a_study_without_the_probe_has_nothing_to_draw(stores: dict[str, Store]) -> None:
    assert curvature_estimates.data(read(stores["fixed"])).empty
    assert curvature_estimates.data(read(stores["not-begun"])).empty
    assert curvature_estimates.FIGURE in FIGURES
