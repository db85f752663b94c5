"""`spec.model.attention: auto`: the fastest way to compute attention that is installed and as exact as torch's own.

Each candidate attends once in the shape of the largest tier, beside torch's `native` one and a few rows in float32. It
is taken when it is no further from float32 than 1.5 times what native is, which quantised attention is not, and faster.
Kernels that diffusers would download at run time are no candidates.
Invariants: all ranks use one back end; `native` is diffusers' default, to which nothing is done.
"""

import json
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import WanPipeline, WanTransformer3DModel
from diffusers.models.attention_dispatch import (
    AttentionBackendName,
    _AttentionBackendRegistry,
    _check_attention_backend_requirements,
    dispatch_attention_fn,
)

from videofleet.tiers import tokens
from videofleet.workerspec import Attention, WorkerSpec
from videofleet_worker.compute.group import Group

log = logging.getLogger(__name__)

NATIVE: Final = "native"
CANDIDATES: Final = ("_native_cudnn", "_flash_3", "flash", "sage")
AS_EXACT: Final = 1.5  # × the error of native
FASTER: Final = 0.97  # × the seconds of native
ROWS: Final = 64  # of the output that are compared
RUNS: Final = 3
UNUSABLE: Final = (RuntimeError, ValueError, ImportError, NotImplementedError, TypeError)


@dataclass(frozen=True)
class Tried:
    """One back end: seconds of the fastest run, and distance from float32 relative to its size."""

    seconds: float
    error: float


def attention_for(
    model: Path, spec: WorkerSpec, group: Group, dtype: torch.dtype, candidates: tuple[str, ...] = CANDIDATES
) -> str:
    """The name for `set_attention_backend`; rank 0's choice on every rank."""
    if spec.attention is Attention.NATIVE:
        return NATIVE
    names = (NATIVE, *candidates)
    chosen = NATIVE
    if group.leads:
        config = json.loads((model / "transformer/config.json").read_bytes())
        longest = max(tokens(tier, spec.architecture) for tier in spec.tiers)
        shape = (1, longest, config["num_attention_heads"] // group.ulysses, config["attention_head_dim"])
        chosen = fastest_as_exact(_all_tried(names, shape, dtype, group))
    return names[group.decide(names.index(chosen))]


def use(expert: WanTransformer3DModel, name: str) -> None:
    """Lays the choice over an expert, and over nothing else: diffusers would make it the default of the process."""
    if name != NATIVE:
        expert.set_attention_backend(name)
        _AttentionBackendRegistry.set_active_backend(AttentionBackendName.NATIVE)


def used_by(pipe: WanPipeline) -> str:
    """What computes the pipeline's attention."""
    backend = pipe.transformer.blocks[0].attn1.processor._attention_backend  # noqa: SLF001 - diffusers cannot be asked
    return NATIVE if backend is None else str(backend.value)


def fastest_as_exact(tried: dict[str, Tried]) -> str:
    """Example: native 1 s and 2e-3, flash 0.6 s and 2e-3, sage 0.4 s and 3e-2 → flash."""
    native = tried[NATIVE]
    fit = {
        name: each.seconds
        for name, each in tried.items()
        if each.error <= AS_EXACT * native.error and each.seconds <= FASTER * native.seconds
    }
    return min(fit, key=fit.__getitem__, default=NATIVE)


def _all_tried(names: tuple[str, ...], shape: tuple[int, ...], dtype: torch.dtype, group: Group) -> dict[str, Tried]:
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randn(shape, generator=generator).to(group.device, dtype) for _ in range(3)]
    expected = _in_float32(*drawn)
    tried = {}
    for name in names:
        try:
            _refuse_unusable(name, group)
            tried[name] = _tried(name, drawn, expected)
        except torch.OutOfMemoryError:
            raise
        except UNUSABLE as error:
            if name == NATIVE:
                raise
            log.info(
                "attention not usable", extra={"attention": name, "why": (str(error).splitlines() or [""])[0][:200]}
            )
    figures = {name: f"{each.seconds:.4f} s, error {each.error:.1e}" for name, each in tried.items()}
    log.info("attention tried", extra={"tokens": shape[1], "heads": shape[2], "figures": figures})
    return tried


def _refuse_unusable(name: str, group: Group) -> None:
    """Raises: what is in UNUSABLE."""
    backend = AttentionBackendName(name)
    _check_attention_backend_requirements(backend)
    if group.ulysses > 1 and not _AttentionBackendRegistry._is_context_parallel_available(backend):  # noqa: SLF001 - set_attention_backend asks it too
        raise ValueError("diffusers cannot split a sequence with it")


@torch.no_grad()  # type: ignore[untyped-decorator]  # torch's types are not followed
def _tried(name: str, drawn: list[torch.Tensor], expected: torch.Tensor) -> Tried:
    times = []
    for _ in range(RUNS + 1):
        _wait(drawn[0])
        begun = time.perf_counter()
        output = dispatch_attention_fn(*drawn, backend=AttentionBackendName(name))
        _wait(output)
        times.append(time.perf_counter() - begun)
    found = output[:, _rows(output)].float()
    error = float((found - expected).norm() / expected.norm())
    return Tried(min(times[1:]), error)


@torch.no_grad()  # type: ignore[untyped-decorator]  # torch's types are not followed
def _in_float32(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Some rows of (batch, tokens, heads, width), head by head: a row has a weight for every token."""
    some = query[:, _rows(query)].float()
    heads = []
    for head in range(query.shape[2]):
        scores = some[:, :, head] @ key[:, :, head].float().transpose(1, 2) / query.shape[3] ** 0.5
        heads.append(scores.softmax(-1) @ value[:, :, head].float())
    return torch.stack(heads, dim=2)


def _rows(tensor: torch.Tensor) -> torch.Tensor:
    count = tensor.shape[1]
    return torch.linspace(0, count - 1, min(ROWS, count), device=tensor.device).long()


def _wait(tensor: Any) -> None:
    if tensor.is_cuda:
        torch.cuda.synchronize(tensor.device)
