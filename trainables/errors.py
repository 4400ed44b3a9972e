"""The one error a user's mistake raises."""

from __future__ import annotations


class Refused(ValueError):
    """A request that cannot be carried out: the field, its value, the rule it breaks and the remedy."""

    def __init__(self, field: str, value: object, rule: str, remedy: str) -> None:
        self.field, self.value, self.rule, self.remedy = field, value, rule, remedy
        super().__init__(f"{field} = {value!r}: {rule}; {remedy}")

    def __reduce__(self) -> tuple[type[Refused], tuple[str, object, str, str]]:
        return type(self), (self.field, self.value, self.rule, self.remedy)
