"""From frames, or from latents that decoders take over, to a committed video. Runs beside the next job's compute.

Invariant: the objects lie under the attempt's own key, so a zombie never overwrites a delivered video; what is not
committed is removed again.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from videofleet import objects
from videofleet.jobs import JobState, VideoRequest, VideoResult
from videofleet.queue import JobQueue
from videofleet.queue.golden import TENANT as GOLDEN_TENANT
from videofleet_worker.elsewhere import Elsewhere
from videofleet_worker.finishing import Made
from videofleet_worker.gate import Flaw
from videofleet_worker.lease import HeldJob
from videofleet_worker.metrics import Metrics
from videofleet_worker.protocol import Denoised, Generated
from videofleet_worker.publishing import Published, Publishing
from videofleet_worker.repair import CAUSE


class Delivery:
    """Brings clips into the object store and jobs to their end."""

    def __init__(
        self,
        queue: JobQueue,
        metrics: Metrics,
        publishing: Publishing,
        elsewhere: Elsewhere,
        *,
        peak_bytes: Callable[[], int | None] = lambda: None,
    ) -> None:
        self._queue = queue
        self._metrics = metrics
        self._publishing = publishing
        self._elsewhere = elsewhere
        self._peak_bytes = peak_bytes  # of GPU memory

    async def deliver(
        self, held: HeldJob, clip: Generated | Denoised, request: VideoRequest, flaws: Sequence[Flaw]
    ) -> JobState | None:
        """Encodes, looks, uploads, commits; a denoised clip's decoder does the first three.

        Returns: None when the lease was lost. Raises: Rejected, StoreError, NobodyDecodes.
        `request` is what the clip was made from, `flaws` those of the clips before it.
        """
        begun = time.monotonic()
        made = Made(held.job, held.claim.attempt, request, is_golden=held.claim.job.tenant == GOLDEN_TENANT)
        if isinstance(clip, Denoised):
            published = await self._elsewhere.decoded(held, made, Path(clip.path), len(flaws))
        else:
            folder = objects.attempt_folder(held.claim.job.request.output_prefix, held.job, held.claim.attempt)
            published = await self._publishing.publish(clip.frames, folder, made, held.enter_stage)
        may_be_committed = True  # until Redis has said that it is not
        try:
            result = self._result(held, made, published, clip.seconds_per_step, flaws)
            state = await held.settle(lambda: self._queue.succeed(held.claim, result))
            may_be_committed = state is JobState.SUCCEEDED
        finally:
            if not may_be_committed:
                await self._publishing.remove(published.folder)
        self._metrics.delivery_seconds.observe(time.monotonic() - begun)
        return state

    def _result(
        self,
        held: HeldJob,
        made: Made,
        published: Published,
        seconds_per_step: float,
        flaws: Sequence[Flaw],
    ) -> VideoResult:
        folder = published.folder
        is_lower = made.request.tier.name != held.claim.tier.name
        is_signed = self._publishing.finishing.key is not None
        return VideoResult(
            store=self._publishing.store.name,
            video_key=f"{folder}/{objects.VIDEO}",
            thumbnail_key=f"{folder}/{objects.THUMBNAIL}",
            spritesheet_key=f"{folder}/{objects.SPRITESHEET}",
            provenance_key=f"{folder}/{objects.PROVENANCE}" if is_signed else "",
            video_bytes=published.video_bytes,
            tier=made.request.tier,
            fallback=CAUSE if is_lower else held.claim.fallback,
            seed=made.request.seed,
            revision=self._publishing.finishing.revision,
            attempt=held.claim.attempt,
            seconds_per_step=seconds_per_step,
            worker_seconds=held.held_s,
            peak_bytes=self._peak_bytes(),
            rejected=tuple(flaws),
            look=published.look,
        )
