"""The sign-in file: which identity provider people come from, and which claim makes them somebody's tenant.

Owns the file's schema and the question whom it lets in as what. The client's secret is never quoted.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
)
from pydantic.alias_generators import to_camel
from yarl import URL

from videofleet_gateway.auth import TENANT_NAME
from videofleet_gateway.mounted import read_json

CALLBACK: Final = "/login/callback"
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_LIFE: Final = re.compile(r"([1-9][0-9]{0,3})(m|h)")
_MIN_LIFE_S: Final = 300
_MAX_LIFE_S: Final = 86_400  # as long as every signing key is good


class OidcFileError(Exception):
    """The file cannot be used; the message never quotes its contents."""


@dataclass(frozen=True)
class Grant:
    """What somebody's claims make of them. `by` and `admin_by` are digests of the claim's values that decided."""

    tenant: str
    by: str
    admin_by: str = ""  # none: not an admin


def is_secure(url: URL) -> bool:
    """Whether nobody on the way can read it: TLS, or this very machine."""
    return url.scheme == "https" or (url.scheme == "http" and url.host in _LOOPBACK)


def digest(*words: str) -> str:
    """A name for what should not be said; 16 hexadecimal digits."""
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]


def _address(text: str) -> str:
    try:
        url = URL(text)
    except ValueError:
        url = URL()
    plain = bool(url.host) and not (url.query_string or url.fragment or url.user or url.password)
    if not (plain and is_secure(url)):
        raise ValueError(
            "must be https://… without query or user; http:// only for this machine (127.0.0.1, localhost)"
        )
    return text


def _callback(text: str) -> str:
    if URL(text).path != CALLBACK:
        raise ValueError(f"must end in {CALLBACK}, e.g. https://video.example.com{CALLBACK}")
    return text


def _life_s(text: str) -> str:
    match = _LIFE.fullmatch(text)
    if match is None or not _MIN_LIFE_S <= _seconds(match) <= _MAX_LIFE_S:
        raise ValueError("must be from 5m to 24h, e.g. 8h")
    return text


def _scopes(scopes: tuple[str, ...]) -> tuple[str, ...]:
    if "openid" not in scopes:
        raise ValueError('must hold "openid", or the provider does not say who it is')
    return scopes


def _seconds(match: re.Match[str]) -> int:
    return int(match[1]) * (60 if match[2] == "m" else 3600)


_Address = Annotated[str, StringConstraints(max_length=1024), AfterValidator(_address)]
_Name = Annotated[str, StringConstraints(min_length=1, max_length=256)]
_Scope = Annotated[str, StringConstraints(pattern=r"^[!#-\[\]-~]{1,64}$")]
_Tenant = Annotated[str, StringConstraints(pattern=f"^{TENANT_NAME}$")]


class Rules(BaseModel):
    """One version of the file."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, hide_input_in_errors=True, extra="forbid", frozen=True
    )

    issuer: _Address
    client_id: _Name
    client_secret: Annotated[SecretStr, Field(min_length=1, max_length=1024)] | None = None  # none: a public client
    redirect_url: Annotated[_Address, AfterValidator(_callback)]
    name: Annotated[str, StringConstraints(min_length=1, max_length=40)] = "single sign-on"  # on the page's button
    scopes: Annotated[tuple[_Scope, ...], Field(max_length=20), AfterValidator(_scopes)] = ("openid",)
    tenant_claim: _Name
    tenants: Annotated[dict[_Name, _Tenant], Field(min_length=1, max_length=1000)]
    admins: Annotated[tuple[_Name, ...], Field(max_length=1000)] = ()
    session_life: Annotated[str, AfterValidator(_life_s)] = "8h"

    @property
    def session_life_s(self) -> int:
        """Seconds from signing in to having to do it again."""
        match = _LIFE.fullmatch(self.session_life)
        return _seconds(match) if match else 0

    @property
    def origin(self) -> str:
        """Where the page is, as browsers say it: `https://video.example.com`."""
        return str(URL(self.redirect_url).origin())

    @property
    def is_public(self) -> bool:
        """Whether the page is behind TLS, so that cookies can be bound to it."""
        return URL(self.redirect_url).scheme == "https"

    @cached_property
    def client(self) -> str:
        """A digest of who lets people in; sessions end with it."""
        return digest(self.issuer, self.client_id)

    @cached_property
    def tenants_by_digest(self) -> Mapping[str, str]:
        """The tenant of each claim value's digest."""
        return {digest(value): tenant for value, tenant in self.tenants.items()}

    @cached_property
    def admins_by_digest(self) -> frozenset[str]:
        """The digests of what makes an admin."""
        return frozenset(map(digest, self.admins))

    def grant(self, claims: Mapping[str, Any]) -> Grant | None:
        """What these claims allow; of several tenants the first in the file. None: nothing."""
        said = claims.get(self.tenant_claim)
        values = {said} if isinstance(said, str) else set(filter(_is_text, said)) if isinstance(said, list) else set()
        for value, tenant in self.tenants.items():
            if value in values:
                admin_by = next((digest(each) for each in self.admins if each in values), "")
                return Grant(tenant, digest(value), admin_by)
        return None

    def honours(self, grant: Grant) -> bool:
        """Whether the file still says the same of whom it once let in."""
        same_tenant = self.tenants_by_digest.get(grant.by) == grant.tenant
        return same_tenant and (not grant.admin_by or grant.admin_by in self.admins_by_digest)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def read_rules(path: Path) -> Rules:
    """The file. Raises: OidcFileError."""
    return read_json(path, Rules, OidcFileError, "oidc.json", depth=1)  # below the fields stand names of groups
