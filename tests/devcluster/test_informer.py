"""The informer against a real API server that misbehaves: no loss, no repeat, and the deleted are noticed."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from videofleet_devcluster.apiserver.faults import FaultAction, FaultRule
from videofleet_devcluster.apiserver.server import ApiServer
from videofleet_devcluster.client import CONFIG_MAPS, ApiClient, ApiError, connected
from videofleet_devcluster.controllers.loop import Loop
from videofleet_devcluster.informer import Informer


@pytest.fixture
async def api() -> AsyncIterator[ApiServer]:
    server = ApiServer()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def kubeconfig(api: ApiServer, tmp_path: Path) -> Path:
    return api.kubeconfig(tmp_path / "kubeconfig")


@pytest.fixture
async def client(kubeconfig: Path) -> AsyncIterator[ApiClient]:
    async with connected(kubeconfig) as client:
        yield client


async def create(client: ApiClient, name: str) -> None:
    await client.create(CONFIG_MAPS, {"metadata": {"name": name, "namespace": "default"}})


class Seen:
    """A running informer and the names that its listener heard."""

    def __init__(self, informer: Informer) -> None:
        self.informer = informer
        self.heard: list[str] = []
        informer.listen(lambda obj, _: self.heard.append(obj["metadata"]["name"]))

    def names(self) -> set[str]:
        return {obj["metadata"]["name"] for obj in self.informer.all("default")}

    async def until(self, *names: str) -> None:
        async with asyncio.timeout(60):
            while self.names() != set(names):  # noqa: ASYNC110 - what is awaited is the informer's own doing
                await asyncio.sleep(0.01)


@pytest.fixture
async def seen(client: ApiClient) -> AsyncIterator[Seen]:
    informer = Informer(client, CONFIG_MAPS)
    watching = Seen(informer)
    task = asyncio.create_task(informer.run())
    await informer.synced.wait()
    yield watching
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_broken_watch_is_resumed_without_loss_or_repeat(
    api: ApiServer, kubeconfig: Path, client: ApiClient, seen: Seen
) -> None:
    await create(client, "a")
    await seen.until("a")
    broken = api.faults.add(FaultRule(FaultAction.DROP, verb="watch", resource="configmaps", count=2))
    relisted = api.faults.add(FaultRule(FaultAction.ERROR, verb="list", resource="configmaps", count=None))
    break_connections(api)
    async with connected(kubeconfig) as writer:
        await create(writer, "b")
        await writer.delete(CONFIG_MAPS, "default", "a")
    await seen.until("b")
    assert seen.heard == ["a", "b", "a"]
    assert (broken.hits, relisted.hits) == (2, 0), "it resumes where it was and lists nothing"


async def test_after_compaction_it_lists_again_and_notices_the_deleted(
    api: ApiServer, kubeconfig: Path, client: ApiClient, seen: Seen
) -> None:
    await create(client, "a")
    await seen.until("a")
    api.faults.add(FaultRule(FaultAction.DROP, verb="watch", resource="configmaps"))
    break_connections(api)
    async with connected(kubeconfig) as writer:
        await create(writer, "b")
        await writer.delete(CONFIG_MAPS, "default", "a")
    api.store.compact()
    await seen.until("b")
    assert seen.heard.count("a") == 2


def break_connections(api: ApiServer) -> None:
    """Ends every open connection, as a restart of a load balancer does."""
    assert api._runner is not None
    server = api._runner.server
    assert server is not None
    for connection in server.connections:
        connection.force_close()


async def test_what_this_process_wrote_is_seen_at_once_and_never_taken_back(client: ApiClient, seen: Seen) -> None:
    await create(client, "a")
    await seen.until("a")
    old = seen.informer.get(("default", "a"))
    new = await client.patch(CONFIG_MAPS, "default", "a", {"data": {"key": "new"}})
    seen.informer.observe(new)
    assert old is not None
    seen.informer.observe(old)
    assert seen.informer.get(("default", "a")) == new


async def test_a_refusal_carries_kubernetes_words(client: ApiClient) -> None:
    with pytest.raises(ApiError, match='404 NotFound: configmaps "no" not found') as caught:
        await client.get(CONFIG_MAPS, "default", "no")
    assert (caught.value.code, caught.value.reason) == (404, "NotFound")


async def test_a_loop_reconciles_a_queued_key_once_and_a_failed_one_again() -> None:
    seen: list[tuple[str, str]] = []
    done = asyncio.Event()

    async def reconcile(key: tuple[str, str]) -> float | None:
        seen.append(key)
        if seen.count(("n", "bad")) == 1 and key == ("n", "bad"):
            raise ApiError(500, "InternalError", "try again")
        if seen.count(("n", "bad")) == 2:
            done.set()
        return None

    loop = Loop("test", reconcile)
    for _ in range(3):
        loop.add(("n", "good"))
    loop.add(("n", "bad"))
    task: asyncio.Task[Any] = asyncio.create_task(loop.run())
    await asyncio.wait_for(done.wait(), 60)
    task.cancel()
    assert seen == [("n", "good"), ("n", "bad"), ("n", "bad")]
