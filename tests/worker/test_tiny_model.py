"""The tiny model: the same bytes each time, readable by everybody, and not built twice."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from videofleet.architectures import Architecture


def contents(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


@pytest.mark.parametrize("architecture", Architecture)
def test_two_builds_are_byte_identical(
    architecture: Architecture, models: dict[Architecture, Path], build_tiny: ModuleType, tmp_path: Path
) -> None:
    build_tiny.build(tmp_path / "again", architecture)
    assert contents(tmp_path / "again") == contents(models[architecture])


def test_every_user_may_read_it_and_nothing_else_is_left_behind(model: Path, models: dict[Architecture, Path]) -> None:
    folder = models[Architecture.WAN22_T2V_A14B]
    assert {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()} == {0o644}
    assert {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_dir()} == {0o755}
    assert sorted(path.name for path in folder.parent.iterdir()) == sorted(Architecture)
    assert sum(map(len, contents(folder).values())) < 2_000_000


def test_a_model_that_is_there_is_left_alone(build_tiny: ModuleType, model: Path) -> None:
    before = contents(model)
    output = subprocess.check_output([sys.executable, build_tiny.__file__, model], text=True)
    assert "is there already" in output
    assert contents(model) == before
