"""How many jobs of a tier gain from denoising together: measured at warm-up, because large videos gain nothing.

A pass of a large video keeps the device busy by itself; of a small one it mostly starts kernels and reads weights,
which jobs can share. Twice as many jobs are worth the wait for each other only if they are made 1.15 times as fast.
"""

import logging
from collections.abc import Callable
from typing import Final

from diffusers import WanPipeline

from videofleet.jobs import VideoRequest
from videofleet.tiers import Tier, tokens
from videofleet.workerspec import Speed, WorkerSpec
from videofleet_worker.compute.denoise import begin
from videofleet_worker.compute.generate import timed_step
from videofleet_worker.compute.group import Group
from videofleet_worker.compute.prompts import Prompts

log = logging.getLogger(__name__)

Fits = Callable[[int], bool]

SIZES: Final = (2, 4, 8)
MOST_TOKENS: Final = 8192  # in one pass; measured elsewhere, kernels are full from 3,000 to 4,000
LEAST_GAIN: Final = 1.15  # of each doubling
STEPS: Final = 3  # of which the fastest counts, after one that allocates and compiles


def batch_gain(
    pipe: WanPipeline,
    tier: Tier,
    spec: WorkerSpec,
    prompts: Prompts,
    group: Group,
    fits: Fits,
) -> tuple[int, float]:
    """The most jobs that should denoise together, and how many times as fast that is. (1, 1.0): it does not pay.

    `fits` says of a number of jobs whether the device's memory will hold them. Raises: NotFinite and what torch raises.
    """
    size, gain = 1, 1.0
    if spec.speed is not Speed.EXACT:  # a cache is of one shape, and takes its decisions for all rows together
        return size, gain
    if tier.num_inference_steps == 1:
        return size, gain
    for candidate in SIZES:
        is_allowed = candidate * tokens(tier, spec.architecture) <= MOST_TOKENS and fits(candidate)
        if not group.decide(is_allowed):
            break
        found = _gain(pipe, tier, spec, prompts, group, candidate)
        if not group.decide(found >= LEAST_GAIN * gain):
            break
        size, gain = candidate, found
    log.info("batch measured", extra={"tier": tier.name, "batch": size, "gain": round(gain, 2)})
    return size, gain


def _gain(pipe: WanPipeline, tier: Tier, spec: WorkerSpec, prompts: Prompts, group: Group, size: int) -> float:
    """The fastest of some steps alone against so many jobs'; they take turns, so that noise disturbs both alike."""
    request = VideoRequest(prompt="a calm sea at night", seed=0, tier=tier)
    rows = [begin(pipe, request, prompts=prompts, guidance=spec.guidance) for _ in range(1 + size)]
    alone_s, together_s = [], []
    for _ in range(min(1 + STEPS, tier.num_inference_steps)):
        alone_s.append(timed_step(pipe, rows[:1], group))
        together_s.append(timed_step(pipe, rows[1:], group))
    group.meet(0, *(row.latents for row in rows))
    return size * min(alone_s[1:]) / min(together_s[1:])
