"""Where a compute process begins. Free of torch, because the supervisor imports it to name the function."""

import socket
from collections.abc import MutableSequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Seat:
    """One rank's place among the processes that compute one video: rank = branch × ulysses + part."""

    rank: int
    cfg: int
    ulysses: int
    on_gpu: bool
    rendezvous: Path  # a file that does not exist yet; the ranks find each other by it
    marks: MutableSequence[int]  # shared memory: each rank counts up its own, so that one that stops is known

    @property
    def ranks(self) -> int:
        """Processes in all."""
        return self.cfg * self.ulysses


def run(channel: socket.socket, seat: Seat) -> None:
    """The life of one compute process; its commands come over `channel`."""
    from videofleet_worker.compute.process import main

    main(channel, seat)
