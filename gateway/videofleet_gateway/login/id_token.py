"""Whether an ID token says what it should: signed by the provider, for us, now, and for this very attempt. Pure.

Only asymmetric algorithms; the key is found in the provider's set by its id and has to fit the algorithm.
"""

import hmac
from collections.abc import Mapping, Sequence
from typing import Any, Final

import jwt

ALGORITHMS: Final = ("RS256", "PS256", "ES256", "EdDSA")  # never none, never a shared secret
_LEEWAY_S: Final = 60  # clocks differ
_REQUIRED: Final = ("iss", "sub", "aud", "exp", "iat")
_SUBJECT_CHARACTERS: Final = 255  # of ASCII, as the standard has it


class TokenRefused(Exception):
    """It does not; the message is safe to log and to show."""


class KeyUnknown(TokenRefused):
    """It names a key that is not in the set; perhaps the set is old."""


def verified(
    token: str, keys: Sequence[Mapping[str, Any]], *, issuer: str, client_id: str, nonce: str
) -> Mapping[str, Any]:
    """The token's claims. Raises: TokenRefused."""
    try:
        claims: Mapping[str, Any] = jwt.decode(
            token,
            _key(token, keys),
            algorithms=list(ALGORITHMS),
            audience=client_id,
            issuer=issuer,
            leeway=_LEEWAY_S,
            options={"require": list(_REQUIRED), "enforce_minimum_key_length": True},
        )
    except jwt.PyJWTError as error:
        raise TokenRefused(type(error).__name__) from None  # its text may quote the token
    audiences, party = claims["aud"], claims.get("azp")
    if party != client_id and (party is not None or (isinstance(audiences, list) and len(audiences) > 1)):
        raise TokenRefused("it was made for another client")
    said = claims.get("nonce")
    if not isinstance(said, str) or not hmac.compare_digest(said.encode(errors="replace"), nonce.encode()):
        raise TokenRefused("it belongs to another attempt")
    if not (0 < len(claims["sub"]) <= _SUBJECT_CHARACTERS and claims["sub"].isascii()):
        raise TokenRefused("it names nobody")
    return claims


def _key(token: str, keys: Sequence[Mapping[str, Any]]) -> jwt.PyJWK:
    header = jwt.get_unverified_header(token)
    algorithm, key_id = header.get("alg"), header.get("kid")
    if algorithm not in ALGORITHMS:
        raise TokenRefused("its algorithm is not one of " + ", ".join(ALGORITHMS))
    fitting = [
        each
        for each in keys
        if each.get("use", "sig") == "sig"
        and each.get("alg", algorithm) == algorithm
        and (key_id is None or each.get("kid") == key_id)
    ]
    if key_id is not None and not fitting:
        raise KeyUnknown("the provider has no such key")
    if len(fitting) != 1:
        raise TokenRefused("it does not say which of the provider's keys signed it")
    return jwt.PyJWK(dict(fitting[0]), algorithm)
