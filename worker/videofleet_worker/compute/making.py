"""From one command to an outcome for each of its jobs: begin, denoise together, decode one after the other.

Invariant: a stop, NaN or missing memory is the outcome of the job that it met, and its neighbours go on. What breaks
the device, or happens on one rank only in the middle of a step, is no outcome: it ends the process and with it the
group, because the other ranks wait and cannot be called back.
"""

import logging
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import WanPipeline

from videofleet.jobs import ErrorCode, Progress
from videofleet.tiers import tier_faults
from videofleet.workerspec import WorkerSpec
from videofleet_worker import protocol
from videofleet_worker.compute import checkpoint
from videofleet_worker.compute.batch import Batch
from videofleet_worker.compute.denoise import Denoising, NotFinite, begin
from videofleet_worker.compute.generate import decode_to_file
from videofleet_worker.compute.group import Drifted, Group
from videofleet_worker.compute.inbox import Inbox
from videofleet_worker.compute.prompts import Prompts
from videofleet_worker.compute.saver import Saver
from videofleet_worker.compute.speed import forget

log = logging.getLogger(__name__)

Send = Callable[[protocol.Event], None]


class JobStopped(Exception):
    """The supervisor asked to stop this job."""


class Impossible(Exception):
    """The request is one that this model cannot fulfil, on no worker."""


@dataclass
class Row:
    """One job on its way."""

    work: protocol.Work
    job: Denoising
    saver: Saver


