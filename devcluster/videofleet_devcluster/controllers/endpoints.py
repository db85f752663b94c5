"""The Endpoints and EndpointSlice of a Service: who answers for it, and on which ports.

The plan is pure; ServiceEndpoints writes what changed of it. A pod answers when it has an address, is Ready and
is not leaving; `publishNotReadyAddresses` lets the unready in.
"""

from videofleet_devcluster.client import ENDPOINT_SLICES, ENDPOINTS, ApiClient, ApiError, Resource
from videofleet_devcluster.controllers.loop import Loop
from videofleet_devcluster.informer import Informer
from videofleet_devcluster.objects import (
    Key,
    Object,
    controller_reference,
    is_deleting,
    is_true,
    key_of,
    labels_of,
    name_hash,
    selects,
)

Port = tuple[str, int, str]
"""Name, number, protocol."""


class ServiceEndpoints:
    """Keeps Endpoints and EndpointSlices of Services up to date."""

    def __init__(self, client: ApiClient, services: Informer, pods: Informer) -> None:
        self._client, self._services, self._pods = client, services, pods
        self._written: dict[Key, tuple[Object, Object]] = {}
        self.loop = Loop("service", self.service)
        services.listen(lambda service, _: self.loop.add(key_of(service)))
        pods.listen(self._pod_changed)

    def _pod_changed(self, pod: Object, before: Object | None) -> None:
        states = (labels_of(pod), labels_of(before or pod))
        for service in self._services.all(key_of(pod)[0]):
            if any(selects({"matchLabels": service["spec"].get("selector")}, labels) for labels in states):
                self.loop.add(key_of(service))

    async def service(self, key: Key) -> float | None:
        """Writes what changed for one Service."""
        service = self._services.get(key)
        if service is None:
            self._written.pop(key, None)
            try:
                await self._client.delete(ENDPOINTS, *key)  # the slice goes with its owner
            except ApiError as error:
                if error.code != 404:
                    raise
            return None
        plan = plan_endpoints(service, self._pods.all(key[0]))
        if plan is not None and plan != self._written.get(key):
            for resource, wanted in zip((ENDPOINTS, ENDPOINT_SLICES), plan, strict=True):
                await self._write(resource, wanted)
            self._written[key] = plan
        return None

    async def _write(self, resource: Resource, wanted: Object) -> None:
        try:
            await self._client.patch(resource, *key_of(wanted), wanted)
        except ApiError as error:
            if error.code != 404:
                raise
            await self._client.create(resource, wanted)


def plan_endpoints(service: Object, pods: list[Object]) -> tuple[Object, Object] | None:
    """(Endpoints, EndpointSlice) of the service; None for one without a selector, which others fill."""
    selector = service["spec"].get("selector")
    if not selector:
        return None
    mine = sorted(
        (pod for pod in pods if selects({"matchLabels": selector}, labels_of(pod)) and _address(pod)),
        key=lambda pod: str(pod["metadata"]["name"]),
    )
    return _endpoints(service, mine), _slice(service, mine)


def _address(pod: Object) -> str:
    status = pod.get("status") or {}
    return str(status.get("podIP", "")) if status.get("phase") not in ("Succeeded", "Failed") else ""


def answers(service: Object, pod: Object) -> bool:
    """Whether traffic may go to the pod."""
    if is_deleting(pod):
        return False
    return bool(service["spec"].get("publishNotReadyAddresses")) or is_true(pod, "Ready")


def ports_at(service: Object, pod: Object) -> tuple[Port, ...]:
    """The service's ports as this pod serves them; a named target that the pod lacks is left out."""
    named = {
        port["name"]: int(port["containerPort"])
        for container in pod["spec"]["containers"]
        for port in container.get("ports") or []
        if "name" in port
    }
    found: list[Port] = []
    for port in service["spec"].get("ports") or []:
        target = port.get("targetPort", port["port"])
        number = named.get(target) if isinstance(target, str) and not target.isdigit() else int(target)
        if number is not None:
            found.append((port.get("name", ""), number, port.get("protocol", "TCP")))
    return tuple(found)


def _endpoints(service: Object, pods: list[Object]) -> Object:
    subsets: dict[tuple[Port, ...], Object] = {}
    for pod in pods:
        ports = ports_at(service, pod)
        if is_deleting(pod) or (service["spec"].get("ports") and not ports):
            continue
        subset = subsets.setdefault(ports, {})
        field = "addresses" if answers(service, pod) else "notReadyAddresses"
        subset.setdefault(field, []).append(
            {"ip": _address(pod), "nodeName": pod["spec"].get("nodeName"), "targetRef": _reference(pod)}
        )
    for ports, subset in subsets.items():
        if ports:
            subset["ports"] = [_port(port) for port in ports]
    meta = {"name": service["metadata"]["name"], "namespace": service["metadata"]["namespace"]}
    return {"metadata": meta | {"labels": labels_of(service)}, "subsets": list(subsets.values())}


def _slice(service: Object, pods: list[Object]) -> Object:
    ports = next(filter(None, (ports_at(service, pod) for pod in pods)), ())
    entries = [
        {
            "addresses": [_address(pod)],
            "conditions": {
                "ready": answers(service, pod),
                "serving": is_true(pod, "Ready"),
                "terminating": is_deleting(pod),
            },
            "nodeName": pod["spec"].get("nodeName"),
            "targetRef": _reference(pod),
        }
        for pod in pods
        if ports_at(service, pod) == ports
    ]
    name = service["metadata"]["name"]
    return {
        "metadata": {
            "name": f"{name}-{name_hash(name, 5)}",
            "namespace": service["metadata"]["namespace"],
            "labels": labels_of(service)
            | {
                "kubernetes.io/service-name": name,
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
            },
            "ownerReferences": [controller_reference(service, "v1", "Service")],
        },
        "addressType": "IPv4",
        "endpoints": entries,
        "ports": [_port(port) for port in ports],
    }


def _port(port: Port) -> Object:
    name, number, protocol = port
    return {"name": name, "port": number, "protocol": protocol}


def _reference(pod: Object) -> Object:
    meta = pod["metadata"]
    return {"kind": "Pod", "namespace": meta["namespace"], "name": meta["name"], "uid": meta["uid"]}
