"""The real clients against the server: kubernetes.aio, kopf's way of watching, the Helm engine."""

import asyncio
import textwrap

import pytest
from kubernetes import aio
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.dynamic import DynamicClient


@pytest.fixture
async def client(server, tmp_path):
    """A kubernetes.aio client of the administrator."""
    config = aio.client.Configuration()
    await aio.config.load_kube_config(str(server.kubeconfig(tmp_path / "kubeconfig")), client_configuration=config)
    async with aio.client.ApiClient(config) as opened:
        yield opened


async def test_typed_client_and_leases(client):
    core = aio.client.CoreV1Api(client)
    names = [item.metadata.name for item in (await core.list_namespace()).items]
    assert "default" in names
    lease = aio.client.V1Lease(
        metadata=aio.client.V1ObjectMeta(name="leader"), spec=aio.client.V1LeaseSpec(holder_identity="me")
    )
    leases = aio.client.CoordinationV1Api(client)
    held = await leases.create_namespaced_lease("default", lease)
    held.spec.holder_identity = "you"
    await leases.replace_namespaced_lease("leader", "default", held)
    with pytest.raises(ApiException) as stale:
        await leases.replace_namespaced_lease("leader", "default", held)
    assert stale.value.status == 409
    deleted = await core.delete_namespaced_service_account("default", "kube-public")
    assert deleted.metadata.name == "default"


async def test_dynamic_client_applies_custom_resources(client, widgets, make):
    dynamic = await DynamicClient(client)
    kind = await dynamic.resources.get(api_version="wire.example.com/v1alpha1", kind="Widget")
    body = make.widget(size=2)
    options = {"namespace": "default", "field_manager": "videofleet", "force_conflicts": True}
    first = await dynamic.server_side_apply(kind, body=body, **options)
    status = {name: body[name] for name in ("apiVersion", "kind", "metadata")}
    status["status"] = {"conditions": [{"type": "Ready", "status": "True"}]}
    second = await dynamic.server_side_apply(kind.subresources["status"], body=status, name="a", **options)
    assert second.metadata.uid == first.metadata.uid
    assert second.status.conditions[0].type == "Ready"


async def test_watching_with_the_client(client):
    core = aio.client.CoreV1Api(client)
    watch = aio.watch.Watch()
    seen = []

    async def follow():
        async for event in watch.stream(core.list_namespaced_config_map, "default", timeout_seconds=10):
            seen.append((event["type"], event["object"].metadata.name))
            if event["type"] == "DELETED":
                return

    task = asyncio.create_task(follow())
    await core.create_namespaced_config_map("default", {"metadata": {"name": "a"}})
    await core.delete_namespaced_config_map("a", "default")
    await asyncio.wait_for(task, 10)
    assert seen[-1] == ("DELETED", "a")


CHART = {
    "Chart.yaml": "{apiVersion: v2, name: tiny, version: 0.1.0}",
    "crds/widgets.yaml": "",
    "templates/all.yaml": """
        apiVersion: v1
        kind: ServiceAccount
        metadata: {name: {{ .Release.Name }}}
        ---
        apiVersion: apps/v1
        kind: Deployment
        metadata: {name: {{ .Release.Name }}}
        spec:
          replicas: {{ .Values.replicas }}
          selector: {matchLabels: {app: x}}
          template:
            metadata: {labels: {app: x}}
            spec:
              containers: [{name: c, image: "img:1"}]
        """,
    "values.yaml": "replicas: 1",
}


@pytest.fixture
def chart(tmp_path, make):
    """A small chart with a CRD."""
    import json

    folder = tmp_path / "tiny"
    for name, text in CHART.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text) or json.dumps(make.widget_definition()))
    return folder


async def test_helm_installs_upgrades_and_uninstalls(server, api, chart, tmp_path):
    helm = pytest.importorskip("helm_python")
    kubeconfig = str(server.kubeconfig(tmp_path / "kubeconfig"))
    path = "/apis/apps/v1/namespaces/default/deployments/demo"

    def run(replicas, *, upgrade):
        values = {"replicas": replicas}
        if upgrade:
            return config.upgrade(str(chart), "demo", values)
        return config.install(str(chart), "demo", values)

    config = helm.Config(kubeconfig_path=kubeconfig, namespace="default", storage_driver="memory")
    try:
        await asyncio.to_thread(run, 1, upgrade=False)
        found = await api("GET", path)
        assert found.body["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm"
        assert (await api("GET", "/apis/wire.example.com/v1alpha1/widgets")).status == 200
        await asyncio.to_thread(run, 2, upgrade=True)
        assert (await api("GET", path)).body["spec"]["replicas"] == 2
        await asyncio.to_thread(config.uninstall, "demo")
        assert (await api("GET", path)).status == 404
    finally:
        config.close()


async def test_helm_waits_for_a_deployment(server, api, chart, tmp_path, eventually):
    helm = pytest.importorskip("helm_python")
    path = "/apis/apps/v1/namespaces/default/deployments/demo"
    config = helm.Config(
        kubeconfig_path=str(server.kubeconfig(tmp_path / "kubeconfig")), namespace="default", storage_driver="memory"
    )

    async def exists():
        return (await api("GET", path)).status == 200

    try:
        waiting = asyncio.create_task(
            asyncio.to_thread(config.install, str(chart), "demo", {"replicas": 1}, wait="watcher", timeout=30)
        )
        await eventually(exists)
        assert not waiting.done()
        available = {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"}
        progressing = {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}
        counts = {"replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1}
        status = {"observedGeneration": 1, "conditions": [available, progressing], **counts}
        await api("PATCH", f"{path}/status", {"status": status}, kind="application/merge-patch+json")
        await asyncio.wait_for(waiting, 30)
    finally:
        config.close()
