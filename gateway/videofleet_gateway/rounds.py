"""Work that comes round again for as long as the gateway runs.

An outage is logged when it begins and when it ends, however long it lasts; a bug is logged and does not end the rounds.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Final

from videofleet.queue import QueueError
from videofleet.store import StoreError
from videofleet_gateway.trouble import describe

log: Final = logging.getLogger(__name__)


async def go_round(what: str, once: Callable[[], Awaitable[None]], *, pause_s: float, limit_s: float) -> None:
    """Until cancelled: one round, a pause. A round that takes longer than the limit is an outage."""
    trouble = False
    while True:
        try:
            async with asyncio.timeout(limit_s):
                await once()
        except (QueueError, StoreError, TimeoutError) as error:
            if not trouble:
                log.warning(f"{what} stands still", extra={"error": str(error) or type(error).__name__})
            trouble = True
        except Exception as error:  # a bug must not end the rounds
            log.error(f"{what} failed", extra=describe(error))
        else:
            if trouble:
                log.info(f"{what} goes on")
            trouble = False
        # Jitter: replicas and restarts do not march in step.
        await asyncio.sleep(pause_s * random.uniform(0.8, 1.2))  # noqa: S311 - no secret depends on it
