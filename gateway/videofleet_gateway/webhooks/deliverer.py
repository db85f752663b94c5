"""The loop that empties the outbox. Several replicas may run it: a notice is taken by one, and settled with its token.

One tenant's slow receivers hold at most `MOST_OF_A_TENANT` of the places. Being killed loses nothing: what was on its
way is due again when its lease ends.
"""

import asyncio
import logging
import random
import time
from collections import Counter
from datetime import UTC, datetime
from typing import Final

from videofleet.queue import JobQueue, Notice, QueueError, Settled
from videofleet_gateway.directory import FleetDirectory
from videofleet_gateway.trouble import describe
from videofleet_gateway.webhooks import message
from videofleet_gateway.webhooks.metrics import Metrics
from videofleet_gateway.webhooks.outcome import outcome, result_label
from videofleet_gateway.webhooks.sending import Reply, Sender
from videofleet_gateway.webhooks.settings_file import WebhookRules

log: Final = logging.getLogger(__name__)

MOST_AT_ONCE: Final = 128
MOST_OF_A_TENANT: Final = 32
IDLE_S: Final = 0.5
_SHARE_OF_TIME: Final = 10  # a round over a thousand fleets takes a while: asking is at most a tenth of the time
_CROWDED_S: Final = 5.0  # until a notice is looked at again whose tenant has all its places taken
_UNSIGNED_S: Final = 300.0  # until a tenant without a secret is looked at again


class Deliverer:
    """Delivers until told to stop."""

    def __init__(self, queue: JobQueue, rules: WebhookRules, metrics: Metrics, sender: Sender) -> None:
        self._queue = queue
        self._fleets = FleetDirectory(queue)
        self._rules = rules
        self._metrics = metrics
        self._sender = sender
        self._tasks: set[asyncio.Task[None]] = set()
        self._places: Counter[str] = Counter()  # tenant → attempts on their way

    async def run(self, stop: asyncio.Event) -> None:
        """Delivers until `stop`, then finishes what is on its way."""
        trouble = False
        while not stop.is_set():
            began = time.monotonic()
            try:
                await self._round()
            except QueueError as error:
                if not trouble:
                    log.warning("delivery stands still until Redis answers", extra={"error": type(error).__name__})
                trouble = True
            except Exception as error:  # a bug must not end the loop that all notices wait for
                log.error("delivery round failed", extra=describe(error))
            else:
                if trouble:
                    log.info("delivering again")
                trouble = False
            pause_s = max(IDLE_S, _SHARE_OF_TIME * (time.monotonic() - began))
            # Jitter: replicas do not march in step.
            await _either(stop, pause_s * random.uniform(0.8, 1.2))  # noqa: S311 - no secret depends on it
        await asyncio.gather(*self._tasks)

    async def _round(self) -> None:
        for fleet_uid in await self._queue.fleets():
            room = MOST_AT_ONCE - len(self._tasks)
            if room <= 0:
                return
            for notice in await self._queue.outbox.take(fleet_uid, room):
                task = asyncio.create_task(self._deliver(notice))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _deliver(self, notice: Notice) -> None:
        tenant = notice.job.tenant
        if self._places[tenant] >= MOST_OF_A_TENANT:
            await self._settle(notice, Settled.LATER, _CROWDED_S)
            return
        self._places[tenant] += 1
        self._metrics.in_flight.inc()
        try:
            await self._attempt(notice)
        except QueueError:
            log.warning("a delivery could not be settled; it is due again soon", extra={"job": notice.job.id})
        except Exception as error:
            log.error("delivery failed", extra={"job": notice.job.id} | describe(error))
        finally:
            self._places[tenant] -= 1
            self._metrics.in_flight.dec()

    async def _attempt(self, notice: Notice) -> None:
        secrets = self._rules.secrets(notice.job.tenant)
        if not secrets:
            self._metrics.attempts.labels("unsigned").inc()
            log.warning("a tenant with webhooks has no signing secret", extra={"tenant": notice.job.tenant})
            await self._settle(notice, Settled.LATER, _UNSIGNED_S)
            return
        text = message.body(notice.id, notice.job, await self._fleets.name(notice.job.fleet_uid))
        headers = message.headers(notice.id, text, secrets, datetime.now(UTC))
        with self._metrics.attempt_seconds.time():
            reply = await self._sender.send(notice.url, text, headers, self._rules.reach)
        await self._take_in(notice, reply)

    async def _take_in(self, notice: Notice, reply: Reply) -> None:
        attempts = notice.attempts + 1
        decided = outcome(reply, attempts, random.random())  # noqa: S311 - jitter
        self._metrics.attempts.labels(result_label(reply)).inc()
        settled = await self._settle(notice, decided.settled, decided.delay_s)
        if settled and decided.settled is not Settled.AGAIN:
            self._metrics.notices.labels(decided.settled).inc()
        fields = {"job": notice.job.id, "tenant": notice.job.tenant, "attempt": attempts, "result": result_label(reply)}
        log.info("webhook", extra=fields | {"outcome": str(decided.settled) if settled else "lost"})

    async def _settle(self, notice: Notice, settled: Settled, delay_s: float = 0.0) -> bool:
        return await self._queue.outbox.settle(notice, settled, delay_s)


async def _either(stop: asyncio.Event, limit_s: float) -> None:
    """Returns at the stop, or after `limit_s`."""
    try:
        await asyncio.wait_for(stop.wait(), limit_s)
    except TimeoutError:
        return
