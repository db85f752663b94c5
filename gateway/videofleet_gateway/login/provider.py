"""Talks to the identity provider: discovery, the exchange of a code, its keys. The gateway's only way there.

Every answer is bounded in time and size, no redirect is followed, and nothing it sends is logged. Discovery and keys
are remembered for some minutes; keys are asked for once more when a token names an unknown one.
"""

import base64
import json
import logging
import re
import time
from collections.abc import Mapping
from typing import Annotated, Any, Final
from urllib.parse import quote_plus

import aiohttp
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError
from yarl import URL

from videofleet_gateway.login.id_token import KeyUnknown, verified
from videofleet_gateway.login.rules import Rules, is_secure

log: Final = logging.getLogger(__name__)

ANSWER_S: Final = 5.0
MAX_ANSWER_BYTES: Final = 262_144
REMEMBERED_S: Final = 600.0
_OAUTH_ERROR: Final = re.compile(r"[a-z_]{1,40}")


class ProviderAway(Exception):
    """It does not answer, or not as a provider does; the message is safe to log."""


class CodeRefused(Exception):
    """The provider does not know the code: used before, or too old."""


def _endpoint(text: str) -> str:
    if not is_secure(URL(text)):
        raise ValueError("must be https")
    return text


_Endpoint = Annotated[str, AfterValidator(_endpoint)]


class _Discovery(BaseModel):
    """What we read of the provider's own description."""

    model_config = ConfigDict(hide_input_in_errors=True, frozen=True)

    issuer: str
    authorization_endpoint: _Endpoint
    token_endpoint: _Endpoint
    jwks_uri: _Endpoint
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)


class Provider:
    """One identity provider, as one version of the file describes it."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._session: aiohttp.ClientSession | None = None
        self._discovery: tuple[float, _Discovery] | None = None
        self._keys: tuple[float, list[Mapping[str, Any]]] | None = None

    async def close(self) -> None:
        """Closes the connections."""
        if self._session is not None:
            await self._session.close()

    async def authorization_url(self, **parameters: str) -> str:
        """Where a browser is sent to. Raises: ProviderAway."""
        return str(URL((await self._described()).authorization_endpoint).update_query(parameters))

    async def id_token(self, code: str, verifier: str) -> str:
        """The ID token that a code is good for. Raises: CodeRefused, ProviderAway."""
        described, rules = await self._described(), self._rules
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": rules.redirect_url,
            "code_verifier": verifier,
        }
        headers: dict[str, str] = {}
        if rules.client_secret is None:
            fields["client_id"] = rules.client_id
        elif "client_secret_basic" in described.token_endpoint_auth_methods_supported:
            user, password = quote_plus(rules.client_id), quote_plus(rules.client_secret.get_secret_value())
            headers["Authorization"] = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        else:
            fields |= {"client_id": rules.client_id, "client_secret": rules.client_secret.get_secret_value()}
        status, answer = await self._ask("POST", described.token_endpoint, data=fields, headers=headers)
        if status != 200:
            reason = str(answer.get("error"))
            reason = reason if _OAUTH_ERROR.fullmatch(reason) else "nothing more"
            log.warning("the identity provider refused a code", extra={"status": status, "reason": reason})
            raise CodeRefused if reason == "invalid_grant" else ProviderAway(f"its token endpoint says {reason}")
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise ProviderAway("its token endpoint gave no ID token")
        return token

    async def claims(self, token: str, nonce: str) -> Mapping[str, Any]:
        """What the token says, verified. Raises: TokenRefused, ProviderAway."""
        rules = self._rules
        expected = {"issuer": rules.issuer, "client_id": rules.client_id, "nonce": nonce}
        try:
            return verified(token, await self._key_set(REMEMBERED_S), **expected)
        except KeyUnknown:  # it may have changed its keys
            return verified(token, await self._key_set(0), **expected)

    async def _described(self) -> _Discovery:
        if self._discovery and time.monotonic() - self._discovery[0] < REMEMBERED_S:
            return self._discovery[1]
        status, answer = await self._ask("GET", self._rules.issuer.rstrip("/") + "/.well-known/openid-configuration")
        try:
            found = _Discovery.model_validate(answer)
        except ValidationError:
            raise ProviderAway(f"its description lacks an endpoint, or its https (status {status})") from None
        if found.issuer != self._rules.issuer:
            raise ProviderAway("its description names another issuer; write it into the file exactly like that")
        self._discovery = time.monotonic(), found
        return found

    async def _key_set(self, max_age_s: float) -> list[Mapping[str, Any]]:
        if self._keys and time.monotonic() - self._keys[0] < max_age_s:
            return self._keys[1]
        status, answer = await self._ask("GET", (await self._described()).jwks_uri)
        keys = answer.get("keys")
        if status != 200 or not isinstance(keys, list):
            raise ProviderAway(f"its keys cannot be read (status {status})")
        self._keys = time.monotonic(), [each for each in keys if isinstance(each, dict)]
        return self._keys[1]

    async def _ask(self, method: str, url: str, **more: Any) -> tuple[int, Mapping[str, Any]]:
        """Status and JSON object; an empty one where there is none. Raises: ProviderAway."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=ANSWER_S),
                headers={"Accept": "application/json", "Accept-Encoding": "identity"},
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,  # what is packed could unpack to anything
            )
        try:
            async with self._session.request(method, url, allow_redirects=False, **more) as response:
                return response.status, await _json_object(response)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ProviderAway(f"no answer ({type(error).__name__})") from None


async def _json_object(response: aiohttp.ClientResponse) -> Mapping[str, Any]:
    body = bytearray()
    async for chunk in response.content.iter_chunked(65_536):
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise ProviderAway(f"its answer is longer than {MAX_ANSWER_BYTES} bytes")
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}
