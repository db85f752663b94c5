"""Links without a key: what they open, what they do not, and when they stop; and the way to a store's own address."""

import shutil
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from videofleet.queue import JobQueue
from videofleet.queue.signing import DAY_S, SigningKeys
from videofleet.store import ObjectStore
from videofleet_gateway.auth import Caller
from videofleet_gateway.links import token


async def submit(http: aiohttp.ClientSession) -> str:
    async with http.post("/v1/videos", json={"prompt": "a car at night"}) as response:
        return str((await response.json())["id"])


async def links(http: aiohttp.ClientSession, job: str, **fields: Any) -> dict[str, Any]:
    async with http.post(f"/v1/videos/{job}/links", json=fields) as response:
        assert response.status == 201
        return dict(await response.json())


async def opened(gateway: Any, url: str, method: str = "GET") -> tuple[int, str]:
    """Status and error code of a request without a key."""
    async with aiohttp.ClientSession(gateway.url) as anybody, anybody.request(method, url) as response:
        if response.content_type != "application/problem+json":
            return response.status, ""
        return response.status, (await response.json())["error"]["code"]


async def test_a_link_opens_content_and_events_of_one_video(
    gateway: Any, http: aiohttp.ClientSession, work: Any
) -> None:
    job = await work(gateway, await submit(http))
    made = await links(http, job.id, expires_in=120)
    assert time.time() + 100 < made["expires_at"] <= time.time() + 120
    async with aiohttp.ClientSession(gateway.url) as anybody:
        async with anybody.get(made["links"]["video"], headers={"Range": "bytes=0-3"}) as response:
            assert (response.status, len(await response.read())) == (206, 4)
        async with anybody.get(made["links"]["thumbnail"]) as response:
            assert (response.status, response.content_type) == (200, "image/jpeg")
        async with anybody.get(made["links"]["events"]) as response:
            assert "event: done" in await response.text()
        async with http.post(f"/v1/videos/{job.id}/links") as response:
            assert response.status == 201, "a body is not needed"
    assert gateway.keys["rich"] not in str(made)
    assert made["links"]["video"].partition("token=")[2].split("&")[0] not in gateway.log()


async def test_a_link_opens_nothing_else(gateway: Any, http: aiohttp.ClientSession, work: Any) -> None:
    mine, other = await work(gateway, await submit(http)), await work(gateway, await submit(http))
    video = (await links(http, mine.id))["links"]["video"]
    query = video.partition("?")[2]
    refused = (401, "invalid_api_key")
    for path in (
        f"/v1/videos/{other.id}/content",
        f"/v1/videos/{mine.id}",
        f"/v1/videos/{mine.id}/links",
        "/v1/videos",
        "/v1/usage",
    ):
        assert await opened(gateway, f"{path}?{query}") == refused
    for method in ("DELETE", "POST"):
        assert await opened(gateway, f"/v1/videos/{mine.id}?{query}", method) == refused
        assert (await opened(gateway, video, method))[0] in (401, 405)
    signed = URL(video).query["token"]
    day, expiry, key_id, signature = signed.split(".")
    for forged in (
        f"{day}.{int(expiry) + 60}.{key_id}.{signature}",
        f"{int(day) + 1}.{expiry}.{key_id}.{signature}",
        f"{day}.{expiry}.richk.{signature}",
        f"{day}.{expiry}.{key_id}.{'A' * 43}",
        "",
        "x" * 5000,
    ):
        assert await opened(gateway, f"/v1/videos/{mine.id}/content?token={forged}") == refused
    async with http.get(f"/v1/videos/{mine.id}/content?token=nonsense") as response:
        assert response.status == 200, "with a key the parameter does not matter"


