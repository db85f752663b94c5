"""Signing people in: an attempt begins, comes back with a code, and becomes a session; a session becomes a caller.

An attempt (state, nonce, PKCE verifier) and a session each live in a signed cookie, so no replica remembers anybody. A
session dies with its time, and as soon as the file no longer says what let it in. The tenant comes from the session and
its rules from the keys file; what changes something is refused when another site sent it.
"""

import base64
import hashlib
import hmac
import logging
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiohttp import web

from videofleet.queue.signing import SigningKeys
from videofleet_gateway.auth import TENANT_NAME, Caller, Keyring
from videofleet_gateway.login.cookies import Purpose, cookie_name, seal, unseal
from videofleet_gateway.login.id_token import TokenRefused
from videofleet_gateway.login.provider import CodeRefused, Provider
from videofleet_gateway.login.rules import Grant, OidcFileError, Rules, digest, read_rules
from videofleet_gateway.mounted import MountedFile
from videofleet_gateway.problems import Forbidden, Problem

log: Final = logging.getLogger(__name__)

ATTEMPT_LIFE_S: Final = 600  # to find a password, and a telephone for the second factor
_SAFE: Final = frozenset({"GET", "HEAD"})
_PERSON: Final = re.compile(rf"oidc:({TENANT_NAME}):[0-9a-f]{{16}}")
_OAUTH_ERROR: Final = re.compile(r"[a-z_]{1,40}")


class SignInFailed(Problem):
    """This attempt cannot be finished; another can."""

    status, kind, default_code = 400, "invalid_request_error", "sign_in_failed"


@dataclass(frozen=True)
class Cookie:
    """One that a reply sets."""

    name: str
    text: str
    life_s: int
    is_public: bool

    def put(self, response: web.Response, same_site: str) -> None:
        """Into the reply: no script reads it, and only this host gets it."""
        response.set_cookie(
            self.name,
            self.text,
            max_age=self.life_s,
            path="/",
            secure=self.is_public,
            httponly=True,
            samesite=same_site,
        )


