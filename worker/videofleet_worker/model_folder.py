"""Checks a model folder before any of it is loaded, without torch: is it there, safe, whole and the right one?

Owns the list of what is refused: pickled weights, code, components of other libraries, truncated safetensors, missing
shards, another architecture. Weights are read up to their headers only; a flipped bit is for the manifest to find, NaN
for warm-up.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from videofleet.architectures import CONSTANTS, Architecture
from videofleet.beacons import WorkerFault
from videofleet_worker.faults import Fault

PIPELINE: Final = "WanPipeline"
COMPONENTS: Final = ("scheduler", "text_encoder", "tokenizer", "transformer", "vae")
WEIGHTS: Final = ("text_encoder", "transformer", "transformer_2", "vae")  # components that have some
LIBRARIES: Final = frozenset({"diffusers", "transformers"})
UNSAFE_SUFFIXES: Final = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".py"})
LATENT_CHANNELS: Final = {Architecture.WAN22_T2V_A14B: 16, Architecture.WAN22_TI2V_5B: 48}
HEADER_LIMIT_BYTES: Final = 100_000_000  # safetensors' own


def check_model_folder(model: Path, architecture: Architecture) -> None:
    """Raises: Fault with ModelNotFound, ModelUnsafe, ModelCorrupt or ModelMismatch."""
    index = _read_index(model)
    _refuse_unsafe(model, index)
    _refuse_other_architecture(model, index, architecture)
    for component in WEIGHTS:
        if index.get(component, [None])[0] is not None:
            _check_weights(model / component)


def _read_index(model: Path) -> dict[str, Any]:
    if not model.is_dir():
        raise Fault(
            WorkerFault.MODEL_NOT_FOUND,
            f"{model} is no folder; check spec.model.source and that its volume holds the model",
        )
    if not (model / "model_index.json").is_file():
        raise Fault(
            WorkerFault.MODEL_NOT_FOUND,
            f"{model} has no model_index.json; spec.model.source must name a folder in diffusers' format",
        )
    return _read_json(model / "model_index.json")


def _refuse_unsafe(model: Path, index: dict[str, Any]) -> None:
    for file in files_in(model):
        if file.suffix.lower() in UNSAFE_SUFFIXES:
            raise Fault(
                WorkerFault.MODEL_UNSAFE,
                f"{file.relative_to(model)} can run code when it is loaded; keep only *.safetensors and remove it",
            )
    for name, value in index.items():
        if isinstance(value, list) and value[0] is not None and value[0] not in LIBRARIES:
            raise Fault(
                WorkerFault.MODEL_UNSAFE,
                f"model_index.json: {name} comes from {value[0]}; only diffusers and transformers are allowed",
            )
    for config in model.glob("*/config.json"):
        if "auto_map" in _read_json(config):
            raise Fault(
                WorkerFault.MODEL_UNSAFE,
                f"{config.relative_to(model)} asks for code of its own (auto_map); remove that entry",
            )


def _refuse_other_architecture(model: Path, index: dict[str, Any], architecture: Architecture) -> None:
    if index.get("_class_name") != PIPELINE:
        raise _mismatch(f"model_index.json says {index.get('_class_name')}, not {PIPELINE}")
    for component in COMPONENTS:
        if index.get(component, [None])[0] is None or not (model / component).is_dir():
            raise Fault(WorkerFault.MODEL_CORRUPT, f"component {component} is missing; copy the model folder again")
    wanted = CONSTANTS[architecture].has_two_experts
    has_two = index.get("transformer_2", [None])[0] is not None
    if has_two != wanted:
        raise _mismatch(f"{architecture} has {2 if wanted else 1} expert(s), this model {2 if has_two else 1}")
    boundary = index.get("boundary_ratio")
    if not (isinstance(boundary, float) and 0 < boundary < 1 if wanted else boundary is None):
        raise _mismatch(f"boundary_ratio {boundary} does not fit {architecture}")
    if bool(index.get("expand_timesteps", False)) == wanted:
        raise _mismatch(f"expand_timesteps {index.get('expand_timesteps')} does not fit {architecture}")
    channels = LATENT_CHANNELS[architecture]
    for expert in ("transformer", "transformer_2") if wanted else ("transformer",):
        config = _read_json(model / expert / "config.json")
        if config.get("in_channels") != channels:
            raise _mismatch(f"{expert} takes {config.get('in_channels')} channels, {architecture} has {channels}")


def _mismatch(what: str) -> Fault:
    return Fault(WorkerFault.MODEL_MISMATCH, f"{what}; correct spec.model.architecture or spec.model.source")


def _check_weights(folder: Path) -> None:
    shards = sorted(folder.glob("*.safetensors"))
    tensors = {shard.name: tensors_in(shard) for shard in shards}
    for index in folder.glob("*.safetensors.index.json"):
        for tensor, shard_name in _read_json(index).get("weight_map", {}).items():
            if tensor not in tensors.get(shard_name, ()):
                raise _corrupt(folder / shard_name, f"lacks {tensor}, which {index.name} names")
    if not shards:
        raise _corrupt(folder, "has no *.safetensors")


def tensors_in(shard: Path) -> dict[str, Any]:
    """The header's entries by tensor, once its length and the file's are proven to agree. Raises: Fault."""
    size_bytes = shard.stat().st_size
    with shard.open("rb") as file:
        header_bytes = int.from_bytes(file.read(8), "little")
        if not 2 <= header_bytes <= min(HEADER_LIMIT_BYTES, size_bytes - 8):
            raise _corrupt(shard, "has no valid safetensors header")
        try:
            header: dict[str, Any] = json.loads(file.read(header_bytes))
            entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
            end = max((entry["data_offsets"][1] for entry in entries.values()), default=0)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _corrupt(shard, "has no valid safetensors header") from error
    expected_bytes = 8 + header_bytes + end
    if size_bytes != expected_bytes:
        raise _corrupt(shard, f"is {size_bytes} bytes long and should be {expected_bytes}")
    return entries


def _corrupt(path: Path, what: str) -> Fault:
    name = f"{path.parent.name}/{path.name}" if path.suffix else path.name
    return Fault(WorkerFault.MODEL_CORRUPT, f"{name} {what}; copy the model folder again")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise _corrupt(path, "cannot be read as JSON") from error
    if not isinstance(content, dict):
        raise _corrupt(path, "is no JSON object")
    return content


def files_in(folder: Path) -> Iterator[Path]:
    """Every file below the folder."""
    for root, _, names in os.walk(folder, followlinks=False):
        yield from (Path(root, name) for name in names)
