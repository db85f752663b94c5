"""A compute process, one rank of its group: loads, warms, then makes videos as the supervisor says.

All ranks run this same course; rank 0 alone hears of work, passes it on, decodes and reports. Invariant: a rank never
outlives its supervisor. The socket's end stops it at once, whatever it is doing; should that thread not get to run, the
kernel kills it with its parent. One pipeline, one working thread: the VAE is not reentrant. What goes wrong on one rank
only, in the middle of a step, breaks the whole group: the others wait for it and cannot be called back.
"""

import ctypes
import gc
import logging
import os
import re
import signal
import socket
import traceback
from pathlib import Path
from typing import Final

import diffusers
import torch
import torch.distributed as dist
import transformers

from videofleet import logs
from videofleet.beacons import WorkerFault, WorkerState
from videofleet.jobs import Progress
from videofleet.tiers import Tier, tier_faults
from videofleet_worker import protocol
from videofleet_worker.compute.attention import used_by
from videofleet_worker.compute.decoding import Decoding
from videofleet_worker.compute.denoise import NotFinite
from videofleet_worker.compute.entry import Seat
from videofleet_worker.compute.group import Group
from videofleet_worker.compute.inbox import Inbox
from videofleet_worker.compute.loading import load, out_of_memory
from videofleet_worker.compute.making import Making, generation_error
from videofleet_worker.compute.warmup import warm_tier
from videofleet_worker.faults import Fault
from videofleet_worker.memory_plan import ModelSizes, tier_need

log = logging.getLogger(__name__)

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
LOST_PEER: Final = re.compile(r"onnection (closed|reset|refused)|NCCL|remote process|Broken pipe")


class Compute:
    """One rank at work."""

    def __init__(self, channel: socket.socket, seat: Seat) -> None:
        self._channel = channel
        self._seat = seat
        self._inbox = Inbox(channel)

    def run(self) -> None:
        """Serves until the supervisor lets go. Raises: what breaks the group."""
        try:
            self._group = Group(self._seat)
            start = self._next_work()
            assert isinstance(start, protocol.Start), "the first command is always start"  # noqa: S101 - a bug
            self._start(start)
        except Fault as fault:
            self._tell(protocol.Faulted(reason=fault.reason, message=fault.message))
            self._inbox.next_work()  # until the supervisor lets go; the other ranks may not know yet
        while True:
            work = self._next_work()
            if isinstance(work, protocol.Generate):
                self._maker.make(work.works)

    def break_off(self, error: Exception) -> None:
        """Ends the process: with it goes the group. The supervisor is told why, unless another rank was first."""
        rank, text = self._seat.rank, str(error)
        if isinstance(error, RuntimeError) and LOST_PEER.search(text):
            log.warning("another rank is gone", extra={"rank": rank})
            os._exit(protocol.LOST_PEER_EXIT)
        where = "".join(traceback.format_tb(error.__traceback__))
        log.error("rank broke", extra={"rank": rank, "error": type(error).__name__, "where": where})
        self._tell(protocol.Broke(rank=rank, message=generation_error(error)))
        os._exit(1)

    def _next_work(self) -> protocol.Start | protocol.Generate:
        """Rank 0's next command, on every rank."""
        line = protocol.to_line(self._inbox.next_work()).decode() if self._group.leads else None
        command = protocol.command_from(self._group.share(line).encode())
        assert not isinstance(command, protocol.Stop), "stops are no work"  # noqa: S101 - a bug
        return command

    def _start(self, start: protocol.Start) -> None:
        ranks = f" on {self._group.ranks} ranks" if self._group.ranks > 1 else ""
        self._say(WorkerState.LOADING, f"loading {Path(start.model).name} as {start.spec.dtype}{ranks}")
        for tier in start.spec.tiers:
            if faults := tier_faults(tier, start.spec.architecture, self._group.ulysses):
                raise Fault(WorkerFault.MODEL_MISMATCH, f"tier {tier.name}: {faults[0]}; correct spec.tiers")
        try:
            attention = self._warm_decoder(start) if start.decodes else self._warm_pipeline(start)
        except NotFinite as error:
            raise Fault(
                WorkerFault.NOT_FINITE,
                f"{error}; the weights are damaged or do not hold {start.spec.dtype}: try another spec.model.dtype",
            ) from error
        except torch.OutOfMemoryError as error:
            raise out_of_memory() from error
        gc.freeze()  # what lives now lives for ever; no need to look at it again
        peak_bytes = torch.cuda.max_memory_allocated() if self._group.device.type == "cuda" else None
        self._send(protocol.Ready(peak_bytes=peak_bytes, attention=attention))

    def _warm_decoder(self, start: protocol.Start) -> str:
        decoding = Decoding(start, self._group.device, self._inbox, self._send)
        decoding.warm()
        self._maker: Making | Decoding = decoding
        return "none"

    def _warm_pipeline(self, start: protocol.Start) -> str:
        """Returns: what computes attention."""
        spec, device = start.spec, self._group.device
        pipe = load(Path(start.model), spec, self._group)
        self._maker = Making(pipe, spec, self._group, self._inbox, self._send)
        sizes = ModelSizes.of(Path(start.model))
        for number, tier in enumerate(spec.tiers, start=1):
            detail = f"warming tier {tier.name} ({number} of {len(spec.tiers)})"

            def between(progress: Progress, detail: str = detail) -> None:
                self._say(WorkerState.WARMING, f"{detail}: {progress.stage} {progress.step}/{progress.steps}")

            def fits(jobs: int, tier: Tier = tier) -> bool:
                return device.type == "cpu" or tier_need(sizes, spec, tier, jobs).needed_bytes <= ours_bytes(device)

            if warmed := warm_tier(pipe, tier, spec, Path(start.scratch), between, self._group, fits):
                self._send(warmed)
        return used_by(pipe)

    def _say(self, state: WorkerState, detail: str) -> None:
        self._send(protocol.Starting(state=state, detail=detail))

    def _send(self, event: protocol.Event) -> None:
        """What rank 0 reports for all."""
        if self._seat.rank == 0:
            self._tell(event)

    def _tell(self, event: protocol.Event) -> None:
        try:
            self._channel.sendall(protocol.to_line(event))
        except OSError:
            os._exit(0)  # nobody listens any more


def ours_bytes(device: torch.device) -> int:
    """Device memory that this process has or may still get."""
    return int(torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device))


def main(channel: socket.socket, seat: Seat) -> None:
    """Runs one rank over this end of a socket pair."""
    _tie_to_parent(f"vf-compute-{seat.rank}")
    logs.configure()
    diffusers.utils.logging.set_verbosity_error()
    transformers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or max(1, torch.get_num_threads() // seat.ranks)))
    compute = Compute(channel, seat)
    try:
        compute.run()
    except Exception as error:
        compute.break_off(error)
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _tie_to_parent(name: str) -> None:
    """Dies with its parent, is named in `ps`, and leaves signals to the supervisor."""
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    libc.prctl(PR_SET_NAME, name.encode())
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
