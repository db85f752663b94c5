"""What the server tells about itself: version, health, discovery (old and aggregated) and OpenAPI v3, with ETags.

An OpenAPI document has per kind the schema, marked with its group, version and kind, and a path whose operations say
that `fieldValidation` is understood; clients then leave validation to the server.
"""

import hashlib
import json
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

from aiohttp import web

from videofleet_devcluster.apiserver import definitions
from videofleet_devcluster.apiserver.errors import no_such_path
from videofleet_devcluster.apiserver.resources import BUILT_IN, Registry, Resource, Subresource
from videofleet_devcluster.objects import Object

_UNKNOWN: Final = dict.fromkeys(("gitCommit", "gitTreeState", "goVersion", "compiler"), "")
VERSION: Final[Object] = {
    "major": "1",
    "minor": "36",
    "gitVersion": "v1.36.2+videofleet-devcluster",
    "buildDate": "1970-01-01T00:00:00Z",
    "platform": "linux/amd64",
} | _UNKNOWN
_CORE_VERSIONS: Final[Object] = {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
_AGGREGATED: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_STATUS_VERBS: Final = ("get", "patch", "update")
_GVK: Final = "x-kubernetes-group-version-kind"
_META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_PARAMETERS: Final = [
    {"name": name, "in": "query", "schema": {"type": "string"}}
    for name in ("dryRun", "fieldManager", "fieldValidation", "force")
]


def encoded(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


class Documents:
    """Answers GET of everything that is no resource. OpenAPI is rendered once per change of what is served."""

    def __init__(self, registry: Registry) -> None:
        self._registry, self._epoch = registry, -1
        self._openapi: dict[str, bytes] = {}

    def answer(self, request: web.Request) -> web.Response:
        """The response. Raises: ApiError 404."""
        parts = [part for part in request.path.split("/") if part]
        if parts[:1] in (["healthz"], ["livez"], ["readyz"]):
            return web.Response(text="ok")
        if parts[:2] == ["openapi", "v3"]:
            return _tagged(request, self._schemas("/".join(parts[2:])), "application/json")
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
        def told(versions: dict[str, list[Resource]]) -> list[Object]:
            return [
                {"version": version, "resources": list(map(_discovered, resources)), "freshness": "Current"}
                for version, resources in versions.items()
            ]

        items = [
            {"metadata": {"name": name} if name else {}, "versions": told(versions)}
            for name, versions in self._registry.groups().items()
            if (name == "") == is_core
        ]
        return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}

    def _schemas(self, path: str) -> bytes:
        """OpenAPI v3 of a group and version, e.g. `apis/apps/v1`; the index for the empty path."""
        if self._epoch != self._registry.epoch:
            self._epoch = self._registry.epoch
            self._openapi = {
                _path(group, version): _document(group, version, resources)
                for group, versions in self._registry.groups().items()
                for version, resources in versions.items()
            }
            places = {
                path: {"serverRelativeURL": f"/openapi/v3/{path}?hash={_etag(body)}"}
                for path, body in self._openapi.items()
            }
            self._openapi[""] = encoded({"paths": places})
        if path not in self._openapi:
            raise no_such_path()
        return self._openapi[path]


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
    headers = {"ETag": f'"{_etag(body)}"', "Vary": "Accept", "Cache-Control": "public"}
    if request.headers.get("If-None-Match") == headers["ETag"]:
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, headers=headers | {"Content-Type": content_type})


def _etag(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest().upper()


def _path(group: str, version: str) -> str:
    return f"apis/{group}/{version}" if group else f"api/{version}"


def _document(group: str, version: str, resources: list[Resource]) -> bytes:
    is_custom = any(resource.is_custom for resource in resources)
    return _rendered(group, version, resources) if is_custom else _built_in_document(group, version)


@cache
def _built_in_document(group: str, version: str) -> bytes:
    return _rendered(group, version, [r for r in BUILT_IN if (r.group, r.version) == (group, version)])


def _rendered(group: str, version: str, resources: list[Resource]) -> bytes:
    schemas = definitions.reachable([_META, *(r.definition for r in resources if r.definition)])
    for resource in resources:
        if schema := resource.custom_schema:
            metadata = {"metadata": {"allOf": [{"$ref": f"#/components/schemas/{_META}"}]}}
            properties = {"properties": schema["properties"] | metadata}
            schemas[_component(resource)] = schema | properties | {_GVK: [_gvk(resource)]}
    prefix = f"/{_path(group, version)}/"
    paths = {path: item for resource in resources for path, item in _paths(prefix, resource).items()}
    info = {"title": "Kubernetes", "version": "v1.36.2"}
    return encoded({"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": schemas}})


def _component(resource: Resource) -> str:
    return resource.definition or ".".join([*reversed(resource.group.split(".")), resource.version, resource.kind])


def _gvk(resource: Resource) -> Object:
    return {"group": resource.group, "version": resource.version, "kind": resource.kind}


def _paths(prefix: str, resource: Resource) -> Object:
    collection = prefix + ("namespaces/{namespace}/" if resource.namespaced else "") + resource.plural
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{_component(resource)}"}}}

    def operation(action: str) -> Object:
        does = {"x-kubernetes-action": action, "responses": {"200": {"description": "OK", "content": content}}}
        writes = {"parameters": _PARAMETERS, "requestBody": {"content": content}}
        return does | {_GVK: _gvk(resource)} | (writes if action in ("post", "put", "patch") else {})

    return {
        collection: {"get": operation("list"), "post": operation("post")},
        f"{collection}/{{name}}": {action: operation(action) for action in ("get", "put", "patch", "delete")},
    }
