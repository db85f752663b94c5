"""`rediss://`: the whole life of a job over TLS, and no word to a Redis whose certificate is not the right one.

A real Redis behind a proxy that ends TLS, as managed ones have it.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trustme

from videofleet.jobs import NewJob, Progress
from videofleet.queue import JobQueue, QueueUnavailable

Fleet = Any  # the fixture's class lives in conftest.py


@pytest.fixture
async def tls(redis_server: Any, tmp_path: Path) -> AsyncIterator[tuple[str, Path]]:
    """URL and the file of its authority."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while text := await reader.read(65536):
                writer.write(text)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind_reader, behind_writer = await asyncio.open_connection("127.0.0.1", redis_server.port)
        await asyncio.gather(copy(reader, behind_writer), copy(behind_reader, writer))

    proxy = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    port = proxy.sockets[0].getsockname()[1]
    yield f"rediss://:{redis_server.password}@127.0.0.1:{port}/0", tmp_path / "ca.pem"
    proxy.close()


async def test_a_job_lives_over_tls(tls: tuple[str, Path], ruled: Fleet, installation: str) -> None:
    url, authority = tls
    async with JobQueue.connect(f"{url}?ssl_ca_certs={authority}", installation) as queue:
        policy = await ruled.queue.policy(ruled.uid)
        await queue.publish_policy(policy)
        known = await ruled.queue.get(await ruled.submit())
        new = NewJob(id=known.id, fleet_uid=ruled.uid, tenant="studio", request=known.request)
        assert (await queue.submit(new)).created
        (claim,) = (await queue.claim(ruled.uid, worker="w1", revision="r1")).claims
        assert claim.job.id == known.id
        assert not (await queue.beat(claim, Progress(stage="denoising", step=1, steps=4))).cancel_requested
        assert await queue.give_back(claim) == "queued"


@pytest.mark.parametrize("wrong", ["authority", "name"])
async def test_a_wrong_certificate_is_an_outage(
    tls: tuple[str, Path], installation: str, ruled: Fleet, wrong: str
) -> None:
    url, authority = tls
    if wrong == "name":
        url = f"{url.replace('127.0.0.1', 'localhost')}?ssl_ca_certs={authority}"
    async with JobQueue.connect(url, installation) as queue:
        with pytest.raises(QueueUnavailable):
            await queue.stats(ruled.uid)
