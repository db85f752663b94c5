"""What compiling repeated blocks takes, and what few rows of equal timesteps save: figures of ADR 22 and worker.md.

Real diffusers classes with random weights, one thread, on the CPU.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from diffusers import FirstBlockCacheConfig, TaylorSeerCacheConfig, WanTransformer3DModel
from torch._dynamo.exc import TorchDynamoException

from videofleet_worker.compute.timesteps import PROOFS, FewRows

NARROW = {"num_attention_heads": 4, "attention_head_dim": 128, "ffn_dim": 2048, "num_layers": 4, "text_dim": 64}
WIDE = {"num_attention_heads": 24, "attention_head_dim": 128, "ffn_dim": 14336, "num_layers": 2, "text_dim": 64}
SHAPES = (
    (1, 3, 8, 8),
    (1, 3, 16, 16),
    (1, 5, 16, 16),
    (2, 3, 16, 16),
    (4, 3, 8, 8),
    (1, 1, 8, 8),
)  # rows, latent f h w
TI2V_LATENTS = (1, 48, 3, 40, 44)  # 1,320 tokens


def first_compiled_call() -> dict[str, float]:
    """Seconds of it and of the next, and the largest difference to what is not compiled."""
    _fresh()
    model, inputs = _model(NARROW), _inputs((1, 16, 3, 16, 16))
    expected = _called(model, inputs)
    model.compile_repeated_blocks(fullgraph=True)
    torch.compiler.config.force_disable_caches = True  # an earlier run would have left it on the disk
    took = [_seconds(lambda: _called(model, inputs)) for _ in range(2)]
    return {"first": took[0], "next": took[1], "difference": float((_called(model, inputs) - expected).abs().max())}


def graphs(*, dynamic: bool | None) -> list[int]:
    """How many graphs there are after each of SHAPES."""
    _fresh()
    model, made = _model(NARROW), [0]

    def counted(graph: Any, _: Any) -> Any:
        made[0] += 1
        return graph.forward

    model.compile_repeated_blocks(fullgraph=True, backend=counted, dynamic=dynamic)
    found = []
    for rows, frames, height, width in SHAPES:
        _called(model, _inputs((rows, 16, frames, height, width)))
        found.append(made[0])
    return found


def compiled_with(cache: Any) -> str:
    """Whether the compiler takes blocks that a cache has laid its hooks over."""
    _fresh()
    model, inputs = _model(NARROW), _inputs((1, 16, 1, 8, 8))
    model.enable_cache(cache)
    model.compile_repeated_blocks(fullgraph=True, backend="eager")
    try:
        with model.cache_context("cond", step_index=0, sigma=1.0, num_inference_steps=4):
            _called(model, inputs)
    except TorchDynamoException as error:
        return f"refused ({type(error).__name__})"
    return "taken"


def equal_timesteps() -> dict[str, float]:
    """Processor seconds of one call of TI2V-5B's width, every row of the timestep and few of them; medians of three."""
    model = _as_loaded(_model(WIDE | {"in_channels": 48, "out_channels": 48}))
    latents = torch.randn(TI2V_LATENTS, dtype=torch.bfloat16)
    tokens = latents.shape[2] * latents.shape[3] * latents.shape[4] // 4
    inputs = latents, torch.full((1, tokens), 500.0), torch.randn(1, 512, 64, dtype=torch.bfloat16)
    took = {"all rows": _median(lambda: _called(model, inputs))}
    few = FewRows(model.condition_embedder)
    for _ in range(PROOFS):
        _called(model, inputs)
    rows = next(iter(few.proofs.values())).rows
    return took | {f"{rows} rows" if rows else "none agreed": _median(lambda: _called(model, inputs))}


def block_costs() -> dict[str, Any]:
    """All of it."""
    torch.set_num_threads(1)
    caches = {
        "FirstBlockCache": FirstBlockCacheConfig(threshold=0.08),
        "TaylorSeer": TaylorSeerCacheConfig(cache_interval=3, use_lite_mode=True),
    }
    return {
        "compile": first_compiled_call(),
        "graphs": {"as it is": graphs(dynamic=None), "dynamic": graphs(dynamic=True)},
        "caches": {name: compiled_with(cache) for name, cache in caches.items()},
        "timesteps": equal_timesteps(),
    }


def _fresh() -> None:
    torch.compiler.reset()
    torch.manual_seed(0)


def _model(config: dict[str, Any]) -> WanTransformer3DModel:
    return WanTransformer3DModel(**config, cross_attn_norm=True).eval()


def _as_loaded(model: WanTransformer3DModel) -> WanTransformer3DModel:
    """In bfloat16, but for what diffusers keeps in float32."""
    kept = set(model._keep_in_fp32_modules)  # noqa: SLF001 - what `from_pretrained` goes by
    for name, parameter in model.named_parameters():
        if not kept & set(name.split(".")):
            parameter.data = parameter.data.to(torch.bfloat16)
    return model


def _inputs(shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return torch.randn(shape), torch.full((shape[0],), 500.0), torch.randn(shape[0], 512, 64)


@torch.no_grad()
def _called(model: WanTransformer3DModel, inputs: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> torch.Tensor:
    found: torch.Tensor = model(*inputs, return_dict=False)[0]
    return found


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _median(work: Callable[[], object]) -> float:
    """Of processor time, which neighbours on the machine do not disturb."""
    took = []
    for _ in range(3):
        begun = time.process_time()
        work()
        took.append(time.process_time() - begun)
    return statistics.median(took)
