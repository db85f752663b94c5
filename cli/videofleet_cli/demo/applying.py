"""Server-side apply of the example, as `kubectl apply --server-side` does it."""

from typing import Any, Final

import yaml
from kubernetes.aio import client
from kubernetes.aio.dynamic import DynamicClient

from videofleet_cli.kube import Cluster, translated

FIELD_MANAGER: Final = "videofleet-cli"


async def apply(cluster: Cluster, namespace: str, manifest: str) -> str:
    """Applies the one object of the manifest, YAML; returns its name. Raises: CommandError."""
    body: dict[str, Any] = yaml.safe_load(manifest)
    with translated(f"apply {body['kind']} {body['metadata']['name']}"):
        dynamic = await DynamicClient(cluster.api)  # type: ignore[no-untyped-call]  # theirs
        resource = await dynamic.resources.get(api_version=body["apiVersion"], kind=body["kind"])
        await dynamic.server_side_apply(
            resource, body=body, namespace=namespace, field_manager=FIELD_MANAGER, force_conflicts=True
        )
    return str(body["metadata"]["name"])


async def service_url(cluster: Cluster, namespace: str, name: str) -> str:
    """Where a Service listens: the development node serves ClusterIPs on the loopback interface."""
    with translated(f"read Service {name}"):
        service: Any = await client.CoreV1Api(cluster.api).read_namespaced_service(name, namespace)
    return f"http://{service.spec.cluster_ip}:{service.spec.ports[0].port}"
