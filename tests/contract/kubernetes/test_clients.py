"""The real clients: kubernetes.aio typed and dynamic, kopf, and the Helm engine."""

import asyncio
import json
import textwrap

import kopf
import pytest
from kubernetes import aio
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.dynamic import DynamicClient


@pytest.fixture
async def client(kubeconfig):
    """A kubernetes.aio client of the administrator."""
    config = aio.client.Configuration()
    await aio.config.load_kube_config(str(kubeconfig), client_configuration=config)
    async with aio.client.ApiClient(config) as opened:
        yield opened


async def test_the_typed_client_elects_a_leader_by_lease(client, when):
    lease = aio.client.V1Lease(
        metadata=aio.client.V1ObjectMeta(name="leader"), spec=aio.client.V1LeaseSpec(holder_identity="me")
    )
    leases = aio.client.CoordinationV1Api(client)
    held = await leases.create_namespaced_lease(when.namespace, lease)
    held.spec.holder_identity = "you"
    taken = await leases.replace_namespaced_lease("leader", when.namespace, held)
    assert taken.spec.holder_identity == "you"
    with pytest.raises(ApiException) as stale:
        await leases.replace_namespaced_lease("leader", when.namespace, held)
    assert stale.value.status == 409
    await leases.delete_namespaced_lease("leader", when.namespace)


async def test_the_dynamic_client_applies_custom_resources(client, when, make):
    dynamic = await DynamicClient(client)
    kind = await dynamic.resources.get(api_version=f"{make.group}/v1alpha1", kind="Widget")
    head = {"apiVersion": f"{make.group}/v1alpha1", "kind": "Widget", "metadata": {"name": "a"}}
    options = {"namespace": when.namespace, "field_manager": "videofleet", "force_conflicts": True}
    first = await dynamic.server_side_apply(kind, body=head | {"spec": {"model": "m"}}, **options)
    status = head | {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    second = await dynamic.server_side_apply(kind.subresources["status"], body=status, name="a", **options)
    assert second.metadata.uid == first.metadata.uid
    assert second.status.conditions[0].type == "Ready"


async def test_the_client_watches(client, when):
    core = aio.client.CoreV1Api(client)
    seen = []

    async def follow():
        async with aio.watch.Watch() as watch:
            stream = watch.stream(core.list_namespaced_config_map, when.namespace, label_selector="watched")
            async for event in stream:
                seen.append((event["type"], event["object"].metadata.name))
                if event["type"] == "DELETED":
                    watch.stop()

    task = asyncio.create_task(follow())
    await core.create_namespaced_config_map(when.namespace, {"metadata": {"name": "a", "labels": {"watched": "yes"}}})

    while not seen:  # noqa: ASYNC110 - the client has no event to wait for; the suite's timeout ends this
        await asyncio.sleep(0.01)
    await core.delete_namespaced_config_map("a", when.namespace)
    await asyncio.wait_for(task, 60)
    assert seen == [("ADDED", "a"), ("DELETED", "a")]


async def test_kopf_runs_an_operator(kubeconfig, given, when, then, make, monkeypatch):
    """As recorded: finalizer, status, and the last handled configuration as an annotation."""
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    registry = kopf.OperatorRegistry()
    handled: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
    where = (make.group, "v1alpha1", "widgets")

    @kopf.on.login(registry=registry)
    def login(**kwargs):
        return kopf.login_with_kubeconfig(**kwargs)

    @kopf.on.create(*where, registry=registry)
    @kopf.on.update(*where, registry=registry)
    async def applied(spec, patch, reason, name, **_):
        patch.status["observedGeneration"] = spec["size"]
        await handled.put((str(reason), name))

    @kopf.on.delete(*where, registry=registry)
    async def removed(name, **_):
        await handled.put(("delete", name))

    stop = asyncio.Event()
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    operator = kopf.operator(
        registry=registry,
        settings=settings,
        namespaces=[when.namespace],
        standalone=True,
        stop_flag=stop,
        memo=kopf.Memo(),
    )
    task = asyncio.create_task(operator)
    try:
        await given.widget("a", size=2)
        assert await asyncio.wait_for(handled.get(), 60) == ("create", "a")
        found = await then.eventually_is("widgets/a", lambda a: a.state.get("observedGeneration") == 2)
        assert found.meta["finalizers"] == ["kopf.zalando.org/KopfFinalizerMarker"]
        assert "kopf.zalando.org/last-handled-configuration" in found.meta["annotations"]
        await when.patches("widgets/a", {"spec": {"size": 3}})
        assert await asyncio.wait_for(handled.get(), 60) == ("update", "a")
        await then.eventually_is("widgets/a", lambda a: a.state.get("observedGeneration") == 3)
        await when.deletes("widgets/a")
        assert await asyncio.wait_for(handled.get(), 60) == ("delete", "a")
        await then.eventually_gone("widgets/a")
    finally:
        stop.set()
        await asyncio.wait_for(task, 60)


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
          selector: {matchLabels: {app: d}}
          template:
            metadata: {labels: {app: d}}
            spec:
              schedulerName: nobody
              containers: [{name: c, image: "img:1"}]
        """,
    "values.yaml": "replicas: 1",
}


@pytest.fixture
def chart(tmp_path, given, make):
    """A small chart with a CRD, which Helm leaves behind and we do not."""
    folder = tmp_path / "tiny"
    for name, text in CHART.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text) or json.dumps(make.widget_definition("helm.example.com")))
    given.cleanup.append("customresourcedefinitions/widgets.helm.example.com")
    return str(folder)


@pytest.fixture
def helm(kubeconfig, when):
    """The Helm engine; it keeps its releases in Secrets of the namespace."""
    engine = pytest.importorskip("helm_python")
    config = engine.Config(kubeconfig_path=str(kubeconfig), namespace=when.namespace)
    yield config
    config.close()


async def test_helm_installs_upgrades_and_uninstalls(helm, chart, when, then):
    await asyncio.to_thread(helm.install, chart, "demo", {"replicas": 1})
    found = await when.reads("deployments/demo")
    assert found.meta["labels"]["app.kubernetes.io/managed-by"] == "Helm"
    assert found.meta["annotations"]["meta.helm.sh/release-name"] == "demo"
    assert (await when.http("GET", "/apis/helm.example.com/v1alpha1/widgets")).status == 200
    await asyncio.to_thread(helm.upgrade, chart, "demo", {"replicas": 2})
    assert (await when.reads("deployments/demo")).spec["replicas"] == 2
    await asyncio.to_thread(helm.uninstall, "demo")
    await then.eventually_gone("deployments/demo")
    assert (await when.reads("serviceaccounts/demo")).status == 404


async def test_helm_waits_until_a_deployment_is_available(helm, chart, when, then, kubelet):
    waiting = asyncio.create_task(asyncio.to_thread(helm.install, chart, "demo", {}, wait="watcher", timeout=60))

    async def pods():
        return await when.names("pods", labelSelector="app=d")

    (pod,) = await then.eventually(pods)
    assert not waiting.done()
    await kubelet.reports(pod)
    await asyncio.wait_for(waiting, 60)
    assert (await when.reads("deployments/demo")).state["availableReplicas"] == 1
