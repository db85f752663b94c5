"""Faults on demand: what goes wrong, for which requests and how often. The tests' way to break things on purpose.

A rule is consulted once per matching request, or event of a watch, and used up after `count` of them. Nothing matches
until a rule is added: in Python, or over the private path that `videofleet dev fault` speaks to.
"""

import asyncio
import fnmatch
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Final

from videofleet_devcluster.apiserver.errors import ApiError, bad_request
from videofleet_devcluster.apiserver.requests import RequestInfo
from videofleet_devcluster.objects import Object

FAULTS_PATH: Final = "/devcluster/faults"
_REASONS: Final = {
    400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 409: "Conflict", 410: "Expired",
    422: "Invalid", 429: "TooManyRequests", 503: "ServiceUnavailable", 504: "Timeout",
}  # fmt: skip


class FaultAction(StrEnum):
    """What happens to a request, or to the next event of an open watch."""

    ERROR = "error"  # answered with `status`, nothing is applied
    APPLIED_ERROR = "applied-error"  # applied, then answered with `status`
    DELAY = "delay"  # a request, or an event of a watch, goes on after `delay_s`
    DROP = "drop"  # the connection closes, nothing is applied
    APPLIED_DROP = "applied-drop"  # applied, then the connection closes
    THROTTLE = "throttle"  # 429 with Retry-After
    BREAK_WATCH = "break-watch"  # the connection closes instead of the event
    COMPACT = "compact"  # the history is forgotten, and the watch ends with ERROR 410 instead of the event


_ON_EVENTS: Final = (FaultAction.DELAY, FaultAction.BREAK_WATCH, FaultAction.COMPACT)
_ON_REQUESTS: Final = tuple(a for a in FaultAction if a not in (FaultAction.BREAK_WATCH, FaultAction.COMPACT))


class Dropped(Exception):
    """The connection has to close without an answer."""


@dataclass
class FaultRule:
    """Which requests, by shell patterns, and what befalls them. For events of a watch, `name` is the object's."""

    action: FaultAction
    verb: str = "*"
    resource: str = "*"  # plural, with subresource if any: `deployments`, `pods/log`
    namespace: str = "*"
    name: str = "*"
    count: int | None = 1  # None: for ever
    skip: int = 0  # matching requests to let through first
    status: int = 500
    delay_s: float = 0.0
    retry_after_s: int = 1
    hits: int = field(default=0, init=False)

    def takes(self, verb: str, resource: str, namespace: str, name: str) -> bool:
        """Whether the rule strikes now; counts."""
        asked = ((verb, self.verb), (resource, self.resource), (namespace, self.namespace), (name, self.name))
        if not all(fnmatch.fnmatchcase(value, pattern) for value, pattern in asked):
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.count is not None and self.hits >= self.count:
            return False
        self.hits += 1
        return True

    async def before(self) -> None:
        """What the fault does before the request is applied. Raises: ApiError, Dropped."""
        if self.action is FaultAction.DELAY:
            await asyncio.sleep(self.delay_s)
        elif self.action is FaultAction.DROP:
            raise Dropped
        elif self.action is FaultAction.ERROR:
            raise self._error()
        elif self.action is FaultAction.THROTTLE:
            message = "the server has received too many requests and has asked us to try again later"
            details, headers = {"retryAfterSeconds": self.retry_after_s}, {"Retry-After": str(self.retry_after_s)}
            raise ApiError(429, "TooManyRequests", message, details, headers)

    def after(self) -> None:
        """What the fault does once the request is applied. Raises: ApiError, Dropped."""
        if self.action is FaultAction.APPLIED_ERROR:
            raise self._error()
        if self.action is FaultAction.APPLIED_DROP:
            raise Dropped

    def _error(self) -> ApiError:
        return ApiError(self.status, _REASONS.get(self.status, "InternalError"), "a fault was injected on purpose")


class Faults:
    """The rules in force, in the order they were added."""

    def __init__(self) -> None:
        self._rules: list[FaultRule] = []

    def add(self, rule: FaultRule) -> FaultRule:
        """Puts a rule in force; its `hits` tell how often it struck."""
        self._rules.append(rule)
        return rule

    def clear(self) -> None:
        self._rules.clear()

    @property
    def are_set(self) -> bool:
        return bool(self._rules)

    def on_request(self, info: RequestInfo) -> FaultRule | None:
        """The first rule for this request, counted as used; a watch is delayed event by event."""
        spared = (FaultAction.DELAY,) if info.verb == "watch" else ()
        asked = info.verb, info.full_resource, info.namespace, info.name
        fitting = (rule for rule in self._rules if rule.action in _ON_REQUESTS and rule.action not in spared)
        return next((rule for rule in fitting if rule.takes(*asked)), None)

    def on_event(self, resource: str, obj: Object) -> FaultRule | None:
        """The first rule for this event of a watch, counted as used."""
        asked = "watch", resource, obj["metadata"].get("namespace", ""), obj["metadata"]["name"]
        return next((r for r in self._rules if r.action in _ON_EVENTS and r.takes(*asked)), None)

    def administer(self, method: str, body: Any) -> Object:
        """GET lists the rules, POST adds one, DELETE clears them. Raises: ApiError 400, 405."""
        if method == "POST":
            self.add(_rule_of(body))
        elif method == "DELETE":
            self.clear()
        elif method != "GET":
            raise ApiError(405, "MethodNotAllowed", "faults are listed (GET), added (POST) and cleared (DELETE)", {})
        return {"rules": [asdict(rule) for rule in self._rules]}


def _rule_of(body: Any) -> FaultRule:
    try:
        return FaultRule(**body | {"action": FaultAction(body["action"])})
    except (KeyError, TypeError, ValueError) as error:
        known = ", ".join(FaultAction)
        raise bad_request(f"no fault rule: {error}; its action must be one of {known}") from None
