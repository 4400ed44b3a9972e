"""Plug-ins: a name in a spec → a settings class, through Python's entry points.

The built-in ones come through the same door (pyproject.toml). A plug-in is a frozen settings class: its fields
are what a spec may write under that name, its methods do the work.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated, Any, Generic, TypeVar

from pydantic import PlainSerializer, PlainValidator, ValidationError

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
        found: dict[str, EntryPoint] = {}
        for entry in entry_points(group=self.group):
            other = found.setdefault(entry.name, entry)
            if other.value != entry.value:
                raise Refused(
                    f"plug-in {self.group}",
                    entry.name,
                    f"is registered twice, as {other.value} and as {entry.value}",
                    "uninstall or rename one of them",
                )
        return found

    def names(self) -> list[str]:
        return sorted(self._entries)

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def get(self, name: str, field: str = "name") -> T:
        """The plug-in called `name`. Raises Refused, about `field`, with the known names if there is none."""
        if name not in self._entries:
            kind = self.group.rpartition(".")[2]
            raise Refused(field, name, f"none of the {kind} is called so", nearest(name, self._entries))
        loaded: T = self._entries[name].load()
        return loaded


def named(registry: Registry[type[S]], base: type[S]) -> Any:
    """Field type: `{name: NAME, …}`, validated by the settings class that the registry has under NAME."""

    def parse(given: Any) -> S:
        if isinstance(given, base):
            return given
        if isinstance(given, str):
            given = {"name": given}
        if not isinstance(given, Mapping) or not isinstance(given.get("name"), str):
            raise Refused("name", given, "a mapping with a name is wanted", f"known: {', '.join(registry.names())}")
        return _validated(registry.get(given["name"]), given)

    return Annotated[base, PlainValidator(parse), PlainSerializer(lambda value: value.model_dump())]


def collection(registry: Registry[type[S]], base: type[S]) -> Any:
    """Field type: `{NAME: {…}, …}`, each validated by its own settings class, in the order given."""

    def parse(given: Any) -> dict[str, S]:
        if not isinstance(given, Mapping):
            raise Refused(
                "", given, "a mapping of names to settings is wanted", f"known: {', '.join(registry.names())}"
            )
        parsed: dict[str, S] = {}
        for name, value in given.items():
            try:
                parsed[name] = value if isinstance(value, base) else _validated(registry.get(name, ""), value or {})
            except Refused as refused:
                raise refused.under(str(name)) from None
        return parsed

    return Annotated[
        dict[str, base],  # type: ignore[valid-type]
        PlainValidator(parse),
        PlainSerializer(lambda value: {name: one.model_dump() for name, one in value.items()}),
    ]


def _validated(settings: type[S], given: Any) -> S:
    try:
        return settings.model_validate(given)
    except ValidationError as error:
        raise explain(error) from None
