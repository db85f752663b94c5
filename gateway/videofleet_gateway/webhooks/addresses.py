"""Which IP addresses a webhook may be sent to: public ones, and networks that the installation allows. Pure.

An address that stands for another (v4-mapped IPv6) is judged as that other; ones that hide another behind a translator
(NAT64, 6to4, Teredo) are refused. Link-local and metadata addresses are refused whatever is allowed: they hand out
credentials.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_NEVER: Final[tuple[Network, ...]] = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",
            "169.254.0.0/16",  # link-local, and the metadata of most clouds
            "168.63.129.16/32",  # Azure's host, a public address
            "100.100.100.200/32",  # Alibaba's metadata
            "224.0.0.0/3",  # multicast, reserved, broadcast
            "fe80::/10",
            "fd00:ec2::254/128",  # AWS' metadata
            "ff00::/8",
            "::/128",
        ),
    )
)
_PRIVATE_V4: Final[tuple[Network, ...]] = tuple(
    map(
        ip_network,
        (
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.31.196.0/24",
            "192.52.193.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "192.175.48.0/24",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
        ),
    )
)
_PUBLIC_V6: Final = IPv6Network("2000::/3")
_SPECIAL_V6: Final[tuple[Network, ...]] = tuple(
    map(ip_network, ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20"))
)


def is_permitted(text: str, allowed: Sequence[Network]) -> bool:
    """Whether a webhook may go to this address, e.g. `93.184.216.34` or `fe80::1%eth0`. What is no address may not."""
    address = _meant(text)
    if address is None or _is_in(address, _NEVER):
        return False
    return _is_in(address, allowed) or is_public(address)


def is_allowed(text: str, allowed: Sequence[Network]) -> bool:
    """Whether the installation allows the address by name."""
    address = _meant(text)
    return address is not None and _is_in(address, allowed) and not _is_in(address, _NEVER)


def is_public(address: Address) -> bool:
    """Whether anybody on the Internet may be behind it."""
    if isinstance(address, IPv4Address):
        return not _is_in(address, _NEVER) and not _is_in(address, _PRIVATE_V4)
    return address in _PUBLIC_V6 and not _is_in(address, _SPECIAL_V6)


def _meant(text: str) -> Address | None:
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _is_in(address: Address, networks: Sequence[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)
