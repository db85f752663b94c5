"""A compute process, one rank of its group: loads, warms, then makes one video after the other as the supervisor says.

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
from typing import Any, Final

import diffusers
import torch
import torch.distributed as dist
import transformers

from videofleet import logs
from videofleet.beacons import WorkerFault, WorkerState
from videofleet.jobs import ErrorCode, Progress
from videofleet.tiers import tier_faults
from videofleet.workerspec import WorkerSpec
from videofleet_worker import protocol
from videofleet_worker.compute import checkpoint
from videofleet_worker.compute.attention import used_by
from videofleet_worker.compute.denoise import Denoising, NotFinite, begin
from videofleet_worker.compute.entry import Seat
from videofleet_worker.compute.generate import Clip, decode_to_file, denoise
from videofleet_worker.compute.group import Drifted, Group
from videofleet_worker.compute.inbox import Inbox
from videofleet_worker.compute.loading import load, out_of_memory
from videofleet_worker.compute.parallel import experts_of
from videofleet_worker.compute.prompts import Prompts
from videofleet_worker.compute.saver import Saver
from videofleet_worker.compute.warmup import warm_tier
from videofleet_worker.faults import Fault

log = logging.getLogger(__name__)

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
LOST_PEER: Final = re.compile(r"onnection (closed|reset|refused)|NCCL|remote process|Broken pipe")


class JobStopped(Exception):
    """The supervisor asked to stop this job."""


class Compute:
    """One rank at work."""

    def __init__(self, channel: socket.socket, seat: Seat) -> None:
        self._channel = channel
        self._seat = seat
        self._inbox = Inbox(channel)
        self._is_in_step = True  # all ranks at once: until the group is warm, and while a job denoises

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
            self._is_in_step = False
            work = self._next_work()
            if isinstance(work, protocol.Generate):
                self._send(self._outcome(work))

    def break_off(self, error: Exception) -> None:
        """Ends the process: with it goes the group. The supervisor is told why, unless another rank was first."""
        rank, text = self._seat.rank, str(error)
        if isinstance(error, RuntimeError) and LOST_PEER.search(text):
            log.warning("another rank is gone", extra={"rank": rank})
            os._exit(protocol.LOST_PEER_EXIT)
        where = "".join(traceback.format_tb(error.__traceback__))
        log.error("rank broke", extra={"rank": rank, "error": type(error).__name__, "where": where})
        self._tell(protocol.Broke(rank=rank, message=_generation_error(error)))
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
        self._spec = start.spec
        for tier in start.spec.tiers:
            if faults := tier_faults(tier, start.spec.architecture, self._group.ulysses):
                raise Fault(WorkerFault.MODEL_MISMATCH, f"tier {tier.name}: {faults[0]}; correct spec.tiers")
        self._pipe = load(Path(start.model), start.spec, self._group)
        self._prompts = Prompts(self._pipe, self._group)
        try:
            self._warm(start.spec, Path(start.scratch))
        except NotFinite as error:
            raise Fault(
                WorkerFault.NOT_FINITE,
                f"{error}; the weights are damaged or do not hold {start.spec.dtype}: try another spec.model.dtype",
            ) from error
        except torch.OutOfMemoryError as error:
            raise out_of_memory() from error
        gc.freeze()  # what lives now lives for ever; no need to look at it again
        peak_bytes = torch.cuda.max_memory_allocated() if self._group.device.type == "cuda" else None
        self._send(protocol.Ready(peak_bytes=peak_bytes, attention=used_by(self._pipe)))

    def _warm(self, spec: WorkerSpec, scratch: Path) -> None:
        for number, tier in enumerate(spec.tiers, start=1):
            detail = f"warming tier {tier.name} ({number} of {len(spec.tiers)})"

            def between(progress: Progress, detail: str = detail) -> None:
                self._say(WorkerState.WARMING, f"{detail}: {progress.stage} {progress.step}/{progress.steps}")

            if warmed := warm_tier(self._pipe, tier, spec, scratch, between, self._group):
                self._send(warmed)

    def _outcome(self, work: protocol.Generate) -> protocol.Outcome:
        """What became of the job. A broken device or group is no outcome: it ends the process."""
        if faults := self._request_faults(work):
            return _failed(work.job, ErrorCode.GENERATION_FAILED, faults[0], retry=False)
        try:
            clip = self._generate(work)
        except JobStopped:
            return protocol.Stopped(job=work.job)
        except NotFinite as error:
            return _failed(work.job, ErrorCode.NOT_FINITE, str(error), retry=True)
        except Drifted as error:
            log.error("ranks drifted", extra={"job": work.job, "error": str(error)})
            return _failed(work.job, ErrorCode.GENERATION_FAILED, str(error), retry=True)
        except torch.AcceleratorError:
            raise
        except Exception as error:
            if self._group.ranks > 1 and self._is_in_step:
                raise
            # Neither text nor message of the exception is kept: either may quote the prompt.
            where = "".join(traceback.format_tb(error.__traceback__))
            log.error("generation failed", extra={"job": work.job, "error": type(error).__name__, "where": where})
            return _failed(work.job, ErrorCode.GENERATION_FAILED, _generation_error(error), retry=True)
        finally:
            self._clean()
        if clip is None:
            return protocol.Stopped(job=work.job)  # of a rank that only denoises; nobody hears it
        return protocol.Generated(job=work.job, frames=clip.frames, seconds_per_step=clip.seconds_per_step)

    def _generate(self, work: protocol.Generate) -> Clip | None:
        """The video's frames, on rank 0. Raises: JobStopped, NotFinite, Drifted and what torch raises."""
        steps = work.request.tier.num_inference_steps
        self._send(protocol.Progressed(job=work.job, progress=Progress(stage="encoding_prompt", steps=steps)))
        self._is_in_step = True
        belongs_to = checkpoint.label(work.job, self._spec.revision, work.request)
        job = self._begun(work, belongs_to)
        saver = Saver(work, belongs_to, job)

        def between_steps(progress: Progress) -> None:
            """All ranks stop at the same step, because rank 0 says so."""
            stop = self._inbox.stop_of(work.job)
            is_stopped = bool(self._group.meet(int(stop is not None), job.latents))
            if self._group.leads and (stop.checkpoint if stop else saver.is_due) and (saved := saver.save()):
                self._send(saved)
            if is_stopped:
                raise JobStopped
            self._send(protocol.Progressed(job=work.job, progress=progress))

        def between_frames(progress: Progress) -> None:
            if self._inbox.stop_of(work.job):
                raise JobStopped
            self._send(protocol.Progressed(job=work.job, progress=progress))

        denoise(self._pipe, job, between_steps, self._group)
        self._is_in_step = False
        if not self._group.leads:
            return None
        path, seconds_per_step = Path(work.frames_path), job.seconds / job.steps
        return decode_to_file(
            self._pipe, job, work.request.tier, path, between_frames, seconds_per_step=seconds_per_step
        )

    def _begun(self, work: protocol.Generate, belongs_to: dict[str, Any]) -> Denoising:
        """At the first step, or where an earlier attempt left off."""
        job: Denoising = begin(self._pipe, work.request, prompts=self._prompts, guidance=self._spec.guidance)
        if work.resume_path is not None:
            ignored = ""
            try:
                checkpoint.restore(Path(work.resume_path), job, belongs_to)
            except checkpoint.Unusable as error:
                ignored = str(error)
            self._send(protocol.Resumed(job=work.job, step=job.step, ignored=ignored))
        return job

    def _request_faults(self, work: protocol.Generate) -> list[str]:
        faults = tier_faults(work.request.tier, self._spec.architecture, self._group.ulysses)
        if work.request.guidance_scale_2 is not None and self._pipe.transformer_2 is None:
            faults.append(f"guidance_scale_2 needs two experts; {self._spec.architecture} has one")
        return faults

    def _clean(self) -> None:
        """Feature caches and freed memory of a job must not reach the next one."""
        for model in experts_of(self._pipe):
            model._reset_stateful_cache()  # noqa: SLF001 - diffusers has no public way after an aborted run
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

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


def _failed(job: str, code: ErrorCode, message: str, *, retry: bool) -> protocol.Failed:
    return protocol.Failed(job=job, code=code, message=message, retry=retry)


def _generation_error(error: Exception) -> str:
    if isinstance(error, torch.OutOfMemoryError):
        return "the device ran out of memory for this request; a smaller tier needs less"
    return f"the pipeline raised {type(error).__name__}; the worker's log says where"


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
