"""Which kinds this server serves, and what each of them can do.

The built-in ones are a table; CustomResourceDefinitions add theirs while the server runs. What is not here is
404.
"""

from dataclasses import dataclass, field, replace
from typing import Final

from videofleet_devcluster.apiserver.cel_rules import RuleTree, rule_tree
from videofleet_devcluster.apiserver.definitions import metadata_schema, schema_named
from videofleet_devcluster.apiserver.objects import Object

VERBS: Final = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True)
class Scale:
    """Where the scale subresource reads and writes, as dotted paths."""

    spec_replicas: str = "spec.replicas"
    status_replicas: str = "status.replicas"
    selector: str = "spec.selector"  # a LabelSelector, or a string for custom resources


@dataclass(frozen=True, eq=False)
class Resource:
    """One served kind in one version."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    has_status: bool = False
    scale: Scale | None = None
    has_generation: bool = False
    verbs: tuple[str, ...] = VERBS
    subresources: dict[str, tuple[str, str, str, tuple[str, ...]]] = field(default_factory=dict)
    definition: str = ""  # name of the built-in schema; empty for custom resources
    custom_schema: Object | None = None  # structural schema of a custom resource
    rules: RuleTree | None = None  # CEL
    columns: tuple[Object, ...] = ()  # additionalPrinterColumns
    singular: str = ""
    list_kind: str = ""

    @property
    def group_version(self) -> str:
        """`apps/v1`, or `v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def id(self) -> tuple[str, str]:
        """What the store files objects under: versions of a kind share their objects."""
        return self.group, self.plural

    @property
    def is_custom(self) -> bool:
        """Whether a CustomResourceDefinition brought it."""
        return not self.definition

    @property
    def singular_name(self) -> str:
        """`deployment`."""
        return self.singular or self.kind.lower()

    @property
    def list_name(self) -> str:
        """`DeploymentList`."""
        return self.list_kind or f"{self.kind}List"

    @property
    def schema(self) -> Object:
        """The resolved schema of the whole object, metadata included."""
        if self.definition:
            return schema_named(self.definition)
        return self.custom_schema or {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def _core(plural: str, kind: str, *short: str, **more: object) -> Resource:
    resource = Resource("", "v1", plural, kind, short_names=short, definition=f"io.k8s.api.core.v1.{kind}")
    return replace(resource, **more)  # type: ignore[arg-type]  # fields of Resource, checked by its constructor


def _of(api: str, group: str, version: str, plural: str, kind: str, *short: str, **more: object) -> Resource:
    definition = f"io.k8s.api.{api}.{version}.{kind}"
    resource = Resource(group, version, plural, kind, short_names=short, definition=definition)
    return replace(resource, **more)  # type: ignore[arg-type]  # fields of Resource, checked by its constructor


_ALL: Final = ("all",)
_RBAC: Final = ("rbac", "rbac.authorization.k8s.io", "v1")
_POD_SUBRESOURCES: Final = {
    "binding": ("", "v1", "Binding", ("create",)),
    "eviction": ("policy", "v1", "Eviction", ("create",)),
    "log": ("", "v1", "Pod", ("get",)),
}
_TOKEN: Final = {"token": ("authentication.k8s.io", "v1", "TokenRequest", ("create",))}

BUILT_IN: Final = (
    _core("configmaps", "ConfigMap", "cm"),
    _core("endpoints", "Endpoints", "ep"),
    _core("events", "Event", "ev"),
    _core("namespaces", "Namespace", "ns", namespaced=False, has_status=True),
    _core("nodes", "Node", "no", namespaced=False, has_status=True),
    _core("persistentvolumeclaims", "PersistentVolumeClaim", "pvc", has_status=True),
    _core("persistentvolumes", "PersistentVolume", "pv", namespaced=False, has_status=True),
    _core(
        "pods", "Pod", "po",
        categories=_ALL, has_status=True, has_generation=True, subresources=_POD_SUBRESOURCES,
    ),
    _core("secrets", "Secret"),
    _core("serviceaccounts", "ServiceAccount", "sa", subresources=_TOKEN),
    _core("services", "Service", "svc", categories=_ALL, has_status=True),
    _of("apps", "apps", "v1", "controllerrevisions", "ControllerRevision"),
    _of(
        "apps", "apps", "v1", "deployments", "Deployment", "deploy",
        categories=_ALL, has_status=True, scale=Scale(), has_generation=True,
    ),
    _of(
        "apps", "apps", "v1", "replicasets", "ReplicaSet", "rs",
        categories=_ALL, has_status=True, scale=Scale(), has_generation=True,
    ),
    _of("discovery", "discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", has_generation=True),
    _of("coordination", "coordination.k8s.io", "v1", "leases", "Lease"),
    _of(
        "policy", "policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", "pdb",
        has_status=True, has_generation=True,
    ),
    _of(
        "networking", "networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", "netpol",
        has_generation=True,
    ),
    _of(*_RBAC, "roles", "Role"),
    _of(*_RBAC, "rolebindings", "RoleBinding"),
    _of(*_RBAC, "clusterroles", "ClusterRole", namespaced=False),
    _of(*_RBAC, "clusterrolebindings", "ClusterRoleBinding", namespaced=False),
    _of(
        "authorization", "authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview",
        namespaced=False, verbs=("create",),
    ),
    _of(
        "authorization", "authorization.k8s.io", "v1", "selfsubjectrulesreviews", "SelfSubjectRulesReview",
        namespaced=False, verbs=("create",),
    ),
    Resource(
        "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition",
        namespaced=False, short_names=("crd", "crds"), categories=("api-extensions",), has_status=True,
        has_generation=True,
        definition="io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition",
    ),
)  # fmt: skip  # a table reads as a table


class Registry:
    """The resources served now. `epoch` changes with them, for caches of discovery documents."""

    def __init__(self) -> None:
        self._served = {(r.group, r.version, r.plural): r for r in BUILT_IN}
        self.epoch = 0

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        """The resource at a path; None when it is not served."""
        return self._served.get((group, version, plural))

    def by_kind(self, group_version: str, kind: str) -> Resource | None:
        """The resource of an object's apiVersion and kind."""
        return next((r for r in self.all() if r.kind == kind and r.group_version == group_version), None)

    def all(self) -> list[Resource]:
        """Everything served, sorted by group, version and plural."""
        return [self._served[key] for key in sorted(self._served)]

    def groups(self) -> dict[str, dict[str, list[Resource]]]:
        """Group → version → resources."""
        found: dict[str, dict[str, list[Resource]]] = {}
        for resource in self.all():
            found.setdefault(resource.group, {}).setdefault(resource.version, []).append(resource)
        return found

    def install(self, crd: Object) -> list[Resource]:
        """Serves every served version of a CustomResourceDefinition, replacing what it brought before."""
        self.remove(crd)
        added = [custom_resource(crd, v) for v in crd["spec"]["versions"] if v.get("served", True)]
        self._served |= {(r.group, r.version, r.plural): r for r in added}
        self.epoch += 1
        return added

    def remove(self, crd: Object) -> None:
        """Stops serving what the CustomResourceDefinition brought."""
        group, plural = crd["spec"]["group"], crd["spec"]["names"]["plural"]
        for key in [k for k, r in self._served.items() if r.is_custom and r.id == (group, plural)]:
            del self._served[key]
        self.epoch += 1


def custom_resource(crd: Object, version: Object) -> Resource:
    """The resource of one version of a CustomResourceDefinition."""
    spec, names = crd["spec"], crd["spec"]["names"]
    sub = version.get("subresources") or {}
    schema = _whole_object(version.get("schema", {}).get("openAPIV3Schema", {}))
    return Resource(
        group=spec["group"],
        version=version["name"],
        plural=names["plural"],
        kind=names["kind"],
        namespaced=spec["scope"] == "Namespaced",
        short_names=tuple(names.get("shortNames", ())),
        categories=tuple(names.get("categories", ())),
        has_status="status" in sub,
        scale=_custom_scale(sub.get("scale")),
        has_generation=True,
        custom_schema=schema,
        rules=rule_tree(schema),
        columns=tuple(version.get("additionalPrinterColumns", ())),
        singular=names.get("singular", ""),
        list_kind=names.get("listKind", ""),
    )


def _custom_scale(paths: Object | None) -> Scale | None:
    if not paths:
        return None
    return Scale(
        paths["specReplicasPath"].lstrip("."),
        paths["statusReplicasPath"].lstrip("."),
        paths.get("labelSelectorPath", "").lstrip("."),
    )


def _whole_object(schema: Object) -> Object:
    """The structural schema with the three fields that every object has."""
    text = {"type": "string"}
    properties = schema.get("properties", {}) | {"apiVersion": text, "kind": text, "metadata": metadata_schema()}
    return schema | {"type": "object", "properties": properties}
