"""What lies below a resource and is no status: scale, binding, eviction and logs of pods, tokens of ServiceAccounts.

A budget's status says how many disruptions are allowed; a granted eviction takes one and notes the pod, so that two
evictions never share it. The disruption controller sets the number anew.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import aiohttp
from aiohttp import web

from videofleet_devcluster.apiserver.access import Tokens
from videofleet_devcluster.apiserver.errors import ApiError, bad_request, conflict, not_found, outcome
from videofleet_devcluster.apiserver.removal import DeleteOptions
from videofleet_devcluster.apiserver.requests import number
from videofleet_devcluster.apiserver.resources import Resource
from videofleet_devcluster.apiserver.store import Store
from videofleet_devcluster.apiserver.writes import WriteOptions, Writes
from videofleet_devcluster.objects import Key, Object, is_deleting, is_true, key_of, labels_of, selects, timestamp

_SHORTEST_TOKEN_S: Final = 600
_OF_SCALE: Final = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
_UNGUARDED: Final = ("Succeeded", "Failed", "Pending")
_PASSED_ON: Final = ("follow", "limitBytes", "previous", "sinceSeconds", "sinceTime", "tailLines", "timestamps")
_NUMBERS: Final = ("limitBytes", "sinceSeconds", "tailLines")


def scale_of(obj: Object) -> Object:
    """The autoscaling/v1 Scale of a Deployment or ReplicaSet."""
    labels = obj["spec"]["selector"].get("matchLabels") or {}
    chosen = ",".join(f"{name}={value}" for name, value in sorted(labels.items()))
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: obj["metadata"][name] for name in _OF_SCALE if name in obj["metadata"]},
        "spec": {"replicas": obj["spec"]["replicas"]},
        "status": {"replicas": obj.get("status", {}).get("replicas", 0), "selector": chosen},
    }


def write_scale(
    writes: Writes, resource: Resource, key: Key, change: Callable[[Object], Object], options: WriteOptions
) -> Object:
    """PUT or PATCH …/scale: `change` turns the present Scale into the wanted one. Raises: ApiError."""

    def set_replicas(obj: Object) -> Object:
        wanted = change(scale_of(obj))
        replicas = (wanted.get("spec") or {}).get("replicas", 0)
        if not isinstance(replicas, int) or replicas < 0:
            raise bad_request(f"spec.replicas {replicas!r} must be a whole number of at least 0")
        if version := (wanted.get("metadata") or {}).get("resourceVersion"):
            obj["metadata"]["resourceVersion"] = version
        obj["spec"]["replicas"] = replicas
        return obj

    return scale_of(writes.patch(resource, key, set_replicas, options))


def bind(writes: Writes, pods: Resource, key: Key, binding: Object, options: WriteOptions) -> Object:
    """POST pods/NAME/binding: puts the pod on a node. Raises: ApiError 404, 409."""
    node = (binding.get("target") or {}).get("name")
    if not node:
        raise bad_request("target.name is required: name the node that the pod shall run on")

    def set_node(pod: Object) -> Object:
        if pod["spec"].get("nodeName"):
            why = f'pod {key[1]} is already assigned to node "{pod["spec"]["nodeName"]}"'
            raise conflict("pods/binding", "", key[1], why)
        pod["spec"]["nodeName"] = node
        return pod

    def set_condition(pod: Object) -> Object:
        conditions = pod.setdefault("status", {}).setdefault("conditions", [])
        scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": timestamp()}
        conditions[:] = [c for c in conditions if c["type"] != "PodScheduled"] + [scheduled]
        return pod

    writes.patch(pods, key, set_node, options)
    options.subresource = "status"
    writes.patch(pods, key, set_condition, options)
    return outcome("Success", code=201)


def request_token(tokens: Tokens, key: Key, request: Object) -> Object:
    """POST serviceaccounts/NAME/token. Raises: ApiError 404."""
    spec = request.get("spec") or {}
    lifetime_s = max(int(spec.get("expirationSeconds") or 3600), _SHORTEST_TOKEN_S)
    token = tokens.mint(*key, lifetime_s)
    expires = timestamp(datetime.now(UTC) + timedelta(seconds=lifetime_s))
    return {
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": {"name": key[1], "namespace": key[0], "creationTimestamp": timestamp()},
        "spec": {"audiences": spec.get("audiences") or [], "expirationSeconds": lifetime_s},
        "status": {"token": token, "expirationTimestamp": expires},
    }


def evict(writes: Writes, pods: Resource, key: Key, eviction: Object, options: WriteOptions) -> Object:
    """POST pods/NAME/eviction. Raises: ApiError 404, 429 when the budget is spent, 500 when there are two."""
    pod = writes.live(pods, key)
    asked = eviction.get("deleteOptions") or {}
    options.dry_run = options.dry_run or bool(asked.get("dryRun"))
    is_guarded = pod["status"].get("phase") not in _UNGUARDED and not is_deleting(pod)
    budget = _budget_of(writes, pod) if is_guarded else None
    if budget is not None and not _may_go_uncounted(pod, budget):
        _check(budget)
        if not options.dry_run:
            _take(writes, budget, key[1])
    writes.delete(pods, key, DeleteOptions.from_json(asked), options)
    return outcome("Success", code=201)


def _budget_of(writes: Writes, pod: Object) -> Object | None:
    found = writes.store.listed(("policy", "poddisruptionbudgets"), pod["metadata"]["namespace"])
    matching = [b for b in found if "selector" in b["spec"] and selects(b["spec"]["selector"], labels_of(pod))]
    if len(matching) > 1:
        message = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        raise ApiError(500, "InternalError", message)
    return matching[0] if matching else None


def _may_go_uncounted(pod: Object, budget: Object) -> bool:
    """Whether the pod, not being Ready, may go without counting."""
    status, policy = budget.get("status") or {}, budget["spec"].get("unhealthyPodEvictionPolicy")
    has_enough = 0 < status.get("desiredHealthy", 0) <= status.get("currentHealthy", 0)
    return not is_true(pod, "Ready") and (policy == "AlwaysAllow" or has_enough)


def _check(budget: Object) -> None:
    name, status = budget["metadata"]["name"], budget.get("status") or {}
    if status.get("observedGeneration", 0) < budget["metadata"]["generation"]:
        raise _refusal(f"The disruption budget {name} is still being processed by the server.", 10)
    if status.get("disruptionsAllowed", 0) <= 0:
        healthy, wanted = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
        raise _refusal(f"The disruption budget {name} needs {wanted} healthy pods and has {healthy} currently", 0)


def _refusal(why: str, after_s: int) -> ApiError:
    details: dict[str, Any] = {"causes": [{"reason": "DisruptionBudget", "message": why}]}
    details |= {"retryAfterSeconds": after_s} if after_s else {}
    headers = {"Retry-After": str(after_s)} if after_s else {}
    message = "Cannot evict pod as it would violate the pod's disruption budget."
    return ApiError(429, "TooManyRequests", message, details, headers)


def _take(writes: Writes, budget: Object, pod: str) -> None:
    def count(obj: Object) -> Object:
        status = obj["status"]
        status["disruptionsAllowed"] -= 1
        status["disruptedPods"] = (status.get("disruptedPods") or {}) | {pod: timestamp()}
        return obj

    budgets = writes.registry.known("poddisruptionbudgets")
    writes.patch(budgets, key_of(budget), count, WriteOptions(subresource="status"))


async def stream_logs(
    request: web.Request, client: aiohttp.ClientSession, store: Store, key: Key
) -> web.StreamResponse:
    """Answers GET pods/NAME/log with what the kubelet says. Raises: ApiError 400, 404, 500 before the first byte."""
    pod = store.get(("", "pods"), key)
    if pod is None:
        raise not_found("pods", "", key[1])
    url = _kubelet_url(store, pod) + f"/containerLogs/{key[0]}/{key[1]}/{_container(pod, request.query)}"
    for name in _NUMBERS:
        number(request.query, name)
    query = {name: request.query[name] for name in _PASSED_ON if name in request.query}
    try:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
        async with client.get(url, params=query, timeout=timeout, ssl=False) as logs:  # kubelets sign for themselves
            if logs.status != 200:
                text = (await logs.text())[:500]
                reason = "NotFound" if logs.status == 404 else "InternalError"
                raise ApiError(logs.status, reason, text or f"the node answered {logs.status}")
            response = web.StreamResponse(headers={"Content-Type": "text/plain"})
            await response.prepare(request)
            async for chunk in logs.content.iter_any():
                await response.write(chunk)
    except aiohttp.ClientConnectorError as error:
        raise ApiError(500, "InternalError", f'Get "{url}": the node does not answer: {error.os_error}') from None
    return response


def _kubelet_url(store: Store, pod: Object) -> str:
    name = pod["spec"].get("nodeName")
    if not name:
        raise bad_request(f"pod {pod['metadata']['name']} does not have a host assigned")
    node = store.get(("", "nodes"), ("", name))
    if node is None:
        raise not_found("nodes", "", name)
    status = node.get("status", {})
    addresses = {address["type"]: address["address"] for address in status.get("addresses", ())}
    port = status.get("daemonEndpoints", {}).get("kubeletEndpoint", {}).get("Port")
    if not addresses or not port:
        raise ApiError(500, "InternalError", f"node {name} has not registered a log server in its status")
    return f"https://{addresses.get('InternalIP') or next(iter(addresses.values()))}:{port}"


def _container(pod: Object, query: Mapping[str, str]) -> str:
    init = [container["name"] for container in pod["spec"].get("initContainers", ())]
    names = [container["name"] for container in pod["spec"]["containers"]]
    asked, name = query.get("container", ""), pod["metadata"]["name"]
    if asked and asked not in names + init:
        raise bad_request(f"container {asked} is not valid for pod {name}")
    if not asked and len(names) > 1:
        listed = " ".join(names)
        raise bad_request(f"a container name must be specified for pod {name}, choose one of: [{listed}]")
    return asked or names[0]
