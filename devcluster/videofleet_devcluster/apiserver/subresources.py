"""What lies below a resource and is no status: scale, binding of pods, tokens of ServiceAccounts."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from videofleet_devcluster.apiserver.access import Tokens
from videofleet_devcluster.apiserver.errors import bad_request, conflict
from videofleet_devcluster.apiserver.objects import Key, Object, timestamp
from videofleet_devcluster.apiserver.resources import Resource
from videofleet_devcluster.apiserver.writes import WriteOptions, Writes

_SHORTEST_TOKEN_S: Final = 600
_OF_SCALE: Final = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


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
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}


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
