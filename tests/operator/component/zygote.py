"""Starts operators that kill themselves at a chosen write: imports once, then forks, so that a start takes 0.1 s.

Reads lines of JSON on stdin: {"arguments", "environment", "log", "die_at"}; answers each with the child's pid.
`die_at` is `k:before` or `k:after`, counted over writes to the API server and to Redis; null lets it live. With
`k:…:later` counting begins at SIGUSR1.
"""

import json
import os
import signal
import sys
from typing import Any

from videofleet.queue import JobQueue
from videofleet_operator import __main__ as program
from videofleet_operator.kube.client import KubeClient


class Doom:
    """Counts writes and dies at the chosen one, before or after it took effect."""

    def __init__(self, die_at: str | None) -> None:
        number, self.when, *later = (die_at or "0:never").split(":")
        self.number = int(number)
        self.writes = 0
        self.counts = not later
        signal.signal(signal.SIGUSR1, self.begin)

    def begin(self, *_: Any) -> None:
        self.counts = True

    def deadly(self, call: Any, is_write: Any = lambda *_: True) -> Any:
        async def wrapped(client: Any, *args: Any, **kwargs: Any) -> Any:
            if not self.counts or not is_write(*args):
                return await call(client, *args, **kwargs)
            self.writes += 1
            is_last = self.writes == self.number
            if is_last and self.when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            result = await call(client, *args, **kwargs)
            if is_last:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return wrapped


def is_write(method: str, path: str, *_: Any) -> bool:
    """Renewals of the Lease come by the clock; counting them would make the points of a sweep move."""
    return method != "GET" and "/leases/" not in path


def run(order: dict[str, Any]) -> None:
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ.update(order["environment"])
    doom = Doom(order["die_at"])
    KubeClient.send = doom.deadly(KubeClient.send, is_write)  # type: ignore[method-assign]
    JobQueue.publish_policy = doom.deadly(JobQueue.publish_policy)  # type: ignore[method-assign]
    JobQueue.close_fleet = doom.deadly(JobQueue.close_fleet)  # type: ignore[method-assign]
    sys.argv = ["videofleet-operator", *order["arguments"]]
    program.main()


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children are reaped at once
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            run(json.loads(line))
            os._exit(0)
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
