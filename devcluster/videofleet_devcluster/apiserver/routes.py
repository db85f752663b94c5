"""From a RequestInfo to an answer: reads, watches, writes and subresources of the served resources, and the
documents.
"""

import json
from collections.abc import Callable
from typing import Any

import aiohttp
from aiohttp import web

from videofleet_devcluster.apiserver import discovery
from videofleet_devcluster.apiserver.access import Authorizer, Tokens, User
from videofleet_devcluster.apiserver.errors import (
    bad_request,
    details_of,
    method_not_allowed,
    no_such_path,
    not_found,
    unsupported_media_type,
)
from videofleet_devcluster.apiserver.negotiation import (
    APPLY_PATCH,
    JSON_PATCH,
    MERGE_PATCH,
    PATCHES,
    STRATEGIC_PATCH,
    read_body,
    wants_table,
)
from videofleet_devcluster.apiserver.objects import Key, Object, key_of
from videofleet_devcluster.apiserver.openapi import OpenApi, etag
from videofleet_devcluster.apiserver.patches import json_patch, merge_patch, strategic_merge
from videofleet_devcluster.apiserver.pod_logs import stream_logs
from videofleet_devcluster.apiserver.removal import DeleteOptions, returns_object
from videofleet_devcluster.apiserver.requests import RequestInfo, is_true
from videofleet_devcluster.apiserver.resources import Registry, Resource
from videofleet_devcluster.apiserver.selectors import selector
from videofleet_devcluster.apiserver.store import Store, watch_line
from videofleet_devcluster.apiserver.subresources import Subresources
from videofleet_devcluster.apiserver.tables import table
from videofleet_devcluster.apiserver.watching import Watch, WatchOptions
from videofleet_devcluster.apiserver.writes import WriteOptions, Writes


