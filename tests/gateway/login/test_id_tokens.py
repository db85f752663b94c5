"""ID tokens of every algorithm that counts, and keys that do not fit."""

import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from videofleet_gateway.login.id_token import KeyUnknown, TokenRefused, verified

RSA = rsa.generate_private_key(65537, 2048)
KEYS: dict[str, tuple[Any, Any]] = {
    "RS256": (RSA, RSAAlgorithm),
    "PS256": (RSA, RSAAlgorithm),
    "ES256": (ec.generate_private_key(ec.SECP256R1()), ECAlgorithm),
    "EdDSA": (ed25519.Ed25519PrivateKey.generate(), OKPAlgorithm),
}
CLAIMS = {
    "iss": "https://id.example",
    "aud": "page",
    "sub": "ada",
    "nonce": "n",
    "iat": 946_684_800,
    "exp": 4_102_444_800,
}
EXPECTED = {"issuer": "https://id.example", "client_id": "page", "nonce": "n"}


def public(algorithm: str, **changes: Any) -> dict[str, Any]:
    private, kind = KEYS[algorithm]
    return json.loads(kind.to_jwk(private.public_key())) | {"kid": algorithm} | changes


def token(algorithm: str, **header: Any) -> str:
    return jwt.encode(CLAIMS, KEYS[algorithm][0], algorithm, {"kid": algorithm} | header)


@pytest.mark.parametrize("algorithm", KEYS)
def test_every_algorithm_of_the_list(algorithm: str) -> None:
    key_set = [public(each) for each in KEYS]
    assert verified(token(algorithm), key_set, **EXPECTED)["sub"] == "ada"


def test_the_key_has_to_fit_the_algorithm() -> None:
    with pytest.raises(KeyUnknown):
        verified(token("PS256"), [public("PS256", alg="RS256")], **EXPECTED)
    with pytest.raises(KeyUnknown):
        verified(token("RS256"), [public("RS256", use="enc")], **EXPECTED)
    with pytest.raises(TokenRefused):
        verified(token("ES256", kid="RS256"), [public("RS256")], **EXPECTED)
    with pytest.raises(TokenRefused, match="which of the provider's keys"):
        verified(token("RS256"), [public("RS256"), public("RS256")], **EXPECTED)


def test_a_token_without_a_key_id_needs_a_provider_with_one_key() -> None:
    nameless = jwt.encode(CLAIMS, RSA, "RS256")
    assert verified(nameless, [public("RS256")], **EXPECTED)["sub"] == "ada"
    with pytest.raises(TokenRefused, match="which of the provider's keys"):
        verified(nameless, [public("RS256"), public("ES256")], **EXPECTED)


def test_a_refusal_never_quotes_the_token() -> None:
    with pytest.raises(TokenRefused) as refused:
        verified(token("RS256"), [public("RS256")], **EXPECTED | {"client_id": "another"})
    assert str(refused.value) == "InvalidAudienceError"
