"""The JSON schema of a spec's file, for editors: made from the settings that read it, plug-ins of your own included.

It knows every key, type and bound. What depends on several keys at once, `study check` says.
"""

from __future__ import annotations

from typing import Any

from study.scaling import POWER, RULES
from study.spec import ELSEWHERE, Collection, Seeds, Spec
from trainables.config import TrialConfig

Schema = dict[str, Any]

NUMBER: Schema = {"type": "number"}
FREE: Schema = {
    "description": "a range or choices to search, a value that follows the batch size, or null to take a key out",
    "anyOf": [
        {"type": "null"},
        {"type": "object", "additionalProperties": False, "required": ["low", "high"],
         "properties": {"low": NUMBER, "high": NUMBER, "log": {"type": "boolean"}}},
        {"type": "object", "additionalProperties": False, "required": ["choices"],
         "properties": {"choices": {"type": "array", "minItems": 1}}},
        {"type": "object", "additionalProperties": False, "minProperties": 1,
         "properties": {"value": NUMBER, "at": {"type": "integer", "minimum": 1}, "exponent": NUMBER,
                        "scale": {"enum": [*RULES, POWER]}}},
    ],
}  # fmt: skip
TUNED_AT: Schema = {
    "description": "takes the values that another cell's search found best",
    "type": "object", "additionalProperties": False, "required": ["arm", "batch_size"],
    "properties": {"arm": {"type": "string"}, "batch_size": {"type": "integer", "minimum": 1},
                   "scale": {"type": "object", "additionalProperties": {"anyOf": [{"type": "string"}, NUMBER]}}},
}  # fmt: skip
ANY: Schema = {"type": "object"}


def json_schema() -> Schema:
    """Of a study's file and of a collection's. Every key is optional, since `extends` may bring it."""
    spec, collection, partial = Spec.model_json_schema(), Collection.model_json_schema(), _partial()
    reading = {**partial, "properties": {
        **partial["properties"], "arms": {"type": "object", "additionalProperties": {"$ref": "#/$defs/partial"}},
        "confirm": _optional(Seeds.model_json_schema()),
    }}  # fmt: skip
    arm = {**partial, "properties": {**partial["properties"], "tuned_at": TUNED_AT}}
    own = {
        "extends": {"type": "string", "description": "a built-in spec or a file that this one is laid on"},
        "small": {**ANY, "description": "laid on the spec for --scale small; null takes a key out"},
        "scales": {"type": "object", "additionalProperties": ANY, "description": "sections for --scale NAME"},
        "base": {"$ref": "#/$defs/partial"},
        "arms": {"type": "object", "additionalProperties": _or_null(arm), "description": "what is compared, by name"},
        "readings": {
            "type": "object",
            "additionalProperties": _or_null(reading),
            "description": "laid over base and arms",
        },
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A study of the generalization gap",
        "type": "object",
        "properties": {**collection["properties"], **_optional(spec)["properties"], **own},
        "additionalProperties": False,
        "$defs": {**{name: _optional(each) for name, each in spec["$defs"].items()}, "partial": partial, "free": FREE},
    }


def _partial() -> Schema:
    """A part of a trial's configuration, in which every value may be searched or follow the batch size."""
    config = _free(TrialConfig.model_json_schema())
    config["properties"] = {key: each for key, each in config["properties"].items() if key not in ELSEWHERE}
    return config


def _free(schema: Schema) -> Schema:
    """Nothing is required, and a value may be FREE. Mappings are gone through to their values."""
    found = _optional(schema)
    if "properties" in found:
        found["properties"] = {
            key: each if key == "name" and "const" in each else _free(each) for key, each in found["properties"].items()
        }
        return found
    if any("properties" in each for each in found.get("anyOf", ())):
        found["anyOf"] = [_free(each) if "properties" in each else each for each in found["anyOf"]]
        return _or_null(found)
    return {"anyOf": [found, {"$ref": "#/$defs/free"}]} | {key: found.pop(key) for key in _WORDS if key in found}


_WORDS = ("description", "title", "symbol", "unit", "source")


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _optional(schema: Schema) -> Schema:
    return {key: each for key, each in schema.items() if key not in ("required", "$defs")}
