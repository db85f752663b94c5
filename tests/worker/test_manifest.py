"""A model folder with a manifest is exactly that folder, or it is refused by the file's name."""

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from videofleet.beacons import WorkerFault
from videofleet_worker import manifest
from videofleet_worker.faults import Fault

WEIGHTS = "transformer/diffusion_pytorch_model.safetensors"


@pytest.fixture
def sealed(model: Path) -> Path:
    """A model with its manifest, made by the program."""
    command = [sys.executable, "-m", "videofleet_worker", "manifest", str(model)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "files" in answer
    return model


def check(model: Path) -> list[tuple[int, int]]:
    seen: list[tuple[int, int]] = []
    manifest.verify(model, lambda done, of: seen.append((done, of)), threading.Event())
    return seen


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def test_a_whole_folder_passes_and_tells_how_far_it_is(sealed: Path) -> None:
    seen = check(sealed)
    total = sum(file.stat().st_size for file in sealed.rglob("*") if file.is_file() and file.name != manifest.NAME)
    assert max(seen) == (total, total)


DAMAGES: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "flipped byte": (f"{WEIGHTS} is not what", lambda m: flip(m / WEIGHTS)),
    "flipped byte in a config": ("vae/config.json is not what", lambda m: flip(m / "vae/config.json")),
    "missing file": ("vae/config.json is in", lambda m: (m / "vae/config.json").unlink()),
    "unknown file": ("vae/more.safetensors is not in", lambda m: (m / "vae/more.safetensors").write_bytes(b"x")),
    "broken manifest": ("cannot be read", lambda m: (m / manifest.NAME).write_text("{")),
}


@pytest.mark.parametrize(("words", "damage"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_folder_is_refused_by_name(sealed: Path, words: str, damage: Callable[[Path], Any]) -> None:
    damage(sealed)
    with pytest.raises(Fault) as caught:
        check(sealed)
    assert caught.value.reason is WorkerFault.MODEL_CORRUPT
    assert words in caught.value.message


def test_a_folder_without_a_manifest_is_taken_as_it_is(model: Path) -> None:
    flip(model / WEIGHTS)
    assert check(model) == []


def test_a_check_can_be_called_off(sealed: Path) -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(manifest.Cancelled):
        manifest.verify(sealed, lambda _done, _of: None, cancel)


async def test_a_worker_refuses_a_flipped_byte_before_it_loads(fleet: Any, sealed: Path) -> None:
    flip(sealed / WEIGHTS)
    async with fleet.worker(model=sealed) as worker:
        assert worker.engine.pids == []
    assert fleet.termination["reason"] == WorkerFault.MODEL_CORRUPT
    assert WEIGHTS in fleet.termination["message"]


async def test_a_worker_serves_a_sealed_model(fleet: Any, sealed: Path) -> None:
    async with fleet.worker(model=sealed) as worker:
        assert worker.status.is_ready
