"""The documents that describe the server: version, health, discovery and OpenAPI, with ETags."""

import json
from typing import Any

from aiohttp import web

from videofleet_devcluster.apiserver import discovery
from videofleet_devcluster.apiserver.errors import no_such_path
from videofleet_devcluster.apiserver.objects import Object
from videofleet_devcluster.apiserver.openapi import OpenApi, etag
from videofleet_devcluster.apiserver.resources import Registry


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
            found = discovery.aggregated(self._registry, core=parts == ["api"])
            return _tagged(request, encoded(found), discovery.AGGREGATED)
        return web.Response(body=encoded(self._plain(parts)), content_type="application/json")

    def _plain(self, parts: list[str]) -> Object:
        found: Object | None = None
        match parts:
            case ["version"]:
                found = discovery.VERSION
            case ["api"]:
                found = discovery.CORE_VERSIONS
            case ["api", version]:
                found = discovery.resource_list(self._registry, "", version)
            case ["apis"]:
                found = discovery.group_list(self._registry)
            case ["apis", group]:
                found = discovery.group(self._registry, group)
            case ["apis", group, version]:
                found = discovery.resource_list(self._registry, group, version)
        if found is None:
            raise no_such_path()
        return found


def _tagged(request: web.Request, body: bytes, content_type: str) -> web.Response:
    """A document with an ETag; 304 when the client has it already."""
    tag = f'"{etag(body)}"'
    headers = {"ETag": tag, "Vary": "Accept", "Cache-Control": "public"}
    if request.headers.get("If-None-Match") == tag:
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, headers=headers | {"Content-Type": content_type})
