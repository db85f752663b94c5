"""From a request on a served resource to an answer: reads, lists, watches, writes, and what lies below an object."""

import json
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain, repeat
from typing import Any, Final

import aiohttp
from aiohttp import web

from videofleet_devcluster.apiserver import errors, subresources
from videofleet_devcluster.apiserver.access import Authorizer, Tokens, User
from videofleet_devcluster.apiserver.discovery import encoded, subresources_of
from videofleet_devcluster.apiserver.faults import Faults
from videofleet_devcluster.apiserver.lists import Selector, pieces, selector
from videofleet_devcluster.apiserver.patches import change_of
from videofleet_devcluster.apiserver.removal import DeleteOptions, returns_object
from videofleet_devcluster.apiserver.requests import (
    APPLY_PATCH,
    RequestInfo,
    an_object,
    is_true,
    number,
    read_body,
    wants_table,
)
from videofleet_devcluster.apiserver.resources import Registry, Resource
from videofleet_devcluster.apiserver.store import Store, watch_line
from videofleet_devcluster.apiserver.tables import Table
from videofleet_devcluster.apiserver.watching import Watch, WatchOptions
from videofleet_devcluster.apiserver.writes import WriteOptions, Writes
from videofleet_devcluster.objects import Key, Object, key_of, timestamp

_ON_COLLECTIONS: Final = ("create", "deletecollection")


@dataclass(frozen=True)
class Call:
    """A request on a served resource, by somebody who may."""

    request: web.Request
    info: RequestInfo
    resource: Resource
    user: User

    @property
    def query(self) -> Mapping[str, str]:
        return self.request.query

    @property
    def key(self) -> Key:
        """Namespace and name in the path."""
        return (self.info.namespace if self.resource.namespaced else ""), self.info.name

    def wants_table(self) -> bool:
        """Whether to answer with a Table. Raises: ApiError 406."""
        return wants_table(self.request.headers.get("Accept", ""))

    def selector(self) -> Selector | None:
        """The objects that are meant; a named watch means one. Raises: ApiError 400."""
        fields = f"metadata.name={self.info.name}" if self.info.name else self.query.get("fieldSelector", "")
        return selector(self.resource, self.query.get("labelSelector", ""), fields)

    def table(self) -> Table:
        return Table(self.resource, self.query.get("includeObject", "Metadata"))

    def row(self, obj: Object) -> Object:
        """A Table of one object."""
        table, metadata = self.table(), {"resourceVersion": obj["metadata"]["resourceVersion"]}
        return table.head(metadata) | {"rows": [table.row(obj)]}

    def seen(self, obj: Object) -> Object:
        """The object in the version it was asked in; versions differ in nothing but the name here."""
        version = self.resource.group_version
        return obj if obj["apiVersion"] == version else obj | {"apiVersion": version}

    def list_of(self, metadata: Object, objects: list[Object]) -> web.Response:
        head = {"kind": self.resource.list_name, "apiVersion": self.resource.group_version, "metadata": metadata}
        return _json_list(head, "items", map(self.seen, objects))

    def write_options(self) -> WriteOptions:
        """How to write. Raises: ApiError 400."""
        dry_run = self.query.get("dryRun", "")
        if dry_run not in ("", "All"):
            raise errors.bad_request(f"invalid dryRun {dry_run!r}: the only value is All")
        agent = self.request.headers.get("User-Agent", "unknown").split("/")[0]
        return WriteOptions(
            manager=self.query.get("fieldManager", "" if self.request.content_type == APPLY_PATCH else agent),
            dry_run=bool(dry_run),
            field_validation=self.query.get("fieldValidation") or "Warn",
            force=is_true(self.query, "force"),
            subresource=self.info.subresource,
        )