class Routes:
    """Answers requests that were let in."""

    def __init__(self, store: Store, registry: Registry, writes: Writes, tokens: Tokens) -> None:
        self._store = store
        self._registry = registry
        self._writes = writes
        self._subresources = Subresources(writes, tokens, Authorizer(store))
        self._openapi = OpenApi(registry)

    async def answer(
        self, request: web.Request, info: RequestInfo, user: User, client: aiohttp.ClientSession
    ) -> web.StreamResponse:
        """The response. Raises: ApiError."""
        if not info.is_resource:
            return self._document(request, info)
        resource = self._registry.find(info.group, info.version, info.resource)
        if resource is None:
            raise no_such_path()
        key = (info.namespace if resource.namespaced else "", info.name)
        if info.subresource not in ("", "status"):
            return await self._below(request, info, resource, key, client)
        if info.tail or (info.subresource == "status" and not resource.has_status):
            raise no_such_path()
        if info.verb in ("get", "list", "watch"):
            return await self._read(request, info, resource, key)
        return await self._write(request, info, resource, key, user)

    # Reading.

    async def _read(self, request: web.Request, info: RequestInfo, resource: Resource, key: Key) -> web.StreamResponse:
        if info.verb not in resource.verbs:
            raise method_not_allowed()
        as_table = wants_table(request.headers.get("Accept", ""))
        if info.verb == "watch":
            return await self._watch(request, resource, key, as_table=as_table)
        include = request.query.get("includeObject", "Metadata")
        if info.verb == "get":
            obj = self._store.get(resource.id, key)
            if obj is None:
                raise not_found(resource.plural, resource.group, key[1])
            if as_table:
                return _json(table(resource, [obj], obj["metadata"]["resourceVersion"], include))
            return _json(_seen_as(resource, obj))
        chosen = selector(resource, request.query.get("labelSelector", ""), request.query.get("fieldSelector", ""))
        found = [obj for obj in self._store.listed(resource.id, key[0]) if chosen is None or chosen(obj)]
        version = str(self._store.version)
        if as_table:
            return _json(table(resource, found, version, include))
        head = {"kind": resource.list_name, "apiVersion": resource.group_version}
        listed = [_seen_as(resource, obj) for obj in found]
        return _json(head | {"metadata": {"resourceVersion": version}, "items": listed})

    async def _watch(self, request: web.Request, resource: Resource, key: Key, *, as_table: bool) -> web.StreamResponse:
        fields = request.query.get("fieldSelector", "")
        if key[1]:
            fields = f"metadata.name={key[1]}"
        chosen = selector(resource, request.query.get("labelSelector", ""), fields)
        include = request.query.get("includeObject", "Metadata")

        def as_row(event_type: str, obj: Object) -> bytes:
            return watch_line(event_type, table(resource, [obj], obj["metadata"]["resourceVersion"], include))

        options = WatchOptions.from_query(request.query)
        watch = Watch(self._store, resource, key[0], chosen, options, as_row if as_table else None)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        async for chunk in watch.chunks():
            await response.write(chunk)
        return response

    # Writing.

    async def _write(
        self, request: web.Request, info: RequestInfo, resource: Resource, key: Key, user: User
    ) -> web.StreamResponse:
        if info.verb not in resource.verbs or bool(info.name) == (info.verb in ("create", "deletecollection")):
            raise method_not_allowed()
        options = _write_options(request, info)
        body = await read_body(request)
        if info.verb == "create":
            if resource.plural == "selfsubjectaccessreviews":
                return _json(self._subresources.review_access(user, _object(body)), 201)
            created = self._writes.create(resource, key[0], _object(body), options)
            return _json(created, 201, options.warnings)
        if info.verb == "update":
            return _json(self._writes.update(resource, key, _object(body), options), 200, options.warnings)
        if info.verb == "patch":
            return self._patch(request, resource, key, body, options)
        if info.verb == "delete":
            return self._delete(resource, key, DeleteOptions.from_json(_object(body)), options, request)
        return self._delete_collection(request, resource, key, DeleteOptions.from_json(_object(body)), options)

    def _patch(
        self, request: web.Request, resource: Resource, key: Key, body: Any, options: WriteOptions
    ) -> web.StreamResponse:
        if request.content_type == APPLY_PATCH:
            obj, is_new = self._writes.apply(resource, key, _object(body), options)
            return _json(obj, 201 if is_new else 200, options.warnings)
        change = _change(request.content_type, body, resource)
        return _json(self._writes.patch(resource, key, change, options), 200, options.warnings)

    def _delete(
        self, resource: Resource, key: Key, delete: DeleteOptions, options: WriteOptions, request: web.Request
    ) -> web.StreamResponse:
        if "gracePeriodSeconds" in request.query:
            grace_s = int(request.query["gracePeriodSeconds"])
            delete = DeleteOptions(grace_s, delete.orphan, delete.uid, delete.resource_version)
        if request.query.get("propagationPolicy") == "Orphan":
            delete = DeleteOptions(delete.grace_period_s, True, delete.uid, delete.resource_version)
        obj = self._writes.delete(resource, key, delete, options)
        is_gone = options.dry_run or self._store.get(resource.id, key) is None
        if not is_gone or returns_object(resource):
            return _json(obj)
        details = details_of(resource.plural, resource.group, key[1], uid=obj["metadata"]["uid"])
        status = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "details": details,
        }
        return _json(status)

    def _delete_collection(
        self, request: web.Request, resource: Resource, key: Key, delete: DeleteOptions, options: WriteOptions
    ) -> web.StreamResponse:
        chosen = selector(resource, request.query.get("labelSelector", ""), request.query.get("fieldSelector", ""))
        found = [obj for obj in self._store.listed(resource.id, key[0]) if chosen is None or chosen(obj)]
        deleted = [self._writes.delete(resource, key_of(obj), delete, options) for obj in found]
        head = {"kind": resource.list_name, "apiVersion": resource.group_version}
        return _json(head | {"metadata": {"resourceVersion": str(self._store.version)}, "items": deleted})

    # Subresources.

    async def _below(
        self,
        request: web.Request,
        info: RequestInfo,
        resource: Resource,
        key: Key,
        client: aiohttp.ClientSession,
    ) -> web.StreamResponse:
        found = discovery.subresources(resource).get(info.subresource)
        if found is None or info.tail:
            raise no_such_path()
        if info.verb not in found[3]:
            raise method_not_allowed()
        if info.subresource == "log":
            return await stream_logs(request, client, self._store, key)
        if info.subresource == "scale" and info.verb == "get":
            return _json(self._subresources.read_scale(resource, key))
        options = _write_options(request, info)
        body = await read_body(request)
        if info.subresource == "token":
            return _json(self._subresources.request_token(key, _object(body)), 201)
        if info.subresource == "binding":
            return _json(self._subresources.bind(resource, key, _object(body), options), 201)
        if info.verb == "update":
            return _json(self._subresources.write_scale(resource, key, lambda _: _object(body), options))
        change = _change(request.content_type, body, None)
        return _json(self._subresources.write_scale(resource, key, change, options))

    # Documents.

    def _document(self, request: web.Request, info: RequestInfo) -> web.StreamResponse:
        if info.verb != "get":
            raise method_not_allowed()
        parts = [part for part in info.path.split("/") if part]
        if parts[:1] in (["healthz"], ["livez"], ["readyz"]):
            return web.Response(text="ok")
        if parts == ["version"]:
            return _json(discovery.VERSION)
        if parts[:2] == ["openapi", "v3"]:
            return self._openapi_document(request, "/".join(parts[2:]))
        body = self._discovery_document(request, parts)
        if body is None:
            raise no_such_path()
        return body

    def _openapi_document(self, request: web.Request, path: str) -> web.StreamResponse:
        if not path:
            return _tagged(request, _encoded(self._openapi.index()), "application/json")
        body = self._openapi.document(path)
        if body is None:
            raise no_such_path()
        return _tagged(request, body, "application/json")

    def _discovery_document(self, request: web.Request, parts: list[str]) -> web.StreamResponse | None:
        if parts in (["api"], ["apis"]):
            if "as=APIGroupDiscoveryList" in request.headers.get("Accept", "") and "v=v2" in request.headers["Accept"]:
                found: Object | None = discovery.aggregated(self._registry, core=parts == ["api"])
                return _tagged(request, _encoded(found), discovery.AGGREGATED)
            found = discovery.core_versions() if parts == ["api"] else discovery.group_list(self._registry)
        elif parts[:1] == ["api"] and len(parts) == 2:
            found = discovery.resource_list(self._registry, "", parts[1])
        elif parts[:1] == ["apis"] and len(parts) == 2:
            found = discovery.group(self._registry, parts[1])
        elif parts[:1] == ["apis"] and len(parts) == 3:
            found = discovery.resource_list(self._registry, parts[1], parts[2])
        else:
            found = None
        return _json(found) if found is not None else None


