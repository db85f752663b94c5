"""How fast weights are loaded beside what the disk can do: one large expert of random weights, read and loaded cold.

Cold means that the page cache was told to drop the files; a virtual machine's host may still have them.
"""

import json
import math
import os
import shutil
import time
from pathlib import Path

import torch
from diffusers import WanTransformer3DModel
from safetensors.torch import save_file

from videofleet.architectures import Architecture
from videofleet.tiers import Tier
from videofleet.workerspec import Dtype, Warmup, WorkerSpec
from videofleet_worker.compute.loading import load
from videofleet_worker.memory import FLOAT32_PARTS

BLOCK_BYTES = 16 << 20
WIDE = {"num_attention_heads": 24, "attention_head_dim": 128, "ffn_dim": 14336}  # TI2V-5B's, with fewer blocks
RUNS = 3


def loading_rates(tiny: Path, folder: Path, blocks: int) -> dict[str, float]:
    """GB/s, the best of some runs that take turns: plain reads, and `load` from checks to touched pages."""
    model = _enlarged(tiny, folder / "large", blocks)
    files = sorted((model / "transformer").glob("*.safetensors"))
    size = sum(file.stat().st_size for file in files)
    spec = WorkerSpec(
        revision="bench",
        architecture=Architecture.WAN22_T2V_A14B,
        dtype=Dtype.BFLOAT16,
        gpus=0,
        tiers=[Tier(name="t", width=64, height=64, num_frames=9, num_inference_steps=4, fps=16)],
        warmup=Warmup(max_runs=1, stable_within=0.5, timeout_s=60),
        store="videos",
    )
    rates = {"read": 0.0, "load": 0.0}
    for _ in range(RUNS):
        for name, work in (("read", lambda: [_read(file) for file in files]), ("load", lambda: load(model, spec))):
            _drop_from_memory(files)
            begun = time.perf_counter()
            work()
            rates[name] = max(rates[name], size / (time.perf_counter() - begun) / 1e9)
    return rates | {"bytes": float(size)}


def _enlarged(tiny: Path, model: Path, blocks: int) -> Path:
    """The tiny A14B with a wide first expert."""
    shutil.copytree(tiny, model)
    expert = model / "transformer"
    config = json.loads((expert / "config.json").read_bytes()) | WIDE | {"num_layers": blocks}
    shutil.rmtree(expert)
    expert.mkdir()
    (expert / "config.json").write_text(json.dumps(config))
    with torch.device("meta"):
        shapes = dict(WanTransformer3DModel.from_config(config).named_parameters())
    tensors = {
        name: torch.frombuffer(bytearray(os.urandom(2 * math.prod(like.shape))), dtype=torch.bfloat16).view(like.shape)
        for name, like in shapes.items()
    }
    kept = {name: tensor.float() if FLOAT32_PARTS & {*name.split(".")} else tensor for name, tensor in tensors.items()}
    save_file(kept, expert / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"})
    return model


def _read(file: Path) -> None:
    buffer = bytearray(BLOCK_BYTES)
    with file.open("rb", buffering=0) as handle:
        while handle.readinto(buffer):
            pass


def _drop_from_memory(files: list[Path]) -> None:
    for file in files:
        with file.open("rb") as handle:
            os.fdatasync(handle.fileno())
            os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
