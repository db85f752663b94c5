"""From frames to a committed video: encode, look, upload, commit. Runs beside the next job's compute.

Invariant: the objects lie under the attempt's own key, so a zombie never overwrites a delivered video; what is not
committed is removed again.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

from videofleet.jobs import JobState, VideoRequest, VideoResult
from videofleet.queue import JobQueue
from videofleet.store import ObjectStore, StoreError
from videofleet_worker.finishing import Files, Finished, Finishing
from videofleet_worker.gate import Flaw
from videofleet_worker.lease import HeldJob
from videofleet_worker.metrics import Metrics
from videofleet_worker.protocol import Generated
from videofleet_worker.repair import CAUSE

log = logging.getLogger(__name__)

STORE_PATIENCE_S: Final = 600.0  # how long a store may be away before the attempt fails
RETRY_MOST_S: Final = 10.0
FINISHERS: Final = 2  # clips looked at and encoded at a time; a batch ends in many, and each thread keeps its memory


class Delivery:
    """Brings clips into the object store and jobs to their end."""

    def __init__(
        self,
        queue: JobQueue,
        store: ObjectStore,
        metrics: Metrics,
        finishing: Finishing,
        *,
        store_patience_s: float = STORE_PATIENCE_S,
        peak_bytes: Callable[[], int | None] = lambda: None,
    ) -> None:
        self._queue = queue
        self._store = store
        self._metrics = metrics
        self._finishing = finishing
        self._store_patience_s = store_patience_s
        self._peak_bytes = peak_bytes  # of GPU memory
        self._finishers = ThreadPoolExecutor(FINISHERS, "finish")

    async def deliver(
        self, held: HeldJob, generated: Generated, request: VideoRequest, flaws: Sequence[Flaw]
    ) -> JobState | None:
        """Encodes, looks, uploads, commits. Returns: None when the lease was lost. Raises: Rejected, StoreError.

        `request` is what the clip was made from, `flaws` those of the clips before it.
        """
        begun = time.monotonic()
        files = self._finishing.files(generated.frames, held)
        may_be_committed = False  # while Redis owes us the answer
        try:
            held.report(held.progress.model_copy(update={"stage": "muxing"}))
            finish = partial(self._finishing.finish, generated.frames, files, held, request)
            look = await asyncio.get_running_loop().run_in_executor(self._finishers, finish)
            held.report(held.progress.model_copy(update={"stage": "uploading"}))
            for file in files:
                await self._upload(file)
            result = self._result(held, generated, files, request, flaws).model_copy(update={"look": look})
            may_be_committed = True
            state = await held.settle(lambda: self._queue.succeed(held.claim, result))
            may_be_committed = state is JobState.SUCCEEDED
        finally:
            for path in (*(file.path for file in files), Path(generated.frames.path)):
                path.unlink(missing_ok=True)
            if not may_be_committed:
                await self._remove(files)
        self._metrics.delivery_seconds.observe(time.monotonic() - begun)
        return state

    async def _upload(self, file: Finished) -> None:
        give_up = time.monotonic() + self._store_patience_s
        pause_s = 0.25
        while True:
            try:
                return await self._store.put_file(file.key, file.path, file.content_type)
            except StoreError as error:
                if time.monotonic() > give_up:
                    raise
                log.warning("upload will be tried again", extra={"key": file.key, "error": str(error)})
                self._metrics.upload_retries.inc()
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, RETRY_MOST_S)

    async def _remove(self, files: Files) -> None:
        for file in files:
            with contextlib.suppress(StoreError):
                await self._store.remove(file.key)

    def _result(
        self, held: HeldJob, generated: Generated, files: Files, request: VideoRequest, flaws: Sequence[Flaw]
    ) -> VideoResult:
        is_lower = request.tier.name != held.claim.tier.name
        return VideoResult(
            store=self._store.name,
            video_key=files.video.key,
            thumbnail_key=files.thumbnail.key,
            spritesheet_key=files.spritesheet.key,
            provenance_key=files.provenance.key if files.provenance else "",
            video_bytes=files.video.path.stat().st_size,
            tier=request.tier,
            fallback=CAUSE if is_lower else held.claim.fallback,
            seed=request.seed,
            revision=self._finishing.revision,
            attempt=held.claim.attempt,
            seconds_per_step=generated.seconds_per_step,
            worker_seconds=held.held_s,
            peak_bytes=self._peak_bytes(),
            rejected=tuple(flaws),
        )
