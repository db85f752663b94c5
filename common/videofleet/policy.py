"""What the operator tells gateways and workers about a fleet, through Redis.

The operator publishes, the Lua scripts and the gateway obey. The policy outlives its author: the data plane goes on
with the last one while the operator is down.
"""

from enum import StrEnum

from pydantic import Field

from videofleet.architectures import Architecture
from videofleet.tiers import Tier
from videofleet.wire import Wire


class Track(StrEnum):
    """The role a revision plays now. `canary` comes with rollouts."""

    STABLE = "stable"


class FleetPolicy(Wire):
    """One fleet's rules of the moment.

    `tracks` maps a revision to its track; a worker whose revision is not in it is given no job.
    """

    v: int = 1
    fleet: str  # namespace/name
    fleet_uid: str
    architecture: Architecture
    tiers: list[Tier]  # best first; the first is the default
    tracks: dict[str, Track]
    epoch: int = 0  # of the leader that published it; a lower one is refused from then on
    max_depth: int  # waiting jobs; more are refused
    max_attempts: int
    batch_max_wait_s: float = 3600.0  # batch jobs that waited longer go first
    weights: dict[str, int] = Field(default_factory=dict)  # tenant → share of the service seconds; 1 unless named
    tenants: list[str] | None = None  # who may submit; None: everyone with a key
    store: str
    output_prefix: str = ""
    closed: str | None = None  # an ErrorCode: the fleet takes no more jobs, and why

    def tier_named(self, name: str) -> Tier | None:
        """The tier of that name."""
        return next((tier for tier in self.tiers if tier.name == name), None)
