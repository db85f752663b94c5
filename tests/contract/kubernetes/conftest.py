"""The words of the cases: `given` makes what there is, `when` does what is tried, `then` waits for what comes of it.

Every case has a namespace of its own. Objects are named as kubectl names them, `plural/name`, with a subresource
behind it where one is meant: `await when.patches("deployments/d/scale", {"spec": {"replicas": 2}})`.
"""

import asyncio
import base64
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest

GROUP = "contract.example.com"
PATCHES = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "strategic": "application/strategic-merge-patch+json",
}
KINDS = {
    "v1": {
        "namespaces": "Namespace", "nodes": "Node", "persistentvolumes": "PersistentVolume", "configmaps": "ConfigMap",
        "secrets": "Secret", "pods": "Pod", "services": "Service", "serviceaccounts": "ServiceAccount",
        "events": "Event", "endpoints": "Endpoints", "persistentvolumeclaims": "PersistentVolumeClaim",
    },
    "apps/v1": {"deployments": "Deployment", "replicasets": "ReplicaSet"},
    "policy/v1": {"poddisruptionbudgets": "PodDisruptionBudget"},
    "discovery.k8s.io/v1": {"endpointslices": "EndpointSlice"},
    "coordination.k8s.io/v1": {"leases": "Lease"},
    "rbac.authorization.k8s.io/v1": {
        "roles": "Role", "rolebindings": "RoleBinding", "clusterroles": "ClusterRole",
        "clusterrolebindings": "ClusterRoleBinding",
    },
    "authorization.k8s.io/v1": {"selfsubjectaccessreviews": "SelfSubjectAccessReview"},
    "apiextensions.k8s.io/v1": {"customresourcedefinitions": "CustomResourceDefinition"},
    f"{GROUP}/v1alpha1": {"widgets": "Widget"},
}  # fmt: skip
CLUSTER_SCOPED = {
    "namespaces", "nodes", "persistentvolumes", "clusterroles", "clusterrolebindings", "customresourcedefinitions",
    "selfsubjectaccessreviews",
}  # fmt: skip


class User:
    """What somebody does in one namespace; every verb returns the answer, refusals too."""

    def __init__(self, http: Any, namespace: str) -> None:
        self.http, self.namespace = http, namespace

    def path(self, named: str, **query: Any) -> str:
        """`plural[/name[/subresource]]` as a URL; `*/plural` is for all namespaces."""
        everywhere, named = named.startswith("*/"), named.removeprefix("*/")
        plural = named.split("/")[0]
        version = next(version for version, kinds in KINDS.items() if plural in kinds)
        prefix = f"/apis/{version}" if "/" in version else f"/api/{version}"
        scope = "" if everywhere or plural in CLUSTER_SCOPED else f"/namespaces/{self.namespace}"
        return f"{prefix}{scope}/{named}" + (f"?{urlencode(query)}" if query else "")

    async def creates(self, named: str, body: dict[str, Any], **query: Any) -> Any:
        """POST to a collection, or to a subresource."""
        return await self.http("POST", self.path(named, **query), _headed(named, body))

    async def reads(self, named: str, **query: Any) -> Any:
        return await self.http("GET", self.path(named, **query))

    async def lists(self, named: str, **query: Any) -> Any:
        return await self.http("GET", self.path(named, **query))

    async def replaces(self, named: str, body: dict[str, Any], **query: Any) -> Any:
        return await self.http("PUT", self.path(named, **query), _headed(named, body))

    async def patches(self, named: str, patch: Any, how: str = "merge", **query: Any) -> Any:
        return await self.http("PATCH", self.path(named, **query), patch, kind=PATCHES[how])

    async def applies(self, named: str, body: dict[str, Any], by: str, *, force: bool = False, **query: Any) -> Any:
        """Server-side apply."""
        body = _headed(named, body, named.split("/")[1])
        query = {"fieldManager": by, "force": str(force).lower()} | query
        return await self.http("PATCH", self.path(named, **query), body, kind="application/apply-patch+yaml")

    async def deletes(self, named: str, options: dict[str, Any] | None = None, **query: Any) -> Any:
        return await self.http("DELETE", self.path(named, **query), options)

    def watches(self, named: str, **query: Any) -> Any:
        """A context whose value returns the next event."""
        return self.http.lines(self.path(named, watch="true", **query))

    async def names(self, named: str, **query: Any) -> list[str]:
        """The names in a list."""
        answer = await self.lists(named, **query)
        assert answer.status == 200, answer.body
        return [item["metadata"]["name"] for item in answer["items"]]

    async def items(self, named: str, **query: Any) -> list[dict[str, Any]]:
        """What is in a list and is not being deleted."""
        answer = await self.lists(named, **query)
        return [item for item in answer["items"] if "deletionTimestamp" not in item["metadata"]]


