"""When a job will be done, from what warm-up measured. Pure; None rather than a guess.

A running job's rest is known: steps left and the tail after them. For a waiting one every job before it is counted as
long as the slowest tier, so the figure errs on the late side. It holds while the workers stay.
"""

from collections.abc import Sequence

from videofleet.beacons import TierTiming, WorkerBeacon, WorkerState
from videofleet.jobs import Job, QueueStats
from videofleet.tiers import Tier


def eta_s(
    job: Job, ahead: int | None, stats: QueueStats, beacons: Sequence[WorkerBeacon], tiers: Sequence[Tier]
) -> float | None:
    """Seconds until the job's video is there; None when no warm worker says how long a step takes."""
    ready = [beacon for beacon in beacons if beacon.state is WorkerState.READY]
    tail = _tail_s(job.tier.name, ready)
    if tail is None:
        return None
    per_step, after_steps = tail
    if job.progress is not None:
        steps = job.progress.steps or job.tier.num_inference_steps
        return round((steps - job.progress.step) * per_step + after_steps, 1)
    lengths = [_length_s(tier, ready) for tier in tiers]
    if ahead is None or not lengths or any(length is None for length in lengths):
        return None
    slowest = max(length for length in lengths if length is not None)
    turns = (ahead + stats.running) // len(ready)  # full rounds before a worker is free for this one
    own = job.tier.num_inference_steps * per_step + after_steps
    return round(turns * slowest + own, 1)


def _length_s(tier: Tier, ready: Sequence[WorkerBeacon]) -> float | None:
    tail = _tail_s(tier.name, ready)
    return None if tail is None else tier.num_inference_steps * tail[0] + tail[1]


def _tail_s(tier: str, ready: Sequence[WorkerBeacon]) -> tuple[float, float] | None:
    """Seconds a step, and seconds after the last step, of the slowest worker."""
    timings = [timing for beacon in ready for timing in beacon.warmed if timing.tier == tier]
    if not timings:
        return None
    return max(t.seconds_per_step for t in timings), max(_after_steps_s(t) for t in timings)


def _after_steps_s(timing: TierTiming) -> float:
    return timing.decode_s + timing.encode_s
