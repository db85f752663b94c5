"""From a checked folder to a pipeline on its device, or to a Fault that says why not.

Owns dtypes and placement: experts in the spec's dtype, text encoder in bfloat16, VAE in float32; diffusers itself keeps
norms and the time embedding in float32. Invariant: every tensor of the pipeline came from a file of this folder.
"""

import logging
from pathlib import Path

import torch
from diffusers import WanPipeline
from safetensors import SafetensorError
from transformers import UMT5EncoderModel

from videofleet.beacons import WorkerFault
from videofleet.workerspec import Dtype, WorkerSpec
from videofleet_worker.faults import Fault
from videofleet_worker.memory import plan_memory, refuse_what_cannot_fit
from videofleet_worker.model_folder import check_model_folder

log = logging.getLogger(__name__)

DTYPES = {Dtype.FLOAT16: torch.float16, Dtype.BFLOAT16: torch.bfloat16}


def load(model: Path, spec: WorkerSpec) -> WanPipeline:
    """The pipeline, whole and on its device. Raises: Fault."""
    device = _device(spec)
    check_model_folder(model, spec.architecture)
    plan = plan_memory(model, spec)
    log.info("memory planned", extra={"weights": plan.weights, "tiers": plan.tiers})
    if device.type == "cuda":
        refuse_what_cannot_fit(plan, torch.cuda.mem_get_info(device)[0])
    try:
        pipe = _read(model, DTYPES[spec.dtype])
        _refuse_missing_tensors(pipe)
        pipe.to(device)
    except torch.OutOfMemoryError as error:
        raise out_of_memory() from error
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        raise Fault(
            WorkerFault.MODEL_CORRUPT,
            f"diffusers cannot load {model}: {type(error).__name__}: {_first_line(error)}; copy the model folder again",
        ) from error
    pipe.set_progress_bar_config(disable=True)
    return pipe


def out_of_memory() -> Fault:
    """The fault for a device that is too small."""
    return Fault(
        WorkerFault.OUT_OF_MEMORY,
        "the device has not enough memory for this model and its largest tier; use a larger GPU or smaller tiers",
    )


def _device(spec: WorkerSpec) -> torch.device:
    if spec.gpus == 0:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise Fault(
            WorkerFault.COMPUTE_CRASHED,
            f"spec.worker.gpus is {spec.gpus} but torch sees no GPU; check driver, device plugin and image, or set 0",
        )
    return torch.device("cuda")


def _read(model: Path, dtype: torch.dtype) -> WanPipeline:
    text_encoder, report = UMT5EncoderModel.from_pretrained(
        model / "text_encoder",
        dtype=torch.bfloat16,
        local_files_only=True,
        use_safetensors=True,
        output_loading_info=True,
    )
    if report["missing_keys"]:  # transformers would fill them with noise
        raise ValueError(f"text_encoder lacks {sorted(report['missing_keys'])[0]}")
    return WanPipeline.from_pretrained(
        model,
        text_encoder=text_encoder,
        dtype={"vae": torch.float32, "default": dtype},
        local_files_only=True,
        use_safetensors=True,
    )


def _refuse_missing_tensors(pipe: WanPipeline) -> None:
    """diffusers only warns of a tensor that no file has, and leaves it on the meta device."""
    for name, component in pipe.components.items():
        if isinstance(component, torch.nn.Module):
            for tensor, parameter in component.named_parameters():
                if parameter.is_meta:
                    raise ValueError(f"{name} lacks {tensor}")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:300]
