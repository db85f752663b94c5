"""The cluster as a process of its own, and its Redis: nothing of them outlives them."""

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError
from typer.testing import CliRunner

from videofleet_cli.dev import app
from videofleet_cli.exits import CommandError, Exit
from videofleet_devcluster import daemon
from videofleet_devcluster.client import CLAIMS, PODS, connected


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "dev"
    daemon.stop(tmp_path / "dev")


def command_lines() -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            found.append((entry / "cmdline").read_bytes().decode(errors="replace"))
        except OSError:
            continue
    return found


def is_used(folder: Path) -> bool:
    """Whether any process mentions the folder on its command line."""
    return any(str(folder) in line for line in command_lines())


async def until(question: Any, limit_s: float = 60) -> None:
    async with asyncio.timeout(limit_s):
        while not await question():  # noqa: ASYNC110 - the world outside sets no event
            await asyncio.sleep(0.02)


FAMILY = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", sys.argv[1]])
time.sleep(600)
"""


async def run_family(kubeconfig: Path, mark: Path) -> None:
    """Runs a pod with a grandchild; both carry `mark` on their command lines. The claim `models` is bound."""
    container = {"name": "c", "image": "none", "command": ["python3", "-c", FAMILY, str(mark)]}
    spec = {"containers": [container], "automountServiceAccountToken": False}
    async with connected(kubeconfig) as client:
        await client.create(PODS, {"metadata": {"name": "p", "namespace": "default"}, "spec": spec})

        async def both_run() -> bool:
            return sum(str(mark) in line for line in command_lines()) == 2

        async def bound() -> bool:
            claim = await client.get(CLAIMS, "default", "models")
            return bool(claim["status"]["phase"] == "Bound")

        await until(both_run)
        await until(bound)


def dev(*argv: str) -> Any:
    """Runs `videofleet dev …`."""
    return CliRunner().invoke(app, list(argv))


def test_up_and_down_leave_only_logs(folder: Path, tmp_path: Path) -> None:
    up = ("up", "--state", str(folder), "--models", str(tmp_path / "models"))
    first = dev(*up)
    assert first.exit_code == 0
    assert "for demo and tests, not Kubernetes" in first.output
    state = daemon.State.read(folder)
    assert state is not None
    asyncio.run(run_family(Path(state.kubeconfig), folder / "mark"))
    second = dev(*up)
    assert isinstance(second.exception, CommandError)
    assert second.exception.exit_code is Exit.REFUSED
    assert "already uses" in str(second.exception)
    assert "videofleet dev down" in str(second.exception)
    assert dev("down", "--state", str(folder)).output == "Stopped.\n"
    assert not is_used(folder)
    assert [path.name for path in folder.iterdir()] == ["logs"]
    assert "No development cluster runs" in dev("down", "--state", str(folder)).output


def test_nothing_outlives_a_killed_cluster_and_the_next_one_starts(folder: Path, tmp_path: Path) -> None:
    state = daemon.start(folder, tmp_path / "models", gpus=0)
    asyncio.run(run_family(Path(state.kubeconfig), folder / "mark"))
    os.kill(state.pid, signal.SIGKILL)
    os.waitpid(state.pid, 0)

    async def alone() -> bool:
        return not is_used(folder)

    asyncio.run(until(alone))
    assert daemon.start(folder, tmp_path / "models", gpus=0).pid != state.pid
    aliases = [path.readlink() for path in Path(tempfile.gettempdir()).glob("vf-*") if path.is_symlink()]
    assert not any(target.is_relative_to(folder) for target in aliases)


async def test_redis_survives_kill_with_its_data(world: Any) -> None:
    url = world.cluster.redis.url_file.read_text()
    async with Redis.from_url(url) as client:
        await client.set("key", "value")
    killed = world.cluster.redis.pid
    os.kill(killed, signal.SIGKILL)

    async def read() -> bytes | None:
        try:
            async with Redis.from_url(url, retry=None) as client:
                assert (await client.config_get("maxmemory-policy"))["maxmemory-policy"] == "noeviction"
                return await client.get("key")
        except RedisError:
            return None

    assert await world.until(read) == b"value"
    assert world.cluster.redis.pid != killed


class OtherNode:
    """`videofleet dev node` as a process, joined to the world's cluster with two GPUs."""

    def __init__(self, world: Any, folder: Path) -> None:
        self.folder = folder
        argv = ["dev", "node", "--kubeconfig", str(world.cluster.kubeconfig), "--name", "other", "--gpus", "2"]
        code = "import sys; from videofleet_cli.dev import app; app(sys.argv[2:])"
        self._argv = (sys.executable, "-c", code, *argv, "--state", str(folder))

    async def start(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(*self._argv, stderr=asyncio.subprocess.DEVNULL)

    async def is_gone(self) -> bool:
        return not is_used(self.folder)


SHOW_GPUS = "import os, time; print(os.environ['CUDA_VISIBLE_DEVICES'], flush=True); time.sleep(600)"


async def test_a_node_joins_gives_out_gpus_and_goes_on_after_a_kill(world: Any, tmp_path: Path) -> None:
    other = OtherNode(world, tmp_path / "other")
    first = await other.start()
    for name in ("a", "b"):
        gpu = {"limits": {"nvidia.com/gpu": "1"}}
        await world.pod(name, "python3", "-c", SHOW_GPUS, str(other.folder), resources=gpu)
    pods = [await world.until_pod(name, lambda p: p["status"]["phase"] == "Running") for name in ("a", "b")]
    assert [pod["spec"]["nodeName"] for pod in pods] == ["other", "other"]

    async def own_devices() -> bool:
        return {await world.logs(name) for name in ("a", "b")} == {"0\n", "1\n"}

    await world.until(own_devices)
    first.kill()
    await first.wait()
    await until(other.is_gone)
    second = await other.start()
    restarted = await world.until_pod("a", lambda p: p["status"]["containerStatuses"][0]["restartCount"] == 1)
    assert restarted["metadata"]["uid"] == pods[0]["metadata"]["uid"]
    second.send_signal(signal.SIGTERM)
    assert await second.wait() == 0
    assert await other.is_gone()


def test_a_cluster_that_cannot_start_says_where_to_look(folder: Path, tmp_path: Path) -> None:
    (folder / "logs" / "redis.log").mkdir(parents=True)
    with pytest.raises(daemon.DaemonError, match=r"devcluster\.log says why"):
        daemon.start(folder, tmp_path / "models", gpus=0)
