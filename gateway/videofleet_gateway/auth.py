"""API keys from a mounted file: who is asking. The tenant comes from the key and from nowhere else.

The file holds `{"keys": [{"id", "sha256", "tenant", "role", "expires"}], "tenants": {tenant: rules}}`; a key reads
`vf_<id>_<secret>` and the digest is of the whole text. The role `admin` may act on every fleet and tenant; `user`, the
default, on its own. A tenant may have several keys, so that one can be replaced without a gap; one whose `expires` has
come opens nothing. The file is read again when it changes; a broken new version is logged and the last good keys and
rules stay.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from videofleet_gateway.mounted import MountedFile, read_json
from videofleet_gateway.problems import Problem
from videofleet_gateway.tenants import TenantRules

_BEARER: Final = re.compile(r"(?i:bearer) +vf_([A-Za-z0-9]{1,32})_([!-~]{1,256})")
_NO_DIGEST: Final = "0" * 64  # compared when the id is unknown, so that both take the same time

_NO_RULES: Final = TenantRules()


class KeysFileError(Exception):
    """The keys file cannot be used; the message never quotes its contents."""


class KeyExpired(Problem):
    """A key that was good. Told to nobody but who holds all of it."""

    status, kind, default_code = 401, "authentication_error", "api_key_expired"

    def __init__(self, expires: datetime) -> None:
        when = expires.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
        super().__init__(
            f"this API key expired at {when} UTC; use the tenant's newer one, or ask your administrator for it",
            headers={"WWW-Authenticate": 'Bearer realm="videofleet", error="invalid_token"'},
        )


@dataclass(frozen=True)
class Caller:
    """Who is asking."""

    tenant: str
    key_id: str
    rules: TenantRules = field(default_factory=TenantRules)
    is_admin: bool = False
    key_expires: datetime | None = None


TENANT_NAME: Final = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_TenantName = Annotated[str, StringConstraints(pattern=f"^{TENANT_NAME}$")]


class _Key(BaseModel):
    model_config = ConfigDict(hide_input_in_errors=True, extra="forbid")

    id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]{1,32}$")]
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    tenant: _TenantName
    role: Literal["user", "admin"] = "user"
    expires: Annotated[AwareDatetime, Field(strict=True)] | None = (
        None  # with its zone; a bare number may mean anything
    )

    @property
    def is_over(self) -> bool:
        """Whether it opens nothing any more."""
        return self.expires is not None and self.expires <= datetime.now(UTC)


class _KeysFile(BaseModel):
    model_config = ConfigDict(hide_input_in_errors=True, extra="forbid")

    keys: list[_Key]
    tenants: dict[_TenantName, TenantRules] = {}


class Keyring:
    """The keys of the moment. Raises at construction: KeysFileError."""

    def __init__(self, path: Path) -> None:
        self._mounted = MountedFile(path, "keys", _read, KeysFileError)

    def caller(self, authorization: str | None) -> Caller | None:
        """Whose key the Authorization header holds; None when it is not one of ours. Raises: KeyExpired."""
        match = _BEARER.fullmatch(authorization.strip()) if authorization else None
        if match is None:
            return None
        key_id, secret = match.groups()
        known = self._keys.get(key_id)
        digest = hashlib.sha256(f"vf_{key_id}_{secret}".encode()).hexdigest()
        if not hmac.compare_digest(digest, known.sha256 if known else _NO_DIGEST) or known is None:
            return None
        if known.expires is not None and known.is_over:
            raise KeyExpired(known.expires)
        return self._caller(known)

    def caller_of(self, key_id: str) -> Caller | None:
        """Whose key this is, for what the key has signed; None when it was taken away or has expired."""
        known = self._keys.get(key_id)
        return None if known is None or known.is_over else self._caller(known)

    def _caller(self, key: _Key) -> Caller:
        rules = self._rules.get(key.tenant, _NO_RULES)
        is_admin = key.role == "admin"
        return Caller(tenant=key.tenant, key_id=key.id, rules=rules, is_admin=is_admin, key_expires=key.expires)

    def rules(self, tenant: str) -> TenantRules:
        """What a tenant may, by its name."""
        return self._rules.get(tenant, _NO_RULES)

    @property
    def _keys(self) -> Mapping[str, _Key]:
        return self._mounted.current()[0]

    @property
    def _rules(self) -> Mapping[str, TenantRules]:
        return self._mounted.current()[1]


def _read(path: Path) -> tuple[Mapping[str, _Key], Mapping[str, TenantRules]]:
    file = read_json(path, _KeysFile, KeysFileError, "the API keys")
    by_id = {key.id: key for key in file.keys}
    if len(by_id) != len(file.keys):
        raise KeysFileError(f"{path}: a key id stands there twice; give each key its own")
    return by_id, file.tenants
