"""The files of jobs that left: deleted as owed, and those found that no record knows.

Deleting is idempotent and a debt is struck only after it, so a crash between any two steps costs nothing but a repeat.
A file without a record is deleted only once the fleet's retention has passed for it as well: after a loss of Redis
every file looks like that, and only age tells that it would be gone anyway.
"""

import logging
import re
from datetime import UTC, datetime, timedelta
from typing import Final

from videofleet import ids
from videofleet.policy import FleetPolicy
from videofleet.queue import JobQueue, Owed
from videofleet.store import ObjectStore, StoreError
from videofleet_gateway.metrics import Metrics

log: Final = logging.getLogger(__name__)

PAUSE_S: Final = 5.0
ROUND_S: Final = 300.0
SEARCH_PAUSE_S: Final = 3600.0
SEARCH_S: Final = 1800.0
_MARGIN: Final = timedelta(hours=1)  # clocks of stores differ, and a last attempt may still be uploading
_JOB: Final = re.compile(r"(?:^|/)(video_[0-9a-z]{52})/")


class Files:
    """All stores of this gateway."""

    def __init__(self, queue: JobQueue, stores: dict[str, ObjectStore], metrics: Metrics) -> None:
        self._queue = queue
        self._stores = stores
        self._metrics = metrics

    async def delete(self, owed: Owed) -> None:
        """Deletes a job's folder in every store: earlier revisions may have used another. Raises: StoreError."""
        if owed.store not in self._stores:
            raise StoreError(f"store {owed.store} is not mounted in this gateway; add --store or --store-folder")
        for store in self._stores.values():
            await store.remove_folder(owed.folder)
        await self._queue.leaving.paid(owed)

    async def delete_due(self) -> None:
        """One round: everything that is owed. Raises: the first StoreError, after all were tried; QueueUnavailable."""
        trouble: StoreError | None = None
        for fleet_uid in await self._queue.fleets():
            while due := await self._queue.leaving.owed(fleet_uid):
                for owed in due:
                    try:
                        await self.delete(owed)
                    except StoreError as error:
                        trouble = trouble or error
        if trouble is not None:
            raise trouble

    async def search(self) -> None:
        """One round over all files for those that no record knows. Raises: StoreError, QueueUnavailable."""
        policies = {uid: await self._queue.policy(uid) for uid in await self._queue.fleets()}
        places = {(policy.store, policy.output_prefix) for policy in policies.values() if policy}
        left = 0
        for name, prefix in sorted(places):
            if name in self._stores:
                left += await self._search_in(self._stores[name], prefix, policies)
        self._metrics.orphans.set(left)

    async def _search_in(self, store: ObjectStore, prefix: str, policies: dict[str, FleetPolicy | None]) -> int:
        """Returns: how many folders without a record stay, because their retention is not over."""
        left = 0
        async for page in store.pages(prefix):
            newest: dict[str, datetime] = {}  # folder → its newest object, of this page
            for key, modified in page:
                if (match := _JOB.search(key)) and ids.fleet_uid_of(match[1]) in policies:
                    folder = key[: match.end(1)]
                    newest[folder] = max(newest.get(folder, modified), modified)
            gone = await self._queue.leaving.gone([folder.rpartition("/")[2] for folder in newest])
            for folder, modified in newest.items():
                job = folder.rpartition("/")[2]
                if job not in gone:
                    continue
                if _is_over(policies[ids.fleet_uid_of(job) or ""], datetime.now(UTC) - modified):
                    await store.remove_folder(folder)
                    self._metrics.orphans_deleted.inc()
                    log.info("files without a record deleted", extra={"job": job, "store": store.name})
                else:
                    left += 1
        return left


def _is_over(policy: FleetPolicy | None, age: timedelta) -> bool:
    """Whether a record, if there were one, would be past its retention too."""
    return (
        policy is not None and policy.retention_s is not None and age > timedelta(seconds=policy.retention_s) + _MARGIN
    )
