"""Scaling of one fleet: from what was observed to how many workers the load needs, and who is marked on the way down.

Both tracks together are what scaling decides; the rollout divides them. Nothing shrinks while Redis does not answer:
who is idle is not known then. `Advisory` decides and reports, and leaves the workers as they are.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from videofleet.jobs import QueueStats
from videofleet_operator.crd.quantities import duration_s
from videofleet_operator.crd.sections.scaling import Scaling
from videofleet_operator.observed import Observed, PodSeen
from videofleet_operator.plan.drain import DrainPlan, WorkerSeen, plan_drain
from videofleet_operator.plan.memory import Memory, fresh_memory, with_starts
from videofleet_operator.plan.rollout import proven_revision, remembered
from videofleet_operator.plan.scaling import Decision, Demand, ScalingRules, decide_scaling
from videofleet_operator.plan.schedule import bounds_at
from videofleet_operator.plan.shortage import shortage


@dataclass(frozen=True)
class Scaled:
    """What the load needs."""

    wanted: int  # workers of both tracks together from now on
    before: int  # until now
    memory: Memory
    decision: Decision | None = None  # None: nothing was decided, everything stays


@dataclass(frozen=True)
class Drained:
    """What is asked of each Deployment now, on the way to what is wanted of it."""

    replicas: dict[str, int]  # by revision
    marks: dict[str, int] = field(default_factory=dict)  # worker → until when, ms since the epoch
    cost: tuple[str, ...] = ()
    uncost: tuple[str, ...] = ()


def scale_fleet(observed: Observed, asked: str, spec: Scaling, now: datetime) -> Scaled:
    """Decides for the revision that serves; one that was never proven keeps a worker to prove itself.

    Args:
        observed: what is there.
        asked: the revision that the spec makes; it serves while nothing is proven.
        spec: the rules.
        now: the time.
    """
    told = remembered(observed)
    proven = proven_revision(observed, told.undo.revision if told.undo else asked)
    serving = proven or asked
    has_proof = proven is not None or observed.ready(serving) > 0  # or else the sentence changed right after the proof
    memory = observed.memory or fresh_memory(now.timestamp())
    rules = rules_of(spec, now, at_least=0 if has_proof else 1)
    deployment = observed.deployment(serving)
    if deployment is None:
        return Scaled(max(1, rules.min_replicas), 0, memory)
    memory = with_starts(memory, *_starts(observed, now.timestamp()))
    before = _before(observed, deployment.wanted)
    if observed.queue is None:
        return Scaled(max(before, rules.min_replicas), before, memory)
    short = shortage(observed, serving)
    demand = demand_of(observed.queue.stats)
    decision, memory = decide_scaling(rules, memory, demand, before, short, now.timestamp())
    wanted = before if spec.mode == "Advisory" and before else decision.desired
    return Scaled(wanted, before, memory, decision)


def drain_fleet(observed: Observed, workers: Mapping[str, int], now: datetime) -> Drained:
    """The next step of every active revision towards its workers; without Redis none of them shrinks."""
    plans = {revision: _drained(observed, revision, count, now) for revision, count in workers.items()}
    return Drained(
        replicas={revision: plan.replicas for revision, plan in plans.items()},
        marks={name: until_ms for plan in plans.values() for name, until_ms in plan.marks.items()},
        cost=tuple(name for plan in plans.values() for name in plan.cost),
        uncost=tuple(name for plan in plans.values() for name in plan.uncost),
    )


def _drained(observed: Observed, revision: str, count: int, now: datetime) -> DrainPlan:
    deployment = observed.deployment(revision)
    if deployment is None:
        return DrainPlan(count)
    if observed.queue is None:
        return DrainPlan(max(count, deployment.wanted))
    alive = [pod for pod in observed.pods if pod.revision == revision and not pod.is_terminating]
    marks = observed.queue.policy.marks if observed.queue.policy else {}
    now_ms = round(now.timestamp() * 1000)
    return plan_drain(count, deployment.wanted, _workers(observed, alive), marks, now_ms)


def _before(observed: Observed, serving: int) -> int:
    """What was wanted until now: beside a canary the Deployment of stable alone does not tell."""
    told = remembered(observed)
    return serving if told.canary_revision is None else told.workers


def rules_of(spec: Scaling, now: datetime, at_least: int = 0) -> ScalingRules:
    """The section in numbers, as of now."""
    low, high = bounds_at(spec, now)
    low = max(low, at_least)
    return ScalingRules(
        low,
        max(low, high),
        duration_s(spec.target_wait),
        duration_s(spec.scale_down_after),
        duration_s(spec.scale_to_zero_after),
    )


def demand_of(stats: QueueStats) -> Demand:
    """What the queue says, in the words of scaling."""
    return Demand(stats.waiting, stats.running, stats.waiting_cost_s, stats.running_remaining_s, stats.arrived_s_total)


def _starts(observed: Observed, now_s: float) -> tuple[list[str], list[tuple[str, float]]]:
    alive = [pod for pod in observed.pods if not pod.is_terminating]
    cold = [pod.name for pod in alive if not pod.is_ready]
    return cold, [(pod.name, now_s - pod.made_s) for pod in alive if pod.is_ready]


def _workers(observed: Observed, alive: list[PodSeen]) -> list[WorkerSeen]:
    """A warm worker that says nothing is taken for busy; one that never spoke and is not warm has nothing to do."""
    jobs = {beacon.worker: beacon.job for beacon in observed.queue.beacons} if observed.queue else {}
    return [
        WorkerSeen(
            pod.name,
            pod.is_ready,
            jobs[pod.name] is None if pod.name in jobs else not pod.is_ready,
            pod.is_costed,
            pod.made_s,
            is_placed=pod.unschedulable is None,
        )
        for pod in alive
    ]
