"""What the supervisor says to one rank, read on a thread of its own so that a stop gets through while the device works.

Invariant: the end of the channel ends the process at once, whatever it is doing.
"""

import os
import queue
import socket
import threading

from videofleet_worker import protocol


class Inbox:
    """Commands in their order, and stops apart from them."""

    def __init__(self, channel: socket.socket) -> None:
        self._lines = channel.makefile("rb")
        self._work: queue.SimpleQueue[protocol.Start | protocol.Generate] = queue.SimpleQueue()
        self._stops: dict[str, protocol.Stop] = {}
        threading.Thread(target=self._read, name="inbox", daemon=True).start()

    def next_work(self) -> protocol.Start | protocol.Generate:
        """Waits for something to do."""
        return self._work.get()

    def stop_of(self, job: str) -> protocol.Stop | None:
        """The word to stop it, once somebody has said it."""
        return self._stops.get(job)

    def _read(self) -> None:
        for line in self._lines:
            command = protocol.command_from(line)
            if isinstance(command, protocol.Stop):
                self._stops[command.job] = command
                continue
            if isinstance(command, protocol.Generate):
                for work in command.works:
                    self._stops.pop(work.job, None)  # a stop that came too late meant an earlier attempt
            self._work.put(command)
        os._exit(0)  # the supervisor is gone or has let go; nothing here is worth keeping
