"""Scaling of one fleet: from what was observed to how many replicas its serving revision has, and who is marked.

Nothing shrinks while Redis does not answer: who is idle is not known then. `Advisory` decides and reports, and leaves
the workers as they are.
"""

from dataclasses import dataclass
from datetime import datetime

from videofleet.jobs import QueueStats
from videofleet_operator.crd.quantities import duration_s
from videofleet_operator.crd.sections.scaling import Scaling
from videofleet_operator.observed import Observed, PodSeen
from videofleet_operator.plan.drain import DrainPlan, WorkerSeen, plan_drain
from videofleet_operator.plan.memory import Memory, fresh_memory, with_starts
from videofleet_operator.plan.scaling import Decision, Demand, ScalingRules, decide_scaling
from videofleet_operator.plan.shortage import shortage


@dataclass(frozen=True)
class Scaled:
    """What scaling makes of one fleet."""

    drain: DrainPlan
    memory: Memory
    wanted: int  # replicas before
    decision: Decision | None = None  # None: nothing was decided, everything stays

    @property
    def replicas(self) -> int:
        """Of the serving revision's Deployment from now on."""
        return self.drain.replicas


def scale_fleet(observed: Observed, serving: str | None, *, is_proven: bool, spec: Scaling, now: datetime) -> Scaled:
    """Decides for the revision that serves; one that was never proven keeps a worker to prove itself."""
    memory = observed.memory or fresh_memory(now.timestamp())
    rules = rules_of(spec, at_least=0 if is_proven else 1)
    deployment = observed.deployment(serving)
    if deployment is None:
        return Scaled(DrainPlan(max(1, rules.min_replicas)), memory, 0)
    alive = [pod for pod in observed.pods if pod.revision == serving and not pod.is_terminating]
    memory = with_starts(memory, *_starts(alive, now.timestamp()))
    if observed.queue is None:
        kept = min(max(deployment.wanted, rules.min_replicas), max(deployment.wanted, rules.max_replicas))
        return Scaled(DrainPlan(kept), memory, deployment.wanted)
    short = shortage(observed, serving)
    demand = demand_of(observed.queue.stats)
    decision, memory = decide_scaling(rules, memory, demand, deployment.wanted, short, now.timestamp())
    desired = deployment.wanted if spec.mode == "Advisory" and deployment.wanted else decision.desired
    marks = observed.queue.policy.marks if observed.queue.policy else {}
    drain = plan_drain(desired, deployment.wanted, _workers(observed, alive), marks, round(now.timestamp() * 1000))
    return Scaled(drain, memory, deployment.wanted, decision)


def rules_of(spec: Scaling, at_least: int) -> ScalingRules:
    """The section in numbers."""
    low = max(spec.min_replicas, at_least)
    high = spec.max_replicas if spec.max_replicas is not None else max(1, spec.min_replicas)
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


def _starts(alive: list[PodSeen], now_s: float) -> tuple[list[str], list[tuple[str, float]]]:
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
        )
        for pod in alive
    ]
