"""Faults on demand: what goes wrong, for which requests and how often. The tests' way to break things on
purpose.

A rule is consulted once per matching request and used up after `count` of them. Nothing matches until a rule
is added.
"""

import fnmatch
from dataclasses import dataclass, field
from enum import StrEnum

from videofleet_devcluster.apiserver.requests import RequestInfo


class FaultAction(StrEnum):
    """What happens to a request."""

    ERROR = "error"  # answered with `status`, nothing is applied
    APPLIED_ERROR = "applied-error"  # applied, then answered with `status`
    DELAY = "delay"  # goes on after `delay_s`
    DROP = "drop"  # the connection closes, nothing is applied
    APPLIED_DROP = "applied-drop"  # applied, then the connection closes
    THROTTLE = "throttle"  # 429 with Retry-After


@dataclass
class FaultRule:
    """Which requests, by shell patterns, and what befalls them."""

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

    def matches(self, info: RequestInfo) -> bool:
        """Whether the rule speaks of this request."""
        pairs = (
            (info.verb, self.verb),
            (info.full_resource, self.resource),
            (info.namespace, self.namespace),
            (info.name, self.name),
        )
        return all(fnmatch.fnmatchcase(value, pattern) for value, pattern in pairs)


class Faults:
    """The rules in force, in the order they were added."""

    def __init__(self) -> None:
        self._rules: list[FaultRule] = []

    def add(self, rule: FaultRule) -> FaultRule:
        """Puts a rule in force; its `hits` tell how often it struck."""
        self._rules.append(rule)
        return rule

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        self._rules.clear()

    def take(self, info: RequestInfo) -> FaultRule | None:
        """The first rule for this request, counted as used."""
        for rule in self._rules:
            if not rule.matches(info):
                continue
            if rule.skip:
                rule.skip -= 1
                continue
            if rule.count is None or rule.hits < rule.count:
                rule.hits += 1
                return rule
        return None
