"""Services by address: a TCP proxy on each ClusterIP and port, round robin over the ready endpoints.

A port listens only while somebody answers behind it, so that a Service without endpoints refuses connections, as
kube-proxy has it. ClusterIPs outside 127.0.0.0/8 belong to another kind of node and are left alone.
"""

import asyncio
import contextlib
import ipaddress
import itertools
import logging
from typing import Final

from videofleet_devcluster.objects import Object, key_of, labels_of

_log: Final = logging.getLogger(__name__)
_CHUNK_BYTES: Final = 65536
Address = tuple[str, int]


def wanted_listeners(services: list[Object], slices: list[Object]) -> dict[Address, tuple[Address, ...]]:
    """(ClusterIP, port) → the endpoints that answer for it; only those with any."""
    wanted: dict[Address, tuple[Address, ...]] = {}
    for service in services:
        address = service["spec"].get("clusterIP", "")
        if address in ("", "None") or not ipaddress.ip_address(address).is_loopback:
            continue
        namespace, name = key_of(service)
        mine = [s for s in slices if _belongs(s, namespace, name)]
        for port in service["spec"].get("ports") or []:
            targets = tuple(t for s in mine for t in _targets(s, port.get("name", "")))
            if targets and port.get("protocol", "TCP") == "TCP":
                wanted[address, int(port["port"])] = targets
    return wanted


def _belongs(slice_: Object, namespace: str, service: str) -> bool:
    return key_of(slice_)[0] == namespace and labels_of(slice_).get("kubernetes.io/service-name") == service


def _targets(slice_: Object, port_name: str) -> list[Address]:
    numbers = [int(p["port"]) for p in slice_.get("ports") or [] if p.get("name", "") == port_name]
    ready = [e for e in slice_.get("endpoints") or [] if (e.get("conditions") or {}).get("ready")]
    return [(address, number) for e in ready for address in e["addresses"] for number in numbers]


class ServiceProxy:
    """Listens for Services. `update` is level-triggered: call it with the whole picture."""

    def __init__(self) -> None:
        self._servers: dict[Address, asyncio.Server] = {}
        self._targets: dict[Address, tuple[Address, ...]] = {}
        self._turn = itertools.count()
        self._pipes: set[asyncio.Task[None]] = set()

    async def update(self, services: list[Object], slices: list[Object]) -> bool:
        """Opens and closes listeners until they match; False when an address could not be had yet."""
        self._targets = wanted_listeners(services, slices)
        for listener in self._servers.keys() - self._targets.keys():
            self._servers.pop(listener).close()
        for listener in self._targets.keys() - self._servers.keys():
            await self._open(listener)
        return self._servers.keys() == self._targets.keys()

    async def close(self) -> None:
        for server in self._servers.values():
            server.close()
        for pipe in self._pipes:
            pipe.cancel()
        await asyncio.gather(*self._pipes, return_exceptions=True)

    async def _open(self, listener: Address) -> None:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            if task is not None:
                self._pipes.add(task)
                task.add_done_callback(self._pipes.discard)
            with contextlib.suppress(asyncio.CancelledError):  # asyncio would log it as an error
                await self._serve(listener, reader, writer)

        try:
            self._servers[listener] = await asyncio.start_server(connected, *listener)
        except OSError as error:
            address = "{}:{}".format(*listener)
            _log.warning("a Service cannot listen", extra={"address": address, "error": str(error)})

    async def _serve(self, listener: Address, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream = None
        try:
            upstream = await self._connect(listener)
            if upstream is not None:
                await asyncio.gather(_pour(reader, upstream[1]), _pour(upstream[0], writer))
        finally:
            writer.close()
            if upstream is not None:
                upstream[1].close()

    async def _connect(self, listener: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """A connection to the endpoint whose turn it is, or to the next one that answers."""
        targets = self._targets.get(listener, ())
        for _ in targets:
            with contextlib.suppress(OSError):
                return await asyncio.open_connection(*targets[next(self._turn) % len(targets)])
        return None


async def _pour(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while chunk := await source.read(_CHUNK_BYTES):
            sink.write(chunk)
            await sink.drain()
        if sink.can_write_eof():
            sink.write_eof()
    except OSError:
        sink.close()
    except asyncio.CancelledError:
        sink.close()
        raise