class SignIn:
    """The sign-in of the moment's file. Raises at construction: OidcFileError."""

    def __init__(self, path: Path, signing: SigningKeys, keys: Keyring) -> None:
        self._mounted = MountedFile(path, "sign-in rules", read_rules, OidcFileError)
        self._signing, self._keys = signing, keys
        self._asked: tuple[Rules, Provider] | None = None

    @property
    def rules(self) -> Rules:
        """The last good version of the file."""
        return self._mounted.current()

    async def close(self) -> None:
        """Closes the connections."""
        if self._asked is not None:
            await self._asked[1].close()

    async def begin(self) -> tuple[str, Cookie]:
        """Where the browser goes, and what it brings back. Raises: ProviderAway, QueueUnavailable."""
        rules = self.rules
        attempt = {name: secrets.token_urlsafe(32) for name in ("state", "nonce", "verifier")}
        challenge = base64.urlsafe_b64encode(hashlib.sha256(attempt["verifier"].encode()).digest()).decode().rstrip("=")
        url = await (await self._provider(rules)).authorization_url(
            response_type="code",
            client_id=rules.client_id,
            redirect_uri=rules.redirect_url,
            scope=" ".join(rules.scopes),
            state=attempt["state"],
            nonce=attempt["nonce"],
            code_challenge=challenge,
            code_challenge_method="S256",
        )
        text = await seal(self._signing, Purpose.ATTEMPT, attempt, ATTEMPT_LIFE_S)
        return url, self._cookie(Purpose.ATTEMPT, text, ATTEMPT_LIFE_S)

    async def finish(self, request: web.Request) -> Cookie:
        """The session of somebody who comes back. Raises: SignInFailed, Forbidden, ProviderAway, QueueUnavailable."""
        rules = self.rules
        attempt = await unseal(self._signing, Purpose.ATTEMPT, request.cookies.get(self.name(Purpose.ATTEMPT), ""))
        if attempt is None:
            raise self._failed("it took too long, or began in another window or at another address")
        code = self._code(request.query, attempt["state"])
        provider = await self._provider(rules)
        try:
            claims = await provider.claims(await provider.id_token(code, attempt["verifier"]), attempt["nonce"])
        except CodeRefused:
            raise self._failed("the identity provider does not know its code any more") from None
        except TokenRefused as error:
            log.warning("ID token refused: %s", error)
            raise self._failed("what the identity provider said could not be verified") from None
        grant = rules.grant(claims)
        if grant is None:
            raise Forbidden(
                f"the identity provider knows you, but your claim “{rules.tenant_claim}” names no tenant here; "
                "ask whoever runs this installation",
                code="no_tenant",
            )
        who = digest(rules.issuer, claims["sub"])
        said = {"tenant": grant.tenant, "by": grant.by, "admin": grant.admin_by, "who": who, "client": rules.client}
        text = await seal(self._signing, Purpose.SESSION, said, rules.session_life_s)
        log.info("signed in", extra={"tenant": grant.tenant, "person": who})
        return self._cookie(Purpose.SESSION, text, rules.session_life_s)

    def ended(self, purpose: Purpose) -> Cookie:
        """What takes a cookie away again."""
        return self._cookie(purpose, "", 0)

    def name(self, purpose: Purpose) -> str:
        """What the cookie is called here."""
        return cookie_name(purpose, is_public=self.rules.is_public)

    async def caller(self, request: web.Request) -> Caller | None:
        """Whose session the request brings; None without a good one. Raises: Forbidden, QueueUnavailable."""
        rules, text = self.rules, request.cookies.get(self.name(Purpose.SESSION))
        said = await unseal(self._signing, Purpose.SESSION, text) if text else None
        if said is None or said["client"] != rules.client:
            return None
        grant = Grant(said["tenant"], said["by"], said["admin"])
        if not rules.honours(grant):
            return None
        self.refuse_other_sites(request)
        return self._caller(f"oidc:{grant.tenant}:{said['who']}", grant.tenant, is_admin=bool(grant.admin_by))

    def caller_of(self, key_id: str) -> Caller | None:
        """On whose behalf a link of a session opens; None when nobody is let into that tenant any more."""
        match = _PERSON.fullmatch(key_id)
        if match is None or match[1] not in self.rules.tenants.values():
            return None
        return self._caller(key_id, match[1])

    def refuse_other_sites(self, request: web.Request) -> None:
        """A browser sends cookies along with what other sites make it send. Raises: Forbidden."""
        headers = request.headers
        is_ours = headers.get("Sec-Fetch-Site") == "same-origin" or headers.get("Origin") == self.rules.origin
        if request.method not in _SAFE and not is_ours:
            raise Forbidden(f"with a session this has to come from the page at {self.rules.origin}/", code="cross_site")

    def _caller(self, key_id: str, tenant: str, *, is_admin: bool = False) -> Caller:
        return Caller(tenant=tenant, key_id=key_id, rules=self._keys.rules(tenant), is_admin=is_admin)

    def _code(self, query: Mapping[str, str], state: str) -> str:
        if not hmac.compare_digest(query.get("state", "").encode(errors="replace"), state.encode()):
            raise self._failed("it belongs to another attempt")
        if query.get("iss", self.rules.issuer) != self.rules.issuer:
            raise self._failed("another identity provider answered")
        if error := query.get("error"):
            reason = error if _OAUTH_ERROR.fullmatch(error) else "no"
            raise self._failed(f"the identity provider said {reason}")
        if not 0 < len(code := query.get("code", "")) <= 4096:
            raise self._failed("the identity provider gave no code")
        return code

    def _failed(self, why: str) -> SignInFailed:
        return SignInFailed(f"this sign-in cannot be finished: {why}; begin again at {self.rules.origin}/")

    def _cookie(self, purpose: Purpose, text: str, life_s: int) -> Cookie:
        return Cookie(self.name(purpose), text, life_s, self.rules.is_public)

    async def _provider(self, rules: Rules) -> Provider:
        """The provider that this version of the file describes."""
        before = self._asked
        if before is not None and before[0] is rules:
            return before[1]
        fresh = Provider(rules)
        self._asked = rules, fresh
        if before is not None:
            await before[1].close()
        return fresh
