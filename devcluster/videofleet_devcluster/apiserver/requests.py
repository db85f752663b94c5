"""What a request asks for: verb, resource, name, subresource and options, read from method, path and query.

Kubernetes calls it RequestInfo. Authorization, faults and routing all look at this, never at the raw path.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from videofleet_devcluster.apiserver.errors import bad_request

_BY_METHOD = {"POST": "create", "PUT": "update", "PATCH": "patch"}


@dataclass(frozen=True)
class RequestInfo:
    """One request. Outside of the resources `resource` is empty and `verb` is the lower-case method."""

    verb: str
    path: str
    group: str = ""
    version: str = ""
    namespace: str = ""
    resource: str = ""
    name: str = ""
    subresource: str = ""
    tail: str = ""

    @property
    def is_resource(self) -> bool:
        """Whether the path names a resource."""
        return bool(self.resource)

    @property
    def full_resource(self) -> str:
        """`pods/log`."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


def request_info(method: str, path: str, query: Mapping[str, str]) -> RequestInfo:
    """Reads method and path as the API server does."""
    parts = [part for part in path.split("/") if part]
    plain = RequestInfo(method.lower(), path)
    if parts[:1] == ["api"] and len(parts) >= 3:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[:1] == ["apis"] and len(parts) >= 4:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return plain
    namespace = ""
    if rest[0] == "namespaces" and len(rest) >= 3 and rest[2] not in ("status", "finalize"):
        namespace, rest = rest[1], rest[2:]
    elif rest[0] == "namespaces" and len(rest) >= 2:
        namespace = rest[1]  # a namespace lies in itself, for authorization
    rest += [""] * (4 - len(rest))
    name = rest[1]
    verb = _verb(method, name, query)
    return RequestInfo(verb, path, group, version, namespace, rest[0], name, rest[2], "/".join(filter(None, rest[3:])))


def _verb(method: str, name: str, query: Mapping[str, str]) -> str:
    if method in ("GET", "HEAD"):
        if is_true(query, "watch"):
            return "watch"
        return "get" if name else "list"
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


def number(query: Mapping[str, str], name: str) -> int | None:
    """Reads a whole number; None when it is not given. Raises: ApiError 400."""
    text = query.get(name)
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        raise bad_request(f"invalid value {text!r} for the parameter {name}: write a whole number") from None
