"""Fixtures of the devcluster tests: a real API server and plain HTTP to it."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from videofleet_devcluster.apiserver.server import ApiServer


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

    @contextlib.asynccontextmanager
    async def watch(self, path: str) -> AsyncIterator[Callable[[], Awaitable[dict[str, Any]]]]:
        """A function that returns the next event of a watch."""
        async with self.session.get(self.url + path, headers=self.headers) as response:

            async def next_event() -> dict[str, Any]:
                async with asyncio.timeout(60):
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
