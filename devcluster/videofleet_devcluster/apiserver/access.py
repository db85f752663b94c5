"""Who is asking (bearer tokens) and whether they may (RBAC), worded as Kubernetes words refusals.

The administrator is in system:masters and may do everything. Pods' tokens stand for their ServiceAccount as long as
that very account (by UID) exists. No token at all is system:anonymous, who may only ask for health and version.
"""

import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Final

from multidict import CIMultiDictProxy

from videofleet_devcluster.apiserver.errors import ApiError, details_of, not_found, qualified, unauthorized
from videofleet_devcluster.apiserver.requests import RequestInfo
from videofleet_devcluster.apiserver.store import Store
from videofleet_devcluster.objects import Object

_GROUP: Final = "rbac.authorization.k8s.io"
_MASTERS: Final = "system:masters"
_AUTHENTICATED: Final = "system:authenticated"
_EVERYTHING: Final[tuple[Object, ...]] = (
    {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
    {"verbs": ["*"], "nonResourceURLs": ["*"]},
)
_REVIEWS: Final = ["selfsubjectaccessreviews", "selfsubjectrulesreviews"]
_FOR_USERS: Final[tuple[Object, ...]] = (  # system:basic-user and system:discovery
    {"verbs": ["create"], "apiGroups": ["authorization.k8s.io"], "resources": _REVIEWS},
    {"verbs": ["get"], "nonResourceURLs": ["/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*"]},
)
_HEALTH: Final = ["/healthz", "/livez", "/livez/*", "/readyz", "/readyz/*", "/version", "/version/"]
_FOR_ALL: Final[Object] = {"verbs": ["get"], "nonResourceURLs": _HEALTH}  # system:public-info-viewer


@dataclass(frozen=True)
class User:
    """Who a token stands for."""

    name: str
    groups: tuple[str, ...] = ()


ADMIN: Final = User("system:admin", (_MASTERS, _AUTHENTICATED))
ANONYMOUS: Final = User("system:anonymous", ("system:unauthenticated",))


class Tokens:
    """Bearer tokens; they live in memory only."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.admin_token = secrets.token_urlsafe(32)
        # token → namespace, account, its UID, end since the epoch
        self._accounts: dict[str, tuple[str, str, str, float]] = {}

    def mint(self, namespace: str, account: str, lifetime_s: int = 3600) -> str:
        """A token for a ServiceAccount. Raises: ApiError 404."""
        found = self._store.get(("", "serviceaccounts"), (namespace, account))
        if found is None:
            raise not_found("serviceaccounts", "", account)
        token = secrets.token_urlsafe(32)
        self._accounts[token] = namespace, account, found["metadata"]["uid"], time.time() + lifetime_s
        return token

    def user(self, authorization: str | None) -> User:
        """Who sent the Authorization header. Raises: ApiError 401."""
        if not authorization:
            return ANONYMOUS
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise unauthorized()
        if secrets.compare_digest(token.encode(), self.admin_token.encode()):
            return ADMIN
        namespace, account, uid, ends_at = self._accounts.get(token, ("", "", "", 0.0))
        found = self._store.get(("", "serviceaccounts"), (namespace, account))
        if found is None or found["metadata"]["uid"] != uid or time.time() >= ends_at:
            self._accounts.pop(token, None)
            raise unauthorized()
        return User(f"system:serviceaccount:{namespace}:{account}", _account_groups(namespace))


class Authorizer:
    """RBAC over the Roles, ClusterRoles and bindings in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def check(self, user: User, info: RequestInfo) -> None:
        """Raises: ApiError 403 when the user may not."""
        if not self._allows(user, info):
            raise _forbidden(user, info)

    def _allows(self, user: User, info: RequestInfo) -> bool:
        return any(_covers(rule, info) for rule in self._rules(user, info.namespace))

    def acting(self, user: User, headers: CIMultiDictProxy[str]) -> User:
        """The user, or whom the user asks to act as (`kubectl --as`). Raises: ApiError 403."""
        name = headers.get("Impersonate-User", "")
        if not name:
            return user
        groups = tuple(headers.getall("Impersonate-Group", ()))
        _, _, account = name.partition("system:serviceaccount:")
        namespace, _, account = account.partition(":")
        whom = ("serviceaccounts", account) if account else ("users", name)
        for resource, wanted in (whom, *(("groups", group) for group in groups)):
            self.check(user, RequestInfo("impersonate", namespace=namespace, resource=resource, name=wanted))
        if account and not groups:
            groups = _account_groups(namespace)
        return User(name, tuple({*groups, _AUTHENTICATED}))

    def review(self, kind: str, user: User, spec: Object) -> Object:
        """The status of a SelfSubjectAccessReview, or of a SelfSubjectRulesReview for all that the user may."""
        if kind == "SelfSubjectAccessReview":
            asked = spec.get("nonResourceAttributes") or spec.get("resourceAttributes") or {}
            known = {field.name for field in fields(RequestInfo)}
            return {"allowed": self._allows(user, RequestInfo(**{n: v for n, v in asked.items() if n in known}))}
        rules = list(self._rules(user, spec.get("namespace", "")))
        paths = [rule for rule in rules if "nonResourceURLs" in rule]
        others = [rule for rule in rules if "nonResourceURLs" not in rule]
        return {"resourceRules": others, "nonResourceRules": paths, "incomplete": False}

    def _rules(self, user: User, namespace: str) -> Iterator[Object]:
        """Every rule that holds for the user in the namespace."""
        yield from _EVERYTHING if _MASTERS in user.groups else ()
        yield from _FOR_USERS if _AUTHENTICATED in user.groups else ()
        yield _FOR_ALL
        bindings = self._store.listed((_GROUP, "clusterrolebindings"))
        if namespace:
            bindings = bindings + self._store.listed((_GROUP, "rolebindings"), namespace)
        for binding in bindings:
            own, ref = binding["metadata"].get("namespace", ""), binding["roleRef"]
            if any(_is_subject(user, subject, own) for subject in binding.get("subjects", ())):
                place = ("clusterroles", "") if ref["kind"] == "ClusterRole" else ("roles", own)
                yield from (self._store.get((_GROUP, place[0]), (place[1], ref["name"])) or {}).get("rules") or []


def _account_groups(namespace: str) -> tuple[str, ...]:
    return "system:serviceaccounts", f"system:serviceaccounts:{namespace}", _AUTHENTICATED


def _is_subject(user: User, subject: Object, namespace: str) -> bool:
    kind, name = subject["kind"], subject["name"]
    if kind == "ServiceAccount":
        return user.name == f"system:serviceaccount:{subject.get('namespace', namespace)}:{name}"
    return name in user.groups if kind == "Group" else bool(name == user.name)


def _covers(rule: Object, info: RequestInfo) -> bool:
    if not {"*", info.verb} & set(rule.get("verbs") or ()):
        return False
    if not info.resource:
        paths = rule.get("nonResourceURLs", ())
        return any(info.path.startswith(p[:-1]) if p.endswith("*") else info.path == p for p in paths)
    wildcard = f"*/{info.subresource}" if info.subresource else "*"
    if not {"*", info.full_resource, wildcard} & set(rule.get("resources") or ()):
        return False
    names = rule.get("resourceNames")
    return bool({"*", info.group} & set(rule.get("apiGroups") or ())) and (not names or info.name in names)


def _forbidden(user: User, info: RequestInfo) -> ApiError:
    if not info.resource:
        message = f'forbidden: User "{user.name}" cannot {info.verb} path "{info.path}"'
        return ApiError(403, "Forbidden", message, {})
    where = f'in the namespace "{info.namespace}"' if info.namespace else "at the cluster scope"
    what = f'resource "{info.full_resource}" in API group "{info.group}" {where}'
    named = f' "{info.name}"' if info.name else ""
    subject = f"{qualified(info.resource, info.group)}{named}"
    message = f'{subject} is forbidden: User "{user.name}" cannot {info.verb} {what}'
    return ApiError(403, "Forbidden", message, details_of(info.resource, info.group, info.name))
