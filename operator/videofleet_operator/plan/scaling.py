"""How many workers a fleet is to have, with the sentence that says why.

    need = the larger of  arriving / utilisation
                     and  min(waiting jobs, waiting work / target wait) + min(running jobs, running work / target wait)

in service seconds at the tiers asked for, so that a lowered tier never hides the need for capacity. A job is never
split: it needs one worker at the most. Up at once, starting workers count as there. Down worker by worker, each once it
was not needed for `scale_down_after_s` (the last: `scale_to_zero_after_s`), and never on a memory shorter than that. A
fleet whose pods find no place asks for no more. Why this formula and not that of the first design: ADR 0012.

Example: 1.4 arriving; 5 jobs with 600 s wait, 2 with 100 s left run; target wait 120 s: max(2.8, 5 + 0.83) = 5.83 → 6.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from videofleet_operator.plan.memory import Memory, with_arrivals, with_need
from videofleet_operator.plan.words import duration, workers

RELAXED_WAIT_S: Final = 480.0  # target wait from which on no capacity is kept free
LEAST_UTILISATION: Final = 0.35
STEP_UP: Final = 4  # workers that may come at one look; as many as there are already, when that is more
SLACK: Final = 0.05  # of a worker: not worth one more
REST: Final = 0.5  # of a worker: what arrivals of a while ago, all of them done, are not worth
DECAY_LOOK_S: Final = 15.0  # how soon to see whether arrivals have fallen


class ScaleReason(StrEnum):
    """Why the number is what it is."""

    STEADY = "Steady"
    SCALED_UP = "ScaledUp"
    SCALED_DOWN = "ScaledDown"
    SCALED_TO_ZERO = "ScaledToZero"
    FROM_ZERO = "ScaledFromZero"
    STABILISING = "Stabilising"  # fewer would do; not for long enough yet
    LEARNING = "Learning"  # fewer would do; the operator has not watched for long enough
    AT_MAXIMUM = "AtMaximum"
    RESOURCE_SHORT = "ResourceShort"


@dataclass(frozen=True)
class ScalingRules:
    """`spec.scaling` in numbers, for this moment."""

    min_replicas: int
    max_replicas: int
    target_wait_s: float
    scale_down_after_s: float
    scale_to_zero_after_s: float


@dataclass(frozen=True)
class Demand:
    """What the queue says; work in service seconds at the tiers asked for."""

    waiting: int  # jobs
    running: int
    waiting_s: float
    running_s: float  # what is left of those that run
    arrived_s: float  # ever, a counter

    @property
    def jobs(self) -> int:
        """Those that wait or run."""
        return self.waiting + self.running


@dataclass(frozen=True)
class Decision:
    """How many workers, and why."""

    desired: int
    need: float
    reason: ScaleReason
    sentence: str
    again_s: float | None = None  # until time alone may change the number


def decide_scaling(
    rules: ScalingRules, memory: Memory, demand: Demand, wanted: int, shortage: str | None, now_s: float
) -> tuple[Decision, Memory]:
    """The decision of this moment, and what to remember of it.

    Args:
        wanted: workers asked of Kubernetes now, starting ones included.
        shortage: what keeps pods from a place, in Kubernetes' words; None when every pod has one.
    """
    memory = with_arrivals(memory, demand.arrived_s, now_s)
    arriving = expected_arrivals(memory, rules)
    need = needed_workers(rules, demand, arriving)
    useful = max(1, math.ceil(need - SLACK)) if demand.jobs else math.ceil(need - REST)
    memory = with_need(memory, min(useful, rules.max_replicas))
    asked = max(useful, rules.min_replicas)
    why = _why(rules, demand, arriving, need)
    if asked > wanted:
        return _upwards(rules, asked, wanted, shortage, need, why), memory
    return _downwards(rules, memory, asked, wanted, need, why), memory


def needed_workers(rules: ScalingRules, demand: Demand, arriving: float) -> float:
    """Workers, fractions and all, that keep the wait under target."""
    waiting = min(demand.waiting, demand.waiting_s / rules.target_wait_s)
    running = min(demand.running, demand.running_s / rules.target_wait_s)
    return max(arriving / utilisation(rules), waiting + running)


def utilisation(rules: ScalingRules) -> float:
    """How busy what arrives may keep the workers: who may wait longer needs less free capacity.

    Examples: 1 min → 35 %, 2 min → 50 %, 8 min → 100 %. Tuned, see docs/reference/performance.md.
    """
    return min(1.0, max(LEAST_UTILISATION, math.sqrt(rules.target_wait_s / RELAXED_WAIT_S)))


def expected_arrivals(memory: Memory, rules: ScalingRules) -> float:
    """Service seconds a second: what arrives now, or what this time of the day usually brings by the time help is warm.

    The season is only trusted half: a day that is quieter than the last ones is not paid for in full.
    """
    until_s = memory.at_s + memory.cold_start_s + rules.target_wait_s
    usual = memory.season.expected(memory.at_s + memory.cold_start_s, until_s)
    return memory.rate if usual is None else max(memory.rate, 0.5 * usual)


def _upwards(rules: ScalingRules, asked: int, wanted: int, shortage: str | None, need: float, why: str) -> Decision:
    if shortage is not None and wanted:
        sentence = f"{workers(wanted)} instead of {asked}: {why}. No more are asked for, because {shortage}"
        return Decision(min(wanted, rules.max_replicas), need, ScaleReason.RESOURCE_SHORT, sentence)
    desired = min(asked, rules.max_replicas, wanted + max(STEP_UP, wanted))
    if desired <= wanted:
        sentence = f"{workers(desired)}, the maximum, instead of {asked}: {why}"
        return Decision(desired, need, ScaleReason.AT_MAXIMUM, sentence, DECAY_LOOK_S)
    reason = ScaleReason.SCALED_UP if wanted else ScaleReason.FROM_ZERO
    return Decision(desired, need, reason, f"from {wanted} to {workers(desired)}: {why}")


def _downwards(rules: ScalingRules, memory: Memory, asked: int, wanted: int, need: float, why: str) -> Decision:
    kept = min(wanted, rules.max_replicas)
    desired = kept
    while desired > asked and memory.unneeded_s(desired) >= _patience_s(rules, desired):
        desired -= 1
    if desired < wanted:
        reason = ScaleReason.SCALED_DOWN if desired else ScaleReason.SCALED_TO_ZERO
        sentence = f"from {wanted} to {workers(desired)}: {why}, and no more were needed lately"
        return Decision(desired, need, reason, sentence)
    if desired == asked:
        again_s = DECAY_LOOK_S if need > SLACK and desired > rules.min_replicas else None
        return Decision(desired, need, ScaleReason.STEADY, f"{workers(desired)}: {why}", again_s)
    patience_s = _patience_s(rules, desired)
    again_s = patience_s - memory.unneeded_s(desired)
    if memory.watched_s < patience_s:
        sentence = f"{workers(desired)}, though {asked} would do: the operator has watched for less than"
        return Decision(desired, need, ScaleReason.LEARNING, f"{sentence} {duration(patience_s)}", again_s)
    sentence = f"{workers(desired)}, though {asked} would do: the last one goes when not needed for"
    return Decision(desired, need, ScaleReason.STABILISING, f"{sentence} {duration(patience_s)}", again_s)


def _patience_s(rules: ScalingRules, worker: int) -> float:
    """How long the n-th worker may be of no use before it goes."""
    if worker == 1:
        return max(rules.scale_down_after_s, rules.scale_to_zero_after_s)
    return rules.scale_down_after_s


def _why(rules: ScalingRules, demand: Demand, arriving: float, need: float) -> str:
    if demand.jobs == 0 and need <= SLACK:
        return "no job waits or runs"
    jobs = f"{demand.waiting} jobs wait with {duration(demand.waiting_s)} of work, {demand.running} run"
    flow = f"work for {arriving:.1f} workers arrives"
    return f"{jobs}, {flow}; a wait under {duration(rules.target_wait_s)} needs {need:.1f}"
