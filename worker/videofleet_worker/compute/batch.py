"""Jobs that denoise together: one pass through the expert for all of them, everything else each for itself.

Invariant: what becomes of one job changes no other. Memory that does not hold all rows at once makes the passes
narrower, by halves; a job that does not fit even alone is the only one to fail.
"""

import time
from collections.abc import Iterator, Sequence

import torch
from diffusers import WanPipeline

from videofleet_worker.compute.denoise import Denoising, NotFinite, advance, predict
from videofleet_worker.compute.group import SOLO, Group


class Batch:
    """Jobs that stand at the same step. `jobs` are those that go on."""

    def __init__(self, pipe: WanPipeline, jobs: Sequence[Denoising], group: Group = SOLO) -> None:
        self.jobs = list(jobs)
        self._pipe = pipe
        self._group = group
        self._width = len(self.jobs)  # rows of one pass

    def step(self) -> list[tuple[Denoising, Exception]]:
        """One step of every job. Returns: those it was the last one for, and why. Raises: what stops all of them.

        The finite check waits for the device, so the seconds are the step's own; the jobs share them.
        """
        begun, lost = time.perf_counter(), []
        for job, prediction in zip(self.jobs, self._predictions(), strict=True):
            try:
                if isinstance(prediction, torch.OutOfMemoryError):
                    raise prediction
                advance(job, prediction)
            except (NotFinite, torch.OutOfMemoryError) as error:
                lost.append((job, error))
        share_s = (time.perf_counter() - begun) / len(self.jobs)
        for job in self.jobs:
            job.seconds += share_s
        self.jobs = [job for job in self.jobs if all(job is not other for other, _ in lost)]
        return lost

    def _predictions(self) -> Iterator[torch.Tensor | torch.OutOfMemoryError]:
        first = 0
        while first < len(self.jobs):
            found = self._predicted(self.jobs[first : first + self._width])
            yield from found
            first += len(found)

    def _predicted(self, jobs: Sequence[Denoising]) -> Sequence[torch.Tensor | torch.OutOfMemoryError]:
        """A row a job, or none when the next pass has to be narrower."""
        try:
            rows: tuple[torch.Tensor, ...] = predict(self._pipe, jobs, self._group).split(1)
            return rows
        except torch.OutOfMemoryError as error:
            if self._group.ranks > 1:  # the others are in the middle of the pass
                raise
            found = [] if len(jobs) > 1 else [error.with_traceback(None)]  # whose frames hold on to tensors
        self._width = max(1, len(jobs) // 2)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return found
