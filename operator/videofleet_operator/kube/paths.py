"""Paths of the resources that the operator touches, and what it may do with each: the Role in the chart, as data."""

from typing import Final

from videofleet_operator.crd.manifest import GROUP, PLURAL, VERSION

_ROOTS: Final = {
    "VideoGenerator": (f"/apis/{GROUP}/{VERSION}", PLURAL),
    "Deployment": ("/apis/apps/v1", "deployments"),
    "ControllerRevision": ("/apis/apps/v1", "controllerrevisions"),
    "ConfigMap": ("/api/v1", "configmaps"),
    "Service": ("/api/v1", "services"),
    "ServiceAccount": ("/api/v1", "serviceaccounts"),
    "PodDisruptionBudget": ("/apis/policy/v1", "poddisruptionbudgets"),
    "NetworkPolicy": ("/apis/networking.k8s.io/v1", "networkpolicies"),
    "Pod": ("/api/v1", "pods"),
    "Event": ("/api/v1", "events"),
    "Lease": ("/apis/coordination.k8s.io/v1", "leases"),
}

RBAC_RULES: Final[list[dict[str, list[str]]]] = [
    {"apiGroups": [GROUP], "resources": [PLURAL], "verbs": ["get", "list", "watch"]},
    {"apiGroups": [GROUP], "resources": [f"{PLURAL}/status"], "verbs": ["patch"]},
    {
        "apiGroups": ["apps"],
        "resources": ["deployments"],
        "verbs": ["get", "list", "watch", "create", "patch", "delete"],
    },
    {"apiGroups": ["apps"], "resources": ["deployments/scale"], "verbs": ["patch"]},
    {
        "apiGroups": ["apps"],
        "resources": ["controllerrevisions"],
        "verbs": ["get", "list", "watch", "create", "patch", "delete"],
    },
    {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch", "create", "patch", "delete"]},
    {
        "apiGroups": [""],
        "resources": ["services", "serviceaccounts"],
        "verbs": ["get", "list", "watch", "create", "patch"],
    },
    {
        "apiGroups": ["policy"],
        "resources": ["poddisruptionbudgets"],
        "verbs": ["get", "list", "watch", "create", "patch", "delete"],
    },
    {
        "apiGroups": ["networking.k8s.io"],
        "resources": ["networkpolicies"],
        "verbs": ["get", "list", "watch", "create", "patch"],
    },
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch", "patch"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["get", "list", "create", "patch"]},
]
"""Everything the operator may do, in each namespace it watches. No Secret, no exec, no RBAC object, no wildcard."""


def lease_rules(name: str) -> list[dict[str, list[str]]]:
    """What else it may do in its own namespace: change one Lease, and make one, which RBAC cannot narrow by name."""
    leases = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"]}
    return [leases | {"resourceNames": [name], "verbs": ["get", "patch"]}, leases | {"verbs": ["create"]}]


def collection(kind: str, namespace: str) -> str:
    """Path of all objects of a kind in a namespace."""
    root, plural = _ROOTS[kind]
    return f"{root}/namespaces/{namespace}/{plural}"


def item(kind: str, namespace: str, name: str) -> str:
    """Path of one object."""
    return f"{collection(kind, namespace)}/{name}"


def resource_of(path: str) -> str:
    """The resource in a path, with its subresource, for metrics: `deployments/scale`."""
    tail = path.partition("/namespaces/")[2].split("/")
    return "/".join(tail[1:2] + tail[3:4])
