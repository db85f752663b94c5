"""The server itself: TLS with a throw-away CA, and the way of every request through authentication, faults and routes.

State lives in memory and ends with the process. Invariant: whatever happens to a request, the client gets a Status.
"""

import asyncio
import logging
import os
import ssl
from pathlib import Path
from typing import Final, Self

import aiohttp
import trustme
import yaml
from aiohttp import web

from videofleet_devcluster.apiserver.access import Authorizer, Tokens, User
from videofleet_devcluster.apiserver.discovery import Documents, encoded
from videofleet_devcluster.apiserver.errors import ApiError, method_not_allowed
from videofleet_devcluster.apiserver.faults import FAULTS_PATH, Dropped, Faults
from videofleet_devcluster.apiserver.requests import RequestInfo, read_body, request_info
from videofleet_devcluster.apiserver.resources import Registry
from videofleet_devcluster.apiserver.routes import Routes
from videofleet_devcluster.apiserver.store import Store
from videofleet_devcluster.apiserver.writes import WriteOptions, Writes
from videofleet_devcluster.client import kubeconfig

_HOST: Final = "127.0.0.1"
_LARGEST_BODY_BYTES: Final = 3 << 20  # as etcd and the API server limit it
_NAMESPACES: Final = ("default", "kube-system", "kube-public", "kube-node-lease")
_log = logging.getLogger(__name__)


class ApiServer:
    """One embedded API server. `faults` is for tests; `store` is for looking, not for writing."""

    def __init__(self) -> None:
        self.store, self.faults, self.url = Store(), Faults(), ""
        self._registry = Registry()
        self._writes = Writes(self.store, self._registry)
        self._tokens, self._authorizer = Tokens(self.store), Authorizer(self.store)
        self._documents = Documents(self._registry)
        self._routes = Routes(self.store, self._registry, self._writes, self._tokens, self._authorizer, self.faults)
        self._authority = trustme.CA()
        self._runner: web.AppRunner | None = None
        self._client: aiohttp.ClientSession | None = None

    @property
    def ca_pem(self) -> bytes:
        return self._authority.cert_pem.bytes()

    @property
    def admin_token(self) -> str:
        return self._tokens.admin_token

    async def start(self) -> Self:
        """Listens on a free port of this machine's loopback; `url` says which."""
        for name in _NAMESPACES:
            self._writes.create(self._registry.known("namespaces"), "", {"metadata": {"name": name}}, WriteOptions())
        application = web.Application(client_max_size=_LARGEST_BODY_BYTES)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._client = aiohttp.ClientSession()
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._authority.issue_cert(_HOST, "localhost").configure_cert(context)
        await web.TCPSite(self._runner, _HOST, 0, ssl_context=context).start()
        self.url = f"https://{_HOST}:{self._runner.addresses[0][1]}"
        return self

    async def stop(self) -> None:
        if self._runner is not None:
            handlers = self._runner.server.connections if self._runner.server else []
            transports = [handler.transport for handler in handlers if handler.transport is not None]
            await self._runner.cleanup()
            for transport in transports:  # a client that keeps its end open would hold ours in the TLS farewell
                transport.abort()
            await asyncio.sleep(0)
        if self._client is not None:
            await self._client.close()

    def kubeconfig(self, path: Path, token: str | None = None) -> Path:
        """Writes a kubeconfig, readable by its owner only; for the administrator unless a token is given."""
        config = kubeconfig(self.url, self.ca_pem, token or self.admin_token)
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            yaml.safe_dump(config, file, sort_keys=False)
        return path

    def mint_token(self, namespace: str, service_account: str) -> str:
        """A token of a ServiceAccount, as TokenRequest gives it. Raises: ApiError 404."""
        return self._tokens.mint(namespace, service_account)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._admit(request, request_info(request.method, request.path, request.query))
        except ApiError as error:
            return _refusal(error)
        except web.HTTPRequestEntityTooLarge:
            message = f"Request entity too large: limit is {_LARGEST_BODY_BYTES}"
            return _refusal(ApiError(413, "RequestEntityTooLarge", message))
        except (ConnectionError, Dropped):
            if request.transport is not None:
                request.transport.abort()
            return web.Response()  # goes nowhere
        except Exception:
            _log.exception("a request failed", extra={"method": request.method, "path": request.path})
            return _refusal(ApiError(500, "InternalError", "Internal error occurred: see the log of the API server"))

    async def _admit(self, request: web.Request, info: RequestInfo) -> web.StreamResponse:
        user = self._authorizer.acting(self._tokens.user(request.headers.get("Authorization")), request.headers)
        self._authorizer.check(user, info)
        if info.path == FAULTS_PATH:
            return web.json_response(self.faults.administer(request.method, await read_body(request)))
        rule = self.faults.on_request(info) if self.faults.are_set else None
        if rule is not None:
            await rule.before()
        response = await self._answer(request, info, user)
        if rule is not None:
            rule.after()
        return response

    async def _answer(self, request: web.Request, info: RequestInfo, user: User) -> web.StreamResponse:
        if info.resource and self._client is not None:
            return await self._routes.answer(request, info, user, self._client)
        if info.verb != "get":
            raise method_not_allowed()
        return self._documents.answer(request)


def _refusal(error: ApiError) -> web.Response:
    headers = {**error.headers, "Content-Type": "application/json"}
    return web.Response(body=encoded(error.status()), status=error.code, headers=headers)
