"""One attempt's states on their way between compute and the object store.

Compute writes a state into scratch and goes on; it is uploaded meanwhile, one at a time, and a newer one replaces one
that still waits. A checkpoint saves work and nothing else: a store that refuses one costs no job.
"""

import asyncio
import logging
from pathlib import Path

from videofleet import objects
from videofleet.store import ObjectNotFound, ObjectStore, StoreError
from videofleet_worker.lease import HeldJob
from videofleet_worker.metrics import Metrics
from videofleet_worker.protocol import Resumed
from videofleet_worker.tasks import end

log = logging.getLogger(__name__)


class Checkpoints:
    """What one attempt finds, leaves and removes."""

    def __init__(self, store: ObjectStore, held: HeldJob, metrics: Metrics, revision: str, scratch: Path) -> None:
        self._store = store
        self._held = held
        self._metrics = metrics
        prefix = held.claim.job.request.output_prefix
        self._key = objects.checkpoint_key(prefix, held.job, revision)
        self._folder = objects.checkpoint_folder(prefix, held.job)
        self.path = scratch / f"{held.job}-{held.claim.attempt}.checkpoint"
        self._newest: Path | None = None
        self._uploading: asyncio.Task[None] | None = None
        self.advanced = False  # a state of this attempt is in the store

    async def found(self) -> Path | None:
        """The state that an earlier attempt of this revision left, or this one for a decoder, as a file."""
        if self._held.claim.attempt == 1 and not self.advanced:
            return None
        path = self.path.with_name(f"{self.path.name}.found")
        try:
            await self._store.get_file(self._key, path)
        except ObjectNotFound:
            return None
        except StoreError as error:
            log.warning("checkpoint not read; the job starts over", extra={"job": self._held.job, "error": str(error)})
            return None
        return path

    def used(self, resumed: Resumed) -> None:
        """What compute made of the state that was found."""
        self._metrics.checkpoints.labels("ignored" if resumed.ignored else "resumed").inc()
        fields = {"job": resumed.job, "attempt": self._held.claim.attempt}
        if resumed.ignored:
            log.warning("checkpoint ignored; the job starts over", extra=fields | {"error": resumed.ignored})
        else:
            log.info("the job goes on from its checkpoint", extra=fields | {"step": resumed.step})

    def keep(self, path: Path) -> None:
        """Takes a state that compute has written."""
        if self._newest is not None:
            self._newest.unlink(missing_ok=True)
        self._newest = path
        if self._uploading is None or self._uploading.done():
            self._uploading = asyncio.create_task(self._upload())

    async def all_kept(self) -> None:
        """Waits until the newest state is in the store, or refused by it."""
        if self._uploading is not None:
            await asyncio.wait({self._uploading})

    async def remove(self) -> None:
        """The job needs them no more: those of every revision go."""
        await self._stop_uploading()
        try:
            await self._store.remove_folder(self._folder)
        except StoreError as error:
            log.warning("checkpoint not removed", extra={"job": self._held.job, "error": str(error)})

    async def close(self) -> None:
        """Nothing is left in scratch."""
        await self._stop_uploading()
        for file in self.path.parent.iterdir():  # a glob of the job's would stay, compiled, among the last 512 of `re`
            if file.name.startswith(f"{self.path.name}."):
                file.unlink(missing_ok=True)

    async def _upload(self) -> None:
        while (path := self._newest) is not None:
            self._newest = None
            try:
                await self._store.put_file(self._key, path, "application/octet-stream")
            except StoreError as error:
                self._metrics.checkpoints.labels("refused").inc()
                log.warning("checkpoint not stored", extra={"job": self._held.job, "error": str(error)})
            else:
                self._metrics.checkpoints.labels("stored").inc()
                self.advanced = True
                self._held.report(self._held.progress.model_copy(update={"advanced": True}))
            finally:
                path.unlink(missing_ok=True)

    async def _stop_uploading(self) -> None:
        if self._uploading is not None:
            await end(self._uploading)
