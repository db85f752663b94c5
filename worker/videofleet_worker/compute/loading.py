"""From a checked folder to a pipeline on its device, or to a Fault that says why not.

Owns dtypes and placement: experts in the spec's dtype, text encoder in bfloat16, VAE in float32; diffusers itself keeps
norms and the time embedding in float32. Text encoder and VAE are with rank 0 only, experts with every rank.
Invariant: every tensor of the pipeline came from a file of this folder.
"""

import json
import logging
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from diffusers import AutoencoderKLWan, WanPipeline, WanTransformer3DModel
from safetensors import SafetensorError
from transformers import UMT5EncoderModel

from videofleet.architectures import CONSTANTS
from videofleet.beacons import WorkerFault
from videofleet.workerspec import Dtype, Offload, WorkerSpec
from videofleet_worker.compute.attention import attention_for, use
from videofleet_worker.compute.group import SOLO, Group
from videofleet_worker.compute.offload import take_turns
from videofleet_worker.compute.parallel import Placing, join
from videofleet_worker.compute.speed import forget_at_hand_over, lay_cache
from videofleet_worker.compute.timesteps import FewRows
from videofleet_worker.faults import Fault
from videofleet_worker.memory_plan import EXPERTS, ModelSizes, refuse_what_cannot_fit
from videofleet_worker.model_folder import check_model_folder

log = logging.getLogger(__name__)

DTYPES = {Dtype.FLOAT16: torch.float16, Dtype.BFLOAT16: torch.bfloat16}


def load(model: Path, spec: WorkerSpec, group: Group = SOLO) -> WanPipeline:
    """This rank's pipeline, on its device. Raises: Fault."""
    check_model_folder(model, spec.architecture)
    if group.device.type == "cuda":
        refuse_what_cannot_fit(ModelSizes.of(model), spec, torch.cuda.mem_get_info(group.device)[0])
    with _faults(model):
        pipe = _read_beside_experts(model) if group.leads else _without_components(model)
        _refuse_missing_tensors(pipe)
        if spec.offload is Offload.NONE:
            for component in (pipe.text_encoder, pipe.vae):
                if component is not None:
                    component.to(group.device)
        attention = attention_for(model, spec, group, DTYPES[spec.dtype])
        for name in _experts_in(model):
            pipe.register_modules(**{name: _placed_expert(model / name, spec, group, attention)})
        forget_at_hand_over(pipe)
        if spec.offload is not Offload.NONE:
            take_turns(pipe, group.device, spec.offload)
        if group.device.type == "cpu" and not spec.parallelism.shard_weights:
            _touch_pages(pipe)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def load_vae(model: Path, spec: WorkerSpec, device: torch.device) -> AutoencoderKLWan:
    """The decoder alone, as `load` would have it. Raises: Fault."""
    check_model_folder(model, spec.architecture)
    with _faults(model):
        vae = AutoencoderKLWan.from_pretrained(
            model / "vae", dtype=torch.float32, local_files_only=True, use_safetensors=True
        )
        _refuse_missing("vae", vae)
        return vae.to(device)


@contextmanager
def _faults(model: Path) -> Iterator[None]:
    """What goes wrong while a folder is read, in the operator's words."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise out_of_memory() from error
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        raise Fault(
            WorkerFault.MODEL_CORRUPT,
            f"diffusers cannot load {model}: {type(error).__name__}: {_first_line(error)}; copy the model folder again",
        ) from error


def out_of_memory() -> Fault:
    """The fault for a device that is too small."""
    return Fault(
        WorkerFault.OUT_OF_MEMORY,
        "the device has not enough memory for this model and its largest tier; use a larger GPU or smaller tiers",
    )


def _read_beside_experts(model: Path) -> WanPipeline:
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
        transformer=None,
        transformer_2=None,
        dtype=torch.float32,
        local_files_only=True,
        use_safetensors=True,
    )


def _without_components(model: Path) -> WanPipeline:
    """For a rank that only denoises; of the VAE it knows how much it compresses."""
    nothing = dict.fromkeys(("tokenizer", "text_encoder", "vae", "transformer", "transformer_2"))
    pipe = WanPipeline.from_pretrained(model, **nothing, local_files_only=True)
    vae = json.loads((model / "vae/config.json").read_bytes())
    pipe.vae_scale_factor_spatial = vae.get("scale_factor_spatial") or 8
    pipe.vae_scale_factor_temporal = vae.get("scale_factor_temporal") or 4
    return pipe


def _experts_in(model: Path) -> list[str]:
    index = json.loads((model / "model_index.json").read_bytes())
    return [name for name in EXPERTS if index.get(name, [None])[0] is not None]


def _placed_expert(folder: Path, spec: WorkerSpec, group: Group, attention: str) -> WanTransformer3DModel:
    """One expert where it belongs before the next is read: host memory holds one a rank, not all of them."""
    expert = WanTransformer3DModel.from_pretrained(
        folder, dtype=DTYPES[spec.dtype], local_files_only=True, use_safetensors=True
    )
    _refuse_missing(folder.name, expert)
    _refuse_heads_that_do_not_divide(expert, group)
    if not CONSTANTS[spec.architecture].has_two_experts:
        FewRows(expert.condition_embedder)
    use(expert, attention)
    lay_cache(expert, spec.speed, group)
    if spec.offload is not Offload.NONE:
        join(expert, group, Placing.STAY)
    else:
        join(expert, group, Placing.SHARD if spec.parallelism.shard_weights else Placing.MOVE)
    return expert


def _refuse_heads_that_do_not_divide(expert: WanTransformer3DModel, group: Group) -> None:
    heads = expert.config.num_attention_heads
    if heads % group.ulysses:
        raise Fault(
            WorkerFault.MODEL_MISMATCH,
            f"spec.worker.parallelism.ulysses {group.ulysses} must divide the model's {heads} attention heads",
        )


def _refuse_missing_tensors(pipe: WanPipeline) -> None:
    for name, component in pipe.components.items():
        if isinstance(component, torch.nn.Module):
            _refuse_missing(name, component)


def _refuse_missing(name: str, component: torch.nn.Module) -> None:
    """diffusers only warns of a tensor that no file has, and leaves it on the meta device."""
    for tensor, parameter in (*component.named_parameters(), *component.named_buffers()):
        if parameter.is_meta:
            raise ValueError(f"{name} lacks {tensor}")


def _touch_pages(pipe: WanPipeline) -> None:
    """On a CPU weights are mapped, not read: loaded means resident only once each page was asked for."""
    for component in pipe.components.values():
        if isinstance(component, torch.nn.Module):
            for parameter in component.parameters():
                parameter.detach().flatten()[:: mmap.PAGESIZE // parameter.element_size()].sum()


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:300]
