"""What an identity provider, or somebody in its place, must not get through with: every lie ends without a session."""

import base64
import hmac
import json
from typing import Any

import aiohttp
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

REFUSED = (400, "sign_in_failed")
LONG_AGO, FAR_AHEAD = 946_684_800, 4_102_444_800  # names of tests are to be the same in every process


def encoded(data: bytes | dict[str, Any]) -> str:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


async def has_session(door: Any, visitor: aiohttp.ClientSession) -> bool:
    async with visitor.get(f"{door.url}/v1/usage") as response:
        assert response.status in (200, 401)
        return response.status == 200


async def test_the_honest_one_gets_through(door: Any, visitor: Any, liar: Any, arrive: Any) -> None:
    door.let_in(liar.issuer)
    assert await arrive() == (200, "")
    assert await has_session(door, visitor)
    liar.claims = {"aud": ["videofleet", "other"], "azp": "videofleet"}
    assert await arrive() == (200, "")


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"nonce": 7},
        {"aud": "another-client"},
        {"aud": None},
        {"aud": ["videofleet", "another-client"]},
        {"azp": "another-client"},
        {"iss": "https://login.example.org"},
        {"iss": None},
        {"exp": LONG_AGO},
        {"exp": None},
        {"iat": FAR_AHEAD},
        {"iat": None},
        {"nbf": FAR_AHEAD},
        {"sub": None},
        {"sub": ""},
        {"sub": "x" * 256},
        {"sub": "\ud800"},
        {"nonce": "\ud800"},
    ],
    ids=str,
)
async def test_a_token_that_says_something_wrong(
    door: Any, visitor: Any, liar: Any, arrive: Any, claims: dict[str, Any]
) -> None:
    door.let_in(liar.issuer)
    liar.claims = claims
    assert await arrive() == REFUSED
    assert not await has_session(door, visitor)


async def test_signatures_that_are_none(door: Any, visitor: Any, liar: Any, arrive: Any) -> None:
    door.let_in(liar.issuer)
    stranger = rsa.generate_private_key(65537, 2048)
    public = liar.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def unsigned(nonce: str) -> str:
        return f"{encoded({'alg': 'none', 'kid': 'k1'})}.{encoded(liar.claims_for(nonce))}."

    def shared(nonce: str) -> str:
        text = f"{encoded({'alg': 'HS256', 'kid': 'k1'})}.{encoded(liar.claims_for(nonce))}"
        return f"{text}.{encoded(hmac.digest(public, text.encode(), 'sha256'))}"

    def by_a_stranger(nonce: str) -> str:
        return jwt.encode(liar.claims_for(nonce), stranger, "RS256", {"kid": "k1"})

    def with_its_own_key(nonce: str) -> str:
        own = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(stranger.public_key()))
        return jwt.encode(liar.claims_for(nonce), stranger, "RS256", {"kid": "k1", "jwk": own})

    def altered(nonce: str) -> str:
        header, _, signature = str(liar.signed(nonce)).split(".")
        return f"{header}.{encoded(liar.claims_for(nonce) | {'sub': 'boss'})}.{signature}"

    for forge in (unsigned, shared, by_a_stranger, with_its_own_key, altered, lambda _: "nonsense", lambda _: "a.b.c"):
        liar.forge = forge
        assert await arrive() == REFUSED
    assert not await has_session(door, visitor)
    liar.forge = None
    assert await arrive() == (200, "")


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
async def test_keys_that_are_too_short_do_not_count(door: Any, liar: Any, arrive: Any) -> None:
    door.let_in(liar.issuer)
    liar.key = rsa.generate_private_key(65537, 1024)
    assert await arrive() == REFUSED


async def test_an_unknown_key_is_looked_for_once_more(door: Any, liar: Any, arrive: Any) -> None:
    door.let_in(liar.issuer)
    assert await arrive() == (200, "")
    assert await arrive() == (200, "")
    assert (liar.asked["jwks"], liar.asked["description"]) == (1, 1), "remembered"
    liar.key, liar.kid = rsa.generate_private_key(65537, 2048), "k2"
    assert await arrive() == (200, "")
    assert liar.asked["jwks"] == 2, "the provider has changed its key"
    liar.published, liar.kid = {"k2": liar.key}, "k3"
    assert await arrive() == REFUSED
    assert liar.asked["jwks"] == 3, "once, not until it comes"


@pytest.mark.parametrize(
    "description",
    [
        {"issuer": "https://login.example.org"},
        {"token_endpoint": "http://login.example.org/token"},
        {"jwks_uri": None},
        {"authorization_endpoint": "https://[::1"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"padding": "x" * 300_000},
        {"jwks_uri": "http://127.0.0.1:9/jwks"},
    ],
    ids=lambda each: next(iter(each)),
)
async def test_a_provider_that_is_not_one_is_away_and_keys_still_open(
    door: Any, visitor: Any, liar: Any, arrive: Any, description: dict[str, Any]
) -> None:
    door.let_in(liar.issuer)
    liar.description = description
    assert await arrive() == (503, "identity_provider_unavailable")
    async with door.session("rich") as http, http.get("/v1/usage") as response:
        assert response.status == 200
    liar.description = {}
    door.let_in(liar.issuer)  # what was remembered of it is forgotten with the file's old version
    assert await arrive() == (200, "")


async def test_redirects_of_the_provider_are_not_followed(door: Any, visitor: Any, liar: Any, arrive: Any) -> None:
    door.let_in(f"{liar.issuer}/moved")
    assert await arrive() == (503, "identity_provider_unavailable")
    assert liar.asked == {"moved": 1}
    door.let_in(liar.issuer)
    assert await arrive() == (200, "")
