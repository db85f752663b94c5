"""Which URLs a webhook may have. Pure: names are judged again by their addresses, at the moment of connecting.

https on port 443 or 8443. Only inside networks that the installation allows plain http and other ports are fine, and
there the URL has to hold the address or a name of an allowed domain.
"""

import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit

from videofleet_gateway.webhooks.addresses import Network, is_allowed, is_permitted

MAX_CHARACTERS: Final = 2048
PORTS: Final = (443, 8443)

_NAME: Final = re.compile(r"(?=.{1,253}\Z)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?\.?")
_VISIBLE: Final = re.compile(r"[!-~]+")
_INSIDE: Final = (".localhost", ".local", ".internal", ".svc", ".cluster.local", ".home.arpa", ".onion", ".invalid")


@dataclass(frozen=True)
class Reach:
    """What the installation allows beside the public Internet."""

    networks: tuple[Network, ...] = ()
    domains: tuple[str, ...] = ()  # with every name below them

    def has_name(self, host: str) -> bool:
        """Whether the name is one of the allowed domains or below one."""
        return any(host == domain or host.endswith("." + domain) for domain in self.domains)


def check_target(url: str, reach: Reach) -> None:
    """Refuses what can be refused without asking the DNS. Raises: ValueError, whose text says what to change."""
    if len(url) > MAX_CHARACTERS or not _VISIBLE.fullmatch(url):
        raise ValueError(f"must be a URL of at most {MAX_CHARACTERS} visible ASCII characters")
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        raise ValueError("is no URL; write https://host/path") from None
    if "\\" in url or parts.username is not None or parts.password is not None or parts.fragment:
        raise ValueError("must have neither user, password, fragment nor backslash; write https://host/path")
    inside = _is_inside(host, reach)
    _check_port(parts, port, inside=inside)
    address = _literal(host)
    if address is not None:
        if not is_permitted(address, reach.networks):
            raise ValueError("must be a public address; your installation allows no other")
    elif not inside and (not _NAME.fullmatch(host) or host.endswith(_INSIDE)):
        raise ValueError("must name a public host, e.g. https://hooks.example.com/videofleet")


def _is_inside(host: str, reach: Reach) -> bool:
    address = _literal(host)
    return is_allowed(address, reach.networks) if address else reach.has_name(host)


def _check_port(parts: SplitResult, port: int | None, *, inside: bool) -> None:
    if parts.scheme not in (("https", "http") if inside else ("https",)):
        raise ValueError("must begin with https://")
    if not inside and port not in (None, *PORTS):
        raise ValueError(f"must use port {' or '.join(map(str, PORTS))}")


def _literal(host: str) -> str | None:
    """The address that the host spells, in every form that a resolver reads without the DNS: 0x7f.1, 2130706433."""
    if ":" in host:
        return host
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        return None


def all_permitted(addresses: Sequence[str], reach: Reach) -> bool:
    """Whether every address of a name may be connected to; a name with one that may not is a trick."""
    return bool(addresses) and all(is_permitted(address, reach.networks) for address in addresses)
