"""From a checked folder to a pipeline on its device, or to a Fault that says why not.

Owns dtypes and placement: experts in the spec's dtype, text encoder in bfloat16, VAE in float32; diffusers itself keeps
norms and the time embedding in float32. Text encoder and VAE are with rank 0 only, experts with every rank.
Invariant: every tensor of the pipeline came from a file of this folder.
"""

import json
import logging
from pathlib import Path

import torch
from diffusers import WanPipeline
from safetensors import SafetensorError
from transformers import UMT5EncoderModel

from videofleet.beacons import WorkerFault
from videofleet.workerspec import Dtype, WorkerSpec
from videofleet_worker.compute.group import SOLO, Group
from videofleet_worker.compute.parallel import join
from videofleet_worker.faults import Fault
from videofleet_worker.memory import plan_memory, refuse_what_cannot_fit
from videofleet_worker.model_folder import check_model_folder

log = logging.getLogger(__name__)

DTYPES = {Dtype.FLOAT16: torch.float16, Dtype.BFLOAT16: torch.bfloat16}


def load(model: Path, spec: WorkerSpec, group: Group = SOLO) -> WanPipeline:
    """This rank's pipeline, on its device. Raises: Fault."""
    check_model_folder(model, spec.architecture)
    plan = plan_memory(model, spec)
    log.info("memory planned", extra={"weights": plan.weights, "tiers": plan.tiers})
    if group.device.type == "cuda":
        refuse_what_cannot_fit(plan, torch.cuda.mem_get_info(group.device)[0])
    try:
        pipe = _read(model, DTYPES[spec.dtype]) if group.leads else _read_experts(model, DTYPES[spec.dtype])
        _refuse_missing_tensors(pipe)
        for component in (pipe.text_encoder, pipe.vae):
            if component is not None:
                component.to(group.device)
        _refuse_heads_that_do_not_divide(pipe, group)
        join(pipe, group, shard_weights=spec.parallelism.shard_weights)
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


def _read_experts(model: Path, dtype: torch.dtype) -> WanPipeline:
    """What a rank needs that only denoises; of the VAE it knows how much it compresses."""
    pipe = WanPipeline.from_pretrained(
        model,
        tokenizer=None,
        text_encoder=None,
        vae=None,
        dtype=dtype,
        local_files_only=True,
        use_safetensors=True,
    )
    vae = json.loads((model / "vae/config.json").read_bytes())
    pipe.vae_scale_factor_spatial = vae.get("scale_factor_spatial") or 8
    pipe.vae_scale_factor_temporal = vae.get("scale_factor_temporal") or 4
    return pipe


def _refuse_heads_that_do_not_divide(pipe: WanPipeline, group: Group) -> None:
    heads = pipe.transformer.config.num_attention_heads
    if heads % group.ulysses:
        raise Fault(
            WorkerFault.MODEL_MISMATCH,
            f"spec.worker.parallelism.ulysses {group.ulysses} must divide the model's {heads} attention heads",
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
