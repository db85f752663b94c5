"""What a run comes to: waits, GPU-hours, quality, moves and kills, as one row."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from videofleet_cli.simulator.workload import HOUR_S
from videofleet_cli.simulator.world import Account


@dataclass(frozen=True)
class Figures:
    """One run of one autoscaler. Waits are from submission to the first attempt, in seconds."""

    name: str
    jobs: int
    wait_p50_s: float
    wait_p95_s: float
    wait_p99_s: float
    within_target: float  # share of the jobs
    protected_wait_p95_s: float  # of the jobs that allow no fallback
    degradable_wait_p95_s: float  # of those that allow it
    quality: float  # mean share of the asked work that was done
    degraded: float  # share of the jobs
    protected_full: float  # share of the protected jobs at their full tier
    moves_per_5_min: float  # of the fallback, while it was on
    killed: int  # jobs that lost an attempt to a scale-down
    crashed: int
    scalings: int
    gpu_hours: float  # pods × GPUs, from the first second of a pod to its last
    busy_hours: float
    rollouts: int  # that came to their end
    rollout_s: float  # mean time until the new revision had all workers

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {key: round(value, 3) if isinstance(value, float) else value for key, value in asdict(self).items()}


def figures(name: str, account: Account, target_wait_s: float, gpus: int) -> Figures:
    """The row of a run."""
    waits = sorted(ran.wait_s for ran in account.ran)
    protected = [ran for ran in account.ran if ran.job.is_protected]
    count = len(waits)
    return Figures(
        name=name,
        jobs=count,
        wait_p50_s=percentile(waits, 50),
        wait_p95_s=percentile(waits, 95),
        wait_p99_s=percentile(waits, 99),
        within_target=sum(wait <= target_wait_s for wait in waits) / count,
        protected_wait_p95_s=percentile(sorted(ran.wait_s for ran in protected), 95),
        degradable_wait_p95_s=percentile(sorted(ran.wait_s for ran in account.ran if not ran.job.is_protected), 95),
        quality=sum(ran.quality for ran in account.ran) / count,
        degraded=sum(ran.quality < 1 for ran in account.ran) / count,
        protected_full=sum(ran.quality == 1 for ran in protected) / len(protected) if protected else 1.0,
        moves_per_5_min=_moves_per_5_min(account),
        killed=account.killed,
        crashed=account.crashed,
        scalings=account.scalings,
        gpu_hours=account.pod_s * gpus / HOUR_S,
        busy_hours=account.busy_s * gpus / HOUR_S,
        rollouts=len(account.rollouts_took_s),
        rollout_s=sum(account.rollouts_took_s) / max(1, len(account.rollouts_took_s)),
    )


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Of ordered values, by linear interpolation; 0 of none."""
    if not ordered:
        return 0.0
    place = (len(ordered) - 1) * percent / 100
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def _moves_per_5_min(account: Account) -> float:
    """Moves of the fallback for each five minutes that it was on."""
    return len(account.moves) / max(1.0, account.degraded_s / 300) if account.moves else 0.0
