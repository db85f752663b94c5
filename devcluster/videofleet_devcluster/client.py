"""A small Kubernetes client: one kubeconfig in, JSON objects out; and Events in the name of a component.

It knows paths, verbs and Status errors; it retries nothing and caches nothing (informer.py does). It speaks to any API
server, ours or a real one.
"""

import base64
import contextlib
import json
import secrets
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import yaml

from videofleet_devcluster.objects import Object, key_of, timestamp, uid_of

_MERGE: Final = "application/merge-patch+json"
_NO_LIMIT: Final = aiohttp.ClientTimeout(total=None, sock_connect=10)
_REPEAT_S: Final = 5.0  # a probe that fails four times a second is one write in five


class ApiError(Exception):
    """The API server refused; `code` is the HTTP status, `reason` Kubernetes' word for it."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(f"{code} {reason}: {message}")
        self.code, self.reason, self.message = code, reason, message


@contextlib.contextmanager
def ignoring(*codes: int) -> Iterator[None]:
    """Lets these refusals pass: who deletes may find nothing, who creates may find it there."""
    try:
        yield
    except ApiError as error:
        if error.code not in codes:
            raise


@dataclass(frozen=True)
class Resource:
    """One kind of object and where its API lives."""

    api_version: str
    plural: str
    kind: str
    namespaced: bool = True

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        prefix = "/apis" if "/" in self.api_version else "/api"
        scope = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        tail = "".join(f"/{part}" for part in (self.plural, name, subresource) if part)
        return f"{prefix}/{self.api_version}{scope}{tail}"


PODS: Final = Resource("v1", "pods", "Pod")
NODES: Final = Resource("v1", "nodes", "Node", namespaced=False)
SERVICES: Final = Resource("v1", "services", "Service")
ENDPOINTS: Final = Resource("v1", "endpoints", "Endpoints")
SECRETS: Final = Resource("v1", "secrets", "Secret")
CONFIG_MAPS: Final = Resource("v1", "configmaps", "ConfigMap")
SERVICE_ACCOUNTS: Final = Resource("v1", "serviceaccounts", "ServiceAccount")
EVENTS: Final = Resource("v1", "events", "Event")
CLAIMS: Final = Resource("v1", "persistentvolumeclaims", "PersistentVolumeClaim")
VOLUMES: Final = Resource("v1", "persistentvolumes", "PersistentVolume", namespaced=False)
DEPLOYMENTS: Final = Resource("apps/v1", "deployments", "Deployment")
REPLICA_SETS: Final = Resource("apps/v1", "replicasets", "ReplicaSet")
ENDPOINT_SLICES: Final = Resource("discovery.k8s.io/v1", "endpointslices", "EndpointSlice")
BUDGETS: Final = Resource("policy/v1", "poddisruptionbudgets", "PodDisruptionBudget")
LEASES: Final = Resource("coordination.k8s.io/v1", "leases", "Lease")


@dataclass(frozen=True)
class Access:
    """What a kubeconfig's current context says."""

    server: str
    ca_pem: str | None
    token: str | None
    client_certificate_pem: str | None
    client_key_pem: str | None
    verify: bool = True

    @classmethod
    def read(cls, kubeconfig: Path) -> "Access":
        """Reads the current context. Raises OSError, or ValueError for what it lacks."""
        config = yaml.safe_load(kubeconfig.read_text())
        context = _named(config, "contexts", config.get("current-context"))["context"]
        cluster = _named(config, "clusters", context["cluster"])["cluster"]
        user = _named(config, "users", context["user"])["user"]
        if "exec" in user or "auth-provider" in user:
            raise ValueError(f"{kubeconfig}: exec and auth-provider logins are not supported; give a token")
        folder = kubeconfig.parent
        token = user.get("token")
        if token is None and "tokenFile" in user:
            token = (folder / user["tokenFile"]).read_text().strip()
        return cls(
            server=cluster["server"].rstrip("/"),
            ca_pem=_inline(cluster, "certificate-authority", folder),
            token=token,
            client_certificate_pem=_inline(user, "client-certificate", folder),
            client_key_pem=_inline(user, "client-key", folder),
            verify=not cluster.get("insecure-skip-tls-verify", False),
        )

    def ssl_context(self) -> ssl.SSLContext:
        """A context that trusts this cluster's authority and carries the client certificate, if any."""
        context = ssl.create_default_context(cadata=self.ca_pem)
        if not self.verify:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if self.client_certificate_pem and self.client_key_pem:
            with tempfile.NamedTemporaryFile("w", suffix=".pem") as pair:  # ssl reads files only
                pair.write(self.client_certificate_pem + "\n" + self.client_key_pem)
                pair.flush()
                context.load_cert_chain(pair.name)
        return context


def _named(config: Object, section: str, name: str | None) -> Object:
    for entry in config.get(section) or []:
        if entry["name"] == name:
            return dict(entry)
    raise ValueError(f"kubeconfig: {section} has no entry named {name!r}")


def _inline(entry: Object, name: str, folder: Path) -> str | None:
    if f"{name}-data" in entry:
        return base64.b64decode(entry[f"{name}-data"]).decode()
    return (folder / entry[name]).read_text() if name in entry else None


def kubeconfig(url: str, ca_pem: bytes, token: str, namespace: str = "default") -> Object:
    name = "videofleet-dev"
    cluster = {"server": url, "certificate-authority-data": base64.b64encode(ca_pem).decode()}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": namespace}}],
        "current-context": name,
    }


