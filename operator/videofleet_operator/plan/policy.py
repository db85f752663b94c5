"""The policy that gateways and workers obey, from the revision that serves and the fleet's own limits.

Tiers, architecture and store are those of the revision that serves: a tier nobody is warm for is not offered.
"""

from dataclasses import dataclass, field

from videofleet.policy import FallbackRule, FleetPolicy, Track
from videofleet_operator.crd.quantities import duration_s
from videofleet_operator.crd.spec import VideoGeneratorSpec
from videofleet_operator.manifests.revision import ResolvedRevision
from videofleet_operator.observed import FleetSeen


@dataclass(frozen=True)
class Passing:
    """The parts of a policy that hold for a while only."""

    marks: dict[str, int] = field(default_factory=dict)
    fallback: FallbackRule | None = None


def fleet_policy(
    fleet: FleetSeen, spec: VideoGeneratorSpec, serving: ResolvedRevision, epoch: int, passing: Passing
) -> FleetPolicy:
    """What to publish; a new leader publishes the same anew, which shuts its predecessor out."""
    worker = serving.worker
    return FleetPolicy(
        fleet=fleet.full_name,
        fleet_uid=fleet.uid,
        epoch=epoch,
        architecture=worker.architecture,
        tiers=worker.tiers,
        tracks={serving.revision: Track.STABLE},
        max_depth=spec.queue.max_depth,
        max_attempts=spec.queue.max_attempts,
        batch_max_wait_s=duration_s(spec.queue.batch_max_wait),
        weights=dict(spec.queue.weights or {}),
        tenants=spec.access.tenants,
        store=worker.store,
        output_prefix=spec.output.prefix,
        marks=passing.marks,
        fallback=passing.fallback,
    )


def is_published(policy: FleetPolicy, published: FleetPolicy | None) -> bool:
    """Whether Redis already has it."""
    return published is not None and published.model_copy(update={"closed": None}) == policy
