"""The webhooks file: each tenant's signing secrets, and what may be reached beside the public Internet.

`{"secrets": {tenant: ["whsec_…"]}, "allowedNetworks": ["10.20.0.0/16"], "allowedDomains": ["corp.example"]}`. With two
secrets both sign, so that a receiver can change over. Read again when it changes; a broken new version is logged and
the last good one stays. A tenant without a secret has no webhooks.
"""

import base64
import binascii
import logging
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, IPvAnyNetwork, StringConstraints, ValidationError
from pydantic.alias_generators import to_camel

from videofleet_gateway.webhooks.targets import Reach

log: Final = logging.getLogger(__name__)


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
        self._path = path
        self._seen = _signature(path)
        self._file = _read(path) if path else _File(secrets={})

    def secrets(self, tenant: str) -> tuple[str, ...]:
        """What signs the tenant's webhooks, the newest first; () when it has none."""
        self._reload_if_changed()
        return self._file.secrets.get(tenant, ())

    @property
    def reach(self) -> Reach:
        """What may be reached."""
        self._reload_if_changed()
        return Reach(self._file.allowed_networks, self._file.allowed_domains)

    def _reload_if_changed(self) -> None:
        if self._path is None or (signature := _signature(self._path)) == self._seen:
            return
        self._seen = signature
        try:
            self._file = _read(self._path)
        except WebhooksFileError as error:
            log.error("webhook rules not reloaded, the last good ones stay: %s", error)
        else:
            log.info("webhook rules reloaded", extra={"tenants": len(self._file.secrets)})


def _signature(path: Path | None) -> tuple[int, int, int] | None:
    try:
        stat = path.stat() if path else None
    except OSError:
        return None
    return (stat.st_mtime_ns, stat.st_ino, stat.st_size) if stat else None


def _read(path: Path) -> _File:
    try:
        return _File.model_validate_json(path.read_bytes())
    except OSError as error:
        raise WebhooksFileError(f"{path}: {error.strerror}; mount the Secret with the webhooks' secrets") from error
    except ValidationError as error:
        places = (".".join(map(str, fault["loc"][:2])) or "file" for fault in error.errors(include_input=False))
        texts = (fault["msg"] for fault in error.errors(include_input=False))
        faults = "; ".join(f"{place}: {text}" for place, text in zip(places, texts, strict=True))
        raise WebhooksFileError(f"{path}: {faults}") from None
