"""What the server tells about itself: version, health, discovery (old and aggregated) and OpenAPI, with ETags."""

import json
from collections.abc import Iterator
from typing import Any, Final

from aiohttp import web

from videofleet_devcluster.apiserver.errors import no_such_path
from videofleet_devcluster.apiserver.objects import Object
from videofleet_devcluster.apiserver.openapi import OpenApi, etag
from videofleet_devcluster.apiserver.resources import Registry, Resource, Subresource

VERSION: Final[Object] = {
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
_CORE_VERSIONS: Final[Object] = {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
_AGGREGATED: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_STATUS_VERBS: Final = ("get", "patch", "update")


def encoded(value: Any) -> bytes:
    """JSON as it goes out."""
    return json.dumps(value, separators=(",", ":")).encode()


class Documents:
    """Answers GET of everything that is no resource."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._openapi = OpenApi(registry)

    def answer(self, request: web.Request) -> web.Response:
        """The response. Raises: ApiError 404."""
        parts = [part for part in request.path.split("/") if part]
        if parts[:1] in (["healthz"], ["livez"], ["readyz"]):
            return web.Response(text="ok")
        if parts[:2] == ["openapi", "v3"]:
            path = "/".join(parts[2:])
            body = self._openapi.document(path) if path else encoded(self._openapi.index())
            if body is None:
                raise no_such_path()
            return _tagged(request, body, "application/json")
        accept = request.headers.get("Accept", "")
        if parts in (["api"], ["apis"]) and "as=APIGroupDiscoveryList" in accept and "v=v2" in accept:
            return _tagged(request, encoded(self._aggregated(is_core=parts == ["api"])), _AGGREGATED)
        return web.Response(body=encoded(self._plain(parts)), content_type="application/json")

    def _plain(self, parts: list[str]) -> Object:
        groups = self._registry.groups()
        match parts:
            case ["version"]:
                return VERSION
            case ["api"]:
                return _CORE_VERSIONS
            case ["apis"]:
                told = [_group(name, list(versions)) for name, versions in groups.items() if name]
                return {"kind": "APIGroupList", "apiVersion": "v1", "groups": told}
            case ["apis", name] if name in groups:
                return {"kind": "APIGroup", "apiVersion": "v1"} | _group(name, list(groups[name]))
            case ["api", version] if version in groups[""]:
                return _resource_list(version, groups[""][version])
            case ["apis", name, version] if version in groups.get(name, {}):
                return _resource_list(f"{name}/{version}", groups[name][version])
        raise no_such_path()

    def _aggregated(self, *, is_core: bool) -> Object:
        items = [
            {"metadata": {"name": name} if name else {}, "versions": [_version(v, r) for v, r in versions.items()]}
            for name, versions in self._registry.groups().items()
            if (name == "") == is_core
        ]
        return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


def subresources_of(resource: Resource) -> dict[str, Subresource]:
    """Name → group, version, kind and verbs of what lies below the resource."""
    found = dict(resource.subresources)
    if resource.has_scale:
        found["scale"] = ("autoscaling", "v1", "Scale", _STATUS_VERBS)
    if resource.has_status:
        found["status"] = (resource.group, resource.version, resource.kind, _STATUS_VERBS)
    return dict(sorted(found.items()))


def _group(name: str, versions: list[str]) -> Object:
    told = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": told, "preferredVersion": told[0]}


def _resource_list(group_version: str, resources: list[Resource]) -> Object:
    entries = [entry for resource in resources for entry in _entries(resource)]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": entries}


def _names(resource: Resource) -> Object:
    """What both forms of discovery say in the same words."""
    told: Object = {"verbs": list(resource.verbs)}
    told |= {"shortNames": list(resource.short_names)} if resource.short_names else {}
    return told | ({"categories": list(resource.categories)} if resource.categories else {})


def _entries(resource: Resource) -> Iterator[Object]:
    scope = {"namespaced": resource.namespaced}
    own = {"name": resource.plural, "singularName": resource.singular_name, "kind": resource.kind}
    yield own | scope | _names(resource)
    for name, (group, version, kind, verbs) in subresources_of(resource).items():
        is_other = (group, kind) != (resource.group, resource.kind)
        below: Object = {"name": f"{resource.plural}/{name}", "singularName": "", "kind": kind, "verbs": list(verbs)}
        yield below | scope | ({"group": group, "version": version} if is_other else {})


def _version(version: str, resources: list[Resource]) -> Object:
    return {"version": version, "resources": [_discovered(r) for r in resources], "freshness": "Current"}


def _discovered(resource: Resource) -> Object:
    entry: Object = {
        "resource": resource.plural,
        "responseKind": {"group": "", "version": "", "kind": resource.kind},
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular_name,
    }
    below = [
        {"subresource": name, "responseKind": {"group": group, "version": version, "kind": kind}, "verbs": list(verbs)}
        for name, (group, version, kind, verbs) in subresources_of(resource).items()
    ]
    return entry | _names(resource) | ({"subresources": below} if below else {})


def _tagged(request: web.Request, body: bytes, content_type: str) -> web.Response:
    """A document with an ETag; 304 when the client has it already."""
    tag = f'"{etag(body)}"'
    headers = {"ETag": tag, "Vary": "Accept", "Cache-Control": "public"}
    if request.headers.get("If-None-Match") == tag:
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, headers=headers | {"Content-Type": content_type})
