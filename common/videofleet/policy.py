"""What the operator tells gateways and workers about a fleet, through Redis.

The operator publishes, the Lua scripts and the gateway obey. The policy outlives its author: the data plane goes on
with the last one while the operator is down.
"""

from enum import StrEnum

from pydantic import Field

from videofleet.architectures import Architecture
from videofleet.jobs import Priority
from videofleet.tiers import Tier
from videofleet.wire import Wire


class Track(StrEnum):
    """The role a revision plays now."""

    STABLE = "stable"
    CANARY = "canary"


class StickyBy(StrEnum):
    """What decides which jobs are admitted to a canary."""

    NONE = "none"  # the count: after n jobs it has had n × weight ± 1
    TENANT = "tenant"  # a hash of the tenant: the same tenant, the same track


class CacheScope(StrEnum):
    """Whose earlier videos may answer a request for the same."""

    NONE = "none"  # nobody's
    TENANT = "tenant"  # the tenant's own
    FLEET = "fleet"  # everybody's who uses the fleet


class CanaryRule(Wire):
    """Which share of the jobs is admitted to the canary, and when the data plane itself gives it up."""

    revision: str
    weight_permille: int = Field(ge=0, le=1000)  # of the jobs admitted from now on; 0: none
    sticky_by: StickyBy = StickyBy.NONE
    max_failures_in_row: int = Field(default=3, ge=1)  # then its weight is zero, whatever is published
    slow_above_s: dict[str, float] = Field(
        default_factory=dict
    )  # tier → seconds per step; jobs of both tracks above it are counted
    slow_together_above_s: dict[str, float] = Field(default_factory=dict)  # the same for shares of a batch's time
    memory_above_bytes: dict[str, float] = Field(default_factory=dict)  # the same for their GPU memory
    recovery_above_s: float | None = None  # the same for workers that broke, until they are warm again


class FallbackRule(Wire):
    """Lower tiers under load, decided when a job is claimed."""

    tier: str  # what degraded jobs get, unless they asked for a lower one
    share_permille: int = Field(ge=0, le=1000)  # of the jobs that may be degraded
    priorities: list[Priority]  # whose jobs may be degraded
    cause: str  # told with each degraded job


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
    retention_s: int | None = None  # finished jobs and their files go after it; None: they stay
    cache: CacheScope = CacheScope.NONE
    canary: CanaryRule | None = None
    fallback: FallbackRule | None = None
    marks: dict[str, int] = Field(
        default_factory=dict
    )  # worker → until when it is to claim nothing, ms since the epoch
    valid_until_ms: int | None = None  # after it marks and fallback are void and nothing new goes to the canary
    closed: str | None = None  # an ErrorCode: the fleet takes no more jobs, and why

    def tier_named(self, name: str) -> Tier | None:
        """The tier of that name."""
        return next((tier for tier in self.tiers if tier.name == name), None)
