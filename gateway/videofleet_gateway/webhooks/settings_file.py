"""The webhooks file: each tenant's signing secrets, and what may be reached beside the public Internet.

`{"secrets": {tenant: ["whsec_…"]}, "allowedNetworks": ["10.20.0.0/16"], "allowedDomains": ["corp.example"]}`. With two
secrets both sign, so that a receiver can change over. Read again when it changes; a broken new version is logged and
the last good one stays. A tenant without a secret has no webhooks.
"""

import base64
import binascii
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, IPvAnyNetwork, StringConstraints
from pydantic.alias_generators import to_camel

from videofleet_gateway.mounted import MountedFile, read_json
from videofleet_gateway.webhooks.targets import Reach


class WebhooksFileError(Exception):
    """The file cannot be used; the message never quotes its contents."""


def _secret(text: str) -> str:
    try:
        size_bytes = len(base64.b64decode(text.removeprefix("whsec_"), validate=True))
    except binascii.Error:
        size_bytes = 0
    if not text.startswith("whsec_") or not 24 <= size_bytes <= 64:
        raise ValueError("must be whsec_ and the base64 of 24 to 64 random bytes")
    return text


_Secrets = Annotated[tuple[Annotated[str, AfterValidator(_secret)], ...], Field(min_length=1, max_length=2)]
_Domain = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")]


class _File(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, hide_input_in_errors=True, extra="forbid", frozen=True
    )

    secrets: dict[str, _Secrets]
    allowed_networks: tuple[IPvAnyNetwork, ...] = ()
    allowed_domains: tuple[_Domain, ...] = ()


class WebhookRules:
    """The rules of the moment; without a file nobody has webhooks. Raises at construction: WebhooksFileError."""

    def __init__(self, path: Path | None) -> None:
        self._mounted = MountedFile(path, "webhook rules", _read, WebhooksFileError) if path else None

    def secrets(self, tenant: str) -> tuple[str, ...]:
        """What signs the tenant's webhooks, the newest first; () when it has none."""
        return self._file.secrets.get(tenant, ())

    @property
    def reach(self) -> Reach:
        """What may be reached."""
        return Reach(self._file.allowed_networks, self._file.allowed_domains)

    @property
    def _file(self) -> _File:
        return self._mounted.current() if self._mounted else _File(secrets={})


def _read(path: Path) -> _File:
    return read_json(path, _File, WebhooksFileError, "the webhooks' secrets", depth=2)
