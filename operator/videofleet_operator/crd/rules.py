"""A validation rule, once: its CEL for the API server, its predicate for parsing, and the message people
read.

A manifest stored before a rule existed never saw its CEL; the predicate catches it when the operator parses
it. Invariant: for every value, CEL and predicate agree (a test evaluates both).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from videofleet_operator.crd.quantities import DURATION_PATTERN, PERCENT_PATTERN, duration_s

VALIDATIONS = "x-kubernetes-validations"


@dataclass(frozen=True)
class Rule:
    """Metadata of an annotated type, or one of a model's rules over several fields."""

    cel: str
    message: str  # the limit and the remedy
    holds: Callable[[Any], bool]
    field_path: str | None = None  # where the API server points, when not at the value itself

    def as_validation(self) -> dict[str, str]:
        """The entry of `x-kubernetes-validations`."""
        entry = {"rule": self.cel, "message": self.message}
        return entry if self.field_path is None else entry | {"fieldPath": self.field_path}

    def check(self, value: Any) -> Any:
        """The value unchanged. Raises: ValueError with the message."""
        if not self.holds(value):
            raise ValueError(self.message)
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Checks after pydantic's own checks of the type."""
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Adds the CEL to the field's schema."""
        json_schema = handler(schema)
        json_schema[VALIDATIONS] = [self.as_validation(), *json_schema.get(VALIDATIONS, [])]
        return json_schema


def matches(pattern: str, message: str) -> Rule:
    """The whole text has this form. A rule, because the message of `pattern` is the expression itself."""
    return Rule(f"self.matches({quoted(pattern)})", message, lambda text: re.fullmatch(pattern, text) is not None)


def duration(low: str, high: str) -> Rule:
    """A duration between two others."""

    def holds(text: str) -> bool:
        return re.fullmatch(DURATION_PATTERN, text) is not None and (
            duration_s(low) <= duration_s(text) <= duration_s(high)
        )

    return Rule(
        f"self.matches({quoted(DURATION_PATTERN)})"
        f" && duration(self) >= duration('{low}') && duration(self) <= duration('{high}')",
        f"must be a duration between {low} and {high}: one number and one unit, such as 90s, 30m or 2h",
        holds,
    )


def percent() -> Rule:
    """A share below 100 %."""
    return matches(PERCENT_PATTERN, "must be a share below 100% with at most one decimal, such as 5% or 2.5%")


def quoted(text: str) -> str:
    """The text as a CEL string literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
