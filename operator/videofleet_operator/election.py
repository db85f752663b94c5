"""Who may lead, by the Lease as it was seen and the observer's own clock. Pure: no wall clock of anybody counts.

Invariant: a leader stops writing `LEASE_S - WRITE_FOR_S` before anybody else may take the Lease, by clocks that need to
run at the same rate and not to agree. A candidate waits from when *it* first saw the last renewal.

LEASE_S + RETRY_S is the longest that a fleet is without a leader after one was killed: 15 s.
"""

from dataclasses import dataclass
from typing import Final

LEASE_S: Final = 13
WRITE_FOR_S: Final = 9.0  # after a renewal was *sent*, its sender refuses its own writes
RENEW_EVERY_S: Final = 5.0
RETRY_S: Final = 2.0


@dataclass(frozen=True)
class LeaseSeen:
    """A Lease as the API server gives it."""

    holder: str  # empty: released
    transitions: int  # the epoch of the holder
    renewed: str  # renewTime: compared with itself only
    duration_s: float  # as its holder promised
    version: str  # resourceVersion: the precondition of every write


@dataclass(frozen=True)
class Sighting:
    """A renewal, and when we first saw it by our own clock."""

    lease: LeaseSeen
    since_s: float


@dataclass(frozen=True)
class Term:
    """Our leadership: every write is refused from `until_s` on."""

    epoch: int
    until_s: float


def sighting(before: Sighting | None, lease: LeaseSeen, now_s: float) -> Sighting:
    """The same renewal keeps its time, a new one begins now."""
    if before is not None and _renewal(before.lease) == _renewal(lease):
        return Sighting(lease, before.since_s)
    return Sighting(lease, now_s)


def seconds_to_wait(seen: Sighting, identity: str, now_s: float) -> float:
    """How long a candidate still has to respect the holder; 0: it may take the Lease now.

    | holder            | last renewal seen | wait |
    | nobody, ourselves | any               | 0    |
    | somebody else     | 4 s ago           | 9 s  |
    | somebody else     | 13 s ago          | 0    |
    """
    if seen.lease.holder in ("", identity):  # ourselves: this pod's container was restarted
        return 0.0
    return max(0.0, seen.since_s + seen.lease.duration_s - now_s)


def next_epoch(lease: LeaseSeen, at_least: int) -> int:
    """The epoch of a new term: above every one before, also when the same pod leads again."""
    return max(lease.transitions + 1, at_least)


def _renewal(lease: LeaseSeen) -> tuple[str, int, str]:
    return lease.holder, lease.transitions, lease.renewed
