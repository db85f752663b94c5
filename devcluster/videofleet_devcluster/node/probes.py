"""One attempt of a probe or a lifecycle handler: an HTTP request, a connection, or a command.

An attempt answers with the empty text for success, or with the failure in the kubelet's words. Counting attempts
against thresholds is `Streak`, which is pure.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import aiohttp

from videofleet_devcluster.objects import Object

Execute = Callable[[list[str]], Awaitable[tuple[int, str]]]
"""Runs a command in the container's environment; (exit code, output)."""

_TRUST_ANYONE: Final = ssl.create_default_context()
_TRUST_ANYONE.check_hostname, _TRUST_ANYONE.verify_mode = False, ssl.CERT_NONE  # a kubelet does not check either


@dataclass
class Streak:
    """Consecutive results; a verdict falls when one side reaches its threshold."""

    success_threshold: int
    failure_threshold: int
    _last: bool = False
    _length: int = 0

    def add(self, success: bool) -> bool | None:
        """The verdict that this result completes, if any."""
        self._length = self._length + 1 if success == self._last else 1
        self._last = success
        needed = self.success_threshold if success else self.failure_threshold
        return success if self._length >= needed else None


async def attempt(handler: Object, container: Object, address: str, execute: Execute, timeout_s: float) -> str:
    """Performs the handler once; the empty text, or why it failed."""
    try:
        async with asyncio.timeout(timeout_s):
            return await _perform(handler, container, address, execute)
    except TimeoutError:
        return f"probe timed out after {timeout_s:g}s"


async def _perform(handler: Object, container: Object, address: str, execute: Execute) -> str:
    if "exec" in handler:
        code, output = await execute(handler["exec"]["command"])
        return "" if code == 0 else output.strip() or f"command exited with {code}"
    if "httpGet" in handler:
        return await _http(handler["httpGet"], container, address)
    if "tcpSocket" in handler:
        host, port = handler["tcpSocket"].get("host", address), _port(handler["tcpSocket"]["port"], container)
        try:
            _, writer = await asyncio.open_connection(host, port)
        except OSError:
            return f"dial tcp {host}:{port}: connect: connection refused"
        writer.close()
        return ""
    if "sleep" in handler:
        await asyncio.sleep(handler["sleep"]["seconds"])
        return ""
    return f"probes of type {', '.join(handler)} are not supported by this node"


async def _http(request: Object, container: Object, address: str) -> str:
    host, port = request.get("host", address), _port(request["port"], container)
    url = f"{request.get('scheme', 'HTTP').lower()}://{host}:{port}/{request.get('path', '/').lstrip('/')}"
    headers = {header["name"]: header["value"] for header in request.get("httpHeaders") or []}
    headers.setdefault("User-Agent", "kube-probe/1.36")
    try:
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.get(url, ssl=_TRUST_ANYONE, allow_redirects=False) as response,
        ):
            if response.status < 400:
                return ""
            return f"HTTP probe failed with statuscode: {response.status}"
    except (aiohttp.ClientError, OSError):
        return f'Get "{url}": dial tcp {host}:{port}: connect: connection refused'


def _port(port: int | str, container: Object) -> int:
    if isinstance(port, str) and not port.isdigit():
        named = {entry.get("name"): entry["containerPort"] for entry in container.get("ports") or []}
        return int(named.get(port, 0))
    return int(port)
