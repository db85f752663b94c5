"""Sends one webhook: one connection, no redirect, no proxy, no cookie, and nothing of the reply but its status is read.

SSRF-proof where it counts: a name is resolved once, for this delivery, and every address is judged in the moment when
its socket is made. The limits bound what a slow or talkative receiver can hold.
"""

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import aiohttp
from aiohappyeyeballs import AddrInfoType
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from videofleet_gateway.webhooks.addresses import is_permitted
from videofleet_gateway.webhooks.targets import Reach, all_permitted, check_target

LIMIT_S: Final = 15.0  # from the DNS to the reply's headers
_CONNECT_S: Final = 5.0
_LINE_BYTES: Final = 8190


@dataclass(frozen=True)
class Reply:
    """What became of one attempt. `status` is None when there was no reply; `fault` says why, in one word."""

    status: int | None
    fault: str = ""
    retry_after_s: float = 0.0

    @property
    def is_accepted(self) -> bool:
        """2xx, and nothing else: a redirect is a failure."""
        return self.status is not None and 200 <= self.status < 300


class Forbidden(OSError):
    """The address may not be connected to."""


class Sender:
    """Sends to where `reach` and the public Internet are."""

    def __init__(self, resolver: AbstractResolver | None = None) -> None:
        self._resolver = resolver or ThreadedResolver()

    async def send(self, url: str, text: str, headers: Mapping[str, str], reach: Reach) -> Reply:
        """One attempt; whatever goes wrong is in the reply."""
        try:
            check_target(url, reach)
            async with (
                asyncio.timeout(LIMIT_S),
                self._session(reach) as session,
                session.post(url, data=text.encode(), headers=headers, allow_redirects=False) as reply,
            ):
                return Reply(reply.status, retry_after_s=_seconds(reply.headers.get("Retry-After", "")))
        except ValueError:
            return Reply(None, "forbidden")
        except TimeoutError:
            return Reply(None, "timeout")
        except aiohttp.ClientConnectorError as error:
            return Reply(None, "forbidden" if isinstance(error.os_error, Forbidden) else _kind(error))
        except (aiohttp.ClientError, OSError) as error:
            return Reply(None, "forbidden" if isinstance(error, Forbidden) else _kind(error))

    def _session(self, reach: Reach) -> aiohttp.ClientSession:
        def judged_socket(found: AddrInfoType) -> socket.socket:
            family, kind, protocol, _, address = found
            if not is_permitted(str(address[0]), reach.networks):
                raise Forbidden("this address may not be connected to")
            made = socket.socket(family, kind, protocol)
            made.setblocking(False)
            return made

        connector = aiohttp.TCPConnector(
            resolver=_Judging(self._resolver, reach),
            use_dns_cache=False,
            force_close=True,
            socket_factory=judged_socket,
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            max_line_size=_LINE_BYTES,
            max_field_size=_LINE_BYTES,
            timeout=aiohttp.ClientTimeout(total=LIMIT_S, sock_connect=_CONNECT_S),
        )


class _Judging(AbstractResolver):
    """Refuses a name of which one address is forbidden, before any of them is connected to."""

    def __init__(self, resolver: AbstractResolver, reach: Reach) -> None:
        self._resolver = resolver
        self._reach = reach

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of a name. Raises: Forbidden, OSError."""
        found = await self._resolver.resolve(host, port, socket.AF_UNSPEC)
        if not all_permitted([each["host"] for each in found], self._reach):
            raise Forbidden("the name leads to a forbidden address")
        return found

    async def close(self) -> None:
        """The resolver is shared and stays."""


def _kind(error: Exception) -> str:
    """A word from a closed list, fit for a metric's label."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "dns"
    if isinstance(error, aiohttp.ClientSSLError):
        return "tls"
    return "connection"


def _seconds(retry_after: str) -> float:
    return float(retry_after) if retry_after.isdigit() and len(retry_after) <= 9 else 0.0
