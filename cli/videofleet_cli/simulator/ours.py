"""VideoFleet itself on paper: the operator's planners, called as the operator calls them."""

from dataclasses import replace
from typing import Final

from videofleet.jobs import Priority
from videofleet_cli.simulator.orders import DegradeRule, Orders, Tracks, View
from videofleet_cli.simulator.rolling import Trial
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
        self._trial: Trial | None = None
        self._desired = 0

    def look(self, view: View, now_s: float) -> Orders:
        """One reconcile."""
        memory = self._memory or fresh_memory(now_s)
        cold = [str(worker.name) for worker in view.workers if not worker.is_ready]
        warm = [(str(worker.name), now_s - worker.made_s) for worker in view.workers if worker.is_ready]
        memory = with_starts(memory, cold, warm)
        demand = Demand(sum(view.waiting), view.running, view.waiting_s, view.running_s, view.arrived_s)
        before = self._desired if self._trial else view.wanted
        shortage = "the quota is used up" if view.is_short else None
        decision, self._memory = decide_scaling(self._rules, memory, demand, before, shortage, now_s)
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
        self._desired, asked = desired, self._trial.canary if self._trial else 0
        stable, tracks = self._divided(desired, view, now_s)
        now_ms = round(now_s * 1000)
        old = plan_drain(stable, view.wanted, _seen(view, is_new=False), self._marks, now_ms)
        new = plan_drain(tracks.canary if tracks else 0, asked, _seen(view, is_new=True), self._marks, now_ms)
        self._marks = old.marks | new.marks
        costed = {str(worker.name) for worker in view.workers if worker.is_costed}
        costed = costed.union(old.cost, new.cost).difference(old.uncost, new.uncost)
        return Orders(
            old.replicas if tracks is None or not tracks.is_promoted else desired,
            frozenset(map(int, self._marks)),
            frozenset(map(int, costed)),
            degrade=self._degrade(),
            again_s=DRAINING_LOOK_S if self._marks else LOOK_S,
            tracks=tracks if tracks is None or tracks.is_promoted else replace(tracks, canary=new.replicas),
        )

    def _divided(self, desired: int, view: View, now_s: float) -> tuple[int, Tracks | None]:
        """Workers of the revision that serves, and of one on trial, if there is one."""
        if not view.is_trial:
            self._trial = None
            return desired, None
        self._trial = self._trial or Trial(self._rules.max_replicas, now_s)
        stable, tracks = self._trial.divide(view, desired, now_s)
        return stable, tracks


def _seen(view: View, *, is_new: bool) -> list[WorkerSeen]:
    return [
        WorkerSeen(str(worker.name), worker.is_ready, worker.is_idle, worker.is_costed, worker.made_s)
        for worker in view.workers
        if worker.is_new == is_new
    ]
