"""The gateway's HTTP API as typed calls, for the commands that submit, wait and list.

A lost connection while waiting is not the job's end: reads are tried again for a while. A submission carries an
Idempotency-Key, so that trying it again cannot queue the job twice.
"""

import asyncio
import json
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import aiohttp

from videofleet_cli.exits import CommandError, Exit

_FIRST_PATIENCE_S: Final = 2.0  # a wrong address should be said soon
_PATIENCE_S: Final = 60.0  # once it has answered: a gateway that restarts comes back
_PAUSE_S: Final = 0.5
_REPLY_S: Final = 30.0
_CHUNK_BYTES: Final = 1 << 20

Video = dict[str, Any]
_T = TypeVar("_T")


@dataclass(frozen=True)
class Address:
    """Where the gateway is and who asks."""

    url: str
    api_key_file: Path | None

    def headers(self) -> dict[str, str]:
        """The Authorization header, from the file. Raises: CommandError."""
        if self.api_key_file is None:
            raise CommandError("no API key: give --api-key-file or VIDEOFLEET_API_KEY_FILE", Exit.UNAUTHORIZED)
        try:
            key = self.api_key_file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"API key file {self.api_key_file}: {error}", Exit.REFUSED) from error
        if not key.isprintable() or " " in key or not key:
            raise CommandError(f"API key file {self.api_key_file} must hold one line, vf_…", Exit.REFUSED)
        return {"Authorization": f"Bearer {key}"}


class Gateway:
    """One session with the gateway. Every call raises CommandError with the fitting exit code."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url
        self._patience_s = _FIRST_PATIENCE_S

    @classmethod
    @asynccontextmanager
    async def open(cls, address: Address) -> AsyncIterator[Self]:
        """Connects at the first call."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=_REPLY_S)
        try:
            session = aiohttp.ClientSession(address.url.rstrip("/") + "/", headers=address.headers(), timeout=timeout)
        except (ValueError, aiohttp.InvalidURL) as error:
            raise CommandError(f"--gateway must be a URL like http://127.0.0.1:8080: {error}", Exit.REFUSED) from error
        async with session:
            yield cls(session, address.url)

    async def create(self, fields: Mapping[str, Any]) -> Video:
        """Queues a video."""
        headers = {"Idempotency-Key": secrets.token_hex(16)}
        return await self._json("POST", "v1/videos", json=dict(fields), headers=headers)

    async def video(self, job: str) -> Video:
        """The job as it stands."""
        return await self._json("GET", f"v1/videos/{job}")

    async def events(self, job: str) -> AsyncGenerator[Video, None]:
        """The job at every change, while the stream lasts; nothing from a gateway that has none.

        Raises: aiohttp.ClientError, TimeoutError.
        """
        async with self._session.get(f"v1/videos/{job}/events") as reply:
            if reply.content_type != "text/event-stream":
                return
            async for line in reply.content:
                if line.startswith(b"data: {") and (video := json.loads(line[6:])):
                    yield video

    async def videos(self, limit: int) -> list[Video]:
        """The tenant's jobs, newest first."""
        page = await self._json("GET", "v1/videos", params={"limit": str(limit), "order": "desc"})
        return list(page["data"])

    async def dead(self) -> list[Video]:
        """The tenant's dead jobs."""
        return list((await self._json("GET", "v1/dead"))["data"])

    async def replay(self, job: str) -> Video:
        """Queues a dead job again."""
        return await self._json("POST", f"v1/videos/{job}/replay")

    async def create_batch(self, lines: bytes, idempotency_key: str) -> dict[str, Any]:
        """Hands in a batch of JSON Lines."""
        headers = {"Idempotency-Key": idempotency_key, "Content-Type": "application/jsonl"}
        return await self._json("POST", "v1/batches", data=lines, headers=headers)

    async def batch(self, batch: str) -> dict[str, Any]:
        """The batch as it stands."""
        return await self._json("GET", f"v1/batches/{batch}")

    async def batch_results(self, batch: str) -> str:
        """A line of JSON for each line that was handed in."""

        async def ask() -> str:
            async with self._session.get(f"v1/batches/{batch}/results") as reply:
                await _check(reply)
                return await reply.text()

        return await self._patiently(ask)

    async def delete(self, job: str) -> dict[str, Any]:
        """Removes a finished job, or cancels one that is not."""
        return await self._json("DELETE", f"v1/videos/{job}")

    async def purge(self, job: str) -> dict[str, Any]:
        """Removes a job in whatever state it is."""
        return await self._json("DELETE", f"v1/videos/{job}", params={"purge": "true"})

    async def erase(self, tenant: str) -> dict[str, Any]:
        """Removes everything of the tenant. Doing it again changes nothing."""
        return await self._json("POST", "v1/erase", json={"tenant": tenant}, timeout=aiohttp.ClientTimeout(None))

    async def intake(self, fleet: str, verb: str) -> dict[str, Any]:
        """Pauses or resumes a fleet's intake. Doing it again changes nothing."""
        return await self._json("POST", f"v1/intake/{verb}", json={"model": fleet})

    async def download(self, job: str, path: Path, variant: str = "video") -> None:
        """Writes the video or its thumbnail; a partial file is never left under the final name."""
        partial = path.with_name(path.name + ".part")
        try:
            await self._patiently(lambda: self._download(f"v1/videos/{job}/content", variant, partial))
            partial.replace(path)
        except OSError as error:
            raise CommandError(f"writing {path}: {error.strerror}", Exit.REFUSED) from error
        finally:
            partial.unlink(missing_ok=True)

    async def _download(self, path: str, variant: str, partial: Path) -> None:
        async with self._session.get(path, params={"variant": variant}) as reply:
            await _check(reply)
            with partial.open("wb") as file:
                async for chunk in reply.content.iter_chunked(_CHUNK_BYTES):
                    file.write(chunk)

    async def _json(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        async def ask() -> dict[str, Any]:
            async with self._session.request(method, path, **options) as reply:
                await _check(reply)
                return dict(await reply.json())

        return await self._patiently(ask)

    async def _patiently(self, ask: Callable[[], Awaitable[_T]]) -> _T:
        """Asks again while the gateway is unreachable or busy. Raises: CommandError."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience_s
        while True:
            try:
                answer = await ask()
            except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError) as error:
                problem = CommandError(
                    f"the gateway at {self._url} does not answer ({type(error).__name__}); "
                    "check --gateway, or forward its port: kubectl port-forward service/videofleet-gateway 8080:8080",
                    Exit.UNREACHABLE,
                )
            except CommandError as error:
                if error.exit_code is not Exit.UNREACHABLE:
                    raise
                problem = error
            else:
                self._patience_s = _PATIENCE_S
                return answer
            if loop.time() >= deadline:
                raise problem
            await asyncio.sleep(_PAUSE_S)


async def _check(reply: aiohttp.ClientResponse) -> None:
    if reply.status < 400:
        return
    raise CommandError(await _words(reply), _exit_code(reply.status))


def _exit_code(status: int) -> Exit:
    if status in (401, 403):
        return Exit.UNAUTHORIZED
    return Exit.UNREACHABLE if status in (408, 429) or status >= 500 else Exit.REFUSED


async def _words(reply: aiohttp.ClientResponse) -> str:
    """What the problem document says; a proxy may answer something else entirely."""
    try:
        problem = await reply.json(content_type=None)
        return str(problem["detail"])
    except (ValueError, KeyError, TypeError, aiohttp.ClientError):
        return f"HTTP {reply.status} {reply.reason}"