def _write_options(request: web.Request, info: RequestInfo) -> WriteOptions:
    dry_run = request.query.get("dryRun", "")
    if dry_run not in ("", "All"):
        raise bad_request(f"invalid dryRun {dry_run!r}: the only value is All")
    agent = request.headers.get("User-Agent", "unknown").split("/")[0]
    return WriteOptions(
        manager=request.query.get("fieldManager", "" if request.content_type == APPLY_PATCH else agent),
        dry_run=bool(dry_run),
        field_validation=request.query.get("fieldValidation") or "Warn",
        force=is_true(request.query, "force"),
        subresource=info.subresource,
    )


def _change(content_type: str, body: Any, resource: Resource | None) -> Callable[[Object], Object]:
    """What a patch does to an object."""
    if content_type == JSON_PATCH:
        return lambda obj: json_patch(obj, body)
    if content_type == MERGE_PATCH or (content_type == STRATEGIC_PATCH and resource is None):
        return lambda obj: merge_patch(obj, _object(body))
    if content_type == STRATEGIC_PATCH and resource is not None and not resource.is_custom:
        return lambda obj: strategic_merge(obj, _object(body), resource.schema)
    accepted = [name for name in PATCHES if resource is None or not resource.is_custom or name != STRATEGIC_PATCH]
    raise unsupported_media_type(", ".join(accepted))


def _object(body: Any) -> Object:
    if not isinstance(body, dict):
        raise bad_request("the body must be an object")
    return body


def _seen_as(resource: Resource, obj: Object) -> Object:
    """The object in the version it was asked in; versions differ in nothing but the name here."""
    if obj["apiVersion"] == resource.group_version:
        return obj
    return obj | {"apiVersion": resource.group_version}


def _encoded(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _json(value: Any, status: int = 200, warnings: list[str] | None = None) -> web.Response:
    response = web.Response(body=_encoded(value), status=status, content_type="application/json")
    for warning in warnings or ():
        response.headers.add("Warning", f'299 - "{warning}"'.replace('"unknown', "unknown").replace("\n", " "))
    return response


def _tagged(request: web.Request, body: bytes, content_type: str) -> web.Response:
    """A document with an ETag; 304 when the client has it already."""
    tag = f'"{etag(body)}"'
    headers = {"ETag": tag, "Vary": "Accept", "Cache-Control": "public"}
    if request.headers.get("If-None-Match") == tag:
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, headers=headers | {"Content-Type": content_type})
