"""The audit log: who did what to whom, one JSON line an act, refused ones too. Ids and names only, never a prompt.

Lines go where all logs go, under the logger `videofleet.audit`, so that a collector can route them apart.
"""

import logging
from enum import StrEnum
from typing import Final

from aiohttp import web

from videofleet_gateway.problems import Forbidden
from videofleet_gateway.services import CALLER, REQUEST_ID

log: Final = logging.getLogger("videofleet.audit")


class Act(StrEnum):
    """What is worth a line: acts that reach beyond one's own next video."""

    PAUSE_INTAKE = "intake.pause"
    RESUME_INTAKE = "intake.resume"
    ERASE_TENANT = "tenant.erase"
    PURGE_VIDEO = "video.purge"
    REPLAY_VIDEO = "video.replay"


def record(request: web.Request, act: Act, target: str, outcome: str = "done") -> None:
    """Writes the line. `target` is a fleet's or tenant's name or a job's id, checked before."""
    caller = request[CALLER]
    log.info(
        "audit",
        extra={
            "act": str(act),
            "target": target,
            "outcome": outcome,
            "actor": caller.key_id,
            "tenant": caller.tenant,
            "request": request[REQUEST_ID],
        },
    )


def require_admin(request: web.Request, act: Act, target: str) -> None:
    """Raises: Forbidden, after a line that says so."""
    if not request[CALLER].is_admin:
        record(request, act, target, "refused")
        raise Forbidden("this needs a key whose role is admin")
