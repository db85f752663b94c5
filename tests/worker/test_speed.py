"""Presets of speed: they leave steps out, and nothing behind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import WanPipeline

from videofleet.architectures import Architecture
from videofleet.jobs import Progress, VideoRequest
from videofleet.tiers import Tier
from videofleet.workerspec import Offload, Speed, WorkerSpec
from videofleet_worker.compute import checkpoint
from videofleet_worker.compute.denoise import begin
from videofleet_worker.compute.generate import decode_to_file, denoise
from videofleet_worker.compute.loading import load
from videofleet_worker.compute.warmup import warm_tier

A14B = Architecture.WAN22_T2V_A14B
TIER = Tier(name="preview", width=64, height=64, num_frames=9, num_inference_steps=40, fps=16)
WIDER = TIER.model_copy(update={"width": 128})
FASTER = [Speed.BALANCED, Speed.TURBO]
Load = Callable[..., WanPipeline]


class Stopped(Exception):
    """As a worker leaves a job that was cancelled."""


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def load_with(models: dict[Architecture, Path], spec_with: Callable[..., WorkerSpec]) -> Load:
    """A pipeline of a spec with these fields."""

    def make(architecture: Architecture = A14B, **fields: Any) -> WanPipeline:
        return load(models[architecture], spec_with(architecture=architecture, **fields))

    return make


def latents(pipe: WanPipeline, seed: int = 1, tier: Tier = TIER, stop_at: int | None = None) -> np.ndarray:
    job = begin(pipe, VideoRequest(prompt="a red car", negative_prompt="blurry", seed=seed, tier=tier))

    def between(progress: Progress) -> None:
        if progress.step == stop_at:
            raise Stopped

    denoise(pipe, job, between)
    made: np.ndarray = job.latents.numpy()
    return made


def counted_blocks(pipe: WanPipeline) -> list[str]:
    """A word for each time the last block of an expert computes."""
    done: list[str] = []
    for name in ("transformer", "transformer_2"):
        if (model := getattr(pipe, name)) is not None:
            model.blocks[-1].ffn.register_forward_hook(lambda *_, name=name: done.append(name))
    return done


def test_exact_lays_nothing_over_an_expert(load_with: Load) -> None:
    pipe = load_with()
    assert not pipe.transformer.is_cache_enabled
    assert not pipe.transformer_2.is_cache_enabled


@pytest.mark.parametrize("architecture", Architecture)
@pytest.mark.parametrize(("speed", "most"), [(Speed.BALANCED, 0.8), (Speed.TURBO, 0.5)])
def test_steps_are_left_out(speed: Speed, most: float, architecture: Architecture, load_with: Load) -> None:
    exact, faster = load_with(architecture), load_with(architecture, speed=speed)
    in_full, in_part = counted_blocks(exact), counted_blocks(faster)
    expected, made = latents(exact), latents(faster)
    assert len(in_full) == 2 * TIER.num_inference_steps
    for expert in set(in_full):
        assert in_part.count(expert) <= most * in_full.count(expert)
    assert np.isfinite(made).all()
    assert 0 < np.abs(made - expected).max() < 1  # another video, not another world


@pytest.mark.parametrize("stop_at", [None, 5, 30])
@pytest.mark.parametrize("speed", FASTER)
def test_a_job_is_the_same_after_another_one(speed: Speed, stop_at: int | None, load_with: Load) -> None:
    alone = latents(load_with(speed=speed), seed=2)
    pipe = load_with(speed=speed)
    for tier in (TIER, WIDER):  # of another size, what is left behind would not even fit
        try:
            latents(pipe, seed=1, tier=tier, stop_at=stop_at)
        except Stopped:
            assert stop_at is not None
        assert np.array_equal(latents(pipe, seed=2), alone)


@pytest.mark.parametrize("speed", FASTER)
def test_warm_up_leaves_nothing_to_the_first_job(
    speed: Speed, load_with: Load, spec_with: Callable[..., WorkerSpec], tmp_path: Path
) -> None:
    pipe = load_with(speed=speed)
    warmed = warm_tier(pipe, TIER, spec_with(speed=speed), tmp_path, lambda _: None)
    assert warmed is not None
    assert warmed.batch == 1  # one cache, one job
    assert np.array_equal(latents(pipe), latents(load_with(speed=speed)))


def kept_bytes(pipe: WanPipeline) -> list[int]:
    """What each expert's first block remembers of steps."""
    states = [
        hook.state_manager._state_cache
        for model in (pipe.transformer, pipe.transformer_2)
        for hook in model.blocks[0]._diffusers_hook.hooks.values()
    ]
    return [sum(each.head_block_residual.nbytes for each in state.values()) for state in states]


def test_one_expert_remembers_at_a_time_and_none_while_decoding(load_with: Load, tmp_path: Path) -> None:
    pipe = load_with(speed=Speed.BALANCED)
    job = begin(pipe, VideoRequest(prompt="a red car", seed=1, tier=TIER))
    kept = []
    denoise(pipe, job, lambda _: kept.append(kept_bytes(pipe)))
    assert kept[1][0] > 0
    assert kept[-1][0] == 0 < kept[-1][1]
    while_decoding = []
    decode_to_file(
        pipe, job, TIER, tmp_path / "clip", lambda _: while_decoding.append(kept_bytes(pipe)), seconds_per_step=0
    )
    assert while_decoding[0] == [0, 0]


@pytest.mark.parametrize("speed", FASTER)
def test_offload_changes_nothing(speed: Speed, load_with: Load) -> None:
    expected = latents(load_with(speed=speed))
    for offload in (Offload.MODEL, Offload.GROUP):
        assert np.array_equal(latents(load_with(speed=speed, offload=offload)), expected)


@pytest.mark.parametrize("speed", FASTER)
def test_a_job_is_resumed_without_what_the_cache_knew(speed: Speed, load_with: Load, tmp_path: Path) -> None:
    request = VideoRequest(prompt="a red car", negative_prompt="blurry", seed=1, tier=TIER)
    job, state = begin(load_with(speed=speed), request), tmp_path / "state"
    pipe = load_with(speed=speed)

    def between(progress: Progress) -> None:
        if progress.step == 21:
            checkpoint.save(state, job, {})

    denoise(load_with(speed=speed), job, between)
    resumed = begin(pipe, request)
    checkpoint.restore(state, resumed, {})
    denoise(pipe, resumed, lambda _: None)
    assert (resumed.latents - job.latents).abs().max() < 1
