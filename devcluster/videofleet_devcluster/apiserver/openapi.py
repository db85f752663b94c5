"""/openapi/v3: the index and one document per group and version, as much as kubectl and Helm read of them.

Per kind there is the schema, marked with its group, version and kind, and a path whose operations say that
`fieldValidation` is understood; clients then leave validation to the server.
"""

import hashlib
import json
from functools import cache

from videofleet_devcluster.apiserver import definitions
from videofleet_devcluster.apiserver.objects import Object
from videofleet_devcluster.apiserver.resources import BUILT_IN, Registry, Resource

_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_GVK = "x-kubernetes-group-version-kind"


class OpenApi:
    """The documents of what is served now, rendered once per change of it."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._epoch = -1
        self._documents: dict[str, bytes] = {}
        self._index: Object = {}

    def index(self) -> Object:
        """GET /openapi/v3."""
        self._refresh()
        return self._index

    def document(self, path: str) -> bytes | None:
        """GET /openapi/v3/PATH, e.g. `apis/apps/v1`; None when it is not served."""
        self._refresh()
        return self._documents.get(path)

    def _refresh(self) -> None:
        if self._epoch == self._registry.epoch:
            return
        self._documents = {
            _path(group, version): _document(group, version, resources)
            for group, versions in self._registry.groups().items()
            for version, resources in versions.items()
        }
        self._index = {
            "paths": {
                path: {"serverRelativeURL": f"/openapi/v3/{path}?hash={etag(body)}"}
                for path, body in self._documents.items()
            }
        }
        self._epoch = self._registry.epoch


def etag(body: bytes) -> str:
    """A digest for ETag and for the index."""
    return hashlib.sha256(body).hexdigest().upper()


def _path(group: str, version: str) -> str:
    return f"apis/{group}/{version}" if group else f"api/{version}"


def _document(group: str, version: str, resources: list[Resource]) -> bytes:
    if not any(resource.is_custom for resource in resources):
        return _built_in_document(group, version)
    return _rendered(group, version, resources)


@cache
def _built_in_document(group: str, version: str) -> bytes:
    return _rendered(group, version, [r for r in BUILT_IN if (r.group, r.version) == (group, version)])


def _rendered(group: str, version: str, resources: list[Resource]) -> bytes:
    names = [r.definition for r in resources if r.definition]
    schemas = definitions.reachable([*names, _META])
    schemas |= {_component(r): _marked(r, r.custom_schema) for r in resources if r.custom_schema}
    prefix = f"/{_path(group, version)}/"
    document = {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1.36.2"},
        "paths": {path: item for resource in resources for path, item in _paths(prefix, resource).items()},
        "components": {"schemas": schemas},
    }
    return json.dumps(document, separators=(",", ":")).encode()


def _component(resource: Resource) -> str:
    return resource.definition or ".".join([*reversed(resource.group.split(".")), resource.version, resource.kind])


def _marked(resource: Resource, schema: Object) -> Object:
    properties = schema["properties"] | {"metadata": {"allOf": [{"$ref": f"#/components/schemas/{_META}"}]}}
    return schema | {"properties": properties, _GVK: [_gvk(resource)]}


def _gvk(resource: Resource) -> Object:
    return {"group": resource.group, "version": resource.version, "kind": resource.kind}


def _paths(prefix: str, resource: Resource) -> Object:
    collection = prefix + ("namespaces/{namespace}/" if resource.namespaced else "") + resource.plural
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{_component(resource)}"}}}

    def operation(action: str) -> Object:
        does: Object = {"x-kubernetes-action": action, _GVK: _gvk(resource)}
        does["responses"] = {"200": {"description": "OK", "content": content}}
        if action in ("post", "put", "patch"):
            does["parameters"] = [{"name": n, "in": "query", "schema": {"type": "string"}} for n in _PARAMETERS]
            does["requestBody"] = {"content": content}
        return does

    return {
        collection: {"get": operation("list"), "post": operation("post")},
        f"{collection}/{{name}}": {action: operation(action) for action in ("get", "put", "patch", "delete")},
    }


_PARAMETERS = ("dryRun", "fieldManager", "fieldValidation", "force")
