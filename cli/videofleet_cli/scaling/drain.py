"""`videofleet drain`: empties a worker or a node. Workers finish or hand over their jobs; nothing is killed.

It evicts, so disruption budgets hold; it waits until the pods are gone; a node is cordoned first and stays so.
"""

import asyncio
import time
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from kubernetes.aio import client
from kubernetes.aio.client.exceptions import ApiException, NotFoundException

from videofleet_cli import screen
from videofleet_cli.exits import CommandError, Exit
from videofleet_cli.kube import Cluster, Object, connected, translated
from videofleet_cli.options import Kubeconfig, Namespace

_SELECTOR: Final = "app.kubernetes.io/name=videofleet-worker"
_AGAIN_S: Final = 1.0
_TOO_MANY: Final = 429  # a disruption budget says: not now


def drain(
    target: Annotated[str, typer.Argument(help="A node or a worker pod, by name.")],
    namespace: Namespace = None,
    timeout: Annotated[float, typer.Option(min=1, metavar="SECONDS", help="Stop waiting then; it goes on.")] = 1800.0,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Empty a node or a worker: its jobs are finished, or handed over with their checkpoint."""
    asyncio.run(_drain(kubeconfig, target, namespace, timeout))


async def _drain(kubeconfig: Path | None, target: str, namespace: str | None, timeout_s: float) -> None:
    async with connected(kubeconfig) as cluster:
        with translated(f"drain {target}"):
            pods = await _workers(cluster, target, namespace or cluster.namespace)
            deadline = time.monotonic() + timeout_s
            await asyncio.gather(*(_empty(cluster, pod, deadline) for pod in pods))
    screen.out.print(f"{target} is empty; workers that have gone: {len(pods)}", markup=False)


async def _workers(cluster: Cluster, target: str, namespace: str) -> list[Object]:
    """The pod of that name, or the worker pods of the node of that name, which takes no more. Raises: CommandError."""
    core = client.CoreV1Api(cluster.api)
    found: Any = await core.list_namespaced_pod(namespace, field_selector=f"metadata.name={target}")
    if found.items:
        if found.items[0].metadata.labels.get("app.kubernetes.io/name") != "videofleet-worker":
            raise CommandError(f"pod {target} is no worker; kubectl delete pod removes it", Exit.REFUSED)
        return [_named(found.items[0])]
    try:
        await core.patch_node(target, {"spec": {"unschedulable": True}})
    except NotFoundException as error:
        message = f"there is no worker pod {target} in namespace {namespace}, and no node of that name"
        raise CommandError(message, Exit.REFUSED) from error
    screen.err.print(f"node {target} takes no more pods; kubectl uncordon {target} undoes that", markup=False)
    on_node: Any = await core.list_pod_for_all_namespaces(
        label_selector=_SELECTOR, field_selector=f"spec.nodeName={target}"
    )
    return [_named(pod) for pod in on_node.items]


def _named(pod: Any) -> Object:
    return {"namespace": pod.metadata.namespace, "name": pod.metadata.name, "uid": pod.metadata.uid}


async def _empty(cluster: Cluster, pod: Object, deadline: float) -> None:
    """Evicts one pod, again while its budget says no, and waits until it is gone. Raises: CommandError."""
    core = client.CoreV1Api(cluster.api)
    screen.err.print(f"{pod['name']} drains", markup=False)
    is_evicted = False
    while await _is_there(core, pod):
        if not is_evicted:
            is_evicted = await _evicted(core, pod)
        if time.monotonic() > deadline:
            message = f"{pod['name']} has not gone yet; it goes on draining, `videofleet top` shows the fleet"
            raise CommandError(message, Exit.TIMED_OUT)
        await asyncio.sleep(_AGAIN_S)
    screen.err.print(f"{pod['name']} is gone", markup=False)


async def _evicted(core: client.CoreV1Api, pod: Object) -> bool:
    body = client.V1Eviction(metadata=client.V1ObjectMeta(name=pod["name"], namespace=pod["namespace"]))
    try:
        await core.create_namespaced_pod_eviction(pod["name"], pod["namespace"], body)
    except NotFoundException:
        return True
    except ApiException as error:
        if error.status != _TOO_MANY:
            raise
        return False
    return True


async def _is_there(core: client.CoreV1Api, pod: Object) -> bool:
    try:
        found: Any = await core.read_namespaced_pod(pod["name"], pod["namespace"])
    except NotFoundException:
        return False
    return bool(found.metadata.uid == pod["uid"])
