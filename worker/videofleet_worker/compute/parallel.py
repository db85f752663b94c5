"""Makes a rank's expert a part of the group: sequence split by Ulysses, weights by FSDP2.

Owns the order in which the two are laid over a model, and the rule that every block counts up the rank's mark.
Invariant: what the group computes is what one process computes, bit for bit on one kind of device.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum

import torch
from diffusers import ContextParallelConfig, WanPipeline
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from videofleet_worker.compute.group import Group


def experts_of(pipe: WanPipeline) -> list[torch.nn.Module]:
    """The transformers of the pipeline, one or two."""
    return [model for model in (pipe.transformer, pipe.transformer_2) if model is not None]


class Placing(Enum):
    """What becomes of an expert's weights."""

    MOVE = "move"  # whole, to the rank's device
    SHARD = "shard"  # a part each
    STAY = "stay"  # in host memory, for the offload to place


def join(expert: torch.nn.Module, group: Group, placing: Placing) -> None:
    """Lays the group's parallelism over an expert in host memory."""
    if group.ulysses > 1:
        _split_sequence(expert, group)
    if placing is Placing.SHARD:
        _shard(expert, group)
    elif placing is Placing.MOVE:
        expert.to(group.device)
    if group.ranks > 1:
        for block in expert.blocks:
            block.register_forward_pre_hook(lambda *_: group.mark())


def weight_bytes(pipe: WanPipeline) -> int:
    """Bytes of the experts' weights on this rank."""
    return sum(
        (parameter.to_local() if hasattr(parameter, "to_local") else parameter).nbytes
        for model in experts_of(pipe)
        for parameter in model.parameters()
    )


def _split_sequence(model: torch.nn.Module, group: Group) -> None:
    assert group.mesh is not None  # noqa: S101 - ulysses is above 1, so there are ranks
    with _a_device_to_count():
        model.enable_parallelism(
            config=ContextParallelConfig(ulysses_degree=group.ulysses, mesh=group.mesh["ring", "ulysses"])
        )


def _shard(model: torch.nn.Module, group: Group) -> None:
    """Block by block over all ranks; what diffusers keeps in float32 beside 16 bits is small and stays whole."""
    mesh = init_device_mesh(group.device.type, (group.ranks,), mesh_dim_names=("shard",))
    whole = {each for each in model.parameters() if each.dtype is torch.float32 and model.dtype is not torch.float32}
    for parameter in whole:
        parameter.data = parameter.data.to(group.device)
    for block in model.blocks:
        fully_shard(block, mesh=mesh, ignored_params=whole)
    fully_shard(model, mesh=mesh, ignored_params=whole)


@contextmanager
def _a_device_to_count() -> Iterator[None]:
    """diffusers divides by the number of accelerators, which is 0 on a CPU."""
    device_count = torch.accelerator.device_count
    torch.accelerator.device_count = lambda: max(1, device_count())
    try:
        yield
    finally:
        torch.accelerator.device_count = device_count
