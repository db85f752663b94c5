"""Every refusal this server knows, as the Status that Kubernetes would send.

The wording is Kubernetes'; clients and people match on it. Raised anywhere, turned into a response once, in the server.
"""

from dataclasses import asdict, dataclass
from typing import Any

from videofleet_devcluster.objects import Object


class ApiError(Exception):
    """A request that ends with a Status of kind Failure."""

    def __init__(
        self, code: int, reason: str, message: str, details: Object | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.code, self.reason, self.details, self.headers = code, reason, details, headers or {}

    def status(self) -> Object:
        told = {"message": str(self), "reason": self.reason}
        details = {} if self.details is None else {"details": self.details}
        return outcome("Failure") | told | details | {"code": self.code}


@dataclass(frozen=True)
class Cause:
    """One field that is wrong: reason of metav1.CauseType, sentence and path."""

    reason: str
    message: str
    field: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"

    def to_json(self) -> Object:
        return asdict(self)


def outcome(verdict: str, **more: Any) -> Object:
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": verdict} | more


def details_of(plural: str, group: str, name: str = "", **more: Any) -> Object:
    """StatusDetails; the core group is left out, as Kubernetes leaves it out."""
    return ({"name": name} if name else {}) | ({"group": group} if group else {}) | {"kind": plural} | more


def qualified(plural: str, group: str) -> str:
    """`deployments.apps`, or `pods` in the core group."""
    return f"{plural}.{group}" if group else plural


def not_found(plural: str, group: str, name: str) -> ApiError:
    return ApiError(404, "NotFound", f'{qualified(plural, group)} "{name}" not found', details_of(plural, group, name))


def no_such_path() -> ApiError:
    """404 for a path, group, version or resource that is not served."""
    return ApiError(404, "NotFound", "the server could not find the requested resource", {})


def already_exists(plural: str, group: str, name: str) -> ApiError:
    message = f'{qualified(plural, group)} "{name}" already exists'
    return ApiError(409, "AlreadyExists", message, details_of(plural, group, name))


def conflict(plural: str, group: str, name: str, why: str = "") -> ApiError:
    """409 on a stale resourceVersion or another precondition."""
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    message = f'Operation cannot be fulfilled on {qualified(plural, group)} "{name}": {why}'
    return ApiError(409, "Conflict", message, details_of(plural, group, name))


def forbidden(plural: str, group: str, name: str, why: str, *causes: Cause) -> ApiError:
    """403 by admission."""
    details = details_of(plural, group, name, **({"causes": [cause.to_json() for cause in causes]} if causes else {}))
    return ApiError(403, "Forbidden", f'{qualified(plural, group)} "{name}" is forbidden: {why}', details)


def invalid(kind: str, group: str, name: str, *causes: Cause) -> ApiError:
    """422 with one cause per wrong field."""
    told = str(causes[0]) if len(causes) == 1 else "[" + ", ".join(map(str, causes)) + "]"
    message = f'{qualified(kind, group)} "{name}" is invalid: {told}'
    return ApiError(422, "Invalid", message, details_of(kind, group, name, causes=[c.to_json() for c in causes]))


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def expired(version: int, oldest: int) -> ApiError:
    """410: the watch log no longer reaches back that far."""
    return ApiError(410, "Expired", f"too old resource version: {version} ({oldest})")


def too_large_version(version: int, current: int) -> ApiError:
    """504: a version that this server has not reached."""
    message = f"Timeout: Too large resource version: {version}, current: {current}"
    cause = Cause("ResourceVersionTooLarge", "Too large resource version", "")
    return ApiError(504, "Timeout", message, {"causes": [cause.to_json()], "retryAfterSeconds": 1})


def method_not_allowed() -> ApiError:
    message = "the server does not allow this method on the requested resource"
    return ApiError(405, "MethodNotAllowed", message, {})


def unsupported_media_type(accepted: str) -> ApiError:
    message = f"the body of the request was in an unknown format - accepted media types include: {accepted}"
    return ApiError(415, "UnsupportedMediaType", message, {})


def unauthorized() -> ApiError:
    return ApiError(401, "Unauthorized", "Unauthorized")