class Routes:
    def __init__(
        self, store: Store, registry: Registry, writes: Writes, tokens: Tokens, authorizer: Authorizer, faults: Faults
    ) -> None:
        self._store, self._registry, self._writes = store, registry, writes
        self._tokens, self._authorizer, self._faults = tokens, authorizer, faults

    async def answer(
        self, request: web.Request, info: RequestInfo, user: User, client: aiohttp.ClientSession
    ) -> web.StreamResponse:
        """The response. Raises: ApiError."""
        resource = self._registry.find(info.group, info.version, info.resource)
        if resource is None or info.tail:
            raise errors.no_such_path()
        call = Call(request, info, resource, user)
        if info.subresource not in ("", "status"):
            return await self._below(call, client)
        if info.subresource and not resource.has_status:
            raise errors.no_such_path()
        if info.verb not in resource.verbs:
            raise errors.method_not_allowed()
        match info.verb:
            case "watch":
                return await self._watch(call)
            case "list":
                return self._list(call)
            case "get":
                obj = self._writes.live(resource, call.key)
                return _json(call.row(obj) if call.wants_table() else call.seen(obj))
        if bool(info.name) == (info.verb in _ON_COLLECTIONS):
            raise errors.method_not_allowed()
        return self._write(call, await read_body(request))

    def _list(self, call: Call) -> web.Response:
        as_table, version = call.wants_table(), number(call.query, "resourceVersion")
        if version > self._store.version:
            raise errors.too_large_version(version, self._store.version)
        if call.query.get("continue"):  # `limit` asks for no more than a server may do; lists are always whole here
            raise errors.bad_request("continue key is not valid: this server never gave one")
        objects, metadata = self._chosen(call, call.selector()), {"resourceVersion": str(self._store.version)}
        if not as_table:
            return call.list_of(metadata, objects)
        table = call.table()
        return _json_list(table.head(metadata), "rows", map(table.row, objects))

    def _chosen(self, call: Call, chosen: Selector | None) -> list[Object]:
        found = self._store.listed(call.resource.id, call.key[0])
        return found if chosen is None else [obj for obj in found if chosen(obj)]

    async def _watch(self, call: Call) -> web.StreamResponse:
        def as_row(event_type: str, obj: Object) -> bytes:
            return watch_line(event_type, call.row(obj))

        watch = Watch(
            self._store, self._faults, call.resource, call.key[0], call.selector(),
            WatchOptions.from_query(call.query), as_row if call.wants_table() else None,
        )  # fmt: skip
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(call.request)
        async for chunk in watch.chunks():
            await response.write(chunk)
        return response

    def _write(self, call: Call, body: Any) -> web.Response:
        resource, key, options = call.resource, call.key, call.write_options()
        match call.info.verb:
            case "create" if resource.plural.startswith("selfsubject"):
                spec = an_object(body).get("spec") or {}
                head = {"kind": resource.kind, "apiVersion": resource.group_version, "spec": spec}
                status = self._authorizer.review(resource.kind, call.user, spec)
                return _json(head | {"metadata": {"creationTimestamp": timestamp()}, "status": status}, 201)
            case "create":
                created = self._writes.create(resource, key[0], an_object(body), options)
                return _json(created, 201, options.warnings)
            case "update":
                return _json(self._writes.update(resource, key, an_object(body), options), 200, options.warnings)
            case "patch" if call.request.content_type == APPLY_PATCH:
                return self._apply(call, an_object(body), options)
            case "patch":
                change = change_of(call.request.content_type, body, resource)
                return _json(self._writes.patch(resource, key, change, options), 200, options.warnings)
            case "delete":
                return self._delete(call, _delete_options(call, body, options), options)
        delete = _delete_options(call, body, options)
        found = self._chosen(call, call.selector())
        deleted = [self._writes.delete(resource, key_of(obj), delete, options) for obj in found]
        return call.list_of({"resourceVersion": str(self._store.version)}, deleted)

    def _apply(self, call: Call, config: Object, options: WriteOptions) -> web.Response:
        if self._store.get(call.resource.id, call.key) is None and not call.info.subresource:
            self._authorizer.check(call.user, replace(call.info, verb="create"))  # who applies a new object creates it
        obj, is_new = self._writes.apply(call.resource, call.key, config, options)
        return _json(obj, 201 if is_new else 200, options.warnings)

    def _delete(self, call: Call, delete: DeleteOptions, options: WriteOptions) -> web.Response:
        resource = call.resource
        obj = self._writes.delete(resource, call.key, delete, options)
        is_gone = options.dry_run or self._store.get(resource.id, call.key) is None
        if not is_gone or returns_object(resource):
            return _json(obj)
        details = errors.details_of(resource.plural, resource.group, call.info.name, uid=obj["metadata"]["uid"])
        return _json(errors.outcome("Success", details=details))

    async def _below(self, call: Call, client: aiohttp.ClientSession) -> web.StreamResponse:
        resource, key, verb = call.resource, call.key, call.info.verb
        found = subresources_of(resource).get(call.info.subresource)
        if found is None:
            raise errors.no_such_path()
        if verb not in found[3]:
            raise errors.method_not_allowed()
        if call.info.subresource == "log":
            return await subresources.stream_logs(call.request, client, self._store, key)
        if verb == "get":
            return _json(subresources.scale_of(self._writes.live(resource, key)))
        body, options = await read_body(call.request), call.write_options()
        match call.info.subresource:
            case "token":
                return _json(subresources.request_token(self._tokens, key, an_object(body)), 201)
            case "binding":
                return _json(subresources.bind(self._writes, resource, key, an_object(body), options), 201)
            case "eviction":
                return _json(subresources.evict(self._writes, resource, key, an_object(body), options), 201)
        replaced = (lambda _: an_object(body)) if verb == "update" else None
        change = replaced or change_of(call.request.content_type, body, None)
        return _json(subresources.write_scale(self._writes, resource, key, change, options))


def _delete_options(call: Call, body: Any, options: WriteOptions) -> DeleteOptions:
    """What the body says, and the query, which has the last word."""
    said = {name: call.query[name] for name in ("propagationPolicy", "gracePeriodSeconds") if name in call.query}
    merged = an_object(body) | said
    options.dry_run = options.dry_run or bool(merged.get("dryRun"))
    return DeleteOptions.from_json(merged)


def _json(value: Any, status: int = 200, warnings: list[str] | None = None) -> web.Response:
    response = web.Response(body=encoded(value), status=status, content_type="application/json")
    for warning in warnings or ():
        quoted = json.dumps(warning.replace("\n", " "), ensure_ascii=False)
        response.headers.add("Warning", f"299 - {quoted}")
    return response


def _json_list(head: Object, name: str, entries: Iterable[Object]) -> web.Response:
    """The head with a list under that name. It is encoded while it is sent, and nobody waits for the whole."""

    def parts() -> Iterator[bytes]:
        yield encoded(head)[:-1] + f',"{name}":['.encode()
        for comma, entry in zip(chain((b"",), repeat(b",")), entries, strict=False):
            yield comma + encoded(entry)
        yield b"]}"

    async def body() -> AsyncIterator[bytes]:
        for piece in pieces(parts()):
            yield piece

    return web.Response(body=body(), content_type="application/json")
