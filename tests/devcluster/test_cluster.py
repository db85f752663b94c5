"""The cluster as a process of its own, and its Redis: nothing of them outlives them."""

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

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


async def until(question: Any, limit_s: float = 15) -> None:
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


def test_up_and_down_leave_only_logs(folder: Path, tmp_path: Path) -> None:
    state = daemon.start(folder, tmp_path / "models", gpus=0)
    asyncio.run(run_family(Path(state.kubeconfig), folder / "mark"))
    with pytest.raises(daemon.DaemonError, match=r"already uses .* stop it with `videofleet dev down`"):
        daemon.start(folder, tmp_path / "models", gpus=0)
    assert daemon.stop(folder) is True
    assert not is_used(folder)
    assert [path.name for path in folder.iterdir()] == ["logs"]
    assert daemon.stop(folder) is False


def test_nothing_outlives_a_killed_cluster_and_the_next_one_starts(folder: Path, tmp_path: Path) -> None:
    state = daemon.start(folder, tmp_path / "models", gpus=0)
    asyncio.run(run_family(Path(state.kubeconfig), folder / "mark"))
    os.kill(state.pid, signal.SIGKILL)
    os.waitpid(state.pid, 0)

    async def alone() -> bool:
        return not is_used(folder)

    asyncio.run(until(alone))
    assert daemon.start(folder, tmp_path / "models", gpus=0).pid != state.pid


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


async def test_a_node_of_its_own_joins_and_leaves_nothing(world: Any, tmp_path: Path) -> None:
    argv = ["dev", "node", "--kubeconfig", str(world.cluster.kubeconfig), "--name", "other", "--gpus", "2"]
    code = "import sys; from videofleet_cli.dev import app; app(sys.argv[2:])"
    node = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code, *argv, "--state", str(tmp_path / "other")), stderr=asyncio.subprocess.DEVNULL
    )
    gpu = {"limits": {"nvidia.com/gpu": "1"}}
    visible = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'], flush=True); import time; time.sleep(600)"
    for name in ("a", "b"):
        await world.pod(name, "python3", "-c", visible, resources=gpu)
    pods = [await world.until_pod(name, lambda p: p["status"]["phase"] == "Running") for name in ("a", "b")]
    assert [pod["spec"]["nodeName"] for pod in pods] == ["other", "other"]

    async def devices() -> bool:
        return {await world.logs(name) for name in ("a", "b")} == {"0\n", "1\n"}

    await world.until(devices)
    node.send_signal(signal.SIGTERM)
    assert await node.wait() == 0
    assert not is_used(tmp_path / "other")


def test_a_cluster_that_cannot_start_says_where_to_look(folder: Path, tmp_path: Path) -> None:
    (folder / "logs" / "redis.log").mkdir(parents=True)
    with pytest.raises(daemon.DaemonError, match=r"devcluster\.log says why"):
        daemon.start(folder, tmp_path / "models", gpus=0)
