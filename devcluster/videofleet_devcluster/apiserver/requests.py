"""What a request asks for: verb, resource, name and subresource, its parameters, its body, the answers it accepts.

Kubernetes calls the first RequestInfo. Authorization, faults and routing all look at this, never at the raw path.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml
from aiohttp import web

from videofleet_devcluster.apiserver.errors import ApiError, bad_request, unsupported_media_type
from videofleet_devcluster.apiserver.protobuf import MEDIA_TYPE, decode_protobuf
from videofleet_devcluster.objects import Object

MERGE_PATCH: Final = "application/merge-patch+json"
JSON_PATCH: Final = "application/json-patch+json"
STRATEGIC_PATCH: Final = "application/strategic-merge-patch+json"
APPLY_PATCH: Final = "application/apply-patch+yaml"
PATCHES: Final = (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH)
_BODIES: Final = ("application/json", "application/yaml")
_JSON: Final = ("application/json", "application/*", "*/*")
_BY_METHOD: Final = {"POST": "create", "PUT": "update", "PATCH": "patch"}


@dataclass(frozen=True)
class RequestInfo:
    """One request. Outside of the resources `resource` is empty and `verb` is the lower-case method."""

    verb: str
    path: str = ""
    group: str = ""
    version: str = ""
    namespace: str = ""
    resource: str = ""
    name: str = ""
    subresource: str = ""
    tail: str = ""

    @property
    def full_resource(self) -> str:
        """`pods/log`."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


def request_info(method: str, path: str, query: Mapping[str, str]) -> RequestInfo:
    """Reads method and path as the API server does."""
    parts = [part for part in path.split("/") if part]
    if parts[:1] == ["api"] and len(parts) >= 3:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[:1] == ["apis"] and len(parts) >= 4:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return RequestInfo(method.lower(), path)
    namespace = ""
    if rest[0] == "namespaces" and len(rest) >= 3 and rest[2] not in ("status", "finalize"):
        namespace, rest = rest[1], rest[2:]
    elif rest[0] == "namespaces" and len(rest) >= 2:
        namespace = rest[1]  # a namespace lies in itself, for authorization
    resource, name, subresource, *tail = rest + [""] * (4 - len(rest))
    verb = _verb(method, name, query)
    return RequestInfo(verb, path, group, version, namespace, resource, name, subresource, "/".join(filter(None, tail)))


def _verb(method: str, name: str, query: Mapping[str, str]) -> str:
    if method in ("GET", "HEAD"):
        return "watch" if is_true(query, "watch") else "get" if name else "list"
    if method == "DELETE":
        return "delete" if name else "deletecollection"
    return _BY_METHOD.get(method, method.lower())


def is_true(query: Mapping[str, str], name: str) -> bool:
    """Reads a boolean parameter; `?watch` and `?watch=1` are true. Raises: ApiError 400."""
    text = query.get(name)
    if text is None or text in ("false", "False", "0"):
        return False
    if text in ("", "true", "True", "1"):
        return True
    raise bad_request(f"invalid value {text!r} for the parameter {name}: write true or false")


def number(query: Mapping[str, Any], name: str) -> int:
    """Reads a whole number; 0 when it is not given. Raises: ApiError 400."""
    try:
        return int(query.get(name) or 0)
    except ValueError:
        raise bad_request(f"invalid value {query[name]!r} for the parameter {name}: write a whole number") from None


class _JsonLikeLoader(yaml.CSafeLoader):
    """YAML without timestamps: they stay text, as in JSON."""


_JsonLikeLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


async def read_body(request: web.Request) -> Any:
    """The decoded body; {} when there is none. Raises: ApiError 400, 415."""
    accepted = PATCHES if request.method == "PATCH" else _BODIES
    raw = await request.read()
    if not raw:
        return {}
    if request.content_type == MEDIA_TYPE and (decoded := decode_protobuf(raw)) is not None:
        return decoded
    if request.headers.get("Content-Type") and request.content_type not in accepted:
        raise unsupported_media_type(", ".join(accepted))
    try:
        return json.loads(raw)
    except ValueError as error:
        if not request.content_type.endswith("yaml"):
            raise bad_request(f"the object provided is unrecognized (must be of type JSON): {error}") from None
    try:
        loaded = yaml.load(raw, _JsonLikeLoader)  # noqa: S506 - a safe loader, with less than usual
        return json.loads(json.dumps(loaded))  # names that are numbers in YAML are texts in JSON
    except (yaml.YAMLError, TypeError) as error:
        raise bad_request(f"error converting YAML to JSON: {error}") from None


def an_object(body: Any) -> Object:
    """The body, which has to be an object. Raises: ApiError 400."""
    if not isinstance(body, dict):
        raise bad_request("the body must be an object")
    return body


def wants_table(accept: str) -> bool:
    """Whether the client prefers a Table to the objects. Raises: ApiError 406 when neither will do."""
    for media_type in [part.strip() for part in accept.split(",") if part.strip()] or ["*/*"]:
        name, *parameters = (part.strip() for part in media_type.split(";"))
        chosen = dict(part.partition("=")[::2] for part in parameters)
        if name in _JSON and "as" not in chosen:
            return False
        if name in _JSON and (chosen["as"], chosen.get("v")) == ("Table", "v1"):
            return True
    message = "only the following media types are accepted: application/json, application/yaml"
    raise ApiError(406, "NotAcceptable", message, {})
