"""The back end of attention: as exact as torch's own, and faster, or torch's own."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.attention_dispatch import AttentionBackendName, _AttentionBackendRegistry

from videofleet.architectures import Architecture
from videofleet.jobs import VideoRequest
from videofleet.tiers import Tier
from videofleet.workerspec import Attention, WorkerSpec
from videofleet_worker.compute import attention
from videofleet_worker.compute.attention import NATIVE, Tried, attention_for, fastest_as_exact, used_by
from videofleet_worker.compute.denoise import begin
from videofleet_worker.compute.generate import denoise
from videofleet_worker.compute.group import SOLO
from videofleet_worker.compute.loading import load

A14B = Architecture.WAN22_T2V_A14B
TIER = Tier(name="preview", width=64, height=64, num_frames=9, num_inference_steps=4, fps=16)


@pytest.mark.parametrize(
    ("others", "chosen"),
    [
        ({}, NATIVE),
        ({"flash": Tried(0.6, 2e-3), "sage": Tried(0.4, 3e-2)}, "flash"),
        ({"flash": Tried(0.6, 2e-3), "_flash_3": Tried(0.5, 2.5e-3)}, "_flash_3"),
        ({"flash": Tried(0.99, 1e-3)}, NATIVE),
        ({"flash": Tried(0.1, float("nan"))}, NATIVE),
    ],
)
def test_the_fastest_that_is_as_exact_is_taken(others: dict[str, Tried], chosen: str) -> None:
    assert fastest_as_exact({NATIVE: Tried(1.0, 2e-3), **others}) == chosen


@pytest.fixture
def long_tier(models: dict[Architecture, Path], tmp_path: Path) -> Path:
    """The config of a model with heads of the real width."""
    config = json.loads((models[A14B] / "transformer/config.json").read_bytes())
    folder = tmp_path / "transformer"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config | {"attention_head_dim": 128}))
    return tmp_path


def register(monkeypatch: pytest.MonkeyPatch, name: str, function: Callable[..., Any]) -> None:
    """Puts an implementation of ours where diffusers looks for a package."""
    backend = AttentionBackendName(name)
    monkeypatch.setattr(attention, "_check_attention_backend_requirements", lambda _: None)
    monkeypatch.setitem(_AttentionBackendRegistry._backends, backend, function)
    monkeypatch.setitem(_AttentionBackendRegistry._supported_arg_names, backend, {"query", "key", "value"})


def _attended(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    turned = (tensor.transpose(1, 2) for tensor in (query, key, value))
    return torch.nn.functional.scaled_dot_product_attention(*turned).transpose(1, 2)


def rough(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """As an int8 kernel: fast here, because it looks at every eighth token."""
    return _attended(query, key[:, ::8], value[:, ::8])


def broken(**_: torch.Tensor) -> torch.Tensor:
    raise RuntimeError("no kernel image is available for execution on the device")


@pytest.mark.parametrize("function", [rough, broken])
def test_what_is_rough_or_does_not_run_is_not_taken(
    function: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    long_tier: Path,
    spec_with: Callable[..., WorkerSpec],
) -> None:
    register(monkeypatch, "sage", function)
    tier = TIER.model_copy(update={"width": 256, "height": 256})
    spec = spec_with(attention=Attention.AUTO, tiers=[tier])
    assert attention_for(long_tier, spec, SOLO, torch.bfloat16, ("sage",)) == NATIVE


def test_packages_that_are_not_installed_leave_native_and_the_log_says_so(
    models: dict[Architecture, Path], spec_with: Callable[..., WorkerSpec], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    spec = spec_with(attention=Attention.AUTO, tiers=[TIER])
    assert attention_for(models[A14B], spec, SOLO, torch.bfloat16) == NATIVE
    assert "attention not usable" in caplog.messages
    assert "attention tried" in caplog.messages


def test_the_choice_computes_the_video(
    monkeypatch: pytest.MonkeyPatch, models: dict[Architecture, Path], spec_with: Callable[..., WorkerSpec]
) -> None:
    calls = []

    def counted(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        calls.append(query.shape)
        return _attended(query, key, value)

    register(monkeypatch, "flash", counted)
    monkeypatch.setattr("diffusers.models.attention_dispatch._CAN_USE_FLASH_ATTN", True)
    monkeypatch.setattr(
        attention, "fastest_as_exact", lambda tried: max(tried, key="flash".__eq__)
    )  # though it is no faster
    spec = spec_with(attention=Attention.AUTO)
    request = VideoRequest(prompt="a red car", seed=1, tier=TIER)
    made = []
    pipes = load(models[A14B], spec), load(models[A14B], spec_with())
    assert [used_by(pipe) for pipe in pipes] == ["flash", NATIVE]
    for pipe in pipes:
        made.append(begin(pipe, request))
        denoise(pipe, made[-1], lambda _: None)
    assert len(calls) == 1 + attention.RUNS + 2 * 2 * 2 * TIER.num_inference_steps  # blocks, attentions, branches
    assert torch.allclose(made[0].latents, made[1].latents, atol=0.1)
