"""What lies below a resource and is no status: scale, binding of pods, tokens of ServiceAccounts, access
reviews.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from videofleet_devcluster.apiserver.access import Authorizer, Tokens, User, info_of_review
from videofleet_devcluster.apiserver.errors import bad_request, conflict, no_such_path, not_found
from videofleet_devcluster.apiserver.objects import Key, Object, timestamp
from videofleet_devcluster.apiserver.resources import Resource
from videofleet_devcluster.apiserver.writes import WriteOptions, Writes

_SHORTEST_TOKEN_S: Final = 600


class Subresources:
    """Reads and writes through subresources."""

    def __init__(self, writes: Writes, tokens: Tokens, authorizer: Authorizer) -> None:
        self._writes = writes
        self._tokens = tokens
        self._authorizer = authorizer

    def read_scale(self, resource: Resource, key: Key) -> Object:
        """GET …/scale. Raises: ApiError 404."""
        obj = self._writes.store.get(resource.id, key)
        if obj is None:
            raise not_found(resource.plural, resource.group, key[1])
        return scale_of(resource, obj)

    def write_scale(
        self, resource: Resource, key: Key, change: Callable[[Object], Object], options: WriteOptions
    ) -> Object:
        """PUT or PATCH …/scale: `change` turns the present Scale into the wanted one. Raises: ApiError."""
        if resource.scale is None:
            raise no_such_path()
        path = resource.scale.spec_replicas.split(".")

        def set_replicas(obj: Object) -> Object:
            wanted = change(scale_of(resource, obj))
            replicas = (wanted.get("spec") or {}).get("replicas", 0)
            if not isinstance(replicas, int) or replicas < 0:
                raise bad_request(f"spec.replicas {replicas!r} must be a whole number of at least 0")
            version = (wanted.get("metadata") or {}).get("resourceVersion")
            if version:
                obj["metadata"]["resourceVersion"] = version
            parent = obj
            for step in path[:-1]:
                parent = parent.setdefault(step, {})
            parent[path[-1]] = replicas
            return obj

        return scale_of(resource, self._writes.patch(resource, key, set_replicas, options))

    def bind(self, pods: Resource, key: Key, binding: Object, options: WriteOptions) -> Object:
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

        self._writes.patch(pods, key, set_node, options)
        options.subresource = "status"
        self._writes.patch(pods, key, set_condition, options)
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}

    def request_token(self, key: Key, request: Object) -> Object:
        """POST serviceaccounts/NAME/token. Raises: ApiError 404."""
        spec = request.get("spec") or {}
        lifetime_s = max(int(spec.get("expirationSeconds") or 3600), _SHORTEST_TOKEN_S)
        token = self._tokens.mint(*key, lifetime_s)
        expires = timestamp(datetime.now(UTC) + timedelta(seconds=lifetime_s))
        return {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {"name": key[1], "namespace": key[0], "creationTimestamp": timestamp()},
            "spec": {"audiences": spec.get("audiences") or [], "expirationSeconds": lifetime_s},
            "status": {"token": token, "expirationTimestamp": expires},
        }

    def review_access(self, user: User, review: Object) -> Object:
        """POST selfsubjectaccessreviews: whether the asking user may."""
        allowed = self._authorizer.allows(user, info_of_review(review.get("spec") or {}))
        return {
            "kind": "SelfSubjectAccessReview",
            "apiVersion": "authorization.k8s.io/v1",
            "metadata": {"creationTimestamp": None},
            "spec": review.get("spec") or {},
            "status": {"allowed": allowed},
        }


def scale_of(resource: Resource, obj: Object) -> Object:
    """The autoscaling/v1 Scale of an object. Raises: ApiError 404 when its kind has none."""
    if resource.scale is None:
        raise no_such_path()
    metadata = {
        name: obj["metadata"][name]
        for name in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
        if name in obj["metadata"]
    }
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": {"replicas": _at(obj, resource.scale.spec_replicas) or 0},
        "status": {
            "replicas": _at(obj, resource.scale.status_replicas) or 0,
            "selector": _selector_text(_at(obj, resource.scale.selector)),
        },
    }


def _at(obj: Any, path: str) -> Any:
    for step in path.split(".") if path else ():
        obj = obj.get(step) if isinstance(obj, dict) else None
    return obj if path else None


def _selector_text(selector: Any) -> str:
    if isinstance(selector, dict):
        return ",".join(f"{name}={value}" for name, value in sorted((selector.get("matchLabels") or {}).items()))
    return selector if isinstance(selector, str) else ""
