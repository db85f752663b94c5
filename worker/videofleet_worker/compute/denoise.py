"""The denoise loop: WanPipeline.__call__ cut at its steps, with all state of a request in one object.

Invariant: bit-equal to the pipeline for the same components, request and seed; but where one expert is not guided and
the other is, each does as its own scale says, while the pipeline lets the high-noise one decide for both. Between two
steps the caller may report, stop or hand over, which the pipeline's own loop cannot do. One job's state is its latents,
its copy of the scheduler (UniPC keeps a history of model outputs) and its embeddings; nothing of a job stays on the
pipeline. A step is a prediction, which several jobs may share, and what each job's own scheduler makes of it.
"""

import copy
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from diffusers import WanPipeline

from videofleet.jobs import VideoRequest
from videofleet.workerspec import Guidance
from videofleet_worker.compute.group import SOLO, Group
from videofleet_worker.compute.prompts import Prompts
from videofleet_worker.compute.speed import forget

OF_THE_PIPELINE: Final = Guidance()
DEFAULT_GUIDANCE_SCALE: Final[float] = inspect.signature(WanPipeline.__call__).parameters["guidance_scale"].default


class NotFinite(Exception):
    """NaN or infinity appeared; the message names the place."""


@dataclass
class Denoising:
    """One request between two steps. `experts[i]` names the component that does step i."""

    latents: torch.Tensor
    scheduler: Any
    experts: tuple[str, ...]
    prompt_embeds: torch.Tensor
    negative_prompt_embeds: torch.Tensor | None  # None: no classifier-free guidance
    guidance: dict[str, float]  # expert → scale; up to 1 the expert computes the conditional branch only
    step: int = 0
    seconds: float = 0.0  # that the steps took, all attempts together

    @property
    def steps(self) -> int:
        """Denoising steps in all."""
        return len(self.experts)


@torch.no_grad()  # type: ignore[untyped-decorator]  # torch's types are not followed
def begin(
    pipe: WanPipeline,
    request: VideoRequest,
    *,
    first_step: int = 0,
    prompts: Prompts | None = None,
    guidance: Guidance = OF_THE_PIPELINE,
) -> Denoising:
    """Encodes the prompt and draws the noise; `first_step` other than 0 is for warming a later expert.

    Noise comes from a CPU generator, as diffusers' documents advise: the same seed on every kind of device.
    """
    forget(pipe)
    high_noise, low_noise = _scales(request, guidance)
    prompts = prompts or Prompts(pipe)
    device = prompts.device
    is_guided = high_noise > 1.0 or (low_noise > 1.0 and pipe.transformer_2 is not None)
    scheduler = copy.deepcopy(pipe.scheduler)
    scheduler.set_timesteps(request.tier.num_inference_steps, device=device)
    scheduler.set_begin_index(first_step)
    latents = pipe.prepare_latents(
        1,
        pipe.transformer.config.in_channels,
        request.tier.height,
        request.tier.width,
        request.tier.num_frames,
        torch.float32,
        device,
        torch.Generator("cpu").manual_seed(request.seed),
    )
    return Denoising(
        latents=latents,
        scheduler=scheduler,
        experts=_experts(pipe, scheduler.timesteps),
        prompt_embeds=prompts.embeds(request.prompt),
        negative_prompt_embeds=prompts.embeds(request.negative_prompt) if is_guided else None,
        guidance={"transformer": high_noise, "transformer_2": low_noise},
        step=first_step,
    )


@torch.no_grad()  # type: ignore[untyped-decorator]  # torch's types are not followed
def predict(pipe: WanPipeline, jobs: Sequence[Denoising], group: Group = SOLO) -> torch.Tensor:
    """What to remove from the latents, a row a job. They stand at the same step and share shape and guidance."""
    first = jobs[0]
    expert = first.experts[first.step]
    if first.guidance[expert] <= 1.0:
        return _pass(pipe, jobs, expert, "cond")
    if group.cfg == 2:
        prediction, baseline = group.both_branches(_pass(pipe, jobs, expert, group.branch))
    else:
        prediction, baseline = (_pass(pipe, jobs, expert, branch) for branch in ("cond", "uncond"))
    return baseline + first.guidance[expert] * (prediction - baseline)


@torch.no_grad()  # type: ignore[untyped-decorator]  # torch's types are not followed
def advance(job: Denoising, prediction: torch.Tensor) -> None:
    """One denoising step. Raises: NotFinite, naming step and expert."""
    expert, timestep = job.experts[job.step], job.scheduler.timesteps[job.step]
    job.latents = job.scheduler.step(prediction, timestep, job.latents, return_dict=False)[0]
    job.step += 1
    if not torch.isfinite(job.latents.sum()):  # NaN and infinity survive a sum, which is 40 times cheaper
        raise NotFinite(f"NaN or infinity in the latents after step {job.step} of {job.steps} ({expert})")


def _scales(request: VideoRequest, default: Guidance) -> tuple[float, float]:
    """Of the high-noise and of the low-noise expert: the request's own words first, then the fleet's."""
    if request.guidance_scale is not None:
        default = Guidance(high_noise=request.guidance_scale)
    high = DEFAULT_GUIDANCE_SCALE if default.high_noise is None else default.high_noise
    low = default.low_noise if request.guidance_scale_2 is None else request.guidance_scale_2
    return high, high if low is None else low


def _pass(pipe: WanPipeline, jobs: Sequence[Denoising], expert: str, branch: str) -> torch.Tensor:
    """One branch of the guidance through an expert, all rows at once."""
    model, first = getattr(pipe, expert), jobs[0]
    latents = _stacked([job.latents for job in jobs])
    embeds = [job.prompt_embeds if branch == "cond" else job.negative_prompt_embeds for job in jobs]
    context = model.cache_context(
        branch,
        step_index=first.step,
        sigma=float(first.scheduler.sigmas[first.step]),
        num_inference_steps=first.steps,
    )
    with context:
        output: torch.Tensor = model(
            hidden_states=latents.to(first.prompt_embeds.dtype),  # asking the model looks through all of its modules
            timestep=_model_timestep(pipe, latents, first.scheduler.timesteps[first.step]),
            encoder_hidden_states=_stacked(embeds),
            return_dict=False,
        )[0]
    return output


def _stacked(rows: Sequence[Any]) -> torch.Tensor:
    """The rows as one batch; a single one is not copied."""
    stacked: torch.Tensor = torch.cat(list(rows)) if len(rows) > 1 else rows[0]
    return stacked


def _model_timestep(pipe: WanPipeline, latents: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
    """A14B takes one timestep a sample, TI2V-5B one for every token."""
    if not pipe.config.expand_timesteps:
        return timestep.expand(latents.shape[0])
    mask = torch.ones(latents.shape[2:], dtype=torch.float32, device=latents.device)
    return (mask[:, ::2, ::2] * timestep).flatten().unsqueeze(0).expand(latents.shape[0], -1)


def _experts(pipe: WanPipeline, timesteps: torch.Tensor) -> tuple[str, ...]:
    """High-noise steps belong to `transformer`, those below the boundary to `transformer_2`."""
    if pipe.config.boundary_ratio is None:
        return ("transformer",) * len(timesteps)
    boundary = pipe.config.boundary_ratio * pipe.scheduler.config.num_train_timesteps
    return tuple("transformer" if t >= boundary else "transformer_2" for t in timesteps.tolist())
