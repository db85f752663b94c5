"""What a GPU makes of the real models: full-size random weights through the worker's own loop.

Usage: python benchmarks/gpu [--preset NAME]… [--dtype NAME]… [--attention NAME]… [--compile] [--steps N] [--tiny]
[--device cpu]. Prints a table, writes build/bench/gpu.json. `--plan` prints what the planner says of the real models
instead. One GPU; weights are random, so speed and memory are real and the pictures are not.
"""

import argparse
import dataclasses
import gc
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import diffusers
import torch
from floor import forward_flop, matrix_rate
from measure import Measured, measure, random_pipeline
from rich.console import Console
from rich.table import Table
from shapes import A14B, REAL, TI2V_5B, TINY, write_empty_model

from videofleet.architectures import CONSTANTS, Architecture
from videofleet.tiers import Tier
from videofleet_worker import plan

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}
COLUMNS = (
    "preset",
    "dtype",
    "attention",
    "s/step",
    "TFLOP/s",
    "of floor",
    "job s",
    "decode s",
    "GiB",
    "cancel",
    "resume",
)
GIB = 1 << 30


def preset(architecture: Architecture, width: int, height: int, frames: int, steps: int) -> tuple[Architecture, Tier]:
    """A real tier of an architecture."""
    fps = CONSTANTS[architecture].fps
    shape = {"width": width, "height": height, "num_frames": frames, "num_inference_steps": steps, "fps": fps}
    return architecture, Tier(name=f"{width}x{height}x{frames}", **shape)


PRESETS = {
    "a14b-480p": preset(A14B, 832, 480, 81, 40),
    "a14b-720p": preset(A14B, 1280, 720, 81, 40),
    "5b-704p": preset(TI2V_5B, 1280, 704, 121, 50),
}
TINY_PRESETS = {"a14b-480p": preset(A14B, 64, 64, 9, 6), "5b-704p": preset(TI2V_5B, 64, 64, 9, 6)}


def main() -> None:
    """Measures each combination in turn; one that cannot run is named with the reason."""
    options = arguments()
    diffusers.utils.logging.set_verbosity_error()
    if options.plan:
        print_plan()
    else:
        run(options)


def run(options: argparse.Namespace) -> None:
    """The measurements and their report."""
    device, presets = torch.device(options.device), TINY_PRESETS if options.tiny else PRESETS
    rates = {name: matrix_rate(device, DTYPES[name], 256 if options.tiny else 8192) for name in options.dtype}
    rows = []
    for name in options.preset or presets:
        architecture, tier = presets[name]
        shape = (TINY if options.tiny else REAL)[architecture]
        floor_flop = 2 * forward_flop(shape.transformer, tier, architecture)
        for dtype in options.dtype:
            pipe = random_pipeline(shape, architecture, DTYPES[dtype], device)
            for attention in options.attention:
                row: dict[str, Any] = {"preset": name, "dtype": dtype, "attention": attention}
                row |= attempt(pipe, attention, tier, architecture, options)
                if "step_s" in row:
                    row["of_floor"] = floor_flop / rates[dtype] / row["step_s"]
                    row["job_s"] = row["step_s"] * tier.num_inference_steps + row["decode_s"]
                rows.append(row)
            del pipe
            gc.collect()
    write(options, device, rates, rows)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="benchmarks/gpu", description=__doc__)
    parser.add_argument("--preset", action="append", choices=list(PRESETS), help="repeatable; all when not given")
    parser.add_argument("--dtype", action="append", choices=list(DTYPES), help="repeatable; both when not given")
    parser.add_argument("--attention", action="append", help="diffusers' names, repeatable; native when not given")
    parser.add_argument("--compile", action="store_true", help="compile the repeated blocks")
    parser.add_argument("--steps", type=int, default=5, help="timed steps of each, after two that are not")
    parser.add_argument("--tiny", action="store_true", help="tiny models: proves the benchmark, measures nothing")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1 or cpu")
    parser.add_argument("--plan", action="store_true", help="the planner's figures for the real models; no GPU needed")
    parser.add_argument("--out", type=Path, default=Path("build/bench/gpu.json"))
    options = parser.parse_args()
    options.dtype = options.dtype or list(DTYPES)
    options.attention = options.attention or ["native"]
    if options.device.startswith("cuda") and not (torch.cuda.is_available() or options.plan):
        parser.error("torch sees no GPU; use a machine with one, or --tiny --device cpu to try the benchmark itself")
    return options


def attempt(pipe: Any, attention: str, tier: Tier, architecture: Architecture, options: Any) -> dict[str, Any]:
    """The figures, or why there are none."""
    try:
        pipe.transformer.set_attention_backend(attention)
        if options.compile:
            pipe.transformer.compile_repeated_blocks(fullgraph=True)
        with tempfile.TemporaryDirectory() as folder:
            measured: Measured = measure(pipe, tier, architecture, options.steps, Path(folder))
    except (RuntimeError, ValueError, ImportError, NotImplementedError) as error:
        return {"refused": f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:120]}"}
    return dataclasses.asdict(measured)


def write(options: Any, device: torch.device, rates: dict[str, float], rows: list[dict[str, Any]]) -> None:
    """The report as JSON and as a table."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    report = {"bench": "gpu", "device": name, "tiny": options.tiny, "compiled": options.compile, "rows": rows}
    report |= {"torch": torch.__version__, "diffusers": diffusers.__version__, "cuda": torch.version.cuda}
    report["matrix_tflop_per_s"] = {dtype: rate / 1e12 for dtype, rate in rates.items()}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2))
    measured = ", ".join(f"{dtype} {rate / 1e12:,.1f}" for dtype, rate in rates.items())
    table = Table(title=f"{name}{', tiny models' if options.tiny else ''}; matrix products in TFLOP/s: {measured}")
    for column in COLUMNS:
        table.add_column(column)
    for row in rows:
        if "refused" not in row:
            table.add_row(*cells(row))
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 160)
    console.print(table)
    for row in rows:
        if "refused" in row:
            console.print(f"{row['preset']}, {row['dtype']}, {row['attention']}: {row['refused']}", highlight=False)


def cells(row: dict[str, Any]) -> list[str]:
    """One row for people."""
    peak = max(row["peak_denoise_bytes"] or 0, row["peak_decode_bytes"] or 0)
    return [
        row["preset"],
        row["dtype"],
        row["attention"],
        f"{row['step_s']:.3f}",
        f"{row['tflop_per_s']:,.3g}",
        f"{row['of_floor']:.0%}",
        f"{row['job_s']:,.1f}",
        f"{row['decode_s']:.2f}",
        f"{peak / GIB:.1f}" if peak else "–",
        f"{row['cancel_s']:.3f}",
        f"{row['resume_s']:.3f}",
    ]


def print_plan() -> None:
    """As `videofleet-worker plan`, over folders that hold headers only."""
    with tempfile.TemporaryDirectory() as folder:
        for architecture in REAL:
            model = Path(folder) / architecture
            write_empty_model(model, architecture)
            tiers = [f"--tier={tier.name}" for of, tier in PRESETS.values() if of is architecture]
            print(f"\n{architecture}\n")
            plan.main([str(model), f"--architecture={architecture}", *tiers])


if __name__ == "__main__":
    main()
