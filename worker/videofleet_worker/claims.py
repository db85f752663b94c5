"""Asks the queue for the next jobs until there are some, or until somebody says to leave off.

Jobs of one batch begin together: where the tier gains from it, the first one waits a moment for others like it.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Mapping
from typing import Final

from videofleet.beacons import TierTiming
from videofleet.jobs import Claim
from videofleet.queue import JobQueue, QueueError
from videofleet.tiers import Tier

log = logging.getLogger(__name__)

POLL_S: Final = 0.2  # between two questions while nothing waits; ± a fifth, so that workers do not march in step
RETRY_MOST_S: Final = 2.0
WAIT_MOST_S: Final = 0.05  # for others to share a batch with
WAIT_SHARE: Final = 0.05  # of what the job will take


async def next_claims(
    queue: JobQueue,
    *,
    fleet_uid: str,
    worker: str,
    revision: str,
    batches: Mapping[str, int],
    wait_s: Callable[[Tier], float],
    leave_off: asyncio.Event,
    died: Callable[[], bool],
    marked: Callable[[bool], None],
) -> list[Claim]:
    """The next jobs, or none once `leave_off` is set or compute has died. Redis may be away meanwhile.

    `batches` and `wait_s` say how many jobs of a `Tier.volume` are made together, and how long the first may wait for
    others. `marked` hears at each answer whether the operator wants this worker to go.
    """
    away_s = 0.0
    while not (leave_off.is_set() or died()):
        try:
            claimed = await queue.claim(fleet_uid, worker=worker, revision=revision, batches=batches)
        except QueueError as error:
            if not away_s:
                log.warning("queue does not answer; the worker waits for it", extra={"error": str(error)})
            away_s = min(RETRY_MOST_S, 2 * away_s or POLL_S)
        else:
            marked(claimed.is_marked)
            claims = claimed.claims
            if claims and len(claims) < batches.get(claims[0].tier.volume, 1) and claims[0].attempt == 1:
                await _pause(wait_s(claims[0].tier), leave_off)
                with contextlib.suppress(QueueError):
                    more = await queue.claim(
                        fleet_uid, worker=worker, revision=revision, batches=batches, beside=claims
                    )
                    return claims + more.claims
            if claims:
                return claims
            away_s = 0.0
        await _pause((away_s or POLL_S) * random.uniform(0.8, 1.2), leave_off)  # noqa: S311 - no secret
    return []


def waiting_s(tier: Tier, timing: TierTiming | None) -> float:
    """How long a job of the tier may wait for others: 40 steps of 2 ms, 20 to decode and encode → 0.005."""
    if timing is None:
        return 0.0
    run_s = tier.num_inference_steps * timing.seconds_per_step + timing.decode_s + timing.encode_s
    return min(WAIT_MOST_S, WAIT_SHARE * run_s)


async def _pause(seconds: float, leave_off: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await leave_off.wait()
