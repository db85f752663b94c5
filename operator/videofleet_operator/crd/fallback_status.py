"""`status.fallback`: which tier jobs get, which share of them, since when and until about when."""

from pydantic import Field

from videofleet.jobs import Priority
from videofleet_operator.crd.values import SpecModel


class FallbackStatus(SpecModel):
    """The fallback in force; with full quality `tier` is the first one and `share` 0%."""

    tier: str = Field(max_length=63, description="The lowest tier that jobs get now.")
    share: str = Field(max_length=6, description="Share of the jobs that get it, of those that may.")
    priorities: list[Priority] = Field(default=[], max_length=3, description="Whose jobs may get it.")
    since: str | None = Field(default=None, max_length=32, description="When full quality ended.")
    until: str | None = Field(default=None, max_length=32, description="When it is expected back, as of the last move.")
    moved: str | None = Field(default=None, max_length=32, description="When the fallback last changed.")
