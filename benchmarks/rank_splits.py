"""Ways to share one forward pass among ranks on the CPU: what each sends, whether it is equal, how long it takes.

sequence   Ulysses, as the worker does it
tensor     columns and rows of every matrix on different ranks; the norms of queries and keys need sums over all of them
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from diffusers import ContextParallelConfig, WanTransformer3DModel
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.utils._python_dispatch import TorchDispatchMode

CONFIG = {"num_attention_heads": 8, "attention_head_dim": 64, "ffn_dim": 2048, "num_layers": 4, "text_dim": 64}
LATENTS = 1, 16, 4, 32, 32  # 1,024 tokens
RUNS = 5


class Sent(TorchDispatchMode):
    """Counts the bytes that this rank sends, as rings and exchanges do it."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, ranks = str(func), dist.get_world_size()
        if "c10d" in name and "wait" not in name:
            tensor = next(each for each in _flat(args) if isinstance(each, torch.Tensor))
            share = {
                "allreduce": 2 * (ranks - 1) / ranks,
                "alltoall": (ranks - 1) / ranks,
                "allgather": (ranks - 1) / ranks,
            }
            plain = name.replace("_", "")
            self.bytes += next((factor for word, factor in share.items() if word in plain), 1.0) * tensor.nbytes
        return func(*args, **(kwargs or {}))


def _flat(args: Any) -> list[Any]:
    return [each for arg in args for each in (_flat(arg) if isinstance(arg, list | tuple) else [arg])]


class SharedNorm(torch.nn.Module):
    """RMS norm over columns that lie on several ranks."""

    def __init__(self, norm: torch.nn.Module) -> None:
        super().__init__()
        ranks, rank = dist.get_world_size(), dist.get_rank()
        self.weight = torch.nn.Parameter(norm.weight.detach().chunk(ranks)[rank].clone(), requires_grad=False)
        self.eps, self.width = norm.eps, norm.weight.numel()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The rank's own columns."""
        squares = x.float().pow(2).sum(-1, keepdim=True).contiguous()
        dist.all_reduce(squares)
        return (x * torch.rsqrt(squares / self.width + self.eps)).type_as(x) * self.weight


def split(model: WanTransformer3DModel, way: str) -> None:
    """Lays one way over a whole model."""
    ranks = dist.get_world_size()
    if way == "sequence":
        mesh = init_device_mesh("cpu", (1, ranks), mesh_dim_names=("ring", "ulysses"))
        torch.accelerator.device_count = lambda: 1  # diffusers divides by it
        model.enable_parallelism(config=ContextParallelConfig(ulysses_degree=ranks, mesh=mesh))
    if way == "tensor":
        columns, rows, mesh = ColwiseParallel(), RowwiseParallel(), init_device_mesh("cpu", (ranks,))
        plan = {f"{a}.{n}": columns for a in ("attn1", "attn2") for n in ("to_q", "to_k", "to_v")}
        plan |= {f"{a}.to_out.0": rows for a in ("attn1", "attn2")} | {"ffn.net.0.proj": columns, "ffn.net.2": rows}
        for block in model.blocks:
            for attention in (block.attn1, block.attn2):
                attention.norm_q, attention.norm_k = SharedNorm(attention.norm_q), SharedNorm(attention.norm_k)
                attention.heads //= ranks
            parallelize_module(block, mesh, plan)


@torch.no_grad()
def run_rank(rank: int, ranks: int, folder: str) -> None:
    """One rank of the measurement; the last one writes what it found."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet-{ranks}", rank=rank, world_size=ranks)
    found = {}
    for way in ("one process", "sequence", "tensor"):
        torch.manual_seed(0)
        model = WanTransformer3DModel(
            **CONFIG, in_channels=16, out_channels=16, freq_dim=64, cross_attn_norm=True
        ).eval()
        given = torch.randn(LATENTS), torch.tensor([500.0])
        texts = torch.randn(2, 1, 512, 64)

        def both(model: Any = model, given: Any = given, texts: Any = texts) -> torch.Tensor:
            return torch.cat([model(*given, text, return_dict=False)[0] for text in texts])

        expected = both()
        split(model, way)
        with Sent() as sent:
            output = both()
        seconds = min(_timed(both) for _ in range(RUNS))
        found[way] = {
            "MB_sent": sent.bytes / 1e6,
            "difference": float((output - expected).abs().max()),
            "seconds": seconds,
        }
    if rank == ranks - 1:
        torch.save(found, Path(folder) / f"found-{ranks}")
    dist.barrier()
    dist.destroy_process_group()


def _timed(work: Callable[[], object]) -> float:
    dist.barrier()
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
