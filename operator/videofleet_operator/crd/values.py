"""The kinds of value that fields of the spec are made of, each with its schema."""

from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel

from videofleet_operator.crd.quantities import QUANTITY_PATTERN
from videofleet_operator.crd.rules import matches

_LABEL: Final = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"


class SpecModel(BaseModel):
    """A frozen part of the spec: snake_case in Python, camelCase in manifests."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)


Label = Annotated[
    str,
    Field(min_length=1, max_length=63),
    matches(_LABEL, "must be lower-case letters, digits and `-`, and begin and end with a letter or digit"),
]
Quantity = Annotated[
    str,
    BeforeValidator(lambda value: str(value) if isinstance(value, int) else value),
    Field(max_length=20, pattern=QUANTITY_PATTERN),
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "pattern": QUANTITY_PATTERN,
            "maxLength": 20,
        }
    ),
]