class Making:
    """How one rank makes videos. `send` is heard of rank 0 only."""

    def __init__(self, pipe: WanPipeline, spec: WorkerSpec, group: Group, inbox: Inbox, send: Send) -> None:
        self._pipe = pipe
        self._spec = spec
        self._group = group
        self._inbox = inbox
        self._send = send
        self._prompts = Prompts(pipe, group)
        self._is_in_step = False  # all ranks at once
        self._rows: list[Row] = []

    def make(self, works: Sequence[protocol.Work]) -> None:
        """Every job to its outcome. Raises: what breaks device or group."""
        self._rows = []
        try:
            self._is_in_step = True
            for work in works:
                with self._settling(work):
                    self._rows.append(self._begun(work))
            self._denoise(Batch(self._pipe, [row.job for row in self._rows], self._group))
            self._is_in_step = False
            if self._group.leads:
                for row in list(self._rows):
                    with self._settling(row.work):
                        self._send(self._handed_over(row) or self._decoded(row))
        finally:
            self._clean()

    def _begun(self, work: protocol.Work) -> Row:
        """At the first step, or where an earlier attempt left off. Raises: Impossible."""
        if faults := self._request_faults(work):
            raise Impossible(faults[0])
        steps = work.request.tier.num_inference_steps
        self._send(protocol.Progressed(job=work.job, progress=Progress(stage="encoding_prompt", steps=steps)))
        belongs_to = checkpoint.label(work.job, self._spec.revision, work.request)
        job: Denoising = begin(self._pipe, work.request, prompts=self._prompts, guidance=self._spec.guidance)
        if work.resume_path is not None:
            ignored = ""
            try:
                checkpoint.restore(Path(work.resume_path), job, belongs_to)
            except checkpoint.Unusable as error:
                ignored = str(error)
            self._send(protocol.Resumed(job=work.job, step=job.step, ignored=ignored))
        return Row(work, job, Saver(work, belongs_to, job))

    def _request_faults(self, work: protocol.Work) -> list[str]:
        faults = tier_faults(work.request.tier, self._spec.architecture, self._group.ulysses)
        if work.request.guidance_scale_2 is not None and self._pipe.transformer_2 is None:
            faults.append(f"guidance_scale_2 needs two experts; {self._spec.architecture} has one")
        return faults

    def _denoise(self, batch: Batch) -> None:
        while batch.jobs:
            self._between_steps()
            batch.jobs = [row.job for row in self._rows]
            if not batch.jobs or batch.jobs[0].step == batch.jobs[0].steps:
                return
            try:
                lost = batch.step()
            except Exception as error:  # of the pass that they share
                self._lose(self._rows, error)
                return
            for job, fault in lost:
                self._lose([row for row in self._rows if row.job is job], fault)

    def _between_steps(self) -> None:
        """All ranks stop the same jobs at the same step, because rank 0 says so."""
        rows = list(self._rows)
        stops = [self._inbox.stop_of(row.work.job) for row in rows]
        word = sum(1 << index for index, stop in enumerate(stops) if stop is not None)
        try:
            word = self._group.meet(word, *(row.job.latents for row in rows))
        except Drifted as drifted:
            self._lose(rows, drifted)
            return
        for index, (row, stop) in enumerate(zip(rows, stops, strict=True)):
            with self._settling(row.work):
                is_due = stop.checkpoint if stop else row.saver.is_due
                if self._group.leads and is_due and (saved := row.saver.save()):
                    self._send(saved)
                if word >> index & 1:
                    raise JobStopped
                stage = "denoising" if row.job.step < row.job.steps else "decoding"
                self._report(row, stage)

    def _lose(self, rows: Sequence[Row], error: Exception) -> None:
        for row in rows:
            with self._settling(row.work):
                raise error

    def _handed_over(self, row: Row) -> protocol.Denoised | None:
        """None when this process is to decode: nobody else does, or there is no room for the state."""
        if not row.work.hands_over or (path := row.saver.save_last()) is None:
            return None
        seconds_per_step = row.job.seconds / row.job.steps
        return protocol.Denoised(job=row.work.job, path=str(path), seconds_per_step=seconds_per_step)

    def _decoded(self, row: Row) -> protocol.Generated:
        """Raises: JobStopped, NotFinite and what torch raises."""

        def between(_: Progress) -> None:
            if self._inbox.stop_of(row.work.job):
                raise JobStopped
            self._report(row, "decoding")

        path, seconds_per_step = Path(row.work.frames_path), row.job.seconds / row.job.steps
        clip = decode_to_file(
            self._pipe, row.job, row.work.request.tier, path, between, seconds_per_step=seconds_per_step
        )
        return protocol.Generated(job=row.work.job, frames=clip.frames, seconds_per_step=seconds_per_step)

    def _report(self, row: Row, stage: str) -> None:
        progress = Progress(stage=stage, step=row.job.step, steps=row.job.steps)
        self._send(protocol.Progressed(job=row.work.job, progress=progress))

    @contextmanager
    def _settling(self, work: protocol.Work) -> Iterator[None]:
        """What goes wrong inside is this job's outcome, and it is a row no more."""
        try:
            yield
        except Exception as error:
            if isinstance(error, torch.AcceleratorError) or (not _is_expected(error) and self._is_shared):
                raise
            self._rows = [row for row in self._rows if row.work is not work]
            self._send(outcome_of(work.job, error))

    @property
    def _is_shared(self) -> bool:
        """Whether other ranks are in the midst of the same step."""
        return self._group.ranks > 1 and self._is_in_step

    def _clean(self) -> None:
        """Feature caches and freed memory of these jobs must not reach the next ones."""
        self._rows = []
        forget(self._pipe)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _is_expected(error: Exception) -> bool:
    """Whether every rank comes to it at the same place."""
    return isinstance(error, JobStopped | NotFinite | Drifted | Impossible)


def outcome_of(job: str, error: Exception) -> protocol.Outcome:
    """What is said of a job that `error` ended; an unexpected one's text is not kept, it may quote the prompt."""
    match error:
        case JobStopped():
            return protocol.Stopped(job=job)
        case Impossible() | checkpoint.Unusable():
            return _failed(job, ErrorCode.GENERATION_FAILED, str(error), retry=False)
        case NotFinite():
            return _failed(job, ErrorCode.NOT_FINITE, str(error))
        case Drifted():
            log.error("ranks drifted", extra={"job": job, "error": str(error)})
            return _failed(job, ErrorCode.GENERATION_FAILED, str(error))
        case _:
            where = "".join(traceback.format_tb(error.__traceback__))
            log.error("generation failed", extra={"job": job, "error": type(error).__name__, "where": where})
            return _failed(job, ErrorCode.GENERATION_FAILED, generation_error(error))


def _failed(job: str, code: ErrorCode, message: str, *, retry: bool = True) -> protocol.Failed:
    return protocol.Failed(job=job, code=code, message=message, retry=retry)


def generation_error(error: Exception) -> str:
    """For people; without the exception's own message."""
    if isinstance(error, torch.OutOfMemoryError):
        return "the device ran out of memory for this request; a smaller tier needs less"
    return f"the pipeline raised {type(error).__name__}; the worker's log says where"
