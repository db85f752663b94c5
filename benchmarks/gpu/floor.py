"""How fast a step could be: its floating-point operations over the rate of plain matrix products on the same device.

linear a layer = 8·N·d² + 4·N·d² + 4·L·d² + 4·N·d·ffn      self QKVO, cross Q and O, cross K and V, feed-forward
attention      = 4·N²·d + 4·N·L·d                           self, cross
step           = 2 × layers × (linear + attention)          both branches of the guidance
"""

import time
from typing import Any

import torch

from videofleet.architectures import Architecture
from videofleet.tiers import Tier, tokens

TEXT_TOKENS = 512


def forward_flop(config: dict[str, Any], tier: Tier, architecture: Architecture) -> int:
    """Of one branch. Example: A14B, 832×480×81 → 1.678e15."""
    n, text = tokens(tier, architecture), TEXT_TOKENS
    d = config["num_attention_heads"] * config["attention_head_dim"]
    linear = 12 * n * d * d + 4 * text * d * d + 4 * n * d * config["ffn_dim"]
    attention = 4 * n * n * d + 4 * n * text * d
    return int(config["num_layers"] * (linear + attention))


def matrix_rate(device: torch.device, dtype: torch.dtype, size: int, repeats: int = 10) -> float:
    """FLOP/s of square matrix products, the best of some."""
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    best = float("inf")
    for _ in range(repeats):
        wait(device)
        begun = time.perf_counter()
        left @ right
        wait(device)
        best = min(best, time.perf_counter() - begun)
    return 2 * size**3 / best


def wait(device: torch.device) -> None:
    """Until the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
