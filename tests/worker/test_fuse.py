"""LoRA weights become part of a model: in both spellings of their names, in their expert only, or not at all."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from videofleet.architectures import Architecture
from videofleet.workerspec import WorkerSpec
from videofleet_worker import manifest
from videofleet_worker.compute import fuse
from videofleet_worker.compute.loading import load

SHARD = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def lora(tmp_path: Path) -> Callable[[dict[str, torch.Tensor]], Path]:
    """Writes a LoRA of rank 2 for one layer, under the names given."""

    def write(tensors: dict[str, torch.Tensor]) -> Path:
        file = tmp_path / f"{len(list(tmp_path.iterdir()))}.safetensors"
        save_file(tensors, file)
        return file

    return write


def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 48, generator=generator), torch.randn(48, 2, generator=generator)


SPELLINGS = {
    "diffusers": ("transformer.blocks.0.attn1.to_q.lora_A.weight", "transformer.blocks.0.attn1.to_q.lora_B.weight"),
    "wan": (
        "diffusion_model.blocks.0.self_attn.q.lora_down.weight",
        "diffusion_model.blocks.0.self_attn.q.lora_up.weight",
    ),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_lora_is_added_to_its_expert_and_to_nothing_else(
    spelling: str,
    lora: Callable[..., Path],
    model: Path,
    tmp_path: Path,
    spec_with: Callable[..., WorkerSpec],
) -> None:
    down, up = pair()
    name_a, name_b = SPELLINGS[spelling]
    tensors = {name_a: down, name_b: up}
    factor = 0.5
    if spelling == "wan":
        tensors["diffusion_model.blocks.0.self_attn.q.alpha"] = torch.tensor(1.0)  # of rank 2: half as strong
        factor *= 0.5
    manifest.write_manifest(model)
    out = tmp_path / "fused"
    assert fuse.main([str(model), str(out), f"--low-noise={lora(tensors)}", "--strength=0.5"]) == 0
    before, after = (load_file(folder / "transformer_2" / SHARD) for folder in (model, out))
    changed = "blocks.0.attn1.to_q.weight"
    assert torch.allclose(after.pop(changed), before.pop(changed) + factor * (up @ down), atol=1e-6)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert (out / "transformer" / SHARD).read_bytes() == (model / "transformer" / SHARD).read_bytes()
    assert (out / "transformer_2" / SHARD).stat().st_mode & 0o044 == 0o044, "a worker is another user"
    manifest.verify(out, lambda *_: None, threading.Event())
    assert load(out, spec_with()).transformer_2 is not None


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("blocks.9.attn1.to_q.lora_A.weight", "blocks.9.attn1.to_q.lora_B.weight"), "blocks.9.attn1.to_q.weight"),
        (("blocks.0.attn1.to_q.lora_A.weight", "blocks.0.magnitude"), "lora_B"),
        (("x", "y"), "no part of a LoRA"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_written(
    names: tuple[str, str],
    words: str,
    lora: Callable[..., Path],
    models: dict[Architecture, Path],
    tmp_path: Path,
    capsys: Any,
) -> None:
    out = tmp_path / "out" / "fused"
    out.parent.mkdir()
    file = lora(dict(zip(names, pair(), strict=True)))
    model = str(models[Architecture.WAN22_T2V_A14B])
    assert fuse.main([model, str(out), f"--high-noise={file}"]) == 1
    assert words in capsys.readouterr().out
    assert list(out.parent.iterdir()) == []


def test_the_scheduler_gets_the_shift_that_the_weights_were_made_for(
    lora: Callable[..., Path], model: Path, spec_with: Callable[..., WorkerSpec], tmp_path: Path, capsys: Any
) -> None:
    file = lora(dict(zip(SPELLINGS["diffusers"], pair(), strict=True)))
    arguments = [str(model), str(tmp_path / "fused"), f"--high-noise={file}", "--flow-shift=5"]
    before = load(model, spec_with()).scheduler.config.flow_shift
    assert fuse.main(arguments) == 0
    assert load(tmp_path / "fused", spec_with()).scheduler.config.flow_shift == 5.0 != before
    (model / "scheduler/scheduler_config.json").write_text('{"_class_name": "DDIMScheduler"}')
    arguments[1] += "-again"
    assert fuse.main(arguments) == 1
    assert "DDIMScheduler, has no flow shift" in capsys.readouterr().out


def test_a_model_is_never_changed_in_place(
    lora: Callable[..., Path], models: dict[Architecture, Path], capsys: Any
) -> None:
    model = str(models[Architecture.WAN22_T2V_A14B])
    file = lora(dict(zip(SPELLINGS["diffusers"], pair(), strict=True)))
    assert fuse.main([model, model, f"--high-noise={file}"]) == 1
    assert "exists; models are never changed in place" in capsys.readouterr().out
