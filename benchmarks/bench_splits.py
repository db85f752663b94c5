"""What the worker does not do, measured: decode by time or tiles, tensor parallel, batches of mixed lengths.

Real diffusers classes with random weights on the CPU; decoders have the real depth and are narrow.
Usage: python benchmarks/bench_splits.py [blocks]. Prints a table, writes build/bench/splits.json; with `blocks` what
compiling blocks takes and few rows of timesteps save, and build/bench/blocks.json.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import torch
import torch.multiprocessing
from block_costs import block_costs
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from diffusers.models.autoencoders.autoencoder_kl_wan import WanCausalConv3d
from rank_splits import run_rank
from rich.console import Console
from rich.table import Table

DEEP = {"num_res_blocks": 2, "dim_mult": [1, 2, 4, 4], "temperal_downsample": [False, True, True], "base_dim": 16}
DECODERS: dict[str, dict[str, Any]] = {
    "A14B": DEEP | {"z_dim": 16},
    "TI2V-5B": DEEP
    | {"decoder_base_dim": 24, "z_dim": 48, "is_residual": True, "patch_size": 2, "in_channels": 12}
    | {"out_channels": 12, "scale_factor_spatial": 16, "latents_mean": [0.0] * 48, "latents_std": [1.0] * 48},
}
LATENT_FRAMES = 21
BEFORE = (4, 10, 16, 19, 20)  # latent frames decoded for nothing before the one that is compared
LENGTHS = 728, 1352  # tokens of TI2V-5B at 416×256, 25 and 49 frames


@torch.no_grad()
def by_time(config: dict[str, Any]) -> dict[str, float]:
    """Largest difference of the last frames, of 255, when decoding begins so many latent frames before them."""
    torch.manual_seed(0)
    vae = AutoencoderKLWan(**config).eval()
    latents = torch.randn(1, config["z_dim"], LATENT_FRAMES, 8, 8)

    def last(latents: torch.Tensor) -> torch.Tensor:
        hidden = vae.post_quant_conv(latents)
        memory: list[Any] = [None] * sum(isinstance(m, WanCausalConv3d) for m in vae.decoder.modules())
        for index in range(hidden.shape[2]):
            frames = vae.decoder(
                hidden[:, :, index : index + 1], feat_cache=memory, feat_idx=[0], first_chunk=index == 0
            )
        return frames.clamp(-1, 1)

    expected = last(latents)
    return {
        str(before): float((last(latents[:, :, -1 - before :]) - expected).abs().max() * 127.5) for before in BEFORE
    }


@torch.no_grad()
def by_tiles(config: dict[str, Any]) -> float:
    """Largest difference, of 255, of diffusers' tiles of 256 pixels to the whole picture."""
    torch.manual_seed(0)
    vae = AutoencoderKLWan(**config).eval()
    latents = torch.randn(1, config["z_dim"], 1, 40, 40)
    whole = vae.decode(latents, return_dict=False)[0]
    vae.enable_tiling()
    return float((vae.decode(latents, return_dict=False)[0] - whole).abs().max() * 127.5)


@torch.no_grad()
def mixed_lengths() -> dict[str, float]:
    """Seconds of one block of TI2V-5B's width: two lengths one after the other, and their matrices as one batch."""
    torch.set_num_threads(1)
    config = {"num_attention_heads": 24, "attention_head_dim": 128, "ffn_dim": 14336, "num_layers": 1}
    block = WanTransformer3DModel(**config, cross_attn_norm=True).to(torch.bfloat16).blocks[0].eval()
    matrices = [block.attn1.to_q, block.attn1.to_k, block.attn1.to_v, block.attn1.to_out[0], block.ffn]
    one, other = (torch.randn(1, length, 3072, dtype=torch.bfloat16) for length in LENGTHS)
    both = torch.cat([one, other], dim=1)
    ways: dict[str, Callable[[], object]] = {
        "apart": lambda: [matrix(rows) for rows in (one, other) for matrix in matrices],
        "together": lambda: [matrix(both) for matrix in matrices],
    }
    took: dict[str, list[float]] = {name: [] for name in ways}
    for name, work in list(ways.items()) * 4:
        begun = time.perf_counter()
        work()
        took[name].append(time.perf_counter() - begun)
    return {name: min(each[1:]) for name, each in took.items()}


def ranks() -> dict[str, Any]:
    """By number of ranks and way."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for count in (2, 4):
            torch.multiprocessing.spawn(run_rank, args=(count, folder), nprocs=count)
            found[str(count)] = torch.load(Path(folder) / f"found-{count}")
    return found


def blocks() -> Table:
    """Measures and writes; for people."""
    found = block_costs()
    written("blocks", found)
    table = Table(title="compiled blocks, and rows of equal timesteps")
    for column in ("what", "how much"):
        table.add_column(column)
    compiled = found["compile"]
    table.add_row("first compiled call, the next", f"{compiled['first']:.1f} s, {compiled['next']:.3f} s")
    table.add_row("difference", f"{compiled['difference']:.1e}")
    for name, counts in found["graphs"].items():
        table.add_row(f"graphs after each of {len(counts)} shapes, {name}", ", ".join(map(str, counts)))
    for name, verdict in found["caches"].items():
        table.add_row(f"compiled with {name}", verdict)
    for name, took in found["timesteps"].items():
        table.add_row(f"two blocks of TI2V-5B's width, 1,320 tokens, {name}", f"{took:.1f} s")
    return table


def written(name: str, found: dict[str, Any]) -> None:
    """Into build/bench."""
    out = Path(f"build/bench/{name}.json")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"bench": name, "load": os.getloadavg(), "torch": torch.__version__} | found, indent=2))


def main() -> None:
    """Measures, prints and writes."""
    if sys.argv[1:] == ["blocks"]:
        Console(file=sys.stdout, width=None if sys.stdout.isatty() else 140).print(blocks())
        return
    diffusers.utils.logging.set_verbosity_error()
    found: dict[str, Any] = {"by_time": {name: by_time(config) for name, config in DECODERS.items()}}
    found |= {"by_tiles": {name: by_tiles(config) for name, config in DECODERS.items()}}
    found |= {"mixed_lengths": mixed_lengths(), "ranks": ranks()}
    written("splits", found)
    table = Table(title="splits that the worker does not make")
    for column in ("what", "how much"):
        table.add_column(column)
    for name, differences in found["by_time"].items():
        levels = ", ".join(f"{before}: {value:.1f}" for before, value in differences.items())
        table.add_row(f"{name}: levels of 255 wrong by latent frames decoded before", levels)
        table.add_row(f"{name}: levels of 255 wrong by tiles", f"{found['by_tiles'][name]:.1f}")
    for count, ways in found["ranks"].items():
        for way, each in ways.items():
            words = f"{each['MB_sent']:.1f} MB sent, difference {each['difference']:.1e}, {each['seconds']:.3f} s"
            table.add_row(f"{way}, {count} ranks, both branches", words)
    took = found["mixed_lengths"]
    table.add_row("lengths one after the other, as one", f"{took['apart']:.3f} s, {took['together']:.3f} s")
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else 140).print(table)


if __name__ == "__main__":
    main()
