"""What Kubernetes fills in on built-in kinds: by type, wherever the type occurs, by kind, and addresses of Services.

Only defaults that somebody here reads or that make a second apply a change. Changes the object it is given.
"""

import base64
import ipaddress
import secrets
from collections.abc import Callable, Iterable
from typing import Any, Final

from videofleet_devcluster.apiserver.errors import Cause, invalid
from videofleet_devcluster.objects import Object

_CONTAINER: Final[Object] = {
    "resources": {},
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
}
_SPREAD: Final = {"maxUnavailable": "25%", "maxSurge": "25%"}
_VOLUME_FILES: Final[Object] = {"defaultMode": 0o644}
_SUBJECTS: Final[Object] = {"apiGroup": "rbac.authorization.k8s.io"}
_ADDRESSES: Final = ipaddress.ip_network("127.10.0.0/16")  # of Services

BY_TYPE: Final[dict[str, Object]] = {  # name of a definition's type → field → default
    "ConfigMapVolumeSource": _VOLUME_FILES,
    "Container": _CONTAINER,
    "ContainerPort": {"protocol": "TCP"},
    "DeploymentSpec": {"replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600, "strategy": {}},
    "DeploymentStrategy": {"type": "RollingUpdate"},
    "DownwardAPIVolumeSource": _VOLUME_FILES,
    "HTTPGetAction": {"path": "/", "scheme": "HTTP"},
    "HostPathVolumeSource": {"type": ""},
    "Namespace": {"spec": {}},
    "NamespaceSpec": {"finalizers": ["kubernetes"]},
    "ObjectFieldSelector": {"apiVersion": "v1"},
    "PersistentVolumeClaimSpec": {"volumeMode": "Filesystem"},
    "PersistentVolumeSpec": {"volumeMode": "Filesystem", "persistentVolumeReclaimPolicy": "Retain"},
    "PodSpec": {
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "securityContext": {},
        "schedulerName": "default-scheduler",
    },
    "PodTemplateSpec": {"spec": {}},
    "Probe": {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3},
    "ProjectedVolumeSource": _VOLUME_FILES,
    "ReplicaSetSpec": {"replicas": 1},
    "RoleRef": _SUBJECTS,
    "RollingUpdateDeployment": _SPREAD,
    "Secret": {"type": "Opaque"},
    "SecretVolumeSource": _VOLUME_FILES,
    "ServiceAccountTokenProjection": {"expirationSeconds": 3600},
    "ServicePort": {"protocol": "TCP"},
    "ServiceSpec": {"type": "ClusterIP", "sessionAffinity": "None"},
}
_INITIAL_STATUS: Final[dict[str, Object]] = {
    "Namespace": {"phase": "Active"},
    "PersistentVolume": {"phase": "Pending"},
    "PersistentVolumeClaim": {"phase": "Pending"},
    "Pod": {"phase": "Pending"},
    "Service": {"loadBalancer": {}},
}


def initial_status(obj: Object) -> Object:
    """The status that a new object of a built-in kind with a status begins with."""
    more = {"qosClass": _qos_class(obj["spec"])} if obj["kind"] == "Pod" else {}
    return _INITIAL_STATUS.get(obj["kind"], {}) | more


def _qos_class(spec: Object) -> str:
    """Guaranteed: every container limits cpu and memory, and asks for as much. BestEffort: none asks for any."""
    told = [container["resources"] for container in [*spec["containers"], *spec.get("initContainers", ())]]
    kinds = [
        (part.get("limits", {}).get(k), part.get("requests", {}).get(k)) for part in told for k in ("cpu", "memory")
    ]
    if all(limit and limit == request for limit, request in kinds):
        return "Guaranteed"
    return "Burstable" if any(map(any, kinds)) else "BestEffort"


def fill_built_in(kind: str, obj: Object) -> None:
    """Fills what depends on other fields; the defaults by type are there already."""
    if fill := _BY_KIND.get(kind):
        fill(obj)


def _fill(target: Object, **defaults: Any) -> None:
    target |= {name: value for name, value in defaults.items() if name not in target}


def _pod(obj: Object) -> None:
    spec = obj["spec"]
    _fill(spec, serviceAccountName="default", enableServiceLinks=True, priority=0)
    _fill(spec, preemptionPolicy="PreemptLowerPriority")
    _pod_spec(spec)
    said = spec.setdefault("tolerations", [])
    for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
        # Pods stay on a lost node for five minutes, as the admission plugin DefaultTolerationSeconds has it.
        if not any(t.get("key", key) in ("", key) and t.get("effect", "NoExecute") in ("", "NoExecute") for t in said):
            said.append({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300})


def _pod_spec(spec: Object) -> None:
    if "serviceAccountName" in spec:
        spec["serviceAccount"] = spec["serviceAccountName"]
    for container in [*spec.get("containers", ()), *spec.get("initContainers", ())]:
        image = str(container.get("image", ""))
        is_latest = ":" not in image.rsplit("/", 1)[-1] or image.endswith(":latest")
        _fill(container, imagePullPolicy="Always" if is_latest and "@" not in image else "IfNotPresent")
        if limits := container["resources"].get("limits"):  # a limit without a request is the request, too
            container["resources"]["requests"] = limits | container["resources"].get("requests", {})


def _workload(obj: Object) -> None:
    strategy = obj["spec"].get("strategy")
    if strategy and strategy["type"] == "RollingUpdate":
        _fill(strategy, rollingUpdate=dict(_SPREAD))
    _pod_spec(obj["spec"]["template"]["spec"])


def _service(obj: Object) -> None:
    spec = obj["spec"]
    if spec["type"] == "ExternalName":
        return
    _fill(spec, internalTrafficPolicy="Cluster", ipFamilies=["IPv4"], ipFamilyPolicy="SingleStack")
    for port in spec.get("ports", ()):
        _fill(port, targetPort=port.get("port"))


def _secret(obj: Object) -> None:
    for name, text in (obj.pop("stringData", None) or {}).items():
        obj.setdefault("data", {})[name] = base64.b64encode(text.encode()).decode()


def _namespace(obj: Object) -> None:
    obj["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = obj["metadata"]["name"]


def _role_binding(obj: Object) -> None:
    for subject in obj.get("subjects", ()):
        if subject.get("kind") in ("User", "Group"):
            _fill(subject, **_SUBJECTS)


def _definition(obj: Object) -> None:
    names = obj["spec"]["names"]
    _fill(names, singular=names["kind"].lower(), listKind=names["kind"] + "List")
    _fill(obj["spec"], conversion={"strategy": "None"})


_BY_KIND: Final[dict[str, Callable[[Object], None]]] = {
    "ClusterRoleBinding": _role_binding,
    "CustomResourceDefinition": _definition,
    "Deployment": _workload,
    "Namespace": _namespace,
    "Pod": _pod,
    "ReplicaSet": _workload,
    "RoleBinding": _role_binding,
    "Secret": _secret,
    "Service": _service,
}


def assign_address(service: Object, others: Iterable[Object]) -> None:
    """Writes clusterIP and clusterIPs into a new Service. Raises: ApiError 422 when one is taken."""
    spec = service["spec"]
    if spec["type"] == "ExternalName":
        return
    taken = {other["spec"].get("clusterIP") for other in others} - {"None"}
    wanted = spec.get("clusterIP") or _free_address(taken)
    if wanted in taken or not (wanted == "None" or _is_ours(wanted)):
        why = "provided IP is already allocated" if wanted in taken else f"the provided IP is not in {_ADDRESSES}"
        text = f'Invalid value: ["{wanted}"]: failed to allocate IP {wanted}: {why}'
        cause = Cause("FieldValueInvalid", text, "spec.clusterIPs")
        raise invalid("Service", "", service["metadata"]["name"], cause)
    spec |= {"clusterIP": wanted, "clusterIPs": [wanted]}


def keep_address(service: Object, live: Object) -> None:
    """A replaced Service keeps the address that the new state does not mention."""
    _fill(service["spec"], **{name: live["spec"][name] for name in ("clusterIP", "clusterIPs") if name in live["spec"]})


def _free_address(taken: set[str | None]) -> str:
    """Any free one; a random one, because the clusters of one machine share its loopback."""
    while True:
        address = str(_ADDRESSES[1 + secrets.randbelow(_ADDRESSES.num_addresses - 2)])
        if address not in taken:
            return address


def _is_ours(address: str) -> bool:
    try:
        return ipaddress.ip_address(address) in _ADDRESSES
    except ValueError:
        return False
