"""What is refused before a weight is read, and by which reason."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from videofleet.architectures import Architecture
from videofleet.beacons import WorkerFault
from videofleet_worker.faults import Fault
from videofleet_worker.model_folder import check_model_folder

A14B, TI2V_5B = Architecture.WAN22_T2V_A14B, Architecture.WAN22_TI2V_5B


def edit(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def truncate(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size - 100)


def name_a_missing_shard(component: Path) -> None:
    shard = next(component.glob("*.safetensors"))
    index = {"weight_map": {"proj_out.weight": shard.name, "b.weight": "other.safetensors"}}
    (component / f"{shard.name}.index.json").write_text(json.dumps(index))


Damage = Callable[[Path], Any]
DAMAGES: dict[str, tuple[WorkerFault, str, Damage]] = {
    "no folder": (WorkerFault.MODEL_NOT_FOUND, "spec.model.source", shutil.rmtree),
    "no index": (WorkerFault.MODEL_NOT_FOUND, "model_index.json", lambda m: (m / "model_index.json").unlink()),
    "pickle": (WorkerFault.MODEL_UNSAFE, "vae/weights.bin", lambda m: (m / "vae/weights.bin").write_bytes(b"x")),
    "checkpoint": (WorkerFault.MODEL_UNSAFE, "a.CKPT", lambda m: (m / "a.CKPT").write_bytes(b"x")),
    "code": (WorkerFault.MODEL_UNSAFE, "pipeline.py", lambda m: (m / "pipeline.py").write_text("")),
    "custom class": (
        WorkerFault.MODEL_UNSAFE,
        "vae comes from my_code",
        lambda m: edit(m / "model_index.json", vae=["my_code", "Vae"]),
    ),
    "auto_map": (
        WorkerFault.MODEL_UNSAFE,
        "auto_map",
        lambda m: edit(m / "text_encoder/config.json", auto_map={"AutoModel": "x.Y"}),
    ),
    "truncated": (
        WorkerFault.MODEL_CORRUPT,
        "transformer_2/diffusion_pytorch_model.safetensors is",
        lambda m: truncate(m / "transformer_2/diffusion_pytorch_model.safetensors"),
    ),
    "no header": (
        WorkerFault.MODEL_CORRUPT,
        "header",
        lambda m: (m / "vae/diffusion_pytorch_model.safetensors").write_bytes(b"\0" * 40),
    ),
    "missing shard": (WorkerFault.MODEL_CORRUPT, "b.weight", lambda m: name_a_missing_shard(m / "transformer")),
    "no weights": (
        WorkerFault.MODEL_CORRUPT,
        "text_encoder has no",
        lambda m: (m / "text_encoder/model.safetensors").unlink(),
    ),
    "broken JSON": (WorkerFault.MODEL_CORRUPT, "JSON", lambda m: (m / "model_index.json").write_text("{")),
    "no component": (WorkerFault.MODEL_CORRUPT, "tokenizer", lambda m: shutil.rmtree(m / "tokenizer")),
    "other pipeline": (
        WorkerFault.MODEL_MISMATCH,
        "FluxPipeline",
        lambda m: edit(m / "model_index.json", _class_name="FluxPipeline"),
    ),
    "one expert": (
        WorkerFault.MODEL_MISMATCH,
        "expert",
        lambda m: edit(m / "model_index.json", transformer_2=[None, None]),
    ),
    "no boundary": (
        WorkerFault.MODEL_MISMATCH,
        "boundary_ratio",
        lambda m: edit(m / "model_index.json", boundary_ratio=None),
    ),
    "other channels": (
        WorkerFault.MODEL_MISMATCH,
        "36 channels",
        lambda m: edit(m / "transformer_2/config.json", in_channels=36),
    ),
}


@pytest.mark.parametrize(("reason", "words", "damage"), DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_folder_is_refused_with_its_own_reason(
    model: Path, reason: WorkerFault, words: str, damage: Damage
) -> None:
    damage(model)
    with pytest.raises(Fault) as caught:
        check_model_folder(model, A14B)
    assert caught.value.reason is reason
    assert words in caught.value.message
    assert ";" in caught.value.message, "what was wrong; what to do"


@pytest.mark.parametrize("architecture", Architecture)
def test_a_whole_model_passes_as_its_own_architecture_only(
    architecture: Architecture, models: dict[Architecture, Path]
) -> None:
    check_model_folder(models[architecture], architecture)
    with pytest.raises(Fault, match=WorkerFault.MODEL_MISMATCH):
        check_model_folder(models[architecture], TI2V_5B if architecture is A14B else A14B)
