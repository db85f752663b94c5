"""`videofleet demo` as a user runs it: a real cluster, the real chart, a real worker, a video that plays.

Everything happens in a folder of the test's own; a process that mentions it afterwards was left behind.
"""

import os
import shlex
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import av
import pytest

ROOT = Path(__file__).parents[2]
FIRST_TIER = (128, 128, 17)  # of examples/tiny.yaml
Run = Callable[..., tuple[int, str]]

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs `videofleet` to its end; returns exit code and all it said."""

    def to_the_end(*arguments: str, env: dict[str, str] | None = None) -> tuple[int, str]:
        with started(tmp_path, *arguments, env=env) as process:
            words, _ = process.communicate()
        return process.returncode, words

    return to_the_end


def started(folder: Path, *arguments: str, env: dict[str, str] | None = None) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        (sys.executable, "-m", "videofleet_cli.main", *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        env=os.environ | {"COLUMNS": "200"} | (env or {}),
    )


def demo_arguments(folder: Path) -> list[str]:
    return ["demo", f"--state={folder}/dev", f"--output={folder}/demo"]


def left_behind(folder: Path) -> list[str]:
    """Command lines of processes that have to do with the folder."""
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        try:
            command = (process / "cmdline").read_bytes()
            words = command + (process / "environ").read_bytes() + bytes((process / "cwd").readlink())
        except OSError:
            continue
        if bytes(folder) in words:
            found.append(command.replace(b"\0", b" ").decode())
    return found


def shape(video: Path) -> tuple[int, int, int]:
    with av.open(video) as container:
        frames = list(container.decode(video=0))
    return frames[0].width, frames[0].height, len(frames)


def test_demo_makes_a_video_and_leaves_nothing(run: Run, tmp_path: Path) -> None:
    code, words = run(*demo_arguments(tmp_path))
    assert code == 0, words
    (video,) = tmp_path.glob("demo/video_*.mp4")
    assert shape(video) == FIRST_TIER
    assert video.with_suffix(".jpg").read_bytes().startswith(b"\xff\xd8\xff")
    assert video.name in words
    assert left_behind(tmp_path) == []
    assert not (tmp_path / "demo" / "api-key").exists()


def test_kept_demo_goes_on_until_down(run: Run, tmp_path: Path) -> None:
    code, words = run(*demo_arguments(tmp_path), "--keep")
    try:
        assert code == 0, words
        env_file = tmp_path / "demo" / "env"
        assert stat.S_IMODE(env_file.stat().st_mode) == 0o600
        exports = (shlex.split(line)[1] for line in env_file.read_text().splitlines())
        env = dict(export.split("=", 1) for export in exports)
        code, words = run("submit", "a lighthouse", "--tier=preview", "-o", "second.mp4", env=env)
        assert code == 0, words
        assert shape(tmp_path / "second.mp4") == (64, 64, 9)
        code, words = run("status", "tiny", env=env)
        assert code == 0, words
        assert "1 warm of 1" in words
        code, words = run("demo", *demo_arguments(tmp_path)[1:])
        assert code == 1
        assert "videofleet dev down" in words
    finally:
        code, words = run("dev", "down", f"--state={tmp_path}/dev")
    assert code == 0, words
    assert left_behind(tmp_path) == []


def test_interrupted_demo_takes_all_down(tmp_path: Path) -> None:
    with started(tmp_path, *demo_arguments(tmp_path)) as process:
        assert process.stdout is not None
        seen = ""
        while "Warming" not in seen:
            line = process.stdout.readline()
            assert line, seen
            seen += line
        process.send_signal(signal.SIGINT)
        words, _ = process.communicate()
    assert process.returncode == 130, seen + words
    assert "Traceback" not in words
    assert left_behind(tmp_path) == []


def test_a_step_that_fails_says_what_is_known(run: Run, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "build" / "models", tmp_path / "models")
    weights = tmp_path / "models" / "tiny-a14b" / "transformer_2" / "diffusion_pytorch_model.safetensors"
    os.truncate(weights, 1000)
    code, words = run(*demo_arguments(tmp_path), f"--models={tmp_path}/models")
    assert code == 1
    assert "error: Warming the fleet: tiny is stalled: ModelCorrupt: transformer_2/" in words
    assert "devcluster.log" in words
    assert "Traceback" not in words
    assert left_behind(tmp_path) == []


def test_without_a_model_it_says_how_to_build_one(run: Run, tmp_path: Path) -> None:
    code, words = run(*demo_arguments(tmp_path), f"--models={tmp_path}")
    assert code == 2
    assert "make model" in words