def _headed(named: str, body: Any, name: str = "") -> Any:
    """The body with apiVersion, kind and name, unless it says so itself."""
    plural, _, rest = named.partition("/")
    if not isinstance(body, dict) or ("/" in rest and not name):
        return body  # a subresource has kinds of its own
    version = next(version for version, kinds in KINDS.items() if plural in kinds)
    headed = {"apiVersion": version, "kind": KINDS[version][plural]} | body
    return headed | ({"metadata": {"name": name} | body.get("metadata", {})} if name else {})


class Given:
    """Makes what a case starts from; what it makes is returned as stored."""

    def __init__(self, admin: User, eventually: Callable[..., Awaitable[Any]]) -> None:
        self.admin, self._eventually = admin, eventually
        self.cleanup: list[str] = []

    async def made(self, plural: str, name: str, body: dict[str, Any], **metadata: Any) -> Any:
        """Any object; one outside the namespace is removed after the case."""
        answer = await self.admin.creates(plural, {"metadata": {"name": name, **metadata}, **body})
        assert answer.status == 201, answer.body
        if plural in CLUSTER_SCOPED:
            self.cleanup.append(f"{plural}/{name}")
        return answer

    async def config_map(self, name: str = "a", data: dict[str, str] | None = None, **metadata: Any) -> Any:
        return await self.made("configmaps", name, {"data": data or {}}, **metadata)

    async def secret(self, name: str, **data: str) -> Any:
        coded = {key: base64.b64encode(text.encode()).decode() for key, text in data.items()}
        return await self.made("secrets", name, {"data": coded})

    async def widget(self, name: str = "a", metadata: dict[str, Any] | None = None, **spec: Any) -> Any:
        return await self.made("widgets", name, {"spec": {"model": "m"} | spec}, **(metadata or {}))

    async def deployment(self, name: str = "d", **options: Any) -> Any:
        await self.accounts()
        return await self.made("deployments", name, deployment(name, **options), labels={"app": name})

    async def pod(self, name: str, spec: dict[str, Any], **metadata: Any) -> Any:
        await self.accounts()
        return await self.made("pods", name, {"spec": spec}, **metadata)

    async def hollow_node(self, name: str, ready: bool = True, spec: Any = None, **more: str) -> str:
        """A Node without a kubelet, which pods of the case find by `hollow`; `more` is its further capacity.

        What its spec says is there before it is ready, so no scheduler knows it without.
        """
        name = f"{name}-{self.admin.namespace}"
        await self.made("nodes", name, {"spec": spec or {}}, labels=self.hollow | {"kubernetes.io/hostname": name})
        room = {"cpu": "4", "memory": "8Gi", "pods": "110"} | {key.replace("_", "/"): n for key, n in more.items()}
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        condition = {"type": "Ready", "status": str(ready), "lastHeartbeatTime": now, "lastTransitionTime": now}
        status = {"capacity": room, "allocatable": room, "conditions": [condition]}
        assert (await self.admin.patches(f"nodes/{name}/status", {"status": status}, how="strategic")).status == 200
        return name

    @property
    def hollow(self) -> dict[str, str]:
        """The node selector of this case's hollow nodes."""
        return {f"{GROUP}/nodes-of": self.admin.namespace}

    async def accounts(self) -> None:
        """Waits for what a namespace gets by itself: without its ServiceAccount it takes no pods."""

        async def exists() -> bool:
            return (await self.admin.reads("serviceaccounts/default")).status == 200

        await self._eventually(exists)

    async def account(self, name: str = "worker") -> User:
        """A ServiceAccount, and the user it stands for."""
        await self.made("serviceaccounts", name, {})
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        token = await self.admin.creates(f"serviceaccounts/{name}/token", request)
        assert token.status == 201, token.body
        return User(self.admin.http.as_user(token["status"]["token"]), self.admin.namespace)

    async def role(self, *rules: dict[str, Any], to: str = "worker") -> None:
        """A Role with these rules, bound to a ServiceAccount."""
        name = f"r{secrets.token_hex(3)}"
        await self.made("roles", name, {"rules": list(rules)})
        subject = {"kind": "ServiceAccount", "name": to, "namespace": self.admin.namespace}
        reference = {"kind": "Role", "name": name, "apiGroup": "rbac.authorization.k8s.io"}
        await self.made("rolebindings", name, {"roleRef": reference, "subjects": [subject]})


