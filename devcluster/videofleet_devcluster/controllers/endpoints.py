"""The Endpoints and EndpointSlice of a Service: who answers for it, and on which ports.

The plan is pure; ServiceEndpoints writes what changed of it. A pod answers when it has an address, is Ready and is not
leaving; `publishNotReadyAddresses` lets the unready in.
"""

from videofleet_devcluster.client import ENDPOINT_SLICES, ENDPOINTS, ApiClient, ignoring
from videofleet_devcluster.controllers.loop import Loop
from videofleet_devcluster.informer import Informer
from videofleet_devcluster.objects import (
    ENDED,
    Key,
    Object,
    controller_reference,
    is_deleting,
    is_true,
    key_of,
    labels_of,
    name_hash,
    phase_of,
    selects,
    status_of,
)

Port = tuple[str, int, str]
"""Name, number, protocol."""


class ServiceEndpoints:
    """Keeps Endpoints and EndpointSlices of Services up to date."""

    def __init__(self, client: ApiClient, services: Informer, pods: Informer) -> None:
        self._client, self._services, self._pods = client, services, pods
        self._written: dict[Key, tuple[Object, Object]] = {}
        self.loop = Loop("service", self.service)
        services.listen(self.loop.hear)
        pods.listen(self._pod_changed)

    def _pod_changed(self, pod: Object, before: Object | None) -> None:
        for service in self._services.all(key_of(pod)[0]):
            selector = {"matchLabels": service["spec"].get("selector")}
            if any(selects(selector, labels_of(state)) for state in (pod, before or pod)):
                self.loop.hear(service)

    async def service(self, key: Key) -> float | None:
        service = self._services.get(key)
        if service is None:
            self._written.pop(key, None)
            with ignoring(404):
                await self._client.delete(ENDPOINTS, *key)  # the slice goes with its owner
            return None
        plan = plan_endpoints(service, self._pods.all(key[0]))
        if plan is not None and plan != self._written.get(key):
            for resource, wanted in zip((ENDPOINTS, ENDPOINT_SLICES), plan, strict=True):
                await self._client.put(resource, wanted)
            self._written[key] = plan
        return None


def plan_endpoints(service: Object, pods: list[Object]) -> tuple[Object, Object] | None:
    """(Endpoints, EndpointSlice) of the service; None for one without a selector, which others fill."""
    selector = service["spec"].get("selector")
    if not selector:
        return None
    chosen = (pod for pod in pods if selects({"matchLabels": selector}, labels_of(pod)))
    mine = [pod for pod in chosen if phase_of(pod) not in ENDED and status_of(pod).get("podIP")]
    mine.sort(key=lambda pod: key_of(pod)[1])
    return _endpoints(service, mine), _slice(service, mine)


def _answers(service: Object, pod: Object) -> bool:
    """Whether traffic may go to the pod."""
    is_welcome = bool(service["spec"].get("publishNotReadyAddresses")) or is_true(pod, "Ready")
    return is_welcome and not is_deleting(pod)


def _ports_at(service: Object, pod: Object) -> tuple[Port, ...]:
    """The service's ports as this pod serves them; a named target that the pod lacks is left out."""
    ports = [port for container in pod["spec"]["containers"] for port in container.get("ports") or []]
    named = {port["name"]: int(port["containerPort"]) for port in ports if "name" in port}
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
        ports = _ports_at(service, pod)
        if not is_deleting(pod) and (ports or not service["spec"].get("ports")):
            subset = subsets.setdefault(ports, {"ports": _told(ports)} if ports else {})
            field = "addresses" if _answers(service, pod) else "notReadyAddresses"
            subset.setdefault(field, []).append({"ip": pod["status"]["podIP"]} | _origin(pod))
    name, namespace = service["metadata"]["name"], service["metadata"]["namespace"]
    metadata = {"name": name, "namespace": namespace, "labels": labels_of(service)}
    return {"metadata": metadata, "subsets": list(subsets.values())}


def _slice(service: Object, pods: list[Object]) -> Object:
    ports = next(filter(None, (_ports_at(service, pod) for pod in pods)), ())
    name, namespace = service["metadata"]["name"], service["metadata"]["namespace"]
    labels = {
        "kubernetes.io/service-name": name,
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    }
    return {
        "metadata": {
            "name": f"{name}-{name_hash(name, 5)}",
            "namespace": namespace,
            "labels": labels_of(service) | labels,
            "ownerReferences": [controller_reference(service, "v1", "Service")],
        },
        "addressType": "IPv4",
        "endpoints": [_endpoint(service, pod) for pod in pods if _ports_at(service, pod) == ports],
        "ports": _told(ports),
    }


def _endpoint(service: Object, pod: Object) -> Object:
    is_ready, is_serving = _answers(service, pod), is_true(pod, "Ready")
    conditions = {"ready": is_ready, "serving": is_serving, "terminating": is_deleting(pod)}
    return {"addresses": [pod["status"]["podIP"]], "conditions": conditions} | _origin(pod)


def _told(ports: tuple[Port, ...]) -> list[Object]:
    return [{"name": name, "port": number, "protocol": protocol} for name, number, protocol in ports]


def _origin(pod: Object) -> Object:
    """Where an address comes from."""
    reference = {"kind": "Pod"} | {field: pod["metadata"][field] for field in ("namespace", "name", "uid")}
    return {"nodeName": pod["spec"].get("nodeName"), "targetRef": reference}
