"""The compute processes of one launch, a rank each: started together, heard together, ended together.

Owns sockets and processes; what is said over them is the engine's. Invariant: when one rank is gone, so are all, and
whoever asks learns which one was first. Started by a fork server that has torch loaded already.
"""

import asyncio
import contextlib
import logging
import multiprocessing
import secrets
import socket
import tempfile
import time
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from multiprocessing.sharedctypes import RawArray
from pathlib import Path
from typing import Any, Final

from videofleet.workerspec import WorkerSpec
from videofleet_worker import protocol
from videofleet_worker.compute import entry
from videofleet_worker.tasks import end

log = logging.getLogger(__name__)

LETTING_GO_S: Final = 5.0  # from closing the channels to SIGKILL
LONGEST_TMPDIR: Final = 70  # characters


def fork_server() -> ForkServerContext:
    """Where ranks come from."""
    if len(tempfile.gettempdir()) > LONGEST_TMPDIR:  # its socket's path must not exceed 107 characters
        tempfile.tempdir = "/tmp"  # noqa: S108 - mkdtemp makes a private folder in it
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["videofleet_worker.compute.preload"])
    return context


class Ranks:
    """Processes by rank. `died` is set when the first of them is gone; events come until then, and end with None."""

    def __init__(self, context: ForkServerContext, spec: WorkerSpec, scratch: Path) -> None:
        self._context = context
        self._spec = spec
        self._rendezvous = scratch / f"rendezvous-{secrets.token_hex(4)}"
        self._marks: Any = RawArray("Q", spec.parallelism.ranks)
        self._starts: list[asyncio.Task[BaseProcess]] = []
        self._writers: list[asyncio.StreamWriter] = []
        self._listeners: list[asyncio.Task[None]] = []
        self.events: asyncio.Queue[protocol.Event | None] = asyncio.Queue()
        self.died = asyncio.Event()
        self.heard_at = time.monotonic()

    @property
    def pids(self) -> list[int]:
        """By rank."""
        return [process.pid for process in self._processes if process.pid is not None]

    @property
    def _processes(self) -> list[BaseProcess]:
        """Those that have been started, by rank."""
        return [start.result() for start in self._starts if start.done() and not start.exception()]

    async def launch(self) -> None:
        """Starts every rank. One that is cancelled leaves its starts to `kill`."""
        parallelism = self._spec.parallelism
        for rank in range(parallelism.ranks):
            seat = entry.Seat(
                rank=rank,
                cfg=parallelism.cfg,
                ulysses=parallelism.ulysses,
                on_gpu=self._spec.gpus > 0,
                rendezvous=self._rendezvous,
                marks=self._marks,
            )
            await self._start(seat)

    def send(self, command: protocol.Command) -> bool:
        """Tells rank 0, which tells the others. Returns: whether it is there."""
        if self.died.is_set() or not self._writers or self._writers[0].is_closing():
            return False
        self._writers[0].write(protocol.to_line(command))
        self.heard_at = time.monotonic()  # from now on it is expected to speak
        return True

    async def death(self) -> str:
        """Which rank went first, and how; all are gone then."""
        await self._joined(LETTING_GO_S if len(self._processes) == 1 else LETTING_GO_S / 2, any_cause=True)
        broke = [event for event in self._left_over() if isinstance(event, protocol.Broke)]
        codes = [process.exitcode for process in self._processes]  # before those are killed that live
        await self.kill()
        if broke:
            return f"rank {broke[0].rank} broke: {broke[0].message}"
        first = next((rank for rank, code in enumerate(codes) if code not in (None, protocol.LOST_PEER_EXIT)), None)
        code = None if first is None else codes[first]
        count = self._spec.parallelism.ranks
        return f"{'compute' if count == 1 else f'compute rank {first} of {count}'} ended ({_exit_words(code)})"

    def laggard(self) -> str:
        """Words for the rank that stopped before the others did; none when nobody can tell."""
        marks = list(self._marks)
        behind = [rank for rank, mark in enumerate(marks) if mark == min(marks)]
        return f"; rank {behind[0]} of {len(marks)} stopped first" if len(marks) > 1 and len(behind) == 1 else ""

    async def let_go(self) -> None:
        """Closes the channels, and kills whoever does not leave by that."""
        await self._all_started()
        for writer in self._writers:
            writer.close()
        if not await self._joined(LETTING_GO_S):
            log.warning("compute did not let go and is killed", extra={"pids": self.pids})
        await self.kill()

    async def kill(self) -> None:
        """Ends every rank at once."""
        await self._all_started()
        for process in self._processes:
            process.kill()
        await self._joined(LETTING_GO_S)
        for writer in self._writers:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        await end(*self._listeners)
        for process in self._processes:
            if process.exitcode is not None:
                process.close()
        self._starts, self._writers, self._listeners = [], [], []
        self._rendezvous.unlink(missing_ok=True)
        self.died.set()
        self.events.put_nowait(None)

    async def _start(self, seat: entry.Seat) -> None:
        ours, theirs = socket.socketpair()
        process = self._context.Process(target=entry.run, args=(theirs, seat), name=f"rank-{seat.rank}", daemon=True)
        # The fork server answers only when torch is imported; the event loop must not wait for that.
        start = asyncio.create_task(asyncio.to_thread(_started, process, theirs))
        self._starts.append(start)
        reader, writer = await asyncio.open_connection(sock=ours, limit=protocol.LINE_LIMIT_BYTES)
        self._writers.append(writer)
        self._listeners.append(asyncio.create_task(self._listen(reader)))
        await asyncio.shield(start)

    async def _all_started(self) -> None:
        """A start cannot be called off, only waited for and ended like any other, however often one is cancelled."""
        if self._starts:
            await asyncio.wait(self._starts)

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        """Reads until the rank ends, which every reader of events learns by None."""
        with contextlib.suppress(OSError):
            while line := await reader.readline():
                if not line.endswith(b"\n"):
                    break  # died in the middle of a word
                self.heard_at = time.monotonic()
                self.events.put_nowait(protocol.event_from(line))
        self.died.set()
        self.events.put_nowait(None)

    def _left_over(self) -> list[protocol.Event | None]:
        """Events that nobody has taken yet."""
        return [self.events.get_nowait() for _ in range(self.events.qsize())]

    async def _joined(self, timeout_s: float, *, any_cause: bool = False) -> bool:
        """Waits until all have ended, or until one has that was the cause."""
        deadline = time.monotonic() + timeout_s

        def is_over() -> bool:
            codes = [process.exitcode for process in self._processes]
            causes = [code for code in codes if code not in (None, protocol.LOST_PEER_EXIT)]
            return None not in codes or (any_cause and bool(causes))

        while not is_over():
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.005)
        return True


def _started(process: BaseProcess, channel: socket.socket) -> BaseProcess:
    """The process, once it runs and has its end of the channel; blocks for that long."""
    with channel:
        process.start()
    return process


def _exit_words(code: int | None) -> str:
    if code is None:
        return "its exit code is unknown"
    if code == -9:
        return "signal 9, as when memory runs out"
    return f"signal {-code}" if code < 0 else f"exit code {code}"
