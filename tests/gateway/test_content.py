"""Files over HTTP: whole, in part, revalidated, gone."""

from typing import Any

import aiohttp
import pytest


@pytest.fixture
async def video(gateway: Any, http: aiohttp.ClientSession, work: Any) -> tuple[str, bytes]:
    """A finished video: the path of its content, and its bytes."""
    async with http.post("/v1/videos", json={"prompt": "a car"}) as response:
        job = await work(gateway, (await response.json())["id"])
    stored = b"".join([chunk async for chunk in gateway.store.read(job.result.video_key)])
    return f"/v1/videos/{job.id}/content", stored


async def test_the_whole_file(http: aiohttp.ClientSession, video: tuple[str, bytes]) -> None:
    path, stored = video
    async with http.get(path) as response:
        assert response.status == 200
        assert response.content_type == "video/mp4"
        assert response.headers["Accept-Ranges"] == "bytes"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["X-Request-Id"].startswith("req_")
        assert await response.read() == stored
    async with http.head(path) as head:
        assert (head.status, head.content_length, head.headers["ETag"]) == (200, len(stored), response.headers["ETag"])
        assert await head.read() == b""


@pytest.mark.parametrize(
    ("header", "part"),
    [("bytes=0-9", slice(0, 10)), ("bytes=1048570-1048580", slice(1048570, 1048581)), ("bytes=-7", slice(-7, None))],
)
async def test_a_part(http: aiohttp.ClientSession, video: tuple[str, bytes], header: str, part: slice) -> None:
    path, stored = video
    async with http.get(path, headers={"Range": header}) as response:
        assert response.status == 206
        start, end, _ = part.indices(len(stored))
        assert response.headers["Content-Range"] == f"bytes {start}-{end - 1}/{len(stored)}"
        assert await response.read() == stored[part]


async def test_a_range_behind_the_end(http: aiohttp.ClientSession, video: tuple[str, bytes]) -> None:
    path, stored = video
    async with http.get(path, headers={"Range": f"bytes={len(stored)}-"}) as response:
        assert response.status == 416
        assert response.headers["Content-Range"] == f"bytes */{len(stored)}"


async def test_revalidation(http: aiohttp.ClientSession, video: tuple[str, bytes]) -> None:
    path, stored = video
    async with http.head(path) as response:
        etag = response.headers["ETag"]
    async with http.get(path, headers={"If-None-Match": etag}) as response:
        assert response.status == 304
    async with http.get(path, headers={"Range": "bytes=0-1", "If-Range": etag}) as response:
        assert response.status == 206
    async with http.get(path, headers={"Range": "bytes=0-1", "If-Range": '"another"'}) as response:
        assert (response.status, await response.read()) == (200, stored)


async def test_a_sprite_sheet_lies_beside_the_video(http: aiohttp.ClientSession, video: tuple[str, bytes]) -> None:
    async with http.get(video[0], params={"variant": "spritesheet"}) as response:
        assert (response.status, response.content_type) == (200, "image/jpeg")


async def test_refusals(gateway: Any, http: aiohttp.ClientSession, video: tuple[str, bytes]) -> None:
    path, _ = video
    async with http.get(path, params={"variant": "audio"}) as response:
        assert (response.status, (await response.json())["error"]["param"]) == (422, "variant")
    async with http.post("/v1/videos", json={"prompt": "a car"}) as response:
        unfinished = (await response.json())["id"]
    async with http.get(f"/v1/videos/{unfinished}/content") as response:
        assert (response.status, (await response.json())["error"]["code"]) == (404, "video_not_ready")
    for stored in (gateway.folder / "store").rglob(f"{path.split('/')[3]}/1/video.mp4"):
        stored.unlink()
    async with http.get(path) as response:
        assert (response.status, (await response.json())["error"]["code"]) == (404, "content_missing")


async def test_a_store_that_fails_half_way_breaks_the_connection(
    gateway: Any, http: aiohttp.ClientSession, video: tuple[str, bytes]
) -> None:
    """A short file must never look whole."""
    path, _ = video
    (stored,) = (gateway.folder / "store").rglob(f"{path.split('/')[3]}/1/video.mp4")
    with stored.open("r+b") as file:
        file.truncate(64 << 20)  # far more than sockets hold
    async with http.get(path) as response:
        await response.content.readexactly(1 << 20)
        stored.unlink()
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
    assert '"message": "store failed while sending"' in gateway.log()
    assert "unexpected error" not in gateway.log()


async def test_a_client_that_leaves_is_no_trouble(
    gateway: Any, http: aiohttp.ClientSession, video: tuple[str, bytes]
) -> None:
    path, _ = video
    (stored,) = (gateway.folder / "store").rglob(f"{path.split('/')[3]}/1/video.mp4")
    with stored.open("r+b") as file:
        file.truncate(64 << 20)
    async with http.get(path) as response:
        await response.content.readexactly(1 << 20)
        response.close()
    async with http.get(path, headers={"Range": "bytes=0-9"}) as response:
        assert len(await response.read()) == 10
    assert "unexpected error" not in gateway.log()
