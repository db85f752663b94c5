"""Fixtures of the devcluster tests: a real API server, real clients, a CRD to play with."""

import asyncio
import contextlib
import json
import shutil
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from videofleet_devcluster.apiserver.server import ApiServer


def widget_definition() -> dict[str, Any]:
    """A CRD with everything that schemas can say here; the one of the recorded transcripts."""
    text = {"type": "string"}
    condition = {
        "type": "object",
        "required": ["type", "status"],
        "properties": {"type": text, "status": text},
    }
    tier = {
        "type": "object",
        "required": ["name", "width"],
        "properties": {"name": text, "width": {"type": "integer", "multipleOf": 16}},
    }
    spec = {
        "type": "object",
        "required": ["model"],
        "properties": {
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            "maxSize": {"type": "integer", "default": 3},
            "mode": {"type": "string", "enum": ["Auto", "Advisory"], "default": "Auto"},
            "model": {"type": "string", "minLength": 1, "maxLength": 64},
            "size": {"type": "integer", "minimum": 0, "maximum": 64, "default": 1},
            "steps": {"type": "array", "maxItems": 8, "items": {"type": "integer"}},
            "tiers": {
                "type": "array",
                "maxItems": 8,
                "items": tier,
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
            },
            "wait": {"x-kubernetes-int-or-string": True},
        },
        "x-kubernetes-validations": [
            {
                "rule": "self.size <= self.maxSize",
                "message": "size must not exceed maxSize",
                "fieldPath": ".size",
            },
            {
                "rule": "self.model == oldSelf.model || self.size == 0",
                "messageExpression": "'model may change only at size 0, not at ' + string(self.size)",
            },
            {"rule": "!has(self.steps) || self.steps.isSorted()", "message": "steps must rise"},
        ],
    }
    status = {
        "type": "object",
        "properties": {
            "observedGeneration": {"type": "integer"},
            "conditions": {
                "type": "array",
                "items": condition,
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["type"],
            },
        },
    }
    version = {
        "name": "v1alpha1",
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "schema": {
            "openAPIV3Schema": {
                "type": "object",
                "required": ["spec"],
                "properties": {"spec": spec, "status": status},
            }
        },
        "additionalPrinterColumns": [
            {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
            {"name": "Ready", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].status'},
            {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        ],
    }
    names = {"kind": "Widget", "plural": "widgets", "singular": "widget", "shortNames": ["wd"]}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.wire.example.com"},
        "spec": {"group": "wire.example.com", "names": names, "scope": "Namespaced", "versions": [version]},
    }


def widget(name: str = "a", **spec: Any) -> dict[str, Any]:
    """A valid Widget unless told otherwise."""
    head = {"apiVersion": "wire.example.com/v1alpha1", "kind": "Widget", "metadata": {"name": name}}
    return head | {"spec": {"model": "m"} | spec}


def deployment(name: str = "d", replicas: int = 1, **env: str) -> dict[str, Any]:
    """A small Deployment."""
    container: dict[str, Any] = {"name": "c", "image": "img:1"}
    if env:
        container["env"] = [{"name": key, "value": value} for key, value in env.items()]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}},
        },
    }


@dataclass
class Answer:
    """A response, read."""

    status: int
    body: Any
    headers: Any

    @property
    def version(self) -> int:
        return int(self.body["metadata"]["resourceVersion"])


class Rest:
    """Plain HTTP against the server, as one user."""

    def __init__(self, server: ApiServer, session: aiohttp.ClientSession, token: str | None) -> None:
        self.url = server.url
        self.session = session
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}

    async def __call__(
        self, method: str, path: str, body: Any = None, *, kind: str = "application/json", **headers: str
    ) -> Answer:
        data = None if body is None else json.dumps(body)
        sent = self.headers | ({"Content-Type": kind} if data else {}) | headers
        async with self.session.request(method, self.url + path, data=data, headers=sent) as response:
            raw = await response.read()
            is_json = response.content_type == "application/json" and raw
            return Answer(response.status, json.loads(raw) if is_json else raw.decode(), response.headers)

    async def apply(self, path: str, body: Any, manager: str, *, force: bool = False) -> Answer:
        """Server-side apply."""
        query = f"?fieldManager={manager}&force={str(force).lower()}&fieldValidation=Strict"
        return await self("PATCH", path + query, body, kind="application/apply-patch+yaml")

    @contextlib.asynccontextmanager
    async def watch(self, path: str) -> AsyncIterator[Callable[[], Awaitable[dict[str, Any]]]]:
        """A function that returns the next event of a watch."""
        async with self.session.get(self.url + path, headers=self.headers) as response:

            async def next_event() -> dict[str, Any]:
                async with asyncio.timeout(10):
                    event: dict[str, Any] = json.loads(await response.content.readline())
                return event

            assert response.status == 200
            yield next_event


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    """A fresh API server."""
    started = ApiServer()
    await started.start()
    yield started
    await started.stop()


@pytest.fixture
async def session(server: ApiServer) -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP session that trusts the server."""
    context = ssl.create_default_context(cadata=server.ca_pem.decode())
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context, limit=0)) as opened:
        yield opened


@pytest.fixture
async def api(server: ApiServer, session: aiohttp.ClientSession) -> Rest:
    """The administrator."""
    return Rest(server, session, server.admin_token)


@pytest.fixture
async def widgets(api: Rest) -> Rest:
    """The administrator, with the Widget CRD installed."""
    answer = await api("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", widget_definition())
    assert answer.status == 201
    return api


Kubectl = Callable[..., Awaitable[subprocess.CompletedProcess[str]]]


@pytest.fixture
def kubectl(server: ApiServer, tmp_path: Path) -> Kubectl:
    """Runs the real kubectl; skipped where there is none."""
    binary = shutil.which("kubectl")
    if binary is None:
        pytest.skip("no kubectl on PATH")
    config = server.kubeconfig(tmp_path / "kubeconfig")

    async def run(*args: str, stdin: Any = None) -> subprocess.CompletedProcess[str]:
        text = stdin if isinstance(stdin, str) or stdin is None else json.dumps(stdin)
        command = [binary, f"--kubeconfig={config}", f"--cache-dir={tmp_path}/cache", *args]
        return await asyncio.to_thread(
            subprocess.run, command, input=text, capture_output=True, text=True, timeout=60, check=False
        )

    return run


class Make:
    """Builders of objects; fixtures, because test modules cannot import from a conftest."""

    widget = staticmethod(widget)
    deployment = staticmethod(deployment)
    widget_definition = staticmethod(widget_definition)


@pytest.fixture
def make() -> type[Make]:
    """Builders of objects."""
    return Make


@pytest.fixture
def eventually() -> Callable[..., Awaitable[None]]:
    """Waits until a check holds."""

    async def wait(check: Callable[[], Awaitable[bool]], deadline_s: float = 10) -> None:
        ends_at = time.monotonic() + deadline_s
        while not await check():
            assert time.monotonic() < ends_at, "it never happened"
            await asyncio.sleep(0.01)

    return wait
