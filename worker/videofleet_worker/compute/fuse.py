"""`videofleet-worker fuse MODEL OUT`: a model folder with LoRA weights added to its experts, such as few-step ones.

What comes out is an ordinary model: nothing about LoRA is left to do, or to go wrong, when it is served. Invariants:
the folder appears whole or not at all; every weight of a LoRA finds its place, or nothing is written. One shard is in
memory at a time.
"""

import argparse
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch
from diffusers.loaders import lora_conversion_utils
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from videofleet_worker import manifest

HIGH_NOISE, LOW_NOISE = "transformer", "transformer_2"
A, B, BIAS = ".lora_A.weight", ".lora_B.weight", ".lora_B.bias"
UNUSABLE: Final = (OSError, SafetensorError, ValueError, KeyError, RuntimeError)

Deltas = dict[str, torch.Tensor]


def main(argv: Sequence[str]) -> int:
    """Returns: the exit code, 1 when something does not fit; OUT does not exist then."""
    parser = argparse.ArgumentParser(prog="videofleet-worker fuse", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path, help="model folder in diffusers' format")
    parser.add_argument("out", type=Path, help="the folder to make; must not exist")
    parser.add_argument("--high-noise", type=Path, help="LoRA of the first expert, or the only one: *.safetensors")
    parser.add_argument("--low-noise", type=Path, help="LoRA of the second expert")
    parser.add_argument("--strength", type=float, default=1.0, help="factor of what is added")
    parser.add_argument("--flow-shift", type=float, help="of the scheduler, where the LoRA was made for another one")
    options = parser.parse_args(argv)
    files = {HIGH_NOISE: options.high_noise, LOW_NOISE: options.low_noise}
    loras = {expert: file for expert, file in files.items() if file is not None}
    if not loras:
        parser.error("nothing to fuse; give --high-noise, --low-noise or both")
    try:
        fuse(options.model, options.out, loras, options.strength, options.flow_shift)
    except UNUSABLE as error:
        print(f"{type(error).__name__}: {error}")  # noqa: T201 - a command's answer
        return 1
    print(f"{options.out}: {', '.join(loras)} fused")  # noqa: T201 - a command's answer
    return 0


def fuse(model: Path, out: Path, loras: dict[str, Path], strength: float, flow_shift: float | None = None) -> None:
    """Writes `out`. Raises: what is in UNUSABLE."""
    if out.exists():
        raise ValueError(f"{out} exists; models are never changed in place, name another folder")
    deltas = {expert: _deltas(file, strength) for expert, file in loras.items()}
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        shutil.copytree(model, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(manifest.NAME))
        for expert, of_expert in deltas.items():
            _add(folder / expert, of_expert)
        if flow_shift is not None:
            _set_flow_shift(folder / "scheduler/scheduler_config.json", flow_shift)
        if (model / manifest.NAME).exists():
            manifest.write_manifest(folder)
        folder.chmod(0o755)
        folder.rename(out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _set_flow_shift(file: Path, shift: float) -> None:
    config = json.loads(file.read_bytes())
    names = {"flow_shift", "shift"} & set(config)  # UniPC's and DPM-Solver's; flow-match Euler's
    if not names:
        raise ValueError(f"the model's scheduler, {config.get('_class_name')}, has no flow shift")
    file.write_text(json.dumps(config | dict.fromkeys(names, shift), indent=2))


def _deltas(file: Path, strength: float) -> Deltas:
    """What is to be added to each tensor of an expert, by its name there. Raises: what is in UNUSABLE."""
    weights = load_file(file)
    if any(name.startswith("diffusion_model.") for name in weights):  # the names of Wan's own code
        weights = lora_conversion_utils._convert_non_diffusers_wan_lora_to_diffusers(weights)  # noqa: SLF001 - diffusers' loader calls it so
    weights = {name.removeprefix("transformer."): tensor.float() for name, tensor in weights.items()}
    deltas = {}
    for name in [name for name in weights if name.endswith(A)]:
        layer = name.removesuffix(A)
        deltas[f"{layer}.weight"] = strength * (weights.pop(layer + B) @ weights.pop(name))
        if layer + BIAS in weights:
            deltas[f"{layer}.bias"] = strength * weights.pop(layer + BIAS)
    if weights or not deltas:
        raise ValueError(f"{file.name}: {next(iter(weights), 'no tensor')} is no part of a LoRA that can be fused")
    return deltas


def _add(folder: Path, deltas: Deltas) -> None:
    shards = sorted(folder.glob("*.safetensors"))
    if not shards:
        raise ValueError(f"the model has no weights in {folder.name}")
    left = dict(deltas)
    for shard in shards:
        tensors = load_file(shard)
        mine = [name for name in tensors if name in left]
        for name in mine:
            tensors[name] = (tensors[name].float() + left.pop(name)).to(tensors[name].dtype)
        if mine:
            shard.unlink()
            save_file(tensors, shard, metadata={"format": "pt"})
            shard.chmod(0o644)
    if left:
        raise ValueError(f"the LoRA changes {sorted(left)[0]}, which {folder.name} does not have")
