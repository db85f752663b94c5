"""A job's state between two steps as one file, and back: safetensors whose header carries JSON. Never pickle.

Invariant: a restored job goes on bit for bit as if it had never stopped, or it is not restored: a file that is damaged
or of another job, request or revision is refused. Prompt and embeddings stay out of it; the request brings them again.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from videofleet.jobs import VideoRequest
from videofleet_worker.compute.denoise import Denoising

VERSION: Final = 1
# What `step` changes in UniPC, DPM-Solver and flow-match Euler; all else follows from config and number of steps.
HISTORY: Final = (
    "model_outputs",
    "timestep_list",
    "last_sample",
    "lower_order_nums",
    "this_order",
    "_step_index",
    "_begin_index",
)


class Unusable(Exception):
    """No state to go on from; the message says why, without the request."""


def label(job: str, revision: str, request: VideoRequest) -> dict[str, Any]:
    """What a state must belong to; all of the request but what a person wrote."""
    plain = request.model_copy(update={"prompt": "", "negative_prompt": ""})
    return {"v": VERSION, "job": job, "revision": revision, "request": json.loads(plain.to_json())}


def save(path: Path, job: Denoising, belongs_to: dict[str, Any]) -> None:
    """Writes the state; after the last step without history, its largest part. Raises: OSError, SafetensorError."""
    tensors: dict[str, torch.Tensor] = {}
    values = vars(job.scheduler) if job.step < job.steps else {}
    state = {
        "label": belongs_to,
        "step": job.step,
        "seconds": job.seconds,
        "latents": _encoded(job.latents, "latents", tensors),
        "class": type(job.scheduler).__name__,
        "scheduler": {name: _encoded(values[name], name, tensors) for name in HISTORY if name in values},
    }
    text = json.dumps(state)
    save_file(tensors, path, metadata={"state": text, "sha256": _digest(text, tensors)})


def restore(path: Path, job: Denoising, belongs_to: dict[str, Any]) -> None:
    """Brings a job that has just begun to where the file says. Raises: Unusable; the job is as it was then."""
    state, tensors = _read(path, belongs_to)
    if state["class"] != type(job.scheduler).__name__:
        raise Unusable(f"it is of a {state['class']}")
    device = job.latents.device
    job.latents = _decoded(state["latents"], tensors, device)
    job.step, job.seconds = state["step"], state["seconds"]
    for name, value in state["scheduler"].items():
        setattr(job.scheduler, name, _decoded(value, tensors, device))


def latents_in(path: Path, belongs_to: dict[str, Any]) -> tuple[torch.Tensor, float]:
    """Of a state after the last step, in host memory, with the mean seconds of a step. Raises: Unusable."""
    state, tensors = _read(path, belongs_to)
    return tensors[state["latents"]["tensor"]], state["seconds"] / state["step"]


def _read(path: Path, belongs_to: dict[str, Any]) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    state, tensors = _intact(path)
    for name, value in belongs_to.items():
        if state["label"].get(name) != value:
            raise Unusable(f"it is of another {name}")
    return state, tensors


def _intact(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        text = metadata["state"]
        if metadata["sha256"] != _digest(text, tensors):
            raise Unusable("it is damaged: its SHA-256 differs")
        return json.loads(text), tensors
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise Unusable(f"it is damaged: {type(error).__name__}") from error


def _encoded(value: Any, name: str, tensors: dict[str, torch.Tensor]) -> Any:
    """JSON of the value; its tensors go into `tensors` as copies, because safetensors refuses shared memory."""
    if isinstance(value, torch.Tensor):
        tensors[name] = value.detach().cpu().clone().contiguous()
        return {"tensor": name}
    if isinstance(value, list):
        return [_encoded(item, f"{name}.{index}", tensors) for index, item in enumerate(value)]
    return value


def _decoded(value: Any, tensors: dict[str, torch.Tensor], device: torch.device) -> Any:
    if isinstance(value, dict):
        return tensors[value["tensor"]].clone().to(device)
    if isinstance(value, list):
        return [_decoded(item, tensors, device) for item in value]
    return value


def _digest(text: str, tensors: dict[str, torch.Tensor]) -> str:
    digest = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
