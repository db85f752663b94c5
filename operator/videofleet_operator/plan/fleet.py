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
from videofleet_operator.plan.children import plan_children
from videofleet_operator.plan.conditions import Verdict, judge
from videofleet_operator.plan.events import EventNote, action_events, transition_events
from videofleet_operator.plan.faults import Fault
from videofleet_operator.plan.policy import canary_rule, fleet_policy, is_published, is_safe_first, with_validity
from videofleet_operator.plan.revisions import Roles, assign_roles
from videofleet_operator.plan.rollout import Rollout, plan_rollout, remembered
from videofleet_operator.plan.status import next_status
from videofleet_operator.reasons import Reason

LOOK_AGAIN_S: Final = 5.0  # while something is under way or wrong; the resync covers the rest


@dataclass(frozen=True)
class Plan:
    """What to do, in the order of the fields; retiring actions wait until the policy is published."""

    actions: tuple[Action, ...]
    policy: FleetPolicy | None  # None: Redis has the right one
    is_policy_first: bool  # it names nobody new, so it need not wait for what builds
    status: dict[str, Any] | None  # None: it still tells the truth
    events: tuple[EventNote, ...]
    requeue_after_s: float | None


def plan_fleet(observed: Observed, installation: Installation, epoch: int, now: datetime) -> Plan:
    """The plan of the leader of this epoch for one VideoGenerator."""
    spec, spec_fault = _understood(observed.fleet.spec, installation)
    wanted = max(1, spec.scaling.min_replicas) if spec else 1
    can_act = spec is not None and not spec_fault and not observed.fleet.is_paused
    rollout = plan_rollout(observed, spec, revision_hash(spec), wanted, now) if spec and can_act else None
    roles = assign_roles(observed, rollout)
    revisions = _active_revisions(observed, roles, spec, installation)
    actions = plan_children(observed, roles, revisions, rollout.workers) if rollout else []
    told = rollout.status if rollout else remembered(observed)
    verdicts = judge(observed, roles, rollout.workers if rollout else {}, told, spec_fault)
    status = next_status(observed, roles, told, verdicts, now)
    policy = _unpublished(observed, spec, revisions.get(roles.serving or ""), rollout, epoch, now)
    return Plan(
        actions=tuple(actions),
        policy=policy,
        is_policy_first=policy is not None and is_safe_first(policy, observed.queue.policy if observed.queue else None),
        status=status,
        events=tuple(action_events(actions) + transition_events(observed.fleet.status, status)),
        requeue_after_s=LOOK_AGAIN_S if _is_unsettled(verdicts) or actions else None,
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
    """The active ones as their records keep them; the rising one from the spec when it has no record yet."""
    records = {seen.revision: resolved_from(seen.data) for seen in observed.revisions}
    active = {key: record for key in roles.active if (record := records.get(key))}
    if spec is not None and roles.target is not None and roles.target in roles.active and roles.target not in active:
        active[roles.target] = resolve(spec, installation)
    return active


def _unpublished(
    observed: Observed,
    spec: VideoGeneratorSpec | None,
    serving: ResolvedRevision | None,
    rollout: Rollout | None,
    epoch: int,
    now: datetime,
) -> FleetPolicy | None:
    if spec is None or serving is None or observed.fleet.is_paused:
        return None
    published = observed.queue.policy if observed.queue else None
    rule = canary_rule(rollout, spec, observed.queue)
    policy = with_validity(fleet_policy(observed.fleet, spec, serving, epoch, rule), published, now)
    return None if is_published(policy, published) else policy


def _is_unsettled(verdicts: list[Verdict]) -> bool:
    return any(verdict.holds != (verdict.type == "Ready") for verdict in verdicts)
