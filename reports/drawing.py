"""One Altair definition, every form of it: the page's specification, SVG, PDF and PNG."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert

from reports.figures.look import THEME

FORMS = ("svg", "pdf", "png")
VEGA_LITE = ".".join(alt.SCHEMA_VERSION.lstrip("v").split(".")[:2])


def specification(chart: alt.TopLevelMixin, description: str) -> dict[str, Any]:
    """Vega-Lite with the data inside, on no background, in the report's look."""
    with alt.data_transformers.enable("default", max_rows=None):
        spec: dict[str, Any] = chart.to_dict()
    return {**spec, "config": THEME, "background": None, "description": description}


def save(spec: dict[str, Any], stem: Path) -> None:
    """STEM.svg, STEM.pdf and STEM.png, on white; a dot in STEM is part of the name (section-3.1)."""
    white = {**spec, "background": "white", "padding": 8}
    svg = vl_convert.vegalite_to_svg(white, vl_version=VEGA_LITE)
    Path(f"{stem}.svg").write_text(svg, encoding="utf-8")
    Path(f"{stem}.pdf").write_bytes(vl_convert.svg_to_pdf(svg))
    Path(f"{stem}.png").write_bytes(vl_convert.svg_to_png(svg, scale=2))


@cache
def library() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, which makes `vegaEmbed` global.

    Bundling takes seconds, so the user's cache keeps it, where there is one that can be written.
    """
    home = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    kept = home / "generalization-gap" / f"vega-lite-{VEGA_LITE}-{version('vl-convert-python')}.js"
    with suppress(OSError):
        return kept.read_text(encoding="utf-8")
    script = str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VEGA_LITE))
    partial = kept.with_suffix(f".{os.getpid()}")
    with suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(script, encoding="utf-8")
        partial.replace(kept)
    return script
