"""The chart through the real Helm engine against an API server: installed, upgraded, uninstalled."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import helm_python as helm
import pytest

from videofleet_devcluster.client import CLAIMS, DEPLOYMENTS, SECRETS, SERVICES, ApiClient, Resource
from videofleet_devcluster.cluster import DevCluster, Options

CHART = Path(__file__).parents[2] / "charts" / "videofleet"
ROLES = Resource("rbac.authorization.k8s.io/v1", "roles", "Role")
CRDS = Resource("apiextensions.k8s.io/v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False)
OWNED = (DEPLOYMENTS, SERVICES, SECRETS, ROLES, CLAIMS)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[DevCluster]:
    async with DevCluster(tmp_path / "dev", Options(models=tmp_path / "models")) as running:
        yield running


@pytest.fixture
def release(cluster: DevCluster) -> "Release":
    return Release(cluster)


class Release:
    """One release, and what of it is in the cluster."""

    def __init__(self, cluster: DevCluster) -> None:
        self._client: ApiClient = cluster.client
        self._redis = {"redis": {"url": cluster.redis.url}}
        self._config = helm.Config(kubeconfig_path=cluster.kubeconfig, storage_driver="memory")

    async def do(self, action: str, values: dict[str, Any]) -> None:
        call = getattr(self._config, action)
        await asyncio.to_thread(call, CHART, "videofleet", self._redis | values, namespace="default", timeout=30)

    async def uninstall(self) -> None:
        await asyncio.to_thread(self._config.uninstall, "videofleet", timeout=30)

    async def objects(self) -> dict[str, Any]:
        """Objects that Helm made, without those of Kubernetes' own."""
        found: dict[str, Any] = {}
        for kind in OWNED:
            for item in (await self._client.list(kind, "default"))["items"]:
                if item["metadata"].get("labels", {}).get("app.kubernetes.io/managed-by") == "Helm":
                    found[f"{kind.kind}/{item['metadata']['name']}"] = item
        return found


async def test_install_upgrade_uninstall(release: Release, cluster: DevCluster) -> None:
    await release.do("install", {"gateway": {"replicas": 1}})
    installed = await release.objects()
    assert {
        "Deployment/videofleet-operator",
        "Deployment/videofleet-gateway",
        "Service/videofleet-gateway",
        "Secret/videofleet-redis",
        "Role/videofleet-operator",
        "PersistentVolumeClaim/videofleet-videos",
    } <= set(installed)
    assert (await cluster.client.get(CRDS, "", "videogenerators.videofleet.dev"))["spec"]["scope"] == "Namespaced"

    await release.do("upgrade", {"gateway": {"replicas": 2}})
    upgraded = await release.objects()
    generations = {name: item["metadata"].get("generation") for name, item in upgraded.items()}
    assert upgraded["Deployment/videofleet-gateway"]["spec"]["replicas"] == 2
    assert generations["Deployment/videofleet-operator"] == 1, "an upgrade of the gateway must not touch the operator"

    await release.uninstall()
    assert set(await release.objects()) == {"PersistentVolumeClaim/videofleet-videos"}, "videos outlive the release"
