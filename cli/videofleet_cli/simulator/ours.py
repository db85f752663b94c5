"""VideoFleet itself on paper: the operator's planners, called as the operator calls them."""

from typing import Final

from videofleet.jobs import Priority
from videofleet_cli.simulator.orders import DegradeRule, Orders, View
from videofleet_operator.plan.drain import WorkerSeen, plan_drain
from videofleet_operator.plan.fallback import FULL, FallbackRules, FallbackState, Load, plan_fallback
from videofleet_operator.plan.memory import Memory, fresh_memory, with_starts
from videofleet_operator.plan.scaling import Demand, ScalingRules, decide_scaling, expected_arrivals

LOOK_S: Final = 15.0
_PRIORITIES: Final = (Priority.INTERACTIVE, Priority.STANDARD, Priority.BATCH)
DRAINING_LOOK_S: Final = 5.0


class VideoFleet:
    """Scaling, scale-down by handshake and, with rules for it, fallback."""

    every_s = LOOK_S

    def __init__(self, rules: ScalingRules, fallback: FallbackRules | None = None, name: str = "VideoFleet") -> None:
        self.name = name
        self._rules, self._fallback = rules, fallback
        self._state = FallbackState()
        self._memory: Memory | None = None
        self._marks: dict[str, int] = {}

    def look(self, view: View, now_s: float) -> Orders:
        """One reconcile."""
        memory = self._memory or fresh_memory(now_s)
        cold = [str(worker.name) for worker in view.workers if not worker.is_ready]
        warm = [(str(worker.name), now_s - worker.made_s) for worker in view.workers if worker.is_ready]
        memory = with_starts(memory, cold, warm)
        demand = Demand(sum(view.waiting), view.running, view.waiting_s, view.running_s, view.arrived_s)
        shortage = "the quota is used up" if view.is_short else None
        decision, self._memory = decide_scaling(self._rules, memory, demand, view.wanted, shortage, now_s)
        if self._fallback is not None:
            load = self._load(view, self._memory)
            self._state = plan_fallback(self._fallback, self._state, load, now_s)
        return self._drained(decision.desired, view, now_s)

    def _load(self, view: View, memory: Memory) -> Load:
        return Load(
            waiting_s=dict(zip(_PRIORITIES, view.waiting_s_by_priority, strict=True)),
            arriving=expected_arrivals(memory, self._rules),
            ready=sum(worker.is_ready for worker in view.workers),
            starting=sum(not worker.is_ready and not worker.is_marked for worker in view.workers),
            cold_start_s=memory.cold_start_s,
        )

    def _degrade(self) -> DegradeRule | None:
        rung = self._state.rung
        if self._fallback is None or rung == FULL:
            return None
        reached = frozenset(_PRIORITIES.index(priority) for priority in rung.priorities)
        return DegradeRule(self._fallback.costs[rung.tier], rung.share_permille / 1000, reached)

    def _drained(self, desired: int, view: View, now_s: float) -> Orders:
        alive = [
            WorkerSeen(str(worker.name), worker.is_ready, worker.is_idle, worker.is_costed, worker.made_s)
            for worker in view.workers
        ]
        plan = plan_drain(desired, view.wanted, alive, self._marks, round(now_s * 1000))
        self._marks = plan.marks
        costed = {worker.name for worker in alive if worker.is_costed}.union(plan.cost).difference(plan.uncost)
        return Orders(
            plan.replicas,
            frozenset(map(int, plan.marks)),
            frozenset(map(int, costed)),
            degrade=self._degrade(),
            again_s=DRAINING_LOOK_S if plan.marks else LOOK_S,
        )
