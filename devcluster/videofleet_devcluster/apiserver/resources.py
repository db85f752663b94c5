"""Which kinds this server serves, and what each of them can do.

The built-in ones are a table; CustomResourceDefinitions add theirs while the server runs. What is not here is 404.
"""

from dataclasses import dataclass, field
from typing import Final

from videofleet_devcluster.apiserver.cel_rules import RuleTree, rule_tree
from videofleet_devcluster.apiserver.definitions import kinds, metadata_schema, schema_named
from videofleet_devcluster.objects import Object

Subresource = tuple[str, str, str, tuple[str, ...]]  # group, version, kind and verbs
VERBS: Final = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, eq=False)
class Resource:
    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    has_status: bool = False
    has_scale: bool = False
    has_generation: bool = False
    verbs: tuple[str, ...] = VERBS
    subresources: dict[str, Subresource] = field(default_factory=dict)
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
        return self.singular or self.kind.lower()

    @property
    def list_name(self) -> str:
        return self.list_kind or f"{self.kind}List"

    @property
    def schema(self) -> Object:
        """The resolved schema of the whole object, metadata included."""
        return schema_named(self.definition) if self.definition else self.custom_schema or _ANYTHING


_ANYTHING: Final[Object] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
# apiVersion, plural, kind, short names, and what is special: cluster(-scoped), all (the category), status, scale,
# generation, review (is only ever created).
_TABLE: Final = """
v1                           configmaps                ConfigMap                cm       -
v1                           endpoints                 Endpoints                ep       -
v1                           events                    Event                    ev       -
v1                           namespaces                Namespace                ns       cluster,status
v1                           nodes                     Node                     no       cluster,status
v1                           persistentvolumeclaims    PersistentVolumeClaim    pvc      status
v1                           persistentvolumes         PersistentVolume         pv       cluster,status
v1                           pods                      Pod                      po       all,status,generation
v1                           secrets                   Secret                   -        -
v1                           serviceaccounts           ServiceAccount           sa       -
v1                           services                  Service                  svc      all,status
apiextensions.k8s.io/v1      customresourcedefinitions CustomResourceDefinition crd,crds cluster,status,generation
apps/v1                      controllerrevisions       ControllerRevision       -        -
apps/v1                      deployments               Deployment               deploy   all,status,scale,generation
apps/v1                      replicasets               ReplicaSet               rs       all,status,scale,generation
authorization.k8s.io/v1      selfsubjectaccessreviews  SelfSubjectAccessReview  -        cluster,review
authorization.k8s.io/v1      selfsubjectrulesreviews   SelfSubjectRulesReview   -        cluster,review
coordination.k8s.io/v1       leases                    Lease                    -        -
discovery.k8s.io/v1          endpointslices            EndpointSlice            -        generation
networking.k8s.io/v1         networkpolicies           NetworkPolicy            netpol   generation
policy/v1                    poddisruptionbudgets      PodDisruptionBudget      pdb      status,generation
rbac.authorization.k8s.io/v1 clusterrolebindings       ClusterRoleBinding       -        cluster
rbac.authorization.k8s.io/v1 clusterroles              ClusterRole              -        cluster
rbac.authorization.k8s.io/v1 rolebindings              RoleBinding              -        -
rbac.authorization.k8s.io/v1 roles                     Role                     -        -
"""
_BELOW: Final[dict[str, dict[str, Subresource]]] = {
    "pods": {
        "binding": ("", "v1", "Binding", ("create",)),
        "eviction": ("policy", "v1", "Eviction", ("create",)),
        "log": ("", "v1", "Pod", ("get",)),
    },
    "serviceaccounts": {"token": ("authentication.k8s.io", "v1", "TokenRequest", ("create",))},
}


def _built_in(row: str) -> Resource:
    group_version, plural, kind, short, special = row.split()
    group, _, version = group_version.rpartition("/")
    return Resource(
        group, version, plural, kind,
        namespaced="cluster" not in special,
        short_names=() if short == "-" else tuple(short.split(",")),
        categories=("all",) if "all" in special else (),
        has_status="status" in special,
        has_scale="scale" in special,
        has_generation="generation" in special,
        verbs=("create",) if "review" in special else VERBS,
        subresources=_BELOW.get(plural, {}),
        definition=kinds()[group_version, kind],
    )  # fmt: skip


BUILT_IN: Final = tuple(map(_built_in, _TABLE.strip().splitlines()))


class Registry:
    """The resources served now. `epoch` changes with them, for caches of discovery documents."""

    def __init__(self) -> None:
        self._served = {(r.group, r.version, r.plural): r for r in BUILT_IN}
        self.epoch = 0

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        """The resource at a path; None when it is not served."""
        return self._served.get((group, version, plural))

    def known(self, plural: str) -> Resource:
        return next(resource for resource in BUILT_IN if resource.plural == plural)

    def groups(self) -> dict[str, dict[str, list[Resource]]]:
        """Group → version → resources, all of them sorted."""
        found: dict[str, dict[str, list[Resource]]] = {}
        for key in sorted(self._served):
            found.setdefault(key[0], {}).setdefault(key[1], []).append(self._served[key])
        return found

    def install(self, crd: Object) -> None:
        """Serves every served version of a CustomResourceDefinition, replacing what it brought before."""
        self.remove(crd)
        added = [_custom_resource(crd, version) for version in crd["spec"]["versions"] if version.get("served", True)]
        self._served |= {(r.group, r.version, r.plural): r for r in added}

    def remove(self, crd: Object) -> None:
        """Stops serving what the CustomResourceDefinition brought."""
        group, plural = crd["spec"]["group"], crd["spec"]["names"]["plural"]
        for key in [k for k, r in self._served.items() if r.is_custom and r.id == (group, plural)]:
            del self._served[key]
        self.epoch += 1


def _custom_resource(crd: Object, version: Object) -> Resource:
    spec, names = crd["spec"], crd["spec"]["names"]
    schema, text = version.get("schema", {}).get("openAPIV3Schema", {}), {"type": "string"}
    properties = schema.get("properties", {}) | {"apiVersion": text, "kind": text, "metadata": metadata_schema()}
    schema = schema | {"type": "object", "properties": properties}
    return Resource(
        group=spec["group"],
        version=version["name"],
        plural=names["plural"],
        kind=names["kind"],
        namespaced=spec["scope"] == "Namespaced",
        short_names=tuple(names.get("shortNames", ())),
        categories=tuple(names.get("categories", ())),
        has_status="status" in (version.get("subresources") or {}),
        has_generation=True,
        custom_schema=schema,
        rules=rule_tree(schema),
        columns=tuple(version.get("additionalPrinterColumns", ())),
        singular=names.get("singular", ""),
        list_kind=names.get("listKind", ""),
    )
