"""The fake node: readiness without processes."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from videofleet_devcluster.client import DEPLOYMENTS, PODS
from videofleet_devcluster.cluster import DevCluster, Options


@pytest.fixture
async def fake(tmp_path: Path, world_of: Any) -> AsyncIterator[Any]:
    options = Options(models=tmp_path / "models", fake_ready_after_s=0.05)
    async with DevCluster(tmp_path / "dev", options) as cluster:
        yield world_of(cluster, tmp_path / "dev")


def spec(**more: Any) -> dict[str, Any]:
    return {"containers": [{"name": "main", "image": "none", "command": ["does-not-exist"]}]} | more


async def test_many_pods_become_ready_and_go_without_a_process(fake: Any) -> None:
    template = {"metadata": {"labels": {"app": "f"}}, "spec": spec()}
    body = {"replicas": 40, "selector": {"matchLabels": {"app": "f"}}, "template": template}
    await fake.create(DEPLOYMENTS, "f", spec=body)

    async def all_available() -> bool:
        status = (await fake.client.get(DEPLOYMENTS, "default", "f")).get("status", {})
        return bool(status.get("availableReplicas") == 40)

    await fake.until(all_available)
    await fake.client.delete(DEPLOYMENTS, "default", "f")

    async def none_left() -> bool:
        return not (await fake.client.list(PODS, "default"))["items"]

    await fake.until(none_left)
    assert not (fake.folder / "node").exists()
