"""Plug-ins: a name in a spec → a settings class, through Python's entry points.

The built-in ones come through the same door (pyproject.toml). A plug-in is a frozen settings class: its fields
are what a spec may write under that name, its methods do the work.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar, get_args

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic_core import CoreSchema, core_schema

from trainables.errors import Refused, explain
from trainables.settings import Settings, nearest

T = TypeVar("T")
S = TypeVar("S", bound=Settings)


class Registry(Generic[T]):
    """The plug-ins of one entry-point group, loaded on first use. Two of one name are refused."""

    def __init__(self, group: str) -> None:
        self.group = group

    @cached_property
    def _entries(self) -> dict[str, EntryPoint]:
        entries: dict[str, EntryPoint] = {}
        for entry in entry_points(group=self.group):
            other = entries.setdefault(entry.name, entry)
            if other.value != entry.value:
                raise Refused(
                    f"plug-in {self.group}",
                    entry.name,
                    f"is registered twice, as {other.value} and as {entry.value}",
                    "uninstall or rename one of them",
                )
        return entries

    def names(self) -> list[str]:
        """The registered names, in alphabetical order."""
        return sorted(self._entries)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._entries

    def get(self, name: str, field: str = "name") -> T:
        """The plug-in called `name`. Raises Refused, about `field`, with the known names if there is none."""
        if name not in self:
            kind = self.group.rpartition(".")[2]
            raise Refused(field, name, f"none of the {kind} is called so", nearest(str(name), self._entries))
        loaded: T = self._entries[name].load()
        return loaded


def check_hooks(plugin: type, base: type) -> None:
    """Raises Refused where a hook that `plugin` overrides is not called as `base` says.

    Hooks are called by position, so one written for other parameters would go wrong, or worse, would not.
    """
    for name, usual in vars(base).items():
        own = vars(plugin).get(name)
        if name.startswith("_") or not inspect.isfunction(usual) or not inspect.isfunction(own):
            continue
        called, takes = (list(inspect.signature(hook).parameters.values())[1:] for hook in (usual, own))
        if any(one.kind is one.VAR_POSITIONAL for one in takes):
            continue
        if [one.name.lstrip("_") for one in takes] != [one.name for one in called]:
            raise Refused(
                f"plug-in {plugin.__module__}.{plugin.__qualname__}",
                f"{name}({', '.join(one.name for one in takes)})",
                f"is called as {name}({', '.join(one.name for one in called)})",
                "give it these parameters; CHANGELOG.md says what they hold",
            )


@dataclass(frozen=True)
class OneOf(Generic[S]):
    """Marks a field as one plug-in, written `{name: NAME, …}` or `NAME`, as the settings class under NAME reads it.

    For pydantic; to a type checker the field has the type that stands beside it:
    `optimizer: Annotated[OptimizerSettings, OneOf(optimizers)]`.
    """

    registry: Registry[type[S]]

    def __get_pydantic_core_schema__(self, base: type[S], _: GetCoreSchemaHandler) -> CoreSchema:
        def parse(given: Any) -> S:
            if isinstance(given, base):
                return given
            if isinstance(given, str):
                given = {"name": given}
            if not isinstance(given, Mapping) or not isinstance(given.get("name"), str):
                known = ", ".join(self.registry.names())
                raise Refused("name", given, "a mapping with a name is wanted", f"known: {known}")
            return _validated(self.registry.get(given["name"]), given)

        return _plain(parse, lambda value: value.model_dump())

    def __get_pydantic_json_schema__(self, _: CoreSchema, __: GetJsonSchemaHandler) -> dict[str, Any]:
        """Any plug-in, or a name alone."""
        return {"anyOf": [*_schemas(self.registry).values(), {"enum": self.registry.names()}]}


@dataclass(frozen=True)
class SomeOf(Generic[S]):
    """Marks a field as several plug-ins, written `{NAME: {…}, …}`, each read by its own class, in the order given.

    The field's type is `Annotated[dict[str, Trick], SomeOf(tricks)]`.
    """

    registry: Registry[type[S]]

    def __get_pydantic_core_schema__(self, several: Any, _: GetCoreSchemaHandler) -> CoreSchema:
        _key, base = get_args(several)

        def parse(given: Any) -> dict[str, S]:
            if not isinstance(given, Mapping):
                known = ", ".join(self.registry.names())
                raise Refused("", given, "a mapping of names to settings is wanted", f"known: {known}")
            parsed: dict[str, S] = {}
            for name, value in given.items():
                try:
                    ready = isinstance(value, base)
                    parsed[name] = value if ready else _validated(self.registry.get(name, ""), value or {})
                except Refused as refused:
                    raise refused.under(str(name)) from None
            return parsed

        return _plain(parse, lambda values: {name: value.model_dump() for name, value in values.items()})

    def __get_pydantic_json_schema__(self, _: CoreSchema, __: GetJsonSchemaHandler) -> dict[str, Any]:
        """Each plug-in under its name; one without settings may be null."""
        options = {name: {"anyOf": [each, {"type": "null"}]} for name, each in _schemas(self.registry).items()}
        return {"type": "object", "properties": options, "additionalProperties": False}


def _schemas(registry: Registry[type[S]]) -> dict[str, dict[str, Any]]:
    """The JSON schema of every plug-in, by name."""
    return {name: registry.get(name).model_json_schema() for name in registry.names()}


def _plain(parse: Callable[[Any], Any], dump: Callable[[Any], Any]) -> CoreSchema:
    """A field that `parse` reads and `dump` writes."""
    written = core_schema.plain_serializer_function_ser_schema(dump)
    return core_schema.no_info_plain_validator_function(parse, serialization=written)


def _validated(settings: type[S], given: Any) -> S:
    try:
        return settings.model_validate(given)
    except ValidationError as error:
        raise explain(error) from None
