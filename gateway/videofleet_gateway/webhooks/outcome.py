"""What follows from one attempt. Pure."""

from dataclasses import dataclass
from typing import Final

from videofleet.queue import Settled
from videofleet_gateway.webhooks.schedule import delay_s
from videofleet_gateway.webhooks.sending import Reply

_GONE: Final = 410


@dataclass(frozen=True)
class Outcome:
    """How the notice is settled, and when the next attempt is due."""

    settled: Settled
    delay_s: float = 0.0


def outcome(reply: Reply, attempts: int, chance: float) -> Outcome:
    """Of a reply to attempt number `attempts`; `chance` in [0, 1) spreads retries."""
    if reply.is_accepted:
        return Outcome(Settled.DELIVERED)
    if reply.status == _GONE:
        return Outcome(Settled.DISABLED)
    pause_s = delay_s(attempts, chance, reply.retry_after_s)
    return Outcome(Settled.FAILED) if pause_s is None else Outcome(Settled.AGAIN, pause_s)


def result_label(reply: Reply) -> str:
    """A metric's label: `2xx`, `410`, `timeout`, …"""
    if reply.status is None:
        return reply.fault
    return str(_GONE) if reply.status == _GONE else f"{reply.status // 100}xx"
