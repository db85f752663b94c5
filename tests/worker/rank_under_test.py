"""One rank of a group that the tests keep: run by path in a child of the fork server, with `seat` and `channel` given.

It answers calls until the channel ends: `("latents", {...})` → what this rank has after the last step.
"""

from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from diffusers import WanPipeline

from videofleet.jobs import VideoRequest
from videofleet.workerspec import WorkerSpec
from videofleet_worker.compute.batch import Batch
from videofleet_worker.compute.denoise import begin
from videofleet_worker.compute.entry import Seat
from videofleet_worker.compute.generate import denoise
from videofleet_worker.compute.group import Drifted, Group
from videofleet_worker.compute.loading import load
from videofleet_worker.compute.parallel import weight_bytes
from videofleet_worker.compute.prompts import Prompts


@dataclass
class Rank:
    """What the tests may ask of a rank."""

    group: Group
    pipes: dict[str, WanPipeline] = field(default_factory=dict)

    def latents(self, model: Path, spec: WorkerSpec, request: VideoRequest) -> Any:
        """Of one video, as bytes that can be compared, and the bytes of weights that lie here."""
        pipe = self.pipe(model, spec)
        job = begin(pipe, request, prompts=Prompts(pipe, self.group))
        denoise(pipe, job, lambda _: self.group.meet(0, job.latents), self.group)
        return job.latents.numpy(), weight_bytes(pipe)

    def batch(self, model: Path, spec: WorkerSpec, requests: list[VideoRequest]) -> Any:
        """Latents of several videos that were made together."""
        pipe = self.pipe(model, spec)
        jobs = [begin(pipe, request, prompts=Prompts(pipe, self.group)) for request in requests]
        batch = Batch(pipe, jobs, self.group)
        while jobs[0].step < jobs[0].steps:
            self.group.meet(0, *(job.latents for job in jobs))
            batch.step()
        return [job.latents.numpy() for job in jobs]

    def drift(self) -> str:
        """The message when rank 1 has another number than rank 0."""
        try:
            self.group.meet(0, torch.full((1, 2), float(self.group.rank == 1)))
        except Drifted as error:
            return str(error)
        return ""

    def word(self) -> tuple[int, str]:
        """What rank 0 said, to a number and in a text."""
        return self.group.decide(7 + self.group.rank), self.group.share("naïve" if self.group.leads else None)

    def pipe(self, model: Path, spec: WorkerSpec) -> WanPipeline:
        """Loaded once for each spec."""
        key = spec.to_json()
        if key not in self.pipes:
            self.pipes[key] = load(model, spec, self.group)
        return self.pipes[key]


def answer(channel: Connection, seat: Seat) -> None:
    """Until nobody asks any more."""
    torch.set_num_threads(1)
    rank = Rank(Group(seat))
    while True:
        try:
            name, arguments = channel.recv()
        except EOFError:
            return
        channel.send(getattr(rank, name)(**arguments))


if "seat" in globals():
    answer(globals()["channel"], globals()["seat"])
