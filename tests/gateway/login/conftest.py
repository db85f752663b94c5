"""A gateway where one can sign in, a browser of a few lines, and an identity provider that lies on demand."""

import base64
import hashlib
import json
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm
from yarl import URL

CLIENT = "videofleet"


@pytest.fixture(scope="package")
def door(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, shared_redis: Any) -> Iterator[Any]:
    """One gateway for all of these; each test writes the file that it wants."""
    gateway_type = type(request.getfixturevalue("gateway"))
    server = gateway_type(shared_redis.url, tmp_path_factory.mktemp("door"), extra_arguments=("--drain-delay=0",))
    server.publish()
    server.let_in("http://127.0.0.1:9")
    server.start()
    yield server
    assert server.stop() == 0
    assert "Traceback" not in server.log()


@pytest.fixture
async def visitor() -> AsyncIterator[aiohttp.ClientSession]:
    """A browser as far as cookies and redirects go."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        yield session


@dataclass
class Liar:
    """An OpenID provider with real signatures that says whatever a test makes it say. Checks PKCE and the client."""

    issuer: str = ""
    claims: dict[str, Any] = field(default_factory=dict)  # added to the honest ones; None takes one away
    key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))
    kid: str = "k1"
    published: dict[str, rsa.RSAPrivateKey] | None = None  # by kid; None: the key that signs
    forge: Callable[[str], str] | None = None  # makes the token from the nonce, instead of an honest one
    asked: dict[str, int] = field(default_factory=dict)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    description: dict[str, Any] = field(default_factory=dict)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/.well-known/openid-configuration", self.describe),
            web.get("/authorize", self.authorize),
            web.post("/token", self.exchange),
            web.get("/jwks", self.jwks),
            web.get("/moved/.well-known/openid-configuration", self.moved),
        ]

    def _count(self, what: str) -> None:
        self.asked[what] = self.asked.get(what, 0) + 1

    async def describe(self, _: web.Request) -> web.Response:
        self._count("description")
        endpoints = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "jwks"}
        told = {"issuer": self.issuer} | {name: f"{self.issuer}/{path}" for name, path in endpoints.items()}
        return web.json_response(told | self.description)

    async def moved(self, _: web.Request) -> web.Response:
        self._count("moved")
        return web.Response(status=302, headers={"Location": f"{self.issuer}/.well-known/openid-configuration"})

    async def authorize(self, request: web.Request) -> web.Response:
        asked = dict(request.query)
        assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
        code = secrets.token_urlsafe(16)
        self.codes[code] = asked
        back = URL(asked["redirect_uri"]).update_query(code=code, state=asked["state"])
        return web.Response(status=302, headers={"Location": str(back)})

    async def exchange(self, request: web.Request) -> web.Response:
        self._count("token")
        fields = await request.post()
        asked = self.codes.pop(str(fields["code"]), None)
        verifier = str(fields["code_verifier"]).encode()
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier).digest()).decode().rstrip("=")
        right_client = request.headers.get("Authorization") == aiohttp.encode_basic_auth(CLIENT, "not-in-any-log")
        if asked is None or asked["code_challenge"] != challenge or not right_client:
            return web.json_response({"error": "invalid_grant"}, status=400)
        return web.json_response({"id_token": (self.forge or self.signed)(asked["nonce"]), "token_type": "Bearer"})

    def claims_for(self, nonce: str) -> dict[str, Any]:
        """What an honest token would say, and what this one does."""
        now = int(time.time())
        honest = {"iss": self.issuer, "sub": "ada", "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": nonce}
        claims = honest | {"groups": ["painters"], "email": "ada@example.com"} | self.claims
        return {name: value for name, value in claims.items() if value is not None}

    def signed(self, nonce: str) -> str:
        return jwt.encode(self.claims_for(nonce), self.key, "RS256", {"kid": self.kid})

    async def jwks(self, _: web.Request) -> web.Response:
        self._count("jwks")
        keys = self.published if self.published is not None else {self.kid: self.key}
        told = [json.loads(RSAAlgorithm.to_jwk(key.public_key())) | {"kid": kid} for kid, key in keys.items()]
        return web.json_response({"keys": told})


@pytest.fixture
async def liar() -> AsyncIterator[Liar]:
    """The liar, listening."""
    told = Liar()
    app = web.Application()
    app.add_routes(told.routes())
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    told.issuer = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield told
    await runner.cleanup()


Arrival = tuple[int, str]


@pytest.fixture
def arrive(door: Any, visitor: aiohttp.ClientSession) -> Callable[[], Awaitable[Arrival]]:
    """Follows the page's link as far as it leads: status and error code; (200, "") at the page."""

    async def follow() -> Arrival:
        async with visitor.get(f"{door.url}/login") as response:
            if response.content_type == "application/problem+json":
                return response.status, (await response.json())["error"]["code"]
            assert str(response.url) == f"{door.url}/"
            return response.status, ""

    return follow
