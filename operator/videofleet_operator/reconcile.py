"""One reconcile: observe → plan → build → publish the policy → retire → status → events.

The order is the promise: whatever the policy names has workers, after a crash between any two writes too. A policy
that names nobody new is published first of all, so that an abort does not wait for the API server.
"""

import logging
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from videofleet.policy import FleetPolicy
from videofleet.queue import JobQueue, QueueError, StaleEpoch
from videofleet_operator.cache import Caches
from videofleet_operator.crd.manifest import API_VERSION, KIND
from videofleet_operator.deletions import FleetCloser
from videofleet_operator.events import write_events
from videofleet_operator.execute import perform
from videofleet_operator.gpu_meter import GpuMeter
from videofleet_operator.installation import Installation
from videofleet_operator.kube.client import KubeClient
from videofleet_operator.kube.errors import NotFound
from videofleet_operator.kube.paths import item
from videofleet_operator.leadership import Leadership
from videofleet_operator.metrics import RECONCILE_SECONDS
from videofleet_operator.observe import observe_fleet
from videofleet_operator.observed import FleetSeen
from videofleet_operator.plan.actions import Apply, Stage
from videofleet_operator.plan.fleet import Plan, plan_fleet, questions_of
from videofleet_operator.plan.golden import Golden
from videofleet_operator.plan.memory import Memory
from videofleet_operator.prometheus import Prometheus
from videofleet_operator.workqueue import Key

CATCH_UP_S: Final = 0.05  # until the watches are asked again whether they have caught up
_log = logging.getLogger(__name__)


class Reconciler:
    """Brings one fleet closer to its spec each time it is called."""

    def __init__(
        self,
        kube: KubeClient,
        queue: JobQueue,
        installation: Installation,
        caches: Caches,
        closer: FleetCloser,
        leadership: Leadership,
    ) -> None:
        self._kube, self._queue, self._installation = kube, queue, installation
        self._caches, self._closer, self._leadership = caches, closer, leadership
        self._meter = GpuMeter()
        self._prometheus = Prometheus(installation.prometheus_url)
        self._memories: dict[Key, tuple[str, Memory | None]] = {}  # with the UID, lest a new fleet inherits

    async def reconcile(self, key: Key) -> float | None:
        """One pass, once we lead. Returns: seconds until the fleet wants to be looked at again. Raises: KubeError."""
        await self._leadership.until_leading()
        if not self._caches.is_current(key):  # acting on it could undo what we have just done
            return CATCH_UP_S
        start, outcome = time.monotonic(), "error"
        try:
            again_s = await self._pass(key)
            outcome = "ok"
            return again_s
        finally:
            RECONCILE_SECONDS.labels(outcome).observe(time.monotonic() - start)

    async def _pass(self, key: Key) -> float | None:
        observed = await observe_fleet(self._kube, self._caches, self._queue, key)
        if observed is None:
            self._memories.pop(key, None)
            self._meter.forget(key)
            self._prometheus.forget(key)
            return None
        now = datetime.now(UTC)
        self._meter.look(observed)
        uid, memory = self._memories.get(key, ("", None))
        observed = replace(
            observed,
            memory=memory if uid == observed.fleet.uid else None,
            measures=self._prometheus.look(key, questions_of(observed)),
        )
        plan = plan_fleet(observed, self._installation, self._leadership.epoch, now)
        self._memories[key] = (observed.fleet.uid, plan.memory)
        if any(isinstance(action, Apply) for action in plan.actions) and not await self._is_still_so(observed.fleet):
            return 0.0
        await self._execute(observed.fleet, plan, now)
        return plan.requeue_after_s

    async def _is_still_so(self, fleet: FleetSeen) -> bool:
        """Asks the API server before something is made: a deletion that no watch saw would make orphans for ever."""
        cache = self._caches[KIND]
        try:
            found = await self._kube.get(item(KIND, *fleet.key))
        except NotFound as error:
            if not error.is_object_missing:
                raise
            cache.forget(fleet.uid)
            self._closer.note_deleted(fleet.uid)
            return False
        if found["metadata"]["uid"] != fleet.uid:
            self._closer.note_deleted(fleet.uid)
        cache.put(found)
        return bool(found["metadata"]["uid"] == fleet.uid and found["metadata"]["generation"] == fleet.generation)

    async def _execute(self, fleet: FleetSeen, plan: Plan, now: datetime) -> None:
        is_published = await self._publish(plan.policy) if plan.is_policy_first else False
        for action in plan.actions:
            if action.stage is Stage.BUILD:
                await perform(self._kube, self._caches, fleet, action)
        if not plan.is_policy_first:
            is_published = await self._publish(plan.policy)
        if is_published and plan.golden is not None:
            await self._ask_golden(fleet, plan.golden)
        if is_published:
            for action in plan.actions:
                if action.stage is Stage.RETIRE:
                    await perform(self._kube, self._caches, fleet, action)
        if plan.status is not None:
            metadata = {"name": fleet.name, "namespace": fleet.namespace, "uid": fleet.uid}
            manifest = {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "status": plan.status}
            self._caches.wrote(KIND, fleet.key, await self._kube.apply(manifest, "/status"))
        await write_events(self._kube, fleet, plan.events, now)

    async def _ask_golden(self, fleet: FleetSeen, golden: Golden) -> None:
        try:
            await self._queue.golden.ask(fleet.uid, golden.revision, golden.requests)
        except QueueError:
            _log.warning("golden prompts not queued: Redis does not answer", extra={"fleet": fleet.full_name})

    async def _publish(self, policy: FleetPolicy | None) -> bool:
        """Whether Redis has the policy now. Raises: NotLeading."""
        if policy is None:
            return True
        self._leadership.check()
        try:
            await self._queue.publish_policy(policy)
        except StaleEpoch as error:
            self._leadership.outbid(error.epoch)
            return False
        except QueueError as error:
            _log.warning("policy not published", extra={"fleet": policy.fleet, "error": str(error)})
            return False
        _log.info("policy published", extra={"fleet": policy.fleet, "tracks": dict(policy.tracks)})
        return True
