"""Which share of whose jobs gets which lower tier, so that the predicted wait stays under target until workers come.

The rungs, in this order: tier by tier downwards, batch jobs first, then standard, then interactive ones too, by tenths.
The first rung that suffices is taken, however far it is. At most one move downwards every `step_every_s`; once lowered,
a further one must be urgent, or waits six times as long, as does the way back, which also needs room to spare, and
workers for what arrives then: nothing flaps. Jobs that refuse a fallback keep their tier: only DEGRADABLE of the work
is counted on.

    wait = max(work, work + (arriving - workers) × cold start) / workers      all at the tiers of the rung
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from videofleet.jobs import Priority

DEGRADABLE: Final = 0.8  # of the work that a rung reaches
ENOUGH: Final = 0.7  # of the target wait: a rung that is taken is to bring it below
TO_SPARE: Final = 0.4  # of the target wait: only a better rung that keeps it below is gone back to
PATIENCE: Final = 6  # steps between the last move and one back, or one further down that is not urgent
URGENT: Final = 3.0  # times the target wait
LAST_TO_FIRST: Final = (Priority.BATCH, Priority.STANDARD, Priority.INTERACTIVE)
TENTHS: Final = 10
WORTH_IT: Final = 3  # rungs that a move back is to be worth, unless it ends the fallback


@dataclass(frozen=True)
class Rung:
    """One step of the ladder; the default is full quality."""

    tier: int = 0  # index into the tiers
    reach: int = 0  # how many priorities, from batch on
    share_permille: int = 0

    @property
    def priorities(self) -> tuple[Priority, ...]:
        """Whose jobs may be degraded."""
        return LAST_TO_FIRST[: self.reach]


FULL: Final = Rung()


@dataclass(frozen=True)
class FallbackRules:
    """`spec.fallback` in numbers."""

    costs: tuple[float, ...]  # of each tier relative to the first, best first, down to maxTier
    target_wait_s: float
    step_every_s: float


@dataclass(frozen=True)
class Load:
    """What presses; work in service seconds at the tiers asked for."""

    waiting_s: Mapping[Priority, float]
    arriving: float  # a second
    ready: int  # warm workers
    starting: int
    cold_start_s: float

    @property
    def workers(self) -> int:
        """Those that work; before the first one is warm, those that will."""
        return self.ready or self.starting


@dataclass(frozen=True)
class FallbackState:
    """The rung that is in force."""

    rung: Rung = FULL
    moved_s: float | None = None  # when it was taken
    since_s: float | None = None  # when full quality ended; None: it has not
    until_s: float | None = None  # when that is expected to come back


def plan_fallback(rules: FallbackRules, state: FallbackState, load: Load, now_s: float) -> FallbackState:
    """The state from now on."""
    rung = _next_rung(rules, state, load, now_s)
    if rung == state.rung:
        return state
    if rung == FULL:
        return FallbackState(moved_s=now_s)
    return FallbackState(rung, now_s, state.since_s or now_s, now_s + _lasts_s(rules, load, rung))


def _next_rung(rules: FallbackRules, state: FallbackState, load: Load, now_s: float) -> Rung:
    if not load.workers or len(rules.costs) < 2:
        return FULL if len(rules.costs) < 2 else state.rung
    rungs = [FULL, *ladder(len(rules.costs))]
    here = rungs.index(state.rung) if state.rung in rungs else 0
    calm_s = now_s - state.moved_s if state.moved_s is not None else float("inf")
    wait_s = predicted_wait_s(rules, load, rungs[here])
    if wait_s > rules.target_wait_s:
        is_urgent = here == 0 or wait_s > URGENT * rules.target_wait_s
        if calm_s < rules.step_every_s * (1 if is_urgent else PATIENCE):
            return rungs[here]
        enough_s = ENOUGH * rules.target_wait_s
        return next((r for r in rungs[here:] if predicted_wait_s(rules, load, r) <= enough_s), rungs[-1])
    if calm_s < PATIENCE * rules.step_every_s:
        return rungs[here]
    spare_s = TO_SPARE * rules.target_wait_s
    back = rungs[: max(1, here - WORTH_IT + 1)]
    lasting = (r for r in back if _arriving_at(rules, load, r) <= load.workers)
    return next((r for r in lasting if predicted_wait_s(rules, load, r) <= spare_s), rungs[here])


def ladder(tiers: int) -> Iterator[Rung]:
    """Every rung below full quality, the mildest first."""
    for tier in range(1, tiers):
        for reach in range(1, len(LAST_TO_FIRST) + 1):
            for tenth in range(1, TENTHS + 1):
                yield Rung(tier, reach, tenth * 1000 // TENTHS)


def predicted_wait_s(rules: FallbackRules, load: Load, rung: Rung) -> float:
    """How long who comes last would wait, the start of workers aside: nothing shortens that."""
    work_s = _waiting_at(rules, load, rung)
    growth_s = (_arriving_at(rules, load, rung) - load.workers) * load.cold_start_s
    return max(work_s, work_s + growth_s) / load.workers


def _arriving_at(rules: FallbackRules, load: Load, rung: Rung) -> float:
    """Service seconds a second that would arrive on a rung, shared by the priorities as what waits is."""
    whole_s = sum(load.waiting_s.values())
    left = _waiting_at(rules, load, rung) / whole_s if whole_s else _left(rules, rung, Priority.INTERACTIVE)
    return load.arriving * left


def _waiting_at(rules: FallbackRules, load: Load, rung: Rung) -> float:
    return sum(seconds * _left(rules, rung, priority) for priority, seconds in load.waiting_s.items())


def _left(rules: FallbackRules, rung: Rung, priority: Priority) -> float:
    """The share of a priority's work that is left on a rung."""
    if priority not in rung.priorities:
        return 1.0
    return 1.0 - DEGRADABLE * rung.share_permille / 1000 * (1.0 - rules.costs[rung.tier])


def _lasts_s(rules: FallbackRules, load: Load, rung: Rung) -> float:
    """When the line is likely to be gone: after the cold start, and as fast as there are workers then."""
    spare = max(0.25, load.ready + load.starting - load.arriving)
    start_s = load.cold_start_s if load.starting else 0.0
    work_s = predicted_wait_s(rules, load, rung) * load.workers
    return start_s + min(work_s / spare, 24 * 3600.0)
