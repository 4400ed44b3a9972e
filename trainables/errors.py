"""The one error a user's mistake raises."""

from __future__ import annotations

from pydantic import ValidationError


class Refused(ValueError):
    """A request that cannot be carried out: the field, its value, the rule it breaks and the remedy."""

    def __init__(self, field: str, value: object, rule: str, remedy: str) -> None:
        self.field, self.value, self.rule, self.remedy = field, value, rule, remedy
        super().__init__(f"{field} = {value!r}: {rule}; {remedy}")

    def __reduce__(self) -> tuple[type[Refused], tuple[str, object, str, str]]:
        return type(self), (self.field, self.value, self.rule, self.remedy)

    def under(self, path: str) -> Refused:
        """The same, with the field seen from further up."""
        return Refused(f"{path}/{self.field}".strip("/"), self.value, self.rule, self.remedy)


def explain(error: ValidationError) -> Refused:
    """The first of pydantic's complaints, as one sentence about one field."""
    first = error.errors()[0]
    path = "/".join(str(key) for key in first["loc"])
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, Refused):
        return cause.under(path)
    rule = first["msg"].replace("Input should be", "must be").removeprefix("Value error, ")
    if first["type"] == "missing":
        return Refused(path, None, "is required", "give it a value in the spec, or with --set")
    return Refused(path or "the request", first["input"], rule, "correct it in the spec, or with --set")
