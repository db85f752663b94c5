"""The actions that bring a fleet's children to what its roles ask for. What is right gets none."""

from collections.abc import Iterator

from videofleet_operator.manifests.children import (
    contains,
    decoder_deployment,
    deployment,
    disruption_budget,
    fleet_children,
)
from videofleet_operator.manifests.names import decoder_name, revision_name
from videofleet_operator.manifests.revision import ResolvedRevision, config_map, controller_revision
from videofleet_operator.observed import Observed
from videofleet_operator.plan.actions import Action, Apply, CostPod, Delete, MarkTrack, Scale, Stage
from videofleet_operator.plan.revisions import Roles
from videofleet_operator.plan.scaled import Drained


def plan_children(
    observed: Observed, roles: Roles, revisions: dict[str, ResolvedRevision], workers: dict[str, int]
) -> list[Action]:
    """Everything to do, creations first.

    Args:
        observed: what is there.
        roles: who plays which part.
        revisions: the resolved revisions that are active, by hash.
        workers: how many workers each of them is to have.
    """
    actions: list[Action] = [*_fleet_children(observed)]
    for revision in revisions.values():
        actions += _revision_children(observed, revision, workers[revision.revision])
    actions += _decoders(observed, revisions, workers)
    actions += _track_labels(observed, roles)
    actions += _retirements(observed, roles)
    return sorted(actions, key=lambda action: action.stage)


def cost_actions(drained: Drained) -> list[Action]:
    """The deletion costs of a scale-down."""
    given = [CostPod(name, True, f"worker {name} is drained and goes first") for name in drained.cost]
    taken = [CostPod(name, False, f"worker {name} is to stay and serves again") for name in drained.uncost]
    return [*given, *taken]


def _fleet_children(observed: Observed) -> Iterator[Action]:
    for desired in fleet_children(observed.fleet):
        actual = observed.fleet_children.get(desired["kind"])
        if not contains(actual, desired):
            why = "is missing" if actual is None else "was changed by somebody"
            yield Apply(desired, f"{desired['kind']} {desired['metadata']['name']} {why}")


def _revision_children(observed: Observed, revision: ResolvedRevision, wanted: int) -> Iterator[Action]:
    fleet, key = observed.fleet, revision.revision
    name = revision_name(fleet.name, key)
    if all(seen.revision != key for seen in observed.revisions):
        number = 1 + max((seen.number for seen in observed.revisions), default=0)
        yield Apply(controller_revision(fleet, revision, number), f"the spec asks for a new revision {key}")
    if name not in observed.config_maps:
        yield Apply(config_map(fleet, revision), f"workers of revision {key} read ConfigMap {name}")
    if name not in observed.disruption_budgets:
        yield Apply(disruption_budget(fleet, key), f"evictions are to take one worker of revision {key} at a time")
    seen = observed.deployment(key)
    if seen is None:
        yield Apply(deployment(fleet, revision, wanted), f"revision {key} starts {_counted(wanted, 'worker')}")
    elif seen.wanted != wanted:
        stage = Stage.BUILD if wanted > seen.wanted else Stage.RETIRE
        yield Scale(name, wanted, f"revision {key} goes from {seen.wanted} to {wanted} workers", stage)


def _decoders(observed: Observed, revisions: dict[str, ResolvedRevision], workers: dict[str, int]) -> Iterator[Action]:
    """As many as the spec says, and never more than their revision has workers, the leaving ones among them."""
    fleet = observed.fleet
    for key in sorted({*revisions, *(seen.revision for seen in observed.decoders)}):
        revision, seen = revisions.get(key), observed.decoder(key)
        decode = revision.worker.decode if revision else None
        most = decode.replicas if decode else seen.wanted if seen else 0
        wanted = min(most, max(workers.get(key, 0), sum(pod.revision == key for pod in observed.pods)))
        if seen is None and wanted and revision and decode:
            why = f"revision {key} starts {_counted(wanted, 'decoder')}"
            yield Apply(decoder_deployment(fleet, revision, decode, wanted), why)
        elif seen is not None and seen.wanted != wanted:
            why = f"revision {key} goes from {seen.wanted} to {_counted(wanted, 'decoder')}"
            yield Scale(decoder_name(fleet.name, key), wanted, why)


def _track_labels(observed: Observed, roles: Roles) -> Iterator[Action]:
    for seen in observed.deployments:
        name = revision_name(observed.fleet.name, seen.revision)
        if seen.revision == roles.stable and not seen.is_stable:
            yield MarkTrack(name, True, f"revision {seen.revision} is proven and becomes stable")
        if seen.revision in roles.retiring and seen.is_stable:
            why = f"revision {roles.stable} is stable instead of {seen.revision}"
            yield MarkTrack(name, False, why, Stage.RETIRE)


def _retirements(observed: Observed, roles: Roles) -> Iterator[Action]:
    fleet = observed.fleet.name
    for revision in roles.retiring:
        seen = observed.deployment(revision)
        if seen is not None and seen.wanted:
            why = f"revision {revision} is not asked for any more; its workers finish their jobs"
            yield Scale(revision_name(fleet, revision), 0, why, Stage.RETIRE)
    for revision in roles.discarded:
        name, why = revision_name(fleet, revision), f"revision {revision} is beyond the history limit"
        if observed.deployment(revision) is not None:
            yield Delete("Deployment", name, why)
        if observed.decoder(revision) is not None:
            yield Delete("Deployment", decoder_name(fleet, revision), why)
        if name in observed.config_maps:
            yield Delete("ConfigMap", name, why)
        if name in observed.disruption_budgets:
            yield Delete("PodDisruptionBudget", name, why)
        yield Delete("ControllerRevision", name, why)  # last: while it exists, the rest is found again


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
