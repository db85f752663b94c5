"""The compute process: loads, warms, then makes one video after the other as the supervisor says.

Invariant: it never outlives its supervisor. The socket's end stops it at once, whatever it is doing; should that
thread not get to run, the kernel kills it with its parent. One pipeline, one working thread: the VAE is not reentrant.
"""

import ctypes
import gc
import logging
import os
import queue
import signal
import socket
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from safetensors import SafetensorError

from videofleet import logs
from videofleet.beacons import WorkerFault, WorkerState
from videofleet.jobs import ErrorCode, Progress
from videofleet.tiers import tier_faults
from videofleet.workerspec import WorkerSpec
from videofleet_worker import protocol
from videofleet_worker.compute import checkpoint
from videofleet_worker.compute.denoise import Denoising, NotFinite, begin
from videofleet_worker.compute.generate import Clip, generate
from videofleet_worker.compute.loading import load, out_of_memory
from videofleet_worker.compute.prompts import Prompts
from videofleet_worker.compute.warmup import warm_tier
from videofleet_worker.faults import Fault

log = logging.getLogger(__name__)

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15


class JobStopped(Exception):
    """The supervisor asked to stop this job."""


class Inbox:
    """Reads commands on a thread of its own, so that a stop gets through while the device works."""

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
                self._stops.pop(command.job, None)  # a stop that came too late meant an earlier attempt
            self._work.put(command)
        os._exit(0)  # the supervisor is gone or has let go; nothing here is worth keeping


class Saver:
    """Writes one job's state when it is due, for the supervisor to store."""

    def __init__(self, work: protocol.Generate, belongs_to: dict[str, Any], job: Denoising) -> None:
        self._work = work
        self._belongs_to = belongs_to
        self._job = job
        self._saved_step = job.step
        self._saved_at = time.monotonic()

    @property
    def is_due(self) -> bool:
        """Whether more work than agreed would be lost by now."""
        return time.monotonic() - self._saved_at >= self._work.checkpoint_every_s

    def save(self) -> protocol.Checkpointed | None:
        """Writes the state unless it lies there already; a full disk costs the checkpoint, not the job."""
        step = self._job.step
        if step == self._saved_step:
            return None
        self._saved_step, self._saved_at = step, time.monotonic()
        path = Path(f"{self._work.checkpoint_path}.{step}")
        try:
            checkpoint.save(path, self._job, self._belongs_to)
        except (OSError, SafetensorError) as error:
            log.warning("checkpoint not written", extra={"job": self._work.job, "error": type(error).__name__})
            path.unlink(missing_ok=True)
            return None
        return protocol.Checkpointed(job=self._work.job, path=str(path), step=step)


