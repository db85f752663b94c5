"""Discovery, in the old form (groups and resource lists) and the aggregated (APIGroupDiscoveryList v2)."""

from collections.abc import Iterator

from videofleet_devcluster.apiserver.objects import Object
from videofleet_devcluster.apiserver.resources import Registry, Resource

VERSION: Object = {
    "major": "1",
    "minor": "36",
    "gitVersion": "v1.36.2+videofleet-devcluster",
    "gitCommit": "",
    "gitTreeState": "",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "linux/amd64",
}
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
CORE_VERSIONS: Object = {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
_STATUS_VERBS = ("get", "patch", "update")


def group_list(registry: Registry) -> Object:
    """GET /apis."""
    groups = [_group(name, list(versions)) for name, versions in registry.groups().items() if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def group(registry: Registry, name: str) -> Object | None:
    """GET /apis/GROUP; None when it is not served."""
    versions = registry.groups().get(name)
    return {"kind": "APIGroup", "apiVersion": "v1"} | _group(name, list(versions)) if versions else None


def _group(name: str, versions: list[str]) -> Object:
    told = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": told, "preferredVersion": told[0]}


def resource_list(registry: Registry, group_name: str, version: str) -> Object | None:
    """GET /api/v1 or /apis/GROUP/VERSION; None when it is not served."""
    resources = registry.groups().get(group_name, {}).get(version)
    if resources is None:
        return None
    entries = [entry for resource in resources for entry in _entries(resource)]
    group_version = f"{group_name}/{version}" if group_name else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": entries}


def _entries(resource: Resource) -> Iterator[Object]:
    entry: Object = {
        "name": resource.plural,
        "singularName": resource.singular_name,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    yield entry
    for name, (group_name, version, kind, verbs) in subresources_of(resource).items():
        below: Object = {"name": f"{resource.plural}/{name}", "singularName": "", "namespaced": resource.namespaced}
        if (group_name, kind) != (resource.group, resource.kind):
            below |= {"group": group_name, "version": version}
        yield below | {"kind": kind, "verbs": list(verbs)}


def subresources_of(resource: Resource) -> dict[str, tuple[str, str, str, tuple[str, ...]]]:
    """Name → group, version, kind and verbs of what lies below the resource."""
    found = dict(resource.subresources)
    if resource.scale:
        found["scale"] = ("autoscaling", "v1", "Scale", _STATUS_VERBS)
    if resource.has_status:
        found["status"] = (resource.group, resource.version, resource.kind, _STATUS_VERBS)
    return dict(sorted(found.items()))


def aggregated(registry: Registry, *, core: bool) -> Object:
    """GET /api or /apis in one document."""
    items = [
        {"metadata": {"name": name} if name else {}, "versions": [_version(v, r) for v, r in versions.items()]}
        for name, versions in registry.groups().items()
        if (name == "") == core
    ]
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


def _version(version: str, resources: list[Resource]) -> Object:
    return {"version": version, "resources": [_discovered(r) for r in resources], "freshness": "Current"}


def _discovered(resource: Resource) -> Object:
    entry: Object = {
        "resource": resource.plural,
        "responseKind": {"group": "", "version": "", "kind": resource.kind},
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular_name,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    below = [
        {
            "subresource": name,
            "responseKind": {"group": group_name, "version": version, "kind": kind},
            "verbs": list(verbs),
        }
        for name, (group_name, version, kind, verbs) in subresources_of(resource).items()
    ]
    return entry | ({"subresources": below} if below else {})
