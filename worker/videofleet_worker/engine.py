"""The supervisor's hold on the compute process: starts it, talks to it, and kills it when it hangs.

Invariant: at most one compute process, and at most one job in it. A process that dies takes only its job's attempt
with it. Started by a fork server that has torch loaded already; this process never imports it.
"""

import asyncio
import contextlib
import logging
import multiprocessing
import socket
import tempfile
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final

from videofleet.beacons import WorkerFault, WorkerState
from videofleet.workerspec import WorkerSpec
from videofleet_worker import protocol
from videofleet_worker.compute import entry
from videofleet_worker.faults import Fault
from videofleet_worker.tasks import end

log = logging.getLogger(__name__)

MIN_STEP_TIMEOUT_S: Final = 60.0
STEP_TIMEOUT_FACTOR: Final = 20.0  # times what warm-up measured
LETTING_GO_S: Final = 5.0  # from closing the channel to SIGKILL
LONGEST_TMPDIR: Final = 70  # characters

Say = Callable[[WorkerState, str], None]
TierWarmed = Callable[[protocol.TierWarmed], None]


class ComputeDied(Exception):
    """The compute process ended, or was killed because it hung; start another one."""


class Engine:
    """One compute process after another, for one spec."""

    def __init__(
        self, spec: WorkerSpec, model: Path, scratch: Path, *, min_step_timeout_s: float = MIN_STEP_TIMEOUT_S
    ) -> None:
        self._spec = spec
        self._model = model
        self._scratch = scratch
        self._min_step_timeout_s = min_step_timeout_s
        _keep_socket_paths_short()
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["videofleet_worker.compute.preload"])
        self._process: BaseProcess | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._events: asyncio.Queue[protocol.Event | None] = asyncio.Queue()
        self._listener: asyncio.Task[None] | None = None
        self._slowest_step_s = 0.0
        self._heard_at = time.monotonic()
        self.died = asyncio.Event()
        self.peak_bytes: int | None = None  # of device memory, as warm-up measured it

    @property
    def pid(self) -> int | None:
        """The compute process, while there is one."""
        return self._process.pid if self._process else None

    @property
    def step_timeout_s(self) -> float:
        """How long compute may be silent while it has a job."""
        return max(self._min_step_timeout_s, STEP_TIMEOUT_FACTOR * self._slowest_step_s)

    @property
    def silent_s(self) -> float:
        """Seconds since compute was last heard of."""
        return time.monotonic() - self._heard_at

    async def start(self, say: Say, warmed: TierWarmed) -> None:
        """Starts compute, loads the model and warms every tier. Raises: Fault."""
        await self.stop()
        await self._launch()
        self._send(protocol.Start(model=str(self._model), spec=self._spec, scratch=str(self._scratch)))
        warming = asyncio.timeout(None)
        try:
            async with warming:
                await self._await_ready(say, warmed, warming)
        except TimeoutError as error:
            await self.kill()
            raise Fault(
                WorkerFault.WARMUP_TIMEOUT,
                f"the tiers were not warm after {self._spec.warmup.timeout_s:g} s; raise spec.warmup.timeout, "
                "or use smaller tiers or a faster GPU",
            ) from error
        except ComputeDied as error:
            raise Fault(
                WorkerFault.COMPUTE_CRASHED, f"{error} while it was starting; its log says why, unless memory ran out"
            ) from error

    async def generate(self, work: protocol.Generate, hear: Callable[[protocol.News], None]) -> protocol.Outcome:
        """Makes one video's frames. Raises: ComputeDied; the process is gone then."""
        self._send(work)
        self._heard_at = time.monotonic()
        while True:
            try:
                async with asyncio.timeout(self.step_timeout_s):
                    event = await self._next_event()
            except TimeoutError as error:
                await self.kill()
                raise ComputeDied(f"compute was silent for {self.step_timeout_s:g} s and was killed") from error
            match event:
                case protocol.Progressed() | protocol.Resumed() | protocol.Checkpointed():
                    hear(event)
                case protocol.Generated() | protocol.Stopped() | protocol.Failed():
                    return event
                case _:
                    log.warning("unexpected event from compute", extra={"kind": event.kind})

    def stop_job(self, job: str, *, checkpoint: bool) -> None:
        """Asks compute to leave the job within a step, and to leave its state behind if it is to go on elsewhere."""
        with contextlib.suppress(ComputeDied):
            self._send(protocol.Stop(job=job, checkpoint=checkpoint))

    async def stop(self) -> None:
        """Lets compute go, and kills it if it does not."""
        if self._process is None:
            return
        if self._writer is not None:
            self._writer.close()
        if not await self._joined(LETTING_GO_S):
            log.warning("compute did not let go and is killed", extra={"pid": self.pid})
        await self.kill()

    async def kill(self) -> None:
        """Ends compute at once."""
        if self._process is None:
            return
        self._process.kill()
        await self._joined(LETTING_GO_S)
        await self._forget()

    async def _await_ready(self, say: Say, warmed: TierWarmed, limit: asyncio.Timeout) -> None:
        """The clock of warm-up begins with the first word about it: loading takes as long as the volume does."""
        while True:
            match await self._next_event():
                case protocol.Starting(state=state, detail=detail):
                    if state is WorkerState.WARMING and limit.when() is None:
                        limit.reschedule(asyncio.get_running_loop().time() + self._spec.warmup.timeout_s)
                    say(state, detail)
                case protocol.TierWarmed() as event:
                    self._slowest_step_s = max(self._slowest_step_s, event.seconds_per_step, event.decode_s)
                    warmed(event)
                case protocol.Faulted(reason=reason, message=message):
                    await self.stop()
                    raise Fault(reason, message)
                case protocol.Ready(peak_bytes=peak_bytes):
                    self.peak_bytes = peak_bytes
                    return

    async def _launch(self) -> None:
        ours, theirs = socket.socketpair()
        reader, self._writer = await asyncio.open_connection(sock=ours, limit=protocol.LINE_LIMIT_BYTES)
        self._events = asyncio.Queue()
        self.died = asyncio.Event()
        self._listener = asyncio.create_task(self._listen(reader, self._events, self.died))
        process = self._context.Process(target=entry.run, args=(theirs,), name="compute", daemon=True)
        # The fork server answers only when torch is imported; the event loop must not wait for that.
        starting = asyncio.create_task(asyncio.to_thread(process.start))
        try:
            await asyncio.shield(starting)
        finally:  # a start cannot be called off, so a cancelled one is waited for and then ended like any other
            await asyncio.wait({starting})
            theirs.close()
            self._process = process

    async def _listen(
        self, reader: asyncio.StreamReader, events: asyncio.Queue[protocol.Event | None], died: asyncio.Event
    ) -> None:
        """Reads until the process ends, which every reader of events learns by None."""
        with contextlib.suppress(OSError):
            while line := await reader.readline():
                if not line.endswith(b"\n"):
                    break  # died in the middle of a word
                self._heard_at = time.monotonic()
                events.put_nowait(protocol.event_from(line))
        died.set()
        events.put_nowait(None)

    async def _next_event(self) -> protocol.Event:
        event = await self._events.get()
        if event is None:
            await self._joined(LETTING_GO_S)
            code = self._process.exitcode if self._process else None
            await self.kill()
            raise ComputeDied(f"the compute process ended ({_exit_words(code)})")
        return event

    def _send(self, command: protocol.Command) -> None:
        if self._writer is None or self._writer.is_closing():
            raise ComputeDied("the compute process is not there")
        self._writer.write(protocol.to_line(command))

    async def _joined(self, timeout_s: float) -> bool:
        process = self._process
        if process is None:
            return True
        await asyncio.to_thread(process.join, timeout_s)
        return process.exitcode is not None

    async def _forget(self) -> None:
        if self._writer is not None:
            self._writer.close()
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()
        if self._listener is not None:
            await end(self._listener)
        if self._process is not None and self._process.exitcode is not None:
            self._process.close()
        self._process = self._writer = self._listener = None
        self.died.set()


def _keep_socket_paths_short() -> None:
    """The fork server listens in the temporary folder, under a name that must not exceed 107 characters."""
    if len(tempfile.gettempdir()) > LONGEST_TMPDIR:
        tempfile.tempdir = "/tmp"  # noqa: S108 - mkdtemp makes a private folder in it


def _exit_words(code: int | None) -> str:
    if code is None:
        return "its exit code is unknown"
    if code == -9:
        return "signal 9, as when memory runs out"
    return f"signal {-code}" if code < 0 else f"exit code {code}"
