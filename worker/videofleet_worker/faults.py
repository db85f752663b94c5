"""What stops a worker for good. Anything that stops only one job is no fault.

A fault goes into the beacon, into the pod's termination message and, through the operator, into the Ready condition;
so its message says what was wrong and what to do, and carries neither prompt nor secret.
"""

import json
import logging
from pathlib import Path

from videofleet.beacons import WorkerFault
from videofleet.logs import redact

log = logging.getLogger(__name__)


class Fault(Exception):
    """This worker cannot serve; `reason` is for programs, the message for people."""

    def __init__(self, reason: WorkerFault, message: str) -> None:
        self.reason = reason
        self.message = redact(message)
        super().__init__(f"{reason}: {self.message}")


def report(fault: Fault, termination_log: Path) -> None:
    """Logs it, and leaves it where the kubelet reads it (at most 4096 bytes); the exit goes on without that."""
    log.error("fault", extra={"reason": fault.reason, "fault": fault.message})
    text = json.dumps({"reason": fault.reason, "message": fault.message[:1500]})
    try:
        termination_log.write_text(text)
    except OSError as error:
        log.warning(
            "termination message not written", extra={"path": str(termination_log), "error": type(error).__name__}
        )