class Kubelet:
    """Plays the kubelet for pods that no real one looks after."""

    def __init__(self, admin: User) -> None:
        self._admin = admin

    async def takes(self, pod: str, node: str) -> None:
        """Binds a pod that no scheduler cares for."""
        target = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod}}
        target |= {"target": {"kind": "Node", "name": node}}
        assert (await self._admin.creates(f"pods/{pod}/binding", target)).status == 201

    async def reports(
        self, pod: str, *, ready: bool = True, phase: str = "Running", ip: str = "", since_s: int = 0, restarts: int = 0
    ) -> None:
        """Writes the pod's status; `since_s`: how long it has been ready or not."""
        at = (datetime.now(UTC) - timedelta(seconds=since_s)).strftime("%Y-%m-%dT%H:%M:%SZ")
        kinds = ("PodScheduled", "Initialized", "ContainersReady", "Ready")
        conditions = [
            {"type": kind, "status": str(ready or kind in kinds[:2]), "lastTransitionTime": at} for kind in kinds
        ]
        state = {"running": {"startedAt": at}} if phase == "Running" else {"waiting": {"reason": "ContainerCreating"}}
        container = {"name": "c", "ready": ready, "restartCount": restarts, "image": "img:1", "imageID": ""}
        status: dict[str, Any] = {"phase": phase, "conditions": conditions, "startTime": at}
        status["containerStatuses"] = [container | {"state": state}]
        if ip:
            status |= {"podIP": ip, "podIPs": [{"ip": ip}]}
        answer = await self._admin.patches(f"pods/{pod}/status", {"status": status})
        assert answer.status in (200, 404), answer.body


class Then:
    """Waits for what comes of something."""

    def __init__(self, admin: User, eventually: Callable[..., Awaitable[Any]]) -> None:
        self._admin, self.eventually = admin, eventually

    async def eventually_is(self, named: str, holds: Callable[[Any], Any]) -> Any:
        """The object, once the condition holds for it."""
        seen: Any = None

        async def look() -> Any:
            nonlocal seen
            seen = await self._admin.reads(named)
            return seen if seen.status == 200 and holds(seen) else None

        try:
            return await self.eventually(look)
        except AssertionError:
            raise AssertionError(f"{named} never became what it should: {seen.body}") from None

    async def eventually_gone(self, named: str) -> None:
        async def gone() -> bool:
            return (await self._admin.reads(named)).status == 404

        await self.eventually(gone)

    async def eventually_event(self, reason: str, about: str) -> dict[str, Any]:
        """The Event with that reason about the object of that name."""

        async def told() -> Any:
            found = await self._admin.lists("events", fieldSelector=f"involvedObject.name={about}")
            return next((event for event in found["items"] if event["reason"] == reason), None)

        return await self.eventually(told)


