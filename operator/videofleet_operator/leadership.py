"""One writer by Lease: campaigns, renews, steps down, releases; and the fence that every write of ours has to pass.

A leader that was paused or cut off finds its fence closed before anybody else may lead; what it still had in flight
into Redis is refused there by its epoch. A Lease that somebody deleted is made anew as if it were held: who led before
may go on writing until its fence closes, so that nobody takes the new one sooner.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from videofleet_operator.election import (
    LEASE_S,
    RENEW_EVERY_S,
    RETRY_S,
    WRITE_FOR_S,
    LeaseSeen,
    Sighting,
    Term,
    next_epoch,
    seconds_to_wait,
    sighting,
)
from videofleet_operator.kube.client import KubeClient
from videofleet_operator.kube.errors import Conflict, KubeError, NotFound, NotLeading
from videofleet_operator.kube.paths import collection, item
from videofleet_operator.metrics import EPOCH, LEADING

NOBODY = "made-anew"  # holder of a Lease that was deleted: respected like any other until it runs out
LEASE_CALL_S = 2.0  # a renewal that takes longer is tried again
_log = logging.getLogger(__name__)


def boot_clock() -> float:
    """Seconds that also count while the process or the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Leadership:
    """This process's part in the election. Leads or stands by; a standby takes over by itself."""

    def __init__(
        self, kube: KubeClient, namespace: str, name: str, identity: str, clock: Callable[[], float] = boot_clock
    ) -> None:
        self._kube, self._path, self._lease_name = kube, item("Lease", namespace, name), f"{namespace}/{name}"
        self._namespace, self._name = namespace, name
        self._identity, self._clock = identity, clock
        self._seen: Sighting | None = None
        self._term: Term | None = None
        self._at_least = 0  # epoch
        self._leads = asyncio.Event()
        LEADING.set(0)

    @property
    def epoch(self) -> int:
        """Of the present term. Raises: NotLeading."""
        if self._term is None or self._clock() >= self._term.until_s:
            raise NotLeading("this replica does not lead; nothing is written")
        return self._term.epoch

    def check(self) -> None:
        """The fence. Raises: NotLeading."""
        _ = self.epoch

    @property
    def is_leading(self) -> bool:
        """Whether this process believes that it leads; only `check` is a fence."""
        return self._leads.is_set()

    async def until_leading(self) -> None:
        """Returns once this process leads."""
        await self._leads.wait()

    def outbid(self, epoch: int) -> None:
        """Redis knows a later epoch: the Lease was made anew, or we are an ex-leader. A new term tells which."""
        self._at_least = max(self._at_least, epoch + 1)
        self._step_down(f"Redis knows epoch {epoch}")

    async def run(self, on_gain: Callable[[], None]) -> None:
        """Takes part until cancelled; `on_gain` is called at the beginning of each term."""
        while True:
            try:
                if self._term is None or self._seen is None:
                    wait_s = await self._campaign(on_gain)
                else:
                    wait_s = await self._renew(self._term, self._seen.lease)
            except NotFound as error:
                wait_s = await self._make_anew() if error.is_object_missing else RETRY_S
            except KubeError as error:
                _log.warning("election: %s", error)
                wait_s = RETRY_S
            await asyncio.sleep(wait_s)

    async def release(self) -> None:
        """Hands the Lease back, so that a standby takes it at once. To be called when nothing writes any more."""
        if self._term is None or self._seen is None:
            return
        epoch = self._term.epoch
        self._step_down("released")
        try:
            await self._write(self._seen.lease, "", epoch)
        except KubeError as error:
            _log.warning("Lease not released: %s", error)

    async def _campaign(self, on_gain: Callable[[], None]) -> float:
        """One look at the Lease; takes it when it is free. Returns: seconds until the next look. Raises: KubeError."""
        lease = _lease(await self._kube.get(self._path))
        self._seen = sighting(self._seen, lease, self._clock())
        wait_s = seconds_to_wait(self._seen, self._identity, self._clock())
        if wait_s:
            return min(wait_s, RETRY_S)
        began_s = self._clock()
        epoch = next_epoch(lease, self._at_least)
        try:
            self._seen = Sighting(await self._write(lease, self._identity, epoch), began_s)
        except Conflict:
            return RETRY_S  # another candidate was faster
        self._term = Term(epoch, began_s + WRITE_FOR_S)
        LEADING.set(1)
        EPOCH.set(epoch)
        _log.info("this replica leads", extra={"identity": self._identity, "epoch": epoch})
        self._leads.set()
        on_gain()
        return RENEW_EVERY_S

    async def _make_anew(self) -> float:
        """Somebody deleted the Lease. Returns: seconds until the next look."""
        _log.warning("Lease %s is missing and is made anew; nobody leads for %s s", self._lease_name, LEASE_S)
        epoch = self._seen.lease.transitions if self._seen else 0
        spec = {"holderIdentity": NOBODY, "leaseDurationSeconds": LEASE_S, "leaseTransitions": epoch}
        body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": self._name}, "spec": spec}
        try:
            await self._kube.send("POST", collection("Lease", self._namespace), body=body)
        except KubeError as error:  # another replica was faster, or the namespace is on its way out
            _log.warning("Lease not made: %s", error)
        return RETRY_S

    async def _renew(self, term: Term, last: LeaseSeen) -> float:
        """Returns: seconds until the next renewal. Raises: KubeError."""
        began_s = self._clock()
        if began_s >= term.until_s:
            self._step_down("the Lease was not renewed in time")
            return 0.0
        try:
            lease = await self._write(last, self._identity, term.epoch)
        except (Conflict, NotFound):
            self._step_down("the Lease was changed by somebody else")
            return 0.0
        if self._term is term:  # not outbid meanwhile
            self._seen, self._term = Sighting(lease, began_s), Term(term.epoch, began_s + WRITE_FOR_S)
        return RENEW_EVERY_S

    def _step_down(self, why: str) -> None:
        if self._term is None:
            return
        self._term = None
        self._leads.clear()
        LEADING.set(0)
        _log.warning("this replica does not lead any more: %s", why, extra={"identity": self._identity})

    async def _write(self, lease: LeaseSeen, holder: str, epoch: int) -> LeaseSeen:
        now = _now()
        spec = {
            "holderIdentity": holder,
            "leaseDurationSeconds": LEASE_S,
            "leaseTransitions": epoch,
            "renewTime": now,
        }
        if self._term is None and holder:
            spec["acquireTime"] = now
        patch = {"metadata": {"resourceVersion": lease.version}, "spec": spec}
        return _lease(await self._kube.merge(self._path, patch))


def _now() -> str:
    """For people: nobody's wall clock counts."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _lease(found: dict[str, Any]) -> LeaseSeen:
    spec = found.get("spec") or {}
    return LeaseSeen(
        holder=spec.get("holderIdentity") or "",
        transitions=spec.get("leaseTransitions") or 0,
        renewed=spec.get("renewTime") or "",
        duration_s=spec.get("leaseDurationSeconds") or LEASE_S,
        version=found["metadata"]["resourceVersion"],
    )
