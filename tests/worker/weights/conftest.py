"""A hub, a bucket, and the program that fetches from them."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from videofleet.architectures import Architecture

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TESTS = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def hub_server() -> Any:
    """tests/hub_server.py as a module."""
    spec = importlib.util.spec_from_file_location("hub_server", TESTS / "hub_server.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def upstream(models: dict[Architecture, Path], tmp_path: Path) -> Path:
    """The model's folder at the source, with things beside it that nobody needs."""
    folder = Path(shutil.copytree(models[Architecture.WAN22_T2V_A14B], tmp_path / "upstream"))
    (folder / "README.md").write_text("a model")
    (folder / "run.py").write_text("raise SystemExit('code ran')")
    (folder / "transformer" / "pytorch_model.bin").write_bytes(b"cos\nsystem\n")
    return folder


@pytest.fixture
def hub(hub_server: Any, upstream: Path) -> Iterator[Any]:
    """A hub that serves it."""
    hub = hub_server.Hub(upstream)
    yield hub
    hub.close()


class Fetcher:
    """`videofleet-worker fetch` as a process."""

    def __init__(self, folder: Path, hub: Any) -> None:
        self.root = folder / "weights"
        self.model = self.root / "tiny"
        self.termination_log = folder / "termination.json"
        self.hub = hub

    def start(self, *arguments: str, model: Path | None = None, source: str = "", **env: str) -> Any:
        model = model or self.model
        command = [sys.executable, "-m", "videofleet_worker", "fetch", "--architecture=wan2.2-t2v-a14b"]
        command += [f"--cache={model.parent}", f"--name={model.name}", f"--termination-log={self.termination_log}"]
        command += [f"--source={source or 'hf://studio/tiny'}", f"--revision={COMMIT}", *arguments]
        self.root.mkdir(exist_ok=True)
        env = os.environ | {"HF_ENDPOINT": self.hub.url, "NO_PROXY": "*"} | env
        return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env)

    def __call__(self, *arguments: str, **keywords: Any) -> list[dict[str, Any]]:
        """Fetches; the log's lines."""
        process = self.start(*arguments, **keywords)
        lines = process.communicate(timeout=90)[1].splitlines()
        assert process.returncode == 0, lines
        return [json.loads(line) for line in lines]

    def refused(self, *arguments: str, **keywords: Any) -> dict[str, str]:
        """Fetches in vain; the termination message."""
        process = self.start(*arguments, **keywords)
        log = process.communicate(timeout=90)[1]
        assert process.returncode == 1, log
        assert "Traceback" not in log
        message: dict[str, str] = json.loads(self.termination_log.read_text())
        return message


@pytest.fixture
def fetch(tmp_path: Path, hub: Any) -> Fetcher:
    """The program, pointed at the hub."""
    return Fetcher(tmp_path, hub)
