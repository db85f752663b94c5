"""VideoFleet itself on paper: the operator's planners, called as the operator calls them."""

from typing import Final

from videofleet_cli.simulator.orders import Orders, View
from videofleet_operator.plan.drain import WorkerSeen, plan_drain
from videofleet_operator.plan.memory import Memory, fresh_memory, with_starts
from videofleet_operator.plan.scaling import Demand, ScalingRules, decide_scaling

LOOK_S: Final = 15.0
DRAINING_LOOK_S: Final = 5.0


class VideoFleet:
    """Scaling and scale-down by handshake."""

    every_s = LOOK_S

    def __init__(self, rules: ScalingRules, name: str = "VideoFleet") -> None:
        self.name = name
        self._rules = rules
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
        return self._drained(decision.desired, view, now_s)

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
            again_s=DRAINING_LOOK_S if plan.marks else LOOK_S,
        )
