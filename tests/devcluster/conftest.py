"""A whole dev cluster per test, and the words that the tests speak about it."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from videofleet_devcluster.apiserver.faults import Faults
from videofleet_devcluster.client import PODS, ApiError, Resource
from videofleet_devcluster.cluster import DevCluster, Options


class World:
    """A dev cluster with short ways to say what a test wants of it; everything in namespace default."""

    def __init__(self, cluster: DevCluster, folder: Path) -> None:
        self.cluster, self.client, self.folder = cluster, cluster.client, folder

    async def create(self, kind: Resource, name: str, **body: Any) -> dict[str, Any]:
        meta = body.pop("metadata", {}) | {"name": name, "namespace": "default"}
        return await self.client.create(kind, {"metadata": meta} | body)

    async def pod(self, name: str, *command: str, spec: Any = None, **container: Any) -> dict[str, Any]:
        """Creates a pod of one container named `main`."""
        main = {"name": "main", "image": "none", "command": list(command)} | container
        labels = {"app": name}
        body = {"automountServiceAccountToken": False, "terminationGracePeriodSeconds": 5} | (spec or {})
        return await self.create(PODS, name, metadata={"labels": labels}, spec={"containers": [main]} | body)

    async def until(self, question: Callable[[], Any], limit_s: float = 60) -> Any:
        """Asks (a coroutine function) until the answer is true, and returns that."""
        async with asyncio.timeout(limit_s):
            while True:
                answer = await question()
                if answer:
                    return answer
                await asyncio.sleep(0.02)

    async def until_pod(self, name: str, holds: Callable[[dict[str, Any]], Any], limit_s: float = 60) -> dict[str, Any]:
        """The pod, once the condition holds for it."""
        seen: dict[str, Any] = {}

        async def look() -> dict[str, Any] | None:
            seen.update(await self.client.get(PODS, "default", name))
            return seen if holds(seen) else None

        try:
            return await self.until(look, limit_s)
        except TimeoutError:
            raise AssertionError(f"not in {limit_s} s: {seen.get('status')}") from None

    async def until_gone(self, kind: Resource, name: str, limit_s: float = 60) -> None:
        async def gone() -> bool:
            try:
                await self.client.get(kind, "default", name)
            except ApiError as error:
                return error.code == 404
            return False

        await self.until(gone, limit_s)

    async def logs(self, pod: str, **params: str) -> str:
        """What `kubectl logs` gets."""
        access = self.client.access
        url = access.server + PODS.path("default", pod, "log")
        headers = {"Authorization": f"Bearer {access.token}"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.get(url, params=params, ssl=access.ssl_context()) as response,
        ):
            return await response.text()

    def volume(self, pod: dict[str, Any], name: str) -> Path:
        """Where a pod's own volume really is."""
        return self.folder / "node" / "pods" / pod["metadata"]["uid"] / "volumes" / name


def children_of(pid: int) -> list[int]:
    """The living descendants of a process, by parent; sessions and groups do not matter."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
    found, frontier = [], [pid]
    while frontier:
        frontier = [child for child, parent in parents.items() if parent in frontier]
        found += frontier
    return found


@pytest.fixture
def world_of() -> type[World]:
    """For tests that start a cluster of their own."""
    return World


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    options = Options(models=tmp_path / "models", first_back_off_s=0.3)
    before = children_of(os.getpid())  # the Redis that other tests share
    async with DevCluster(tmp_path / "dev", options) as cluster:
        yield World(cluster, tmp_path / "dev")
    assert set(children_of(os.getpid())) <= set(before)


@pytest.fixture
def faults(world: World) -> Iterator[Faults]:
    """What goes wrong in the world's API server; nothing of it stays."""
    yield world.cluster.api.faults
    world.cluster.api.faults.clear()
