"""The GPU benchmark runs where there is none, on tiny models; and its floor is the published arithmetic."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from videofleet.architectures import Architecture
from videofleet.tiers import Tier

BENCH = Path(__file__).parents[2] / "benchmarks/gpu"
A14B = {"num_attention_heads": 40, "attention_head_dim": 128, "ffn_dim": 13824, "num_layers": 40}
TI2V_5B = {"num_attention_heads": 24, "attention_head_dim": 128, "ffn_dim": 14336, "num_layers": 30}


@pytest.fixture(scope="module")
def floor() -> ModuleType:
    spec = importlib.util.spec_from_file_location("floor", BENCH / "floor.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("config", "architecture", "size", "petaflop"),
    [
        (A14B, Architecture.WAN22_T2V_A14B, (832, 480, 81), 1.678),
        (A14B, Architecture.WAN22_T2V_A14B, (1280, 720, 81), 6.523),
        (TI2V_5B, Architecture.WAN22_TI2V_5B, (1280, 704, 121), 0.517),
    ],
    ids=["A14B 480p", "A14B 720p", "5B 704p"],
)
def test_work_of_a_forward_pass(
    floor: ModuleType, config: dict[str, int], architecture: Architecture, size: tuple[int, int, int], petaflop: float
) -> None:
    width, height, frames = size
    tier = Tier(name="t", width=width, height=height, num_frames=frames, num_inference_steps=40, fps=16)
    assert floor.forward_flop(config, tier, architecture) / 1e15 == pytest.approx(petaflop, abs=0.001)


def test_it_runs_on_tiny_models_and_names_what_is_not_installed(tmp_path: Path) -> None:
    options = ["--tiny", "--device=cpu", "--dtype=bfloat16", "--preset=a14b-480p", "--steps=2"]
    options += ["--attention=native", "--attention=flash", f"--out={tmp_path}/gpu.json"]
    done = subprocess.run([sys.executable, str(BENCH), *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "a14b-480p, bfloat16, flash: " in done.stdout
    native, flash = json.loads((tmp_path / "gpu.json").read_text())["rows"]
    assert {"step_s", "tflop_per_s", "of_floor", "decode_s", "cancel_s", "resume_s"} <= set(native)
    assert native["step_s"] > 0
    assert "flash" in flash["refused"].lower()
