"""`videofleet-worker plan DIR`: what each layout of a worker needs of a GPU, without reading a weight.

Prints one line a layout and one column a tier: GiB that the fullest GPU must have free, headroom included, and the
smallest card that has them.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from videofleet.architectures import CONSTANTS, Architecture
from videofleet.tiers import Tier, tier_faults
from videofleet.workerspec import Dtype, Offload, Parallelism, Warmup, WorkerSpec
from videofleet_worker.faults import Fault
from videofleet_worker.memory import GIB
from videofleet_worker.memory_plan import ModelSizes, plan_memory
from videofleet_worker.model_folder import check_model_folder

CARDS_GIB: Final = (24, 48, 80, 141)
DRIVER_GIB: Final = 1  # of a card that CUDA and its libraries have before us
LAYOUTS: Final = [(1, 1), (2, 1), (2, 2), (2, 4)]


def main(argv: Sequence[str]) -> int:
    """Returns: the exit code, 1 when the folder is no model of this architecture."""
    parser = argparse.ArgumentParser(prog="videofleet-worker plan", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path, help="model folder in diffusers' format")
    parser.add_argument("--architecture", type=Architecture, choices=list(Architecture), required=True)
    parser.add_argument(
        "--tier", action="append", required=True, metavar="WIDTHxHEIGHTxFRAMES", help="e.g. 1280x720x81; repeatable"
    )
    arguments = parser.parse_args(argv)
    try:
        check_model_folder(arguments.model, arguments.architecture)
        tiers = [_tier(text, arguments.architecture) for text in arguments.tier]
    except (Fault, ValueError) as error:
        print(error)  # noqa: T201 - a command's answer
        return 1
    for line in table(ModelSizes.of(arguments.model), arguments.architecture, tiers):
        print(line)  # noqa: T201 - a command's answer
    return 0


def table(sizes: ModelSizes, architecture: Architecture, tiers: list[Tier]) -> Iterator[str]:
    """Markdown: a row for each layout that these tiers allow."""
    yield "| gpus | cfg × ulysses | weights | " + " | ".join(tier.name for tier in tiers) + " |"
    yield "| --- " * (3 + len(tiers)) + "|"
    for parallelism, offload in _layouts():
        if any(tier_faults(tier, architecture, parallelism.ulysses) for tier in tiers):
            continue
        needs = plan_memory(sizes, _spec(architecture, tiers, parallelism, offload))
        words = "sharded" if parallelism.shard_weights else {Offload.NONE: "whole"}.get(offload, f"offload {offload}")
        cells = (_cell(need.needed_bytes) for need in needs.values())
        head = f"| {parallelism.ranks} | {parallelism.cfg} × {parallelism.ulysses} | {words} | "
        yield head + " | ".join(cells) + " |"


def _layouts() -> Iterator[tuple[Parallelism, Offload]]:
    for cfg, ulysses in LAYOUTS:
        if cfg * ulysses > 1:
            yield Parallelism(cfg=cfg, ulysses=ulysses, shard_weights=True), Offload.NONE
        for offload in Offload:
            yield Parallelism(cfg=cfg, ulysses=ulysses), offload


def _cell(needed_bytes: int) -> str:
    card = next((f"{card} GiB" for card in CARDS_GIB if needed_bytes <= (card - DRIVER_GIB) * GIB), "no card")
    return f"{needed_bytes / GIB:.1f} → {card}"


def _tier(text: str, architecture: Architecture) -> Tier:
    """Raises: ValueError."""
    parts = text.split("x")
    if len(parts) != 3 or not all(part.isdecimal() for part in parts):
        raise ValueError(f"--tier {text} must be WIDTHxHEIGHTxFRAMES, e.g. 1280x720x81")
    width, height, frames = map(int, parts)
    fps = CONSTANTS[architecture].fps
    tier = Tier(name=text, width=width, height=height, num_frames=frames, num_inference_steps=1, fps=fps)
    if faults := tier_faults(tier, architecture):
        raise ValueError(f"--tier {text}: {faults[0]}")
    return tier


def _spec(architecture: Architecture, tiers: list[Tier], parallelism: Parallelism, offload: Offload) -> WorkerSpec:
    return WorkerSpec(
        revision="",
        architecture=architecture,
        dtype=Dtype.FLOAT16,
        gpus=parallelism.ranks,
        parallelism=parallelism,
        offload=offload,
        tiers=tiers,
        warmup=Warmup(max_runs=1, stable_within=0.0, timeout_s=0.0),
        store="",
    )
