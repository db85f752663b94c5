"""Warm-up: a tier is warm when real generations of its shape cost the same twice in a row.

A run is two denoising steps for each expert that the tier's schedule uses, and a full decode. It compiles, allocates
and touches every weight that a job will need, and shows NaN before a user sees one. Then several jobs are tried.
"""

import logging
from pathlib import Path

from diffusers import WanPipeline

from videofleet.jobs import Progress, VideoRequest
from videofleet.tiers import Tier
from videofleet.workerspec import Guidance, WorkerSpec
from videofleet_worker.compute.denoise import begin
from videofleet_worker.compute.gain import Fits, batch_gain
from videofleet_worker.compute.generate import Between, Clip, decode_to_file, timed_step
from videofleet_worker.compute.group import SOLO, Group
from videofleet_worker.compute.prompts import Prompts
from videofleet_worker.protocol import TierWarmed

log = logging.getLogger(__name__)

STEPS_PER_EXPERT = 2
PROMPT = "a calm sea at night"


def warm_tier(
    pipe: WanPipeline,
    tier: Tier,
    spec: WorkerSpec,
    scratch: Path,
    between: Between,
    group: Group = SOLO,
    fits: Fits = lambda _: True,
) -> TierWarmed | None:
    """Runs the tier until seconds per step settle or `max_runs` is reached; rank 0 has the times. Raises: NotFinite.

    `fits` says of a number of jobs whether the device's memory will hold them together.
    """
    prompts = Prompts(pipe, group)
    path = scratch / f"warmup-{tier.name}.rgb"

    def run() -> Clip | None:
        return _run(pipe, tier, path, between, prompts, group, spec.guidance)

    clip = run()
    runs = 1
    settled = False
    while runs < spec.warmup.max_runs and not settled:
        before, clip = clip, run()
        settled = bool(group.decide(_agree(before, clip, spec.warmup.stable_within)))
        runs += 1
    batch, gain = batch_gain(pipe, tier, spec, prompts, group, fits)
    if clip is None:
        return None
    log.info("tier warm", extra={"tier": tier.name, "runs": runs, "settled": settled})
    return TierWarmed(
        tier=tier.name,
        runs=runs,
        seconds_per_step=clip.seconds_per_step,
        decode_s=clip.decode_s,
        frames=clip.frames,
        batch=batch,
        gain=gain,
    )


def _agree(one: Clip | None, other: Clip | None, within: float) -> bool:
    """Whether two runs took the same time; ranks without a clip have no say."""
    if one is None or other is None:
        return False
    return abs(other.seconds_per_step - one.seconds_per_step) <= within * one.seconds_per_step


def _run(
    pipe: WanPipeline,
    tier: Tier,
    path: Path,
    between: Between,
    prompts: Prompts,
    group: Group,
    guidance: Guidance,
) -> Clip | None:
    request = VideoRequest(prompt=PROMPT, seed=0, tier=tier)
    job = begin(pipe, request, prompts=prompts, guidance=guidance)
    seconds = []
    for first in _first_steps(job.experts):
        if first:
            job = begin(pipe, request, first_step=first, prompts=prompts, guidance=guidance)
        while job.step < min(first + STEPS_PER_EXPERT, job.steps) and job.experts[job.step] == job.experts[first]:
            between(Progress(stage="denoising", step=job.step, steps=job.steps))
            seconds.append(timed_step(pipe, [job], group))
    group.meet(0, job.latents)
    if not group.leads:
        return None
    return decode_to_file(pipe, job, tier, path, between, seconds_per_step=sum(seconds) / len(seconds))


def _first_steps(experts: tuple[str, ...]) -> list[int]:
    """Where each expert begins: 20 steps of A14B, 7 of them high-noise → [0, 7]."""
    return [index for index, expert in enumerate(experts) if index == 0 or expert != experts[index - 1]]
