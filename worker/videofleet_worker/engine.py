"""The supervisor's hold on compute: starts its ranks, talks to the first of them, and kills them when one hangs.

Invariant: at most one group of ranks, and in it jobs of one batch at most. A group that dies takes only their attempts
with it. This process never imports torch.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from videofleet.beacons import WorkerFault, WorkerState
from videofleet.workerspec import Dtype, WorkerSpec
from videofleet_worker import protocol
from videofleet_worker.faults import Fault
from videofleet_worker.ranks import Ranks, fork_server

log = logging.getLogger(__name__)

MIN_STEP_TIMEOUT_S: Final = 60.0
STEP_TIMEOUT_FACTOR: Final = 20.0  # times what warm-up measured

Say = Callable[[WorkerState, str], None]
TierWarmed = Callable[[protocol.TierWarmed], None]


class ComputeDied(Exception):
    """A compute process ended, or was killed because it hung, and its group with it; start another one."""


class Engine:
    """One group of compute processes after another, for one spec."""

    def __init__(
        self,
        spec: WorkerSpec,
        model: Path,
        scratch: Path,
        *,
        min_step_timeout_s: float = MIN_STEP_TIMEOUT_S,
        decodes: bool = False,
    ) -> None:
        """`decodes`: it only makes frames of what others have denoised."""
        self._spec = spec
        self._model = model
        self._scratch = scratch
        self._min_step_timeout_s = min_step_timeout_s
        self._decodes = decodes
        self._context = fork_server()
        self._ranks: Ranks | None = None
        self._slowest_step_s = 0.0
        self._is_warming = False  # loading is over
        self.died = asyncio.Event()
        self.attention = ""  # what computes it, once ready
        self.peak_bytes: int | None = None  # of device memory, as warm-up measured it

    @property
    def pids(self) -> list[int]:
        """The compute processes by rank, while there are some."""
        return self._ranks.pids if self._ranks else []

    @property
    def step_timeout_s(self) -> float:
        """How long compute may be silent while it has a job."""
        return max(self._min_step_timeout_s, STEP_TIMEOUT_FACTOR * self._slowest_step_s)

    @property
    def silent_s(self) -> float:
        """Seconds since compute was last heard of."""
        return time.monotonic() - self._ranks.heard_at if self._ranks else 0.0

    @property
    def dtype(self) -> Dtype:
        """Of the experts."""
        return self._spec.dtype

    def use(self, dtype: Dtype) -> None:
        """From the next start on."""
        self._spec = self._spec.model_copy(update={"dtype": dtype})

    async def start(self, say: Say, warmed: TierWarmed) -> None:
        """Starts compute, loads the model and warms every tier. Raises: Fault."""
        await self.stop()
        self._ranks = Ranks(self._context, self._spec, self._scratch)
        self.died = self._ranks.died
        await self._ranks.launch()
        self._send(
            protocol.Start(model=str(self._model), spec=self._spec, scratch=str(self._scratch), decodes=self._decodes)
        )
        warming = asyncio.timeout(self._spec.warmup.loading_timeout_s)
        try:
            async with warming:
                await self._await_ready(say, warmed, warming)
        except TimeoutError as error:
            await self.kill()
            if not self._is_warming:
                raise Fault(
                    WorkerFault.LOADING_TIMEOUT,
                    f"the model was not loaded after {self._spec.warmup.loading_timeout_s:g} s; raise "
                    "spec.warmup.loadingTimeout, or use a faster volume",
                ) from error
            raise Fault(
                WorkerFault.WARMUP_TIMEOUT,
                f"the tiers were not warm after {self._spec.warmup.timeout_s:g} s; raise spec.warmup.timeout, "
                "or use smaller tiers or a faster GPU",
            ) from error
        except ComputeDied as error:
            raise Fault(
                WorkerFault.COMPUTE_CRASHED, f"{error} while it was starting; its log says why, unless memory ran out"
            ) from error

    async def generate(self, works: Sequence[protocol.Work], hear: Callable[[protocol.News], None]) -> None:
        """Makes the frames of some videos together; `hear` is told an outcome of each. Raises: ComputeDied.

        The process is gone then, and those without an outcome get none.
        """
        self._send(protocol.Generate(works=tuple(works)))
        unfinished = {work.job for work in works}
        while unfinished:
            try:
                async with asyncio.timeout(self.step_timeout_s):
                    event = await self._next_event()
            except TimeoutError as error:
                laggard = self._ranks.laggard() if self._ranks else ""
                await self.kill()
                raise ComputeDied(
                    f"compute was silent for {self.step_timeout_s:g} s and was killed{laggard}"
                ) from error
            if not isinstance(event, protocol.News):
                log.warning("unexpected event from compute", extra={"kind": event.kind})
                continue
            if isinstance(event, protocol.Outcome):
                unfinished.discard(event.job)
            hear(event)

    def stop_job(self, job: str, *, checkpoint: bool) -> None:
        """Asks compute to leave the job within a step, and to leave its state behind if it is to go on elsewhere."""
        with contextlib.suppress(ComputeDied):
            self._send(protocol.Stop(job=job, checkpoint=checkpoint))

    async def stop(self) -> None:
        """Lets compute go, and kills it if it does not."""
        if self._ranks is not None:
            await self._ranks.let_go()
            self._ranks = None

    async def kill(self) -> None:
        """Ends compute at once."""
        if self._ranks is not None:
            await self._ranks.kill()
            self._ranks = None

    async def _await_ready(self, say: Say, warmed: TierWarmed, limit: asyncio.Timeout) -> None:
        """The clock of warm-up begins with the first word about it; loading has one of its own."""
        self._is_warming = False
        while True:
            match await self._next_event():
                case protocol.Starting(state=state, detail=detail):
                    if state is WorkerState.WARMING and not self._is_warming:
                        self._is_warming = True
                        limit.reschedule(asyncio.get_running_loop().time() + self._spec.warmup.timeout_s)
                    say(state, detail)
                case protocol.TierWarmed() as event:
                    self._slowest_step_s = max(self._slowest_step_s, event.seconds_per_step, event.decode_s)
                    warmed(event)
                case protocol.Faulted(reason=reason, message=message):
                    await self.stop()
                    raise Fault(reason, message)
                case protocol.Ready() as ready:
                    self.peak_bytes, self.attention = ready.peak_bytes, ready.attention
                    return

    async def _next_event(self) -> protocol.Event:
        """Raises: ComputeDied, when a rank is gone; all are then."""
        if self._ranks is None:
            raise ComputeDied("the compute process is not there")
        event = await self._ranks.events.get()
        if event is None or isinstance(event, protocol.Broke):
            ranks, self._ranks = self._ranks, None
            if event is not None:
                ranks.events.put_nowait(event)
            raise ComputeDied(await ranks.death())
        return event

    def _send(self, command: protocol.Command) -> None:
        if self._ranks is None or not self._ranks.send(command):
            raise ComputeDied("the compute process is not there")
