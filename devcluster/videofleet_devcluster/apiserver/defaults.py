"""What Kubernetes fills in on built-in kinds beyond their schemas: pods, workloads, services, claims,
secrets.

Only defaults that somebody here reads or that make a second apply a change. Changes the object it is given.
"""

import base64
from collections.abc import Callable
from typing import Final

from videofleet_devcluster.apiserver.objects import Object


def fill_built_in(kind: str, obj: Object) -> None:
    """Fills the defaults of the kind, when it has any."""
    fill = _BY_KIND.get(kind)
    if fill is not None:
        fill(obj)


def _pod(obj: Object) -> None:
    spec = obj["spec"]
    _pod_spec(spec)
    spec.setdefault("serviceAccountName", "default")
    spec["serviceAccount"] = spec["serviceAccountName"]
    spec.setdefault("enableServiceLinks", True)
    spec.setdefault("priority", 0)
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
    _tolerate_lost_nodes(spec)


def _tolerate_lost_nodes(spec: Object) -> None:
    """As the admission plugin DefaultTolerationSeconds has it."""
    tolerations = spec.get("tolerations") or []
    for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
        if all(
            t.get("key") not in (None, "", key) or t.get("effect") not in (None, "", "NoExecute") for t in tolerations
        ):
            more = {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
            tolerations = [*tolerations, more]
    spec["tolerations"] = tolerations


def _template(spec: Object) -> None:
    template = spec.setdefault("template", {})
    _pod_spec(template.setdefault("spec", {}))


def _pod_spec(spec: Object) -> None:
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("securityContext", {})
    spec.setdefault("schedulerName", "default-scheduler")
    if "serviceAccountName" in spec:
        spec["serviceAccount"] = spec["serviceAccountName"]
    for container in [*spec.get("containers", ()), *spec.get("initContainers", ())]:
        _container(container)
    for volume in spec.get("volumes", ()):
        _volume(volume)


def _container(container: Object) -> None:
    container.setdefault("resources", {})
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    image = str(container.get("image", ""))
    is_latest = ":" not in image.rsplit("/", 1)[-1] or image.endswith(":latest")
    container.setdefault("imagePullPolicy", "Always" if is_latest and "@" not in image else "IfNotPresent")
    resources = container["resources"]
    if resources.get("limits"):  # a limit without a request is the request, too
        resources["requests"] = resources["limits"] | resources.get("requests", {})
    for port in container.get("ports", ()):
        port.setdefault("protocol", "TCP")
    for item in container.get("env", ()):
        if "fieldRef" in item.get("valueFrom", {}):
            item["valueFrom"]["fieldRef"].setdefault("apiVersion", "v1")
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        if name in container:
            _probe(container[name])


def _probe(probe: Object) -> None:
    defaults = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
    for name, value in defaults.items():
        probe.setdefault(name, value)
    if "httpGet" in probe:
        probe["httpGet"].setdefault("path", "/")
        probe["httpGet"].setdefault("scheme", "HTTP")


def _volume(volume: Object) -> None:
    for source in ("configMap", "secret", "projected", "downwardAPI"):
        if source in volume:
            volume[source].setdefault("defaultMode", 0o644)
    if "hostPath" in volume:
        volume["hostPath"].setdefault("type", "")
    for part in volume.get("projected", {}).get("sources", ()):
        if "serviceAccountToken" in part:
            part["serviceAccountToken"].setdefault("expirationSeconds", 3600)


def _deployment(obj: Object) -> None:
    spec = obj["spec"]
    spec.setdefault("replicas", 1)
    _template(spec)
    strategy = spec.setdefault("strategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)


def _replica_set(obj: Object) -> None:
    obj["spec"].setdefault("replicas", 1)
    _template(obj["spec"])


def _service(obj: Object) -> None:
    spec = obj["spec"]
    spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    if spec["type"] == "ExternalName":
        return
    spec.setdefault("internalTrafficPolicy", "Cluster")
    spec.setdefault("ipFamilies", ["IPv4"])
    spec.setdefault("ipFamilyPolicy", "SingleStack")
    for port in spec.get("ports", ()):
        port.setdefault("protocol", "TCP")
        port.setdefault("targetPort", port.get("port"))


def _claim(obj: Object) -> None:
    obj["spec"].setdefault("volumeMode", "Filesystem")


def _volume_object(obj: Object) -> None:
    obj["spec"].setdefault("volumeMode", "Filesystem")
    obj["spec"].setdefault("persistentVolumeReclaimPolicy", "Retain")


def _secret(obj: Object) -> None:
    obj.setdefault("type", "Opaque")
    for name, text in (obj.pop("stringData", None) or {}).items():
        obj.setdefault("data", {})[name] = base64.b64encode(text.encode()).decode()


def _namespace(obj: Object) -> None:
    obj.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])
    obj["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = obj["metadata"]["name"]


def _role_binding(obj: Object) -> None:
    obj["roleRef"].setdefault("apiGroup", "rbac.authorization.k8s.io")
    for subject in obj.get("subjects", ()):
        if subject.get("kind") in ("User", "Group"):
            subject.setdefault("apiGroup", "rbac.authorization.k8s.io")


def _definition(obj: Object) -> None:
    names = obj["spec"]["names"]
    names.setdefault("singular", names["kind"].lower())
    names.setdefault("listKind", names["kind"] + "List")
    obj["spec"].setdefault("conversion", {"strategy": "None"})


_BY_KIND: Final[dict[str, Callable[[Object], None]]] = {
    "ClusterRoleBinding": _role_binding,
    "CustomResourceDefinition": _definition,
    "Deployment": _deployment,
    "Namespace": _namespace,
    "PersistentVolume": _volume_object,
    "PersistentVolumeClaim": _claim,
    "Pod": _pod,
    "ReplicaSet": _replica_set,
    "RoleBinding": _role_binding,
    "Secret": _secret,
    "Service": _service,
}
_INITIAL_STATUS: Final[dict[str, Object]] = {
    "Namespace": {"phase": "Active"},
    "PersistentVolume": {"phase": "Pending"},
    "PersistentVolumeClaim": {"phase": "Pending"},
    "Pod": {"phase": "Pending"},
    "Service": {"loadBalancer": {}},
}


def initial_status(kind: str) -> Object:
    """The status that a new object of a built-in kind with a status begins with."""
    return dict(_INITIAL_STATUS.get(kind, {}))