def deployment(name: str = "d", replicas: int = 1, pod: Any = None, env: Any = None, **spec: Any) -> dict[str, Any]:
    """A Deployment of pods that no scheduler takes, unless `pod` says otherwise."""
    container: dict[str, Any] = {"name": "c", "image": "img:1"}
    if env:
        container["env"] = [{"name": key, "value": value} for key, value in env.items()]
    body = {"schedulerName": "nobody", "containers": [container]} | (pod or {})
    template = {"metadata": {"labels": {"app": name}}, "spec": body}
    return {"spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template} | spec}


def widget_definition(group: str = GROUP) -> dict[str, Any]:
    """The definition of the recorded transcripts, and a little more of what schemas can say."""
    text = {"type": "string"}
    condition = {"type": "object", "required": ["type", "status"], "properties": {"type": text, "status": text}}
    by_type = {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
    tier = {"name": text, "width": {"type": "integer", "multipleOf": 16}}
    tiers = {"type": "object", "required": ["name", "width"], "properties": tier}
    by_name = {"type": "array", "maxItems": 8, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
    fields = {
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "maxSize": {"type": "integer", "default": 3},
        "mode": {"type": "string", "enum": ["Auto", "Advisory"], "default": "Auto"},
        "model": {"type": "string", "minLength": 1, "maxLength": 64},
        "size": {"type": "integer", "minimum": 0, "maximum": 64, "default": 1},
        "steps": {"type": "array", "maxItems": 8, "items": {"type": "integer"}},
        "tiers": by_name | {"items": tiers},
        "wait": {"x-kubernetes-int-or-string": True},
    }
    rules = [
        {"rule": "self.size <= self.maxSize", "message": "size must not exceed maxSize", "fieldPath": ".size"},
        {
            "rule": "self.model == oldSelf.model || self.size == 0",
            "messageExpression": "'model may change only at size 0, not at ' + string(self.size)",
        },
        {"rule": "!has(self.steps) || self.steps.isSorted()", "message": "steps must rise"},
    ]
    spec = {"type": "object", "required": ["model"], "properties": fields, "x-kubernetes-validations": rules}
    known = {"observedGeneration": {"type": "integer"}, "conditions": by_type | {"items": condition}}
    properties = {"spec": spec, "status": {"type": "object", "properties": known}}
    schema = {"type": "object", "required": ["spec"], "properties": properties}
    columns = [
        {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
        {"name": "Ready", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].status'},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ]
    served = {"name": "v1alpha1", "served": True, "storage": True, "subresources": {"status": {}}}
    version = served | {"schema": {"openAPIV3Schema": schema}, "additionalPrinterColumns": columns}
    names = {"kind": "Widget", "plural": "widgets", "singular": "widget", "shortNames": ["cwd"]}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{group}"},
        "spec": {"group": group, "names": names, "scope": "Namespaced", "versions": [version]},
    }


class Make:
    """Bodies that have not been sent yet."""

    deployment = staticmethod(deployment)
    widget_definition = staticmethod(widget_definition)
    group = GROUP


@pytest.fixture(scope="session")
def make() -> type[Make]:
    """Bodies that have not been sent yet."""
    return Make


@pytest.fixture(scope="session", autouse=True)
def definitions(once: Any, eventually: Any) -> Iterator[None]:
    """The CRD of the Widgets, for the session; and all namespaces of the cases gone at its end."""
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

    async def install(http: Any) -> None:
        answer = await http("POST", path, widget_definition())
        assert answer.status in (201, 409), answer.body

        async def served() -> bool:
            return (await http("GET", f"/apis/{GROUP}/v1alpha1/widgets")).status == 200

        await eventually(served)

    async def remove(http: Any) -> None:
        async def namespaces_are_gone() -> bool:
            found = await http("GET", f"/api/v1/namespaces?labelSelector={GROUP}/case")
            return not found["items"]

        await eventually(namespaces_are_gone)
        await http("DELETE", f"{path}/widgets.{GROUP}")

    once(install)
    yield
    once(remove)


@pytest.fixture
async def when(connect: Any) -> AsyncIterator[User]:
    """The administrator, in a namespace of the case's own."""
    name = f"contract-{secrets.token_hex(4)}"
    async with connect() as http:
        admin = User(http, name)
        labels = {f"{GROUP}/case": "yes"}
        assert (await admin.creates("namespaces", {"metadata": {"name": name, "labels": labels}})).status == 201
        yield admin
        await admin.deletes(f"namespaces/{name}")
        await admin.deletes("pods", {"gracePeriodSeconds": 0})  # some are on nodes that no kubelet answers for
        for plural in ("configmaps", "widgets"):
            for item in (await admin.lists(plural))["items"]:
                if "finalizers" in item["metadata"]:  # of a case that has failed
                    name = f"{plural}/{item['metadata']['name']}"
                    await admin.patches(name, {"metadata": {"finalizers": None}})


@pytest.fixture
async def given(when: User, eventually: Any) -> AsyncIterator[Given]:
    """Makes what a case starts from."""
    made = Given(when, eventually)
    yield made
    await asyncio.gather(*(when.deletes(named) for named in made.cleanup))


@pytest.fixture
def kubelet(when: User) -> Kubelet:
    """Plays the kubelet for pods that no real one looks after."""
    return Kubelet(when)


@pytest.fixture
def then(when: User, eventually: Any) -> Then:
    """Waits for what comes of something."""
    return Then(when, eventually)


@pytest.fixture
def run(given: Given, node: str) -> Callable[..., Awaitable[Any]]:
    """Creates a pod of one container `main` on our node; it ends once unless told otherwise."""

    async def created(name: str, *command: str, spec: Any = None, labels: Any = None, **container: Any) -> Any:
        main = {"name": "main", "image": "none", "command": list(command)} | container
        body = {"nodeSelector": {"kubernetes.io/hostname": node}, "containers": [main], "restartPolicy": "Never"}
        body |= {"terminationGracePeriodSeconds": 5, "tolerations": [{"operator": "Exists"}]}
        return await given.pod(name, body | (spec or {}), labels=labels or {"app": name})

    return created
