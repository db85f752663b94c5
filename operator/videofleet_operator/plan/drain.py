"""Fewer workers without a killed job: mark, drain, take away exactly the drained ones, look who went.

0. Pods that no node has taken go at once: they hold no GPU and no job, and a ReplicaSet takes them first of all.
1. The rest of the surplus is marked in the policy: starting workers first, then idle ones, busy ones last. A marked
   worker claims nothing, finishes what it has and turns NotReady. It lapses by itself, should the operator be gone.
2. A ReplicaSet takes away what is not Ready first, then by deletion cost. So only when *nobody else* is Pending or
   NotReady, and the marks still hold for a while, the drained ones get the deletion cost,
3. and only when they have it, the Deployment is made smaller by exactly as many.
4. Whoever went, the surplus is then gone: marks and costs that are left are taken back and their workers serve again.

Invariant: the Deployment is never made smaller by more workers than are drained or were never placed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

MARK_MS: Final = 120_000  # a mark's life; renewed while half of it is gone
MARGIN_MS: Final = 30_000  # a mark that lapses sooner is not relied on: clocks differ, controllers take their time


@dataclass(frozen=True)
class WorkerSeen:
    """A worker pod that is not on its way out."""

    name: str
    is_ready: bool
    is_idle: bool  # has no job
    is_costed: bool  # carries the deletion cost
    made_s: float  # when its pod was made
    is_placed: bool = True  # a node has it


@dataclass(frozen=True)
class DrainPlan:
    """What to ask for now."""

    replicas: int
    marks: dict[str, int] = field(default_factory=dict)  # worker → until when, ms since the epoch
    cost: tuple[str, ...] = ()  # workers to get the deletion cost
    uncost: tuple[str, ...] = ()  # to lose it


def plan_drain(
    desired: int, wanted: int, alive: Sequence[WorkerSeen], marks: Mapping[str, int], now_ms: int
) -> DrainPlan:
    """The next step from `wanted` replicas to `desired`.

    Args:
        desired: what scaling asks for.
        wanted: replicas of the Deployment now.
        alive: its pods but for the terminating ones.
        marks: those in force, as published.
    """
    victims = _victims(len(alive) - desired, alive, marks, now_ms)
    kept = {worker.name: _mark(marks.get(worker.name, 0), now_ms) for worker in victims if worker.is_placed}
    gone = [
        worker
        for worker in victims
        if worker.is_idle and not worker.is_ready and marks.get(worker.name, 0) - now_ms > MARGIN_MS
    ]
    costed = {worker.name for worker in alive if worker.is_costed}
    names = {worker.name for worker in gone}
    if len(alive) != wanted or desired >= wanted:  # the controller is at work, or nobody has to go
        replicas = desired if desired >= wanted else max(desired, min(wanted, len(alive)))
        return DrainPlan(replicas, kept, uncost=tuple(sorted(costed - set(kept))))
    unplaced = sum(not worker.is_placed for worker in victims)
    if unplaced and all(worker.is_ready or worker.is_idle for worker in alive):  # whoever goes instead has no job
        return DrainPlan(wanted - unplaced, kept, uncost=tuple(sorted(costed - set(kept))))
    is_calm = all(worker.is_ready for worker in alive if worker.name not in names)
    if not gone or not is_calm:
        return DrainPlan(wanted, kept, uncost=tuple(sorted(costed - set(kept))))
    if costed != names:
        return DrainPlan(wanted, kept, tuple(sorted(names - costed)), tuple(sorted(costed - names)))
    return DrainPlan(wanted - len(gone), kept)


def _victims(surplus: int, alive: Sequence[WorkerSeen], marks: Mapping[str, int], now_ms: int) -> list[WorkerSeen]:
    """Those that are to go: never placed, then marked (lest two are drained for one), with the least work, youngest."""
    if surplus <= 0:
        return []

    def rank(worker: WorkerSeen) -> tuple[bool, bool, bool, bool, float, str]:
        is_marked = marks.get(worker.name, 0) > now_ms
        return worker.is_placed, not is_marked, worker.is_ready, not worker.is_idle, -worker.made_s, worker.name

    return sorted(alive, key=rank)[:surplus]


def _mark(until_ms: int, now_ms: int) -> int:
    """The mark as it is, or a new one when less than half of its life is left."""
    return until_ms if until_ms - now_ms > MARK_MS / 2 else now_ms + MARK_MS