class ApiClient:
    """Typed verbs over one session. Raises ApiError for refusals, aiohttp.ClientError when nobody answers."""

    def __init__(self, session: aiohttp.ClientSession, access: Access) -> None:
        self._session, self.access = session, access

    async def request(
        self, method: str, path: str, body: Object | None = None, content_type: str = "application/json",
        params: Mapping[str, str] | None = None,
    ) -> Object:  # fmt: skip
        """One exchange; the JSON of the answer."""
        data = None if body is None else json.dumps(body)
        headers = {"Content-Type": content_type}
        async with self._session.request(method, path, data=data, headers=headers, params=params) as response:
            return await _answer(response)

    async def get(self, resource: Resource, namespace: str, name: str) -> Object:
        return await self.request("GET", resource.path(namespace, name))

    async def list(self, resource: Resource, namespace: str = "", **params: str) -> Object:
        """The list object: `items` and `metadata.resourceVersion`."""
        return await self.request("GET", resource.path(namespace), params=params)

    async def create(self, resource: Resource, obj: Object) -> Object:
        body = {"apiVersion": resource.api_version, "kind": resource.kind} | obj
        return await self.request("POST", resource.path(obj["metadata"].get("namespace", "")), body)

    async def patch(
        self, resource: Resource, namespace: str, name: str, patch: Object, subresource: str = ""
    ) -> Object:
        return await self.request("PATCH", resource.path(namespace, name, subresource), patch, _MERGE)

    async def put(self, resource: Resource, obj: Object) -> Object:
        """Merges an object into the one of its name, or creates it."""
        try:
            return await self.patch(resource, *key_of(obj), obj)
        except ApiError as error:
            if error.code != 404:
                raise
        return await self.create(resource, obj)

    async def delete(
        self, resource: Resource, namespace: str, name: str, uid: str | None = None, grace_s: int | None = None
    ) -> Object:
        """Deletes, only this uid if one is given; grace 0 removes a pod at once."""
        options: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        options |= {"preconditions": {"uid": uid}} if uid is not None else {}
        options |= {"gracePeriodSeconds": grace_s} if grace_s is not None else {}
        return await self.request("DELETE", resource.path(namespace, name), options)

    async def watch(self, resource: Resource, namespace: str, **params: str) -> AsyncIterator[Object]:
        """Watch events until the server ends the stream. An ERROR event raises ApiError."""
        params |= {"watch": "true", "allowWatchBookmarks": "true"}
        async with self._session.get(resource.path(namespace), params=params, timeout=_NO_LIMIT) as response:
            if response.status >= 400:
                await _answer(response)
            rest = b""
            async for chunk in response.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in filter(None, lines):
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        raise _refusal(event["object"])
                    yield event


async def _answer(response: aiohttp.ClientResponse) -> Object:
    text = await response.text()
    try:
        document: Any = json.loads(text)
    except ValueError:
        document = {"message": text[:200]}
    if response.status >= 400:
        raise _refusal({"code": response.status} | document)
    return dict(document)


def _refusal(status: Object) -> ApiError:
    return ApiError(int(status.get("code", 500)), status.get("reason", "Unknown"), status.get("message", ""))


@asynccontextmanager
async def connected(kubeconfig: Path) -> AsyncIterator[ApiClient]:
    access = Access.read(kubeconfig)
    headers = {"Authorization": f"Bearer {access.token}"} if access.token else {}
    connector = aiohttp.TCPConnector(ssl=access.ssl_context() if access.server.startswith("https") else False, limit=0)
    async with aiohttp.ClientSession(access.server, headers=headers, connector=connector) as session:
        yield ApiClient(session, access)


class Recorder:
    """Writes Events in the name of one component: repeated ones are counted, and a lost one is nobody's failure."""

    def __init__(self, client: ApiClient, component: str, host: str = "") -> None:
        self._client, self._component, self._host = client, component, host
        self._known: dict[tuple[str, str, str], Object] = {}  # uid, reason, message → name, count, monotonic time

    async def record(self, about: Object, kind: Resource, reason: str, message: str, *, warning: bool = False) -> None:
        """Writes the Event, or raises the count of the same one."""
        namespace = key_of(about)[0] or "default"
        fresh = {"name": f"{about['metadata']['name']}.{secrets.token_hex(8)}", "count": 0, "at": time.monotonic()}
        known = self._known.setdefault((uid_of(about), reason, message), fresh)
        known["count"] += 1
        with contextlib.suppress(ApiError, aiohttp.ClientError, TimeoutError):
            if known is fresh:
                metadata = {"name": known["name"], "namespace": namespace}
                told = {"reason": reason, "message": message, "type": "Warning" if warning else "Normal"}
                await self._client.create(EVENTS, {"metadata": metadata} | told | self._context(about, kind))
            elif time.monotonic() - known["at"] > _REPEAT_S:
                known["at"] = time.monotonic()
                patch = {"count": known["count"], "lastTimestamp": timestamp()}
                await self._client.patch(EVENTS, namespace, known["name"], patch)

    def _context(self, about: Object, kind: Resource) -> Object:
        """Which object it is about, when it happened and who says so."""
        fields = ("name", "namespace", "uid", "resourceVersion")
        return {
            "involvedObject": {"apiVersion": kind.api_version, "kind": kind.kind}
            | {field: about["metadata"].get(field, "") for field in fields},
            "count": 1,
            "firstTimestamp": timestamp(),
            "lastTimestamp": timestamp(),
            "source": {"component": self._component} | ({"host": self._host} if self._host else {}),
            "reportingComponent": self._component,
            "reportingInstance": self._host,
        }
