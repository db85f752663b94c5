"""One measurement: a pipeline of random weights, the worker's own loop over it, and what its steps took."""

import statistics
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanPipeline, WanTransformer3DModel
from diffusers.models.transformers.transformer_wan import WanRotaryPosEmbed
from floor import forward_flop, wait
from shapes import Shape

from videofleet.architectures import CONSTANTS, Architecture
from videofleet.jobs import Progress, VideoRequest
from videofleet.tiers import Tier
from videofleet_worker.compute import checkpoint
from videofleet_worker.compute.decode import decoded_frames
from videofleet_worker.compute.denoise import begin
from videofleet_worker.compute.generate import denoise, timed_step
from videofleet_worker.compute.prompts import MAX_SEQUENCE_LENGTH
from videofleet_worker.compute.timesteps import FewRows
from videofleet_worker.memory import FLOAT32_PARTS

SPREAD = 0.02  # of random weights: nothing becomes infinite


@dataclass
class GivenPrompts:
    """Random embeddings: the text encoder is not measured."""

    device: torch.device
    dtype: torch.dtype
    width: int

    def embeds(self, text: str) -> torch.Tensor:
        """The same for every text of one length."""
        generator = torch.Generator().manual_seed(len(text))
        drawn = torch.randn(1, MAX_SEQUENCE_LENGTH, self.width, generator=generator)
        return drawn.to(self.device, self.dtype)


@dataclass
class Measured:
    """Seconds and bytes; None where the device does not tell."""

    step_s: float
    tflop_per_s: float
    decode_s: float
    cancel_s: float
    checkpoint_s: float
    resume_s: float
    peak_denoise_bytes: int | None
    peak_decode_bytes: int | None
    steps: list[float] = field(default_factory=list)


class Stopped(Exception):
    """As the worker leaves a job that was cancelled."""


def random_pipeline(shape: Shape, architecture: Architecture, dtype: torch.dtype, device: torch.device) -> WanPipeline:
    """Both experts of A14B are one: their speed is the same, and it takes half the memory."""
    two = CONSTANTS[architecture].has_two_experts
    transformer = _random_transformer(shape.transformer, dtype, device)
    if not two:
        FewRows(transformer.condition_embedder)
    with torch.device(device):
        vae = AutoencoderKLWan(**shape.vae).eval()
    return WanPipeline(
        tokenizer=None,
        text_encoder=None,
        vae=vae,
        transformer=transformer,
        transformer_2=transformer if two else None,
        boundary_ratio=0.875 if two else None,
        expand_timesteps=not two,
        scheduler=UniPCMultistepScheduler(
            prediction_type="flow_prediction",
            use_flow_sigmas=True,
            num_train_timesteps=1000,
            flow_shift=shape.flow_shift,
        ),
    )


def _random_transformer(config: dict[str, Any], dtype: torch.dtype, device: torch.device) -> WanTransformer3DModel:
    """Made on the device at once: 14 billion float32 numbers would need 57 GB on the way."""
    with torch.device("meta"):
        model = WanTransformer3DModel(**config).eval()
    for prefix, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            of = torch.float32 if FLOAT32_PARTS & {*prefix.split("."), name} else dtype
            drawn = torch.randn(parameter.shape, dtype=of, device=device).mul_(SPREAD)
            setattr(module, name, torch.nn.Parameter(drawn, requires_grad=False))
    with torch.device(device):
        model.rope = WanRotaryPosEmbed(config["attention_head_dim"], config["patch_size"], 1024)
    return model


def measure(pipe: WanPipeline, tier: Tier, architecture: Architecture, steps: int, folder: Path) -> Measured:
    """Two steps to warm up, then `steps` of them; then checkpoint, resume, cancel and decode."""
    model = pipe.transformer
    device = model.device
    prompts = GivenPrompts(device, model.dtype, model.config.text_dim)
    request = VideoRequest(prompt="a red car", negative_prompt="blurry", seed=1, tier=tier)

    job = begin(pipe, request, prompts=prompts)
    for _ in range(min(2, job.steps - 1)):
        timed_step(pipe, [job])
    _forget_peak(device)
    took = [timed_step(pipe, [job]) for _ in range(min(steps, job.steps - job.step))]
    step_s, peak_denoise = statistics.median(took), _peak(device)

    state = folder / "state.safetensors"
    checkpoint_s = _seconds(device, lambda: checkpoint.save(state, job, {}))
    resumed = begin(pipe, request, prompts=prompts)
    resume_s = _seconds(device, lambda: checkpoint.restore(state, resumed, {}))
    cancel_s = _cancel_latency(pipe, request, prompts, step_s)
    _forget_peak(device)
    decode_s = _seconds(device, lambda: [None for _ in decoded_frames(pipe.vae, job.latents)])
    flop = 2 * forward_flop(dict(model.config), tier, architecture)
    return Measured(
        step_s, flop / step_s / 1e12, decode_s, cancel_s, checkpoint_s, resume_s, peak_denoise, _peak(device), took
    )


def _cancel_latency(pipe: WanPipeline, request: VideoRequest, prompts: GivenPrompts, step_s: float) -> float:
    """From the word, said in the middle of a step, to the loop's end."""
    said, at = threading.Event(), [0.0]

    def say() -> None:
        at[0] = time.perf_counter()
        said.set()

    def between(progress: Progress) -> None:
        if progress.step == 1 and not at[0]:
            threading.Timer(step_s / 2, say).start()
        if said.is_set() or progress.stage == "decoding":
            raise Stopped

    try:
        denoise(pipe, begin(pipe, request, prompts=prompts), between)
    except Stopped:
        return max(0.0, time.perf_counter() - (at[0] or time.perf_counter()))
    raise AssertionError("it was not stopped")


def _seconds(device: torch.device, work: Any) -> float:
    wait(device)
    begun = time.perf_counter()
    work()
    wait(device)
    return time.perf_counter() - begun


def _forget_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def _peak(device: torch.device) -> int | None:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
