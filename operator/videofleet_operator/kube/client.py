"""The API server over the official asynchronous client: get, list, apply, patch, delete, watch on plain dicts.

All writes carry our field manager and pass the fence first. Every answer is an object or one of `kube.errors`; nothing
is retried here, because after a lost answer the right thing is to look again, not to write again.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, Self, cast

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration

from videofleet_operator.kube.errors import KubeError, KubeUnavailable, error_for
from videofleet_operator.kube.paths import collection, item, resource_of
from videofleet_operator.manifests.names import FIELD_MANAGER
from videofleet_operator.metrics import API_CALLS

_APPLY: Final = "application/apply-patch+yaml"
_MERGE: Final = "application/merge-patch+json"
_TIMEOUT_S: Final = 30.0
WATCH_S: Final = 50  # the server ends a watch after this; silence for longer is a broken connection
_PAGE: Final = 500


class KubeClient:
    """One connection pool to one API server. An async context manager."""

    def __init__(self, api: Any, timeout_s: float = _TIMEOUT_S) -> None:
        self._api = api  # kubernetes.aio's ApiClient, which is without types
        self._timeout_s = timeout_s
        self.fence: Callable[[], None] = _open_gate

    @classmethod
    async def connect(cls, timeout_s: float = _TIMEOUT_S) -> Self:
        """From the file that KUBECONFIG names, else as a pod. Raises: kubernetes' ConfigException."""
        configuration = Configuration()
        if os.environ.get("KUBECONFIG"):
            load: Any = config.load_kube_config  # the generated client has no types
            await load(config_file=os.environ["KUBECONFIG"], client_configuration=configuration)
        else:
            load = config.load_incluster_config
            load(client_configuration=configuration)
        return cls(ApiClient(configuration), timeout_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._api.close()

    async def get(self, path: str) -> dict[str, Any]:
        """One object. Raises: KubeError."""
        return await self.send("GET", path)

    async def list(self, kind: str, namespace: str, **query: str) -> dict[str, Any]:
        """The whole list, read in pages; its `metadata.resourceVersion` starts a watch. Raises: KubeError."""
        path = collection(kind, namespace)
        page = await self.send("GET", path, {**query, "limit": str(_PAGE)})
        items = list(page.get("items", []))
        while token := page.get("metadata", {}).get("continue"):
            page = await self.send("GET", path, {**query, "limit": str(_PAGE), "continue": token})
            items += page.get("items", [])
        typed = {"apiVersion": page["apiVersion"], "kind": kind}  # which items of a list do not say
        return {**page, "items": [typed | found for found in items]}

    async def apply(self, manifest: dict[str, Any], subresource: str = "") -> dict[str, Any]:
        """Server-side apply; creates what is missing and takes back what somebody else set. Raises: KubeError."""
        meta = manifest["metadata"]
        path = item(manifest["kind"], meta["namespace"], meta["name"]) + subresource
        return await self.send("PATCH", path, {"fieldManager": FIELD_MANAGER, "force": "true"}, manifest, _APPLY)

    async def merge(self, path: str, patch: dict[str, Any]) -> dict[str, Any]:
        """JSON merge patch. Raises: KubeError."""
        return await self.send("PATCH", path, {"fieldManager": FIELD_MANAGER}, patch, _MERGE)

    async def delete(self, path: str) -> None:
        """Deletes in the background. Raises: KubeError, NotFound among them."""
        await self.send("DELETE", path, {"propagationPolicy": "Background"})

    async def watch(self, kind: str, namespace: str, version: str, **query: str) -> AsyncIterator[dict[str, Any]]:
        """Events and bookmarks after a resourceVersion until the server ends it. Raises: KubeError, also Gone."""
        query |= {"watch": "true", "resourceVersion": version, "allowWatchBookmarks": "true"}
        query["timeoutSeconds"] = str(WATCH_S)
        timeout = aiohttp.ClientTimeout(total=WATCH_S + 15, sock_connect=10)
        response = await self._open("GET", collection(kind, namespace), query, timeout=timeout)
        try:
            async for line in response.content:
                event: dict[str, Any] = json.loads(line)
                if event["type"] == "ERROR":
                    raise _watch_error(event["object"])
                yield event
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise KubeUnavailable(f"watch of {kind} broke: {type(error).__name__}") from error
        finally:
            response.close()

    async def send(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None = None,
        body: dict[str, Any] | None = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        """One exchange. Raises: KubeError."""
        if method != "GET":
            self.fence()
        response = await self._open(method, path, query or {}, body, content_type)
        try:
            return cast(dict[str, Any], await response.json())
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise KubeUnavailable(f"{method} {path}: answer broke: {type(error).__name__}") from error

    async def _open(
        self,
        method: str,
        path: str,
        query: dict[str, str],
        body: dict[str, Any] | None = None,
        content_type: str = "application/json",
        timeout: aiohttp.ClientTimeout | None = None,  # noqa: ASYNC109 - aiohttp's own kind of timeout
    ) -> aiohttp.ClientResponse:
        """The response once its head is there. Raises: KubeError for a status ≥ 400 and for no answer."""
        method, url, headers, data, _ = await self._api.param_serialize(
            method,
            path,
            query_params=list(query.items()),
            header_params={"Accept": "application/json", "Content-Type": content_type},
            body=body,
            auth_settings=["BearerToken"],
        )
        verb = "WATCH" if "watch" in query else method
        try:
            answer = await self._api.call_api(
                method, url, headers, data, _request_timeout=timeout or aiohttp.ClientTimeout(total=self._timeout_s)
            )
            response: aiohttp.ClientResponse = answer.response
            API_CALLS.labels(verb, resource_of(path), response.status).inc()
            if response.status < 400:
                return response
            text = await response.text()
        except (aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError) as error:
            API_CALLS.labels(verb, resource_of(path), "none").inc()
            raise KubeUnavailable(f"{method} {path}: {type(error).__name__}") from error
        raise error_for(response.status, f"{method} {path}", text, response.headers.get("Retry-After"))


def _open_gate() -> None:
    """The fence of a client that needs no leadership."""


def _watch_error(status: dict[str, Any]) -> KubeError:
    return error_for(int(status.get("code", 500)), "watch", str(status.get("message", "")))
