"""`plan_fleet`: everything to do about one fleet now. Executed and planned again, it asks for nothing more."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from videofleet.policy import FleetPolicy
from videofleet_operator.crd.spec import SpecError, VideoGeneratorSpec, parse_spec
from videofleet_operator.installation import Installation
from videofleet_operator.manifests.revision import ResolvedRevision, resolve, resolved_from, revision_hash
from videofleet_operator.observed import Observed
from videofleet_operator.plan.actions import Action
from videofleet_operator.plan.children import cost_actions, plan_children
from videofleet_operator.plan.conditions import Verdict, judge
from videofleet_operator.plan.events import EventNote, action_events, transition_events
from videofleet_operator.plan.faults import Fault
from videofleet_operator.plan.lowered import lower_fleet
from videofleet_operator.plan.memory import Memory
from videofleet_operator.plan.policy import Passing, fleet_policy, is_published
from videofleet_operator.plan.revisions import Roles, assign_roles
from videofleet_operator.plan.scaled import Scaled, rules_of, scale_fleet
from videofleet_operator.plan.scaling_report import scaling_events, scaling_status
from videofleet_operator.plan.status import next_status
from videofleet_operator.plan.validity import with_expiry
from videofleet_operator.reasons import Reason

LOOK_AGAIN_S: Final = 5.0  # while something is under way or wrong; the resync covers the rest
WATCH_AGAIN_S: Final = 15.0  # while jobs wait or run
RESYNC_S: Final = 60.0  # what the shell looks at anyway


@dataclass(frozen=True)
class Plan:
    """What to do, in the order of the fields; retiring actions wait until the policy is published."""

    actions: tuple[Action, ...]
    policy: FleetPolicy | None  # None: Redis has the right one
    status: dict[str, Any] | None  # None: it still tells the truth
    events: tuple[EventNote, ...]
    requeue_after_s: float | None
    memory: Memory | None = None  # to be handed to the next plan


def plan_fleet(observed: Observed, installation: Installation, epoch: int, now: datetime) -> Plan:
    """The plan of the leader of this epoch for one VideoGenerator."""
    spec, spec_fault = _understood(observed.fleet.spec, installation)
    can_act = spec is not None and not spec_fault and not observed.fleet.is_paused
    roles = assign_roles(observed, revision_hash(spec) if spec and can_act else None)
    revisions = _active_revisions(observed, roles, spec, installation)
    is_proven = roles.stable is not None
    scaled = scale_fleet(observed, roles.serving, is_proven=is_proven, spec=spec.scaling, now=now) if spec else None
    actions = _actions(observed, roles, revisions, spec, scaled) if spec and scaled and roles.target else []
    verdicts = judge(observed, roles, _wanted(observed, roles, scaled, can_act=can_act), spec_fault)
    serving = revisions.get(roles.serving or "")
    lowered = None
    if spec and scaled:
        tiers = list(serving.worker.tiers) if serving else []
        lowered = lower_fleet(observed, roles.serving, tiers, spec, scaled, now)
        verdicts.append(lowered.verdict)
    report = scaling_status(observed.fleet.status.get("scaling"), scaled, now) if scaled else None
    status = next_status(observed, roles, verdicts, now, report, lowered.status if lowered else None)
    passing = Passing(scaled.drain.marks if scaled else {}, lowered.rule if lowered else None)
    return Plan(
        actions=tuple(actions),
        policy=_unpublished(observed, spec, serving, epoch, passing, now),
        status=status,
        events=(
            *action_events(actions),
            *transition_events(observed.fleet.status, status),
            *scaling_events(observed.fleet.status.get("scaling"), report),
        ),
        requeue_after_s=_look_again_s(observed, scaled, is_settled=not (_is_unsettled(verdicts) or actions)),
        memory=scaled.memory if scaled else observed.memory,
    )


def _understood(spec: Any, installation: Installation) -> tuple[VideoGeneratorSpec | None, Fault | None]:
    try:
        parsed = parse_spec(spec)
    except SpecError as error:
        return None, Fault(Reason.INVALID_SPEC, f"{error}. Correct it and apply the manifest again.")
    if parsed.output.store in installation.stores:
        return parsed, None
    known = ", ".join(sorted(installation.stores)) or "none"
    message = (
        f"spec.output.store: {parsed.output.store} is no store of this installation (known: {known});"
        " use one of them or add it to the chart's values."
    )
    return parsed, Fault(Reason.STORE_UNKNOWN, message)


def _active_revisions(
    observed: Observed, roles: Roles, spec: VideoGeneratorSpec | None, installation: Installation
) -> dict[str, ResolvedRevision]:
    """Target and stable as their records keep them; the target from the spec when it has no record yet."""
    records = {seen.revision: resolved_from(seen.data) for seen in observed.revisions}
    active = {key: record for key in (roles.stable, roles.target) if key and (record := records.get(key))}
    if spec is not None and roles.target is not None and roles.target not in active:
        active[roles.target] = resolve(spec, installation)
    return active


def _unpublished(
    observed: Observed,
    spec: VideoGeneratorSpec | None,
    serving: ResolvedRevision | None,
    epoch: int,
    passing: Passing,
    now: datetime,
) -> FleetPolicy | None:
    if spec is None or serving is None or observed.fleet.is_paused:
        return None
    published = observed.queue.policy if observed.queue else None
    policy = fleet_policy(observed.fleet, spec, serving, epoch, passing)
    policy = with_expiry(policy, published, round(now.timestamp() * 1000))
    return None if observed.queue and is_published(policy, published) else policy


def _actions(
    observed: Observed,
    roles: Roles,
    revisions: dict[str, ResolvedRevision],
    spec: VideoGeneratorSpec,
    scaled: Scaled,
) -> list[Action]:
    """Children as wanted; a revision that is on its way gets as many workers as serve, within the maximum of both."""
    beside = max(1, min(scaled.replicas, rules_of(spec.scaling, at_least=1).max_replicas - scaled.replicas))
    replicas = {revision: scaled.replicas if revision == roles.serving else beside for revision in revisions}
    return [*plan_children(observed, roles, revisions, replicas), *cost_actions(scaled.drain)]


def _wanted(observed: Observed, roles: Roles, scaled: Scaled | None, *, can_act: bool) -> int:
    """Workers that are to serve: those asked of Kubernetes, when nobody may change that."""
    deployment = observed.deployment(roles.serving)
    if can_act and scaled is not None:
        return scaled.replicas
    return deployment.wanted if deployment else 1


def _look_again_s(observed: Observed, scaled: Scaled | None, *, is_settled: bool) -> float | None:
    """Soon while something is under way, now and then while scaling has something to watch."""
    if not is_settled or (scaled is not None and scaled.drain.marks):
        return LOOK_AGAIN_S
    has_jobs = observed.queue is not None and observed.queue.stats.waiting + observed.queue.stats.running > 0
    again_s = scaled.decision.again_s if scaled and scaled.decision else None
    if again_s is not None and again_s < (WATCH_AGAIN_S if has_jobs else RESYNC_S):
        return max(1.0, again_s)
    return WATCH_AGAIN_S if has_jobs else None


def _is_unsettled(verdicts: list[Verdict]) -> bool:
    return any(verdict.holds != (verdict.type == "Ready") for verdict in verdicts)
