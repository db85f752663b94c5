"""The denoising worker's side of `spec.worker.decode`: latents go to a decoder, files come back, the lease stays here.

Invariant: nothing depends on a decoder. The state after the last step is in the store before one is asked, so whoever
dies, the steps are not lost; where no decoder answers, or three have died of it, this worker decodes.
"""

import asyncio
import logging
from contextlib import suppress
from pathlib import Path
from typing import Final

from videofleet import objects
from videofleet.queue import Decoded, DecodeOrder, JobQueue, QueueError
from videofleet_worker.finishing import Made
from videofleet_worker.gate import Flaw, Rejected
from videofleet_worker.lease import HeldJob
from videofleet_worker.metrics import Metrics
from videofleet_worker.publishing import Published, Publishing

log = logging.getLogger(__name__)

ASK_EVERY_S: Final = 0.25
MOST_DECODERS: Final = 3  # that may die of one clip


class NobodyDecodes(Exception):
    """No decoder will make this clip; the message says why."""


class Elsewhere:
    """Orders of one worker to the decoders of its revision."""

    def __init__(
        self, queue: JobQueue, publishing: Publishing, metrics: Metrics, fleet_uid: str, revision: str
    ) -> None:
        self._queue = queue
        self._publishing = publishing
        self._metrics = metrics
        self._fleet_uid = fleet_uid
        self._revision = revision

    async def is_there(self) -> bool:
        """Whether there is a decoder now."""
        with suppress(QueueError):
            return await self._queue.decodes.is_anyone_there(self._fleet_uid, self._revision)
        return False

    async def decoded(self, held: HeldJob, made: Made, state: Path, earlier_clips: int) -> Published:
        """The clip, made by a decoder. Raises: NobodyDecodes, Rejected, StoreError."""
        held.enter_stage("decoding")
        key = objects.checkpoint_key(held.claim.job.request.output_prefix, held.job, self._revision)
        await self._publishing.put(key, state, "application/octet-stream")
        held.report(held.progress.model_copy(update={"advanced": True}))
        request = made.request.model_copy(update={"prompt": "", "negative_prompt": ""})
        order = DecodeOrder(
            job=made.job, attempt=made.attempt, request=request, latents_key=key, is_golden=made.is_golden
        )
        order_id = f"{made.job}/{made.attempt}/{earlier_clips}"
        try:
            answer = await self._answer(order_id, order)
        except NobodyDecodes:
            self._metrics.decodes.labels("returned").inc()
            raise
        finally:
            with suppress(QueueError):
                await self._queue.decodes.withdraw(self._fleet_uid, self._revision, order_id)
        self._metrics.decodes.labels("refused" if answer.flaw else "made").inc()
        if answer.flaw:
            raise Rejected(Flaw(answer.flaw))
        return Published(answer.folder, answer.video_bytes, answer.look)

    async def _answer(self, order_id: str, order: DecodeOrder) -> Decoded:
        while True:
            try:
                state = await self._queue.decodes.ask(self._fleet_uid, self._revision, order_id, order)
            except QueueError as error:
                log.warning("queue does not answer; the clip waits", extra={"job": order.job, "error": str(error)})
            else:
                if state.answer is not None and state.answer.error:
                    raise NobodyDecodes(state.answer.error)
                if state.answer is not None:
                    return state.answer
                if not state.is_anyone_there:
                    raise NobodyDecodes("no decoder is there any more")
                if state.tries > MOST_DECODERS:
                    raise NobodyDecodes(f"{MOST_DECODERS} decoders were lost over it")
            await asyncio.sleep(ASK_EVERY_S)
