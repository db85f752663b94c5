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
from videofleet_operator.plan.golden import Golden, golden_prompts
from videofleet_operator.plan.lowered import Lowered, lower_fleet
from videofleet_operator.plan.measures import Question, questions
from videofleet_operator.plan.memory import Memory
from videofleet_operator.plan.policy import (
    Passing,
    canary_rule,
    fleet_policy,
    is_published,
    is_safe_first,
    with_validity,
)
from videofleet_operator.plan.revisions import Roles, assign_roles
from videofleet_operator.plan.rollout import Rollout, plan_rollout, remembered
from videofleet_operator.plan.scaled import Drained, Scaled, drain_fleet, scale_fleet
from videofleet_operator.plan.scaling_report import scaling_events, scaling_status
from videofleet_operator.plan.status import next_status
from videofleet_operator.plan.story import rollout_events
from videofleet_operator.reasons import Reason

LOOK_AGAIN_S: Final = 5.0  # while something is under way or wrong; the resync covers the rest
WATCH_AGAIN_S: Final = 15.0  # while jobs wait or run
RESYNC_S: Final = 60.0  # what the shell looks at anyway


@dataclass(frozen=True)
class Plan:
    """What to do, in the order of the fields; retiring actions wait until the policy is published."""

    actions: tuple[Action, ...]
    policy: FleetPolicy | None  # None: Redis has the right one
    is_policy_first: bool  # it names nobody new, so it need not wait for what builds
    status: dict[str, Any] | None  # None: it still tells the truth
    events: tuple[EventNote, ...]
    requeue_after_s: float | None
    golden: Golden | None = None  # to be queued once the policy is published
    memory: Memory | None = None  # to be handed to the next plan


def plan_fleet(observed: Observed, installation: Installation, epoch: int, now: datetime) -> Plan:
    """The plan of the leader of this epoch for one VideoGenerator."""
    spec, spec_fault = _understood(observed.fleet.spec, installation)
    can_act = spec is not None and not spec_fault and not observed.fleet.is_paused
    scaled = scale_fleet(observed, revision_hash(spec), spec.scaling, now) if spec else None
    rollout = (
        plan_rollout(observed, spec, revision_hash(spec), scaled.wanted, now) if spec and scaled and can_act else None
    )
    roles = assign_roles(observed, rollout)
    revisions = _active_revisions(observed, roles, spec, installation)
    serving = revisions.get(roles.serving or "")
    drained = drain_fleet(observed, rollout.workers if rollout else {}, now)
    actions = [*plan_children(observed, roles, revisions, drained.replicas), *cost_actions(drained)] if rollout else []
    lowered = lower_fleet(observed, serving, spec, scaled, now) if spec and scaled and serving else None
    told = rollout.status if rollout else remembered(observed)
    verdicts = judge(observed, roles, rollout.workers if rollout else {}, told, spec_fault)
    verdicts += [lowered.verdict] if lowered else []
    report = scaling_status(observed.fleet.status.get("scaling"), scaled, now) if scaled else None
    status = next_status(observed, roles, told, verdicts, now, report, lowered.status if lowered else None)
    passing = _passing(observed, spec, rollout, lowered, drained)
    policy = _unpublished(observed, spec, serving, passing, epoch, now)
    return Plan(
        actions=tuple(actions),
        policy=policy,
        is_policy_first=policy is not None and is_safe_first(policy, observed.queue.policy if observed.queue else None),
        status=status,
        events=(
            *action_events(actions),
            *transition_events(observed.fleet.status, status),
            *rollout_events(observed.fleet.status.get("rollout"), told),
            *scaling_events(observed.fleet.status.get("scaling"), report),
        ),
        requeue_after_s=_look_again_s(
            observed, scaled, is_settled=not (_is_unsettled(verdicts) or actions or drained.marks)
        ),
        golden=_golden(observed, spec, rollout),
        memory=scaled.memory if scaled else observed.memory,
    )


def questions_of(observed: Observed) -> tuple[Question, ...]:
    """What Prometheus is to be asked of the fleet's canary."""
    status = remembered(observed)
    if status.canary_revision is None:  # the common case costs nothing
        return ()
    try:
        queries = parse_spec(observed.fleet.spec).rollout.analysis.metrics
    except SpecError:
        return ()
    return questions(queries, status, observed.fleet.full_name)


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
    passing: Passing,
    epoch: int,
    now: datetime,
) -> FleetPolicy | None:
    if spec is None or serving is None or observed.fleet.is_paused:
        return None
    published = observed.queue.policy if observed.queue else None
    policy = with_validity(fleet_policy(observed.fleet, spec, serving, epoch, passing), published, now)
    return None if is_published(policy, published) else policy


def _golden(observed: Observed, spec: VideoGeneratorSpec | None, rollout: Rollout | None) -> Golden | None:
    """Golden prompts that nobody has queued yet."""
    if spec is None or rollout is None or rollout.rising is None or not rollout.status.is_proving:
        return None
    if observed.queue is None:
        return None
    known = observed.queue.stats.golden
    if known.asked and known.revision == rollout.rising:
        return None
    count = spec.rollout.analysis.golden_prompts
    return golden_prompts(rollout.rising, count, spec.resolved_tiers(), spec.output.prefix)


def _passing(
    observed: Observed,
    spec: VideoGeneratorSpec | None,
    rollout: Rollout | None,
    lowered: Lowered | None,
    drained: Drained,
) -> Passing:
    canary = canary_rule(rollout, spec, observed.queue) if spec else None
    return Passing(canary, lowered.rule if lowered else None, drained.marks)


def _look_again_s(observed: Observed, scaled: Scaled | None, *, is_settled: bool) -> float | None:
    """Soon while something is under way, now and then while scaling has something to watch."""
    if not is_settled:
        return LOOK_AGAIN_S
    has_jobs = observed.queue is not None and observed.queue.stats.waiting + observed.queue.stats.running > 0
    again_s = scaled.decision.again_s if scaled and scaled.decision else None
    if again_s is not None and again_s < (WATCH_AGAIN_S if has_jobs else RESYNC_S):
        return max(1.0, again_s)
    return WATCH_AGAIN_S if has_jobs else None


def _is_unsettled(verdicts: list[Verdict]) -> bool:
    return any(verdict.holds != (verdict.type == "Ready") for verdict in verdicts)