class Compute:
    """One pipeline at work."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._inbox = Inbox(channel)

    def run(self) -> None:
        """Serves until the supervisor lets go; returns only after a fault."""
        start = self._inbox.next_work()
        assert isinstance(start, protocol.Start), "the first command is always start"  # noqa: S101 - a bug, not input
        try:
            self._start(start)
        except Fault as fault:
            self._send(protocol.Faulted(reason=fault.reason, message=fault.message))
            return
        while True:
            work = self._inbox.next_work()
            if isinstance(work, protocol.Generate):
                self._send(self._outcome(work))

    def _start(self, start: protocol.Start) -> None:
        self._say(WorkerState.LOADING, f"loading {Path(start.model).name} as {start.spec.dtype}")
        self._spec = start.spec
        self._pipe = load(Path(start.model), start.spec)
        self._prompts = Prompts(self._pipe)
        for tier in start.spec.tiers:
            if faults := tier_faults(tier, start.spec.architecture):
                raise Fault(WorkerFault.MODEL_MISMATCH, f"tier {tier.name}: {faults[0]}; correct spec.tiers")
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
        peak_bytes = torch.cuda.max_memory_allocated() if torch.cuda.is_available() and start.spec.gpus else None
        self._send(protocol.Ready(peak_bytes=peak_bytes))

    def _warm(self, spec: WorkerSpec, scratch: Path) -> None:
        for number, tier in enumerate(spec.tiers, start=1):
            detail = f"warming tier {tier.name} ({number} of {len(spec.tiers)})"

            def between(progress: Progress, detail: str = detail) -> None:
                self._say(WorkerState.WARMING, f"{detail}: {progress.stage} {progress.step}/{progress.steps}")

            self._send(warm_tier(self._pipe, tier, spec.warmup, scratch, between))

    def _outcome(self, work: protocol.Generate) -> protocol.Outcome:
        """What became of the job. A broken device is no outcome: it ends the process."""
        if faults := self._request_faults(work):
            return _failed(work.job, ErrorCode.GENERATION_FAILED, faults[0], retry=False)
        try:
            clip = self._generate(work)
        except JobStopped:
            return protocol.Stopped(job=work.job)
        except NotFinite as error:
            return _failed(work.job, ErrorCode.NOT_FINITE, str(error), retry=True)
        except torch.AcceleratorError:
            raise
        except Exception as error:
            # Neither text nor message of the exception is kept: either may quote the prompt.
            where = "".join(traceback.format_tb(error.__traceback__))
            log.error("generation failed", extra={"job": work.job, "error": type(error).__name__, "where": where})
            return _failed(work.job, ErrorCode.GENERATION_FAILED, _generation_error(error), retry=True)
        finally:
            self._clean()
        return protocol.Generated(job=work.job, frames=clip.frames, seconds_per_step=clip.seconds_per_step)

    def _generate(self, work: protocol.Generate) -> Clip:
        """The video's frames. Raises: JobStopped, NotFinite and what torch raises."""
        steps = work.request.tier.num_inference_steps
        self._send(protocol.Progressed(job=work.job, progress=Progress(stage="encoding_prompt", steps=steps)))
        belongs_to = checkpoint.label(work.job, self._spec.revision, work.request)
        job = self._begun(work, belongs_to)
        saver = Saver(work, belongs_to, job)

        def between(progress: Progress) -> None:
            stop = self._inbox.stop_of(work.job)
            if (stop.checkpoint if stop else saver.is_due) and (saved := saver.save()):
                self._send(saved)
            if stop:
                raise JobStopped
            self._send(protocol.Progressed(job=work.job, progress=progress))

        return generate(self._pipe, job, work.request.tier, Path(work.frames_path), between)

    def _begun(self, work: protocol.Generate, belongs_to: dict[str, Any]) -> Denoising:
        """At the first step, or where an earlier attempt left off."""
        job: Denoising = begin(self._pipe, work.request, prompts=self._prompts)
        if work.resume_path is not None:
            ignored = ""
            try:
                checkpoint.restore(Path(work.resume_path), job, belongs_to)
            except checkpoint.Unusable as error:
                ignored = str(error)
            self._send(protocol.Resumed(job=work.job, step=job.step, ignored=ignored))
        return job

    def _request_faults(self, work: protocol.Generate) -> list[str]:
        faults = tier_faults(work.request.tier, self._spec.architecture)
        if work.request.guidance_scale_2 is not None and self._pipe.transformer_2 is None:
            faults.append(f"guidance_scale_2 needs two experts; {self._spec.architecture} has one")
        return faults

    def _clean(self) -> None:
        """Feature caches and freed memory of a job must not reach the next one."""
        for model in (self._pipe.transformer, self._pipe.transformer_2):
            if model is not None:
                model._reset_stateful_cache()  # noqa: SLF001 - diffusers has no public way after an aborted run
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _say(self, state: WorkerState, detail: str) -> None:
        self._send(protocol.Starting(state=state, detail=detail))

    def _send(self, event: protocol.Event) -> None:
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


def main(channel: socket.socket) -> None:
    """Runs the compute process over this end of a socket pair."""
    _tie_to_parent()
    logs.configure()
    diffusers.utils.logging.set_verbosity_error()
    transformers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    if threads := os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(int(threads))
    Compute(channel).run()


def _tie_to_parent() -> None:
    """Dies with its parent, is named in `ps`, and leaves signals to the supervisor."""
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    libc.prctl(PR_SET_NAME, b"vf-compute")
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