async def test_links_expire_and_die_with_their_key(gateway: Any, own_gateway: Any, work: Any) -> None:
    own_gateway.start()
    async with own_gateway.session("rich") as http:
        async with http.post("/v1/videos", json={"prompt": "a car", "model": "studio/tiny"}) as response:
            job = await work(own_gateway, (await response.json())["id"])
        video = (await links(http, job.id))["links"]["video"]
        for wrong in (59, 86_401, "soon", -1, 60.5):
            async with http.post(f"/v1/videos/{job.id}/links", json={"expires_in": wrong}) as response:
                assert (response.status, (await response.json())["error"]["param"]) == (422, "expires_in")
    assert (await opened(own_gateway, video))[0] == 200
    async with JobQueue.connect(own_gateway.redis_url, own_gateway.installation) as queue:
        over = await token(queue.signing, Caller("rich", "richk"), job.id, int(time.time()) - 1)
    assert await opened(own_gateway, f"/v1/videos/{job.id}/content?token={over}") == (401, "link_expired")
    own_gateway.stop()
    own_gateway.start()
    assert (await opened(own_gateway, video))[0] == 200, "another replica, the same keys"
    del own_gateway.keys["rich"]
    own_gateway.write_keys()
    assert await opened(own_gateway, video) == (401, "invalid_api_key")


async def test_signing_keys_change_every_day_and_yesterdays_is_still_good(
    queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection, installation = queue._connection, queue._installation
    now = time.time()
    day, key = await SigningKeys(connection, installation).today()
    assert await SigningKeys(connection, installation).today() == (day, key)
    monkeypatch.setattr(time, "time", lambda: now + DAY_S)
    tomorrow = SigningKeys(connection, installation)
    next_day, next_key = await tomorrow.today()
    assert (next_day, next_key != key) == (day + 1, True)
    assert await tomorrow.of(day) == key
    monkeypatch.setattr(time, "time", lambda: now + 2 * DAY_S)
    assert await tomorrow.of(day) is None


async def test_a_store_that_may_redirects_to_its_own_address(
    own_gateway: Any, work: Any, s3_secret: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    shutil.copytree(s3_secret, secret)
    public = (secret / "aws_endpoint").read_text().replace("127.0.0.1", "localhost")
    (secret / "redirect").write_text(public)
    own_gateway.store = ObjectStore.from_folder("videos", secret)
    own_gateway.store_argument = f"--store-folder=videos={secret}"
    own_gateway.start()
    async with own_gateway.session("rich") as http:
        async with http.post("/v1/videos", json={"prompt": "a car", "model": "studio/tiny"}) as response:
            job = await work(own_gateway, (await response.json())["id"])
        path = f"/v1/videos/{job.id}/content"
        async with http.get(path, allow_redirects=False) as response:
            assert (response.status, response.headers["Cache-Control"]) == (302, "no-store")
            address = URL(response.headers["Location"])
        assert str(address.origin()) == public
        assert int(address.query["X-Amz-Expires"]) <= 900
        async with http.get(path, headers={"Range": "bytes=0-3"}) as response:
            assert (response.status, len(await response.read())) == (206, 4)
            assert response.content_type == "video/mp4"
        async with http.head(path) as response:
            assert (response.status, response.content_length) == (200, job.result.video_bytes)
        async with http.get("/") as response:
            assert f"media-src 'self' {public};" in response.headers["Content-Security-Policy"]
    assert "X-Amz-Signature" not in own_gateway.log()


async def test_a_key_that_expires_is_told_before_and_after_and_takes_its_links_along(
    own_gateway: Any, work: Any
) -> None:
    own_gateway.ends = {"loner0": "2100-01-01T00:00:00Z"}
    own_gateway.write_keys()
    own_gateway.start()
    async with own_gateway.session("loner0") as http:
        async with http.get("/v1/usage") as response:
            assert (await response.json())["key_expires_at"] == 4102444800
        video = (await links(http, (await work(own_gateway, await submit(http))).id))["links"]["video"]
        own_gateway.ends = {"loner0": "2020-01-01T00:00:00Z"}
        own_gateway.write_keys()
        async with http.get("/v1/videos") as response:
            assert response.status == 401
            assert (await response.json())["error"]["code"] == "api_key_expired"
            assert 'error="invalid_token"' in response.headers["WWW-Authenticate"]
    assert await opened(own_gateway, video) == (401, "invalid_api_key")
