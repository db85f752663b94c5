"""One job from its state to a frames file, with a word to the caller between two steps.

The caller's `between` raises to stop the work; it runs before each denoising step and after each decoded latent frame,
so that nothing is decoded for a job that was stopped.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKLWan, WanPipeline

from videofleet.jobs import Progress
from videofleet.tiers import Tier
from videofleet_worker.compute.batch import Batch
from videofleet_worker.compute.decode import decoded_frames
from videofleet_worker.compute.denoise import Denoising
from videofleet_worker.compute.group import SOLO, Group
from videofleet_worker.compute.speed import forget
from videofleet_worker.protocol import FramesFile

Between = Callable[[Progress], None]


@dataclass(frozen=True)
class Clip:
    """A finished clip and what it cost."""

    frames: FramesFile
    seconds_per_step: float
    decode_s: float


def denoise(pipe: WanPipeline, job: Denoising, between: Between, group: Group = SOLO) -> None:
    """All steps of one job from wherever it is. Raises: NotFinite, what `between` and what torch raise."""
    steps = job.steps
    while job.step < steps:
        between(Progress(stage="denoising", step=job.step, steps=steps))
        timed_step(pipe, [job], group)
    between(Progress(stage="decoding", step=steps, steps=steps))


def timed_step(pipe: WanPipeline, jobs: Sequence[Denoising], group: Group = SOLO) -> float:
    """One step of them all; seconds. Raises: NotFinite and what torch raises."""
    begun = time.perf_counter()
    for _, error in Batch(pipe, jobs, group).step():
        raise error
    return time.perf_counter() - begun


def decode_to_file(
    pipe: WanPipeline, job: Denoising, tier: Tier, path: Path, between: Between, *, seconds_per_step: float
) -> Clip:
    """Decodes the latents into `path`. Raises: as `denoise`."""
    begun = time.perf_counter()
    forget(pipe)
    progress = Progress(stage="decoding", step=job.step, steps=job.steps)
    frames = frames_in_file(pipe.vae, job.latents, tier, path, lambda: between(progress))
    return Clip(frames, seconds_per_step, decode_s=time.perf_counter() - begun)


def frames_in_file(
    vae: AutoencoderKLWan, latents: torch.Tensor, tier: Tier, path: Path, between: Callable[[], None]
) -> FramesFile:
    """The clip, written to `path`, which is removed when that does not end well. Raises: as `decode_to_file`."""
    count = 0
    try:
        with path.open("wb") as file:
            for chunk in decoded_frames(vae, latents):
                file.write(chunk.data)
                count += len(chunk)
                between()
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return FramesFile(path=str(path), width=tier.width, height=tier.height, num_frames=count, fps=tier.fps)
