"""All that a spec may say, as Markdown: every setting's meaning, domain, default and source, from its own field."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from study.pruners import pruners
from study.samplers import samplers
from study.scaling import PLUGINS
from study.spec import ELSEWHERE, Confirm, Resources, Search
from trainables.config import TrialConfig
from trainables.plugins import Registry
from trainables.settings import Settings

TITLE = """# What a spec may say

Made by `study schema --markdown` from the settings themselves; plug-ins of your own would stand here too. README.md
says how a spec is put together. In place of any number of `base`, an arm or a reading may stand a range to search,
`{low: 1.0e-3, high: 1, log: true}`, choices, `{choices: [0, 0.9]}`, or a value that follows the batch size,
`{value: 0.1, at: 256, scale: sqrt}`.
"""
STUDY: dict[str, type[Settings]] = {"search": Search, "confirm": Confirm, "resources": Resources}
WITHIN: dict[str, Registry[Any]] = {"search/sampler": samplers, "search/pruner": pruners}
KINDS = {"integer": "a whole number", "number": "a number", "boolean": "true or false", "string": "text",
         "null": "null", "array": "a list", "object": "a mapping"}  # fmt: skip
HEAD = ("key", "symbol", "meaning", "domain", "default", "unit", "source")


def reference() -> str:
    """The whole text."""
    return "\n".join([TITLE, *_sections()]) + "\n"


def _sections() -> Iterator[str]:
    yield from _section("Of every trial", "In `base`, an arm or a reading.", TrialConfig, {*PLUGINS, *ELSEWHERE})
    for key, registry in PLUGINS.items():
        several = key in ("trick", "probe")
        example = f"`{key}: {{NAME: {{…}}}}`, several in their order" if several else f"`{key}: {{name: NAME, …}}`, one"
        yield f"## {key}\n\n{example}.\n"
        for name in registry.names():
            yield from _plugin(name, registry.get(name))
    for key, settings in STUDY.items():
        yield from _section(key, _about(settings), settings, {"sampler", "pruner"})
    for key, registry in WITHIN.items():
        yield f"## {key}\n"
        for name in registry.names():
            yield from _plugin(name, registry.get(name))


def _plugin(name: str, settings: type[Settings]) -> Iterator[str]:
    yield f"### {name}\n\n{_about(settings)}\n"
    yield from _table(settings, {"name"})


def _section(title: str, text: str, settings: type[Settings], left_out: set[str]) -> Iterator[str]:
    yield f"## {title}\n\n{text}\n"
    yield from _table(settings, left_out)


def _table(settings: type[Settings], left_out: set[str]) -> Iterator[str]:
    fields = settings.model_json_schema()["properties"]
    rows = [_row(key, field) for key, field in fields.items() if key not in left_out]
    if rows:
        yield "".join(f"| {' | '.join(row)} |\n" for row in (HEAD, ("---",) * len(HEAD), *rows))


def _row(key: str, field: dict[str, Any]) -> tuple[str, ...]:
    unit = str(field.get("unit", ""))
    told = (field.get("symbol", ""), field.get("description", ""), _domain(field), _default(field))
    return (f"`{key}`", *(_cell(each) for each in (*told, "" if unit == "1" else unit, field.get("source", ""))))


def _default(field: dict[str, Any]) -> str:
    if "default" not in field:
        return "none: searched, or to be stated"
    return _yaml(field["default"])


def _domain(field: dict[str, Any]) -> str:
    """`"a number, 0 ≤ x < 1"`."""
    if "anyOf" in field:
        return ", or ".join(dict.fromkeys(_domain(each) for each in field["anyOf"]))
    if "const" in field or "enum" in field:
        return ", ".join(map(_yaml, field.get("enum", [field.get("const")])))
    kind = KINDS.get(field.get("type", ""), "see README")
    low = f"{field['minimum']:.10g} ≤ x" if "minimum" in field else ""
    low = f"{field['exclusiveMinimum']:.10g} < x" if "exclusiveMinimum" in field else low
    high = f"≤ {field['maximum']:.10g}" if "maximum" in field else ""
    high = f"< {field['exclusiveMaximum']:.10g}" if "exclusiveMaximum" in field else high
    ends = f"{low or 'x'} {high}".strip() if low or high else ""
    return f"{kind}, {ends}" if ends else kind


def _yaml(value: Any) -> str:
    """As a spec has it."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, list):
        return f"[{', '.join(map(_yaml, value))}]"
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|")


def _about(settings: type[Settings]) -> str:
    """The class's own words, as one paragraph."""
    return re.sub(r"\s+", " ", (settings.__doc__ or "").partition("\n\n")[0]).strip()
