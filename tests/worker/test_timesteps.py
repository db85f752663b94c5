"""TI2V-5B's timesteps, one for every token and all equal, cost a few rows once proven to be the same bits."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import WanPipeline

from videofleet.architectures import Architecture
from videofleet.jobs import VideoRequest
from videofleet.tiers import Tier
from videofleet.workerspec import Dtype, WorkerSpec
from videofleet_worker.compute.denoise import begin
from videofleet_worker.compute.generate import denoise
from videofleet_worker.compute.loading import load
from videofleet_worker.compute.timesteps import PROOFS, ROWS, FewRows

TIER = Tier(name="preview", width=128, height=64, num_frames=9, num_inference_steps=6, fps=24)
TOKENS = 3 * 2 * 4
REQUEST = VideoRequest(prompt="a red car", negative_prompt="blurry", seed=3, tier=TIER)


def latents(pipe: WanPipeline) -> np.ndarray:
    job = begin(pipe, REQUEST)
    denoise(pipe, job, lambda _: None)
    made: np.ndarray = job.latents.numpy()
    return made


@pytest.mark.parametrize("dtype", Dtype)
def test_a_few_rows_are_computed_and_the_video_is_the_same(
    dtype: Dtype,
    models: dict[Architecture, Path],
    spec_with: Callable[..., WorkerSpec],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    torch.set_num_threads(1)
    spec = spec_with(architecture=Architecture.WAN22_TI2V_5B, dtype=dtype)
    pipe = load(models[spec.architecture], spec)
    embedder = pipe.transformer.condition_embedder
    rows: list[int] = []
    embedder.time_proj.register_forward_hook(lambda *call: rows.append(call[2].shape[1]))
    by_few_rows = latents(pipe)
    assert "equal timesteps" in caplog.messages
    assert rows[0] == TOKENS  # both ways at first
    assert set(rows[-2 * (TIER.num_inference_steps - PROOFS) :]) == {ROWS[0]}
    del embedder.forward  # diffusers' own is below
    assert np.array_equal(by_few_rows, latents(pipe))


class Embedder(torch.nn.Module):
    """As condition_embedder, on a device where the result depends on the number of rows."""

    def __init__(self, agrees_from: int) -> None:
        super().__init__()
        self.agrees_from = agrees_from
        self.calls: list[int] = []

    def forward(self, timestep: torch.Tensor, text: Any, image: Any, timestep_seq_len: int) -> tuple[Any, ...]:
        """(temb, modulation, text, image)."""
        self.calls.append(timestep_seq_len)
        error = 1e-6 if timestep_seq_len < self.agrees_from else 0.0
        temb = (timestep + error).view(-1, timestep_seq_len, 1)
        return temb, temb.expand(-1, -1, 6), text, image


@pytest.mark.parametrize(("agrees_from", "settled"), [(1, 4), (5, 64), (100, 512), (600, 1000)])
def test_only_rows_that_agree_are_trusted(agrees_from: int, settled: int) -> None:
    embedder = Embedder(agrees_from)
    few = FewRows(embedder)
    for call in range(PROOFS + 2):
        timestep = torch.full((2, 1000), 0.5 + call)
        temb, modulation, text, _ = few.forward(timestep.flatten(), torch.zeros(1), None, timestep_seq_len=1000)
        assert torch.equal(temb.expand(2, 1000, 1)[..., 0], timestep)
        assert modulation.shape[-1] == 6
        assert text is not None
    assert embedder.calls[-1] == settled


def test_rows_that_differ_within_a_sample_are_never_made_one() -> None:
    embedder = Embedder(agrees_from=1)
    few = FewRows(embedder)
    first_frame_given = torch.cat([torch.zeros(1, 8), torch.full((1, 992), 7.0)], dim=1)
    for _ in range(PROOFS + 1):
        temb, *_ = few.forward(first_frame_given.flatten(), torch.zeros(1), None, timestep_seq_len=1000)
        assert torch.equal(temb[..., 0], first_frame_given)
