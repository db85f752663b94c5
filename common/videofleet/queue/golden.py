"""Jobs of nobody that a canary has to make before it gets any other: golden prompts.

They run through the ordinary queue to the canary's workers only. No user's counters, limits or outcomes know them, and
record and files leave as soon as each has ended.
"""

import secrets
import time
from collections.abc import Sequence
from typing import Final

from videofleet import ids
from videofleet.jobs import VideoRequest
from videofleet.queue import keys
from videofleet.queue.connection import Connection

TENANT: Final = ".golden"  # no key can have this name


class Golden:
    """The golden prompts of all fleets. Every call raises QueueUnavailable."""

    def __init__(self, connection: Connection, installation: str) -> None:
        self._connection = connection
        self._installation = installation

    async def ask(self, fleet_uid: str, revision: str, requests: Sequence[VideoRequest]) -> int:
        """Queues them for the canary, once. Returns: how many it has to make; 0 while it is not on trial."""
        now_ms = time.time_ns() // 1_000_000
        jobs: list[str | int] = []
        for request in requests:
            tier, guidance = request.tier, f"{request.guidance_scale}/{request.guidance_scale_2}"
            job_id = ids.job_id(fleet_uid, now_ms, secrets.token_bytes(10))
            jobs += [job_id, request.to_json(), tier.name, tier.cost, tier.shape, guidance]
        prefix = keys.fleet_prefix(self._installation, fleet_uid)
        return int(await self._connection.run_durably("golden", prefix, revision, TENANT, *jobs))
