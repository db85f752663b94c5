"""The base of everything that travels through Redis as JSON.

Invariant: a reader keeps fields it does not know, so that version N and N−1 work side by side.
"""

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Wire(BaseModel):
    """A frozen JSON message: snake_case in Python, camelCase on the wire, unknown fields survive a round trip."""

    model_config = ConfigDict(frozen=True, extra="allow", alias_generator=to_camel, populate_by_name=True)

    def to_json(self) -> str:
        """The message as compact JSON, by wire names, without unset optional fields."""
        return self.model_dump_json(by_alias=True, exclude_none=True)
