"""Warm-up: a tier is warm when real generations of its shape cost the same twice in a row.

A run is two denoising steps for each expert that the tier's schedule uses, and a full decode. It compiles, allocates
and touches every weight that a job will need, and shows NaN before a user sees one.
"""

import logging
from pathlib import Path

from diffusers import WanPipeline

from videofleet.jobs import Progress, VideoRequest
from videofleet.tiers import Tier
from videofleet.workerspec import Warmup
from videofleet_worker.compute.denoise import begin
from videofleet_worker.compute.generate import Between, Clip, decode_to_file, timed_step
from videofleet_worker.protocol import TierWarmed

log = logging.getLogger(__name__)

STEPS_PER_EXPERT = 2
PROMPT = "a calm sea at night"


def warm_tier(pipe: WanPipeline, tier: Tier, settings: Warmup, scratch: Path, between: Between) -> TierWarmed:
    """Runs the tier until seconds per step settle or `max_runs` is reached. Raises: NotFinite."""
    path = scratch / f"warmup-{tier.name}.rgb"
    clip = _run(pipe, tier, path, between)
    runs = 1
    settled = False
    while runs < settings.max_runs and not settled:
        before, clip = clip.seconds_per_step, _run(pipe, tier, path, between)
        settled = abs(clip.seconds_per_step - before) <= settings.stable_within * before
        runs += 1
    log.info("tier warm", extra={"tier": tier.name, "runs": runs, "settled": settled})
    return TierWarmed(
        tier=tier.name,
        runs=runs,
        seconds_per_step=clip.seconds_per_step,
        decode_s=clip.decode_s,
        frames=clip.frames,
    )


def _run(pipe: WanPipeline, tier: Tier, path: Path, between: Between) -> Clip:
    request = VideoRequest(prompt=PROMPT, seed=0, tier=tier)
    job = begin(pipe, request)
    seconds = []
    for first in _first_steps(job.experts):
        if first:
            job = begin(pipe, request, first_step=first)
        while job.step < min(first + STEPS_PER_EXPERT, job.steps) and job.experts[job.step] == job.experts[first]:
            between(Progress(stage="denoising", step=job.step, steps=job.steps))
            seconds.append(timed_step(pipe, job))
    return decode_to_file(
        pipe,
        job.latents,
        tier,
        path,
        seconds_per_step=sum(seconds) / len(seconds),
        between=lambda: between(Progress(stage="decoding", step=job.steps, steps=job.steps)),
    )


def _first_steps(experts: tuple[str, ...]) -> list[int]:
    """Where each expert begins: 20 steps of A14B, 7 of them high-noise → [0, 7]."""
    return [index for index, expert in enumerate(experts) if index == 0 or expert != experts[index - 1]]
