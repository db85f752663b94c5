"""What a session may, what ends it, and what passes for none."""

import time
from typing import Any

import aiohttp
import pytest
from yarl import URL

from videofleet.queue import JobQueue
from videofleet_gateway.login.cookies import Purpose, seal
from videofleet_gateway.login.rules import digest

SAME = {"Sec-Fetch-Site": "same-origin"}
JOB = {"prompt": "a car", "model": "studio/tiny"}
OVER = (401, "invalid_api_key")


async def answer(http: aiohttp.ClientSession, method: str, url: str, **more: Any) -> tuple[int, str]:
    """Status and error code, or the tenant of a good answer from /v1/usage."""
    async with http.request(method, url, **more) as response:
        if response.content_type == "application/problem+json":
            return response.status, (await response.json())["error"]["code"]
        body = await response.json() if response.content_type == "application/json" else {}
        return response.status, str(body.get("tenant", ""))


def session_text(visitor: aiohttp.ClientSession, door: Any) -> str:
    return visitor.cookie_jar.filter_cookies(URL(door.url))[Purpose.SESSION].value


async def test_another_sites_requests_are_refused(door: Any, visitor: Any, liar: Any, arrive: Any) -> None:
    door.let_in(liar.issuer)
    await arrive()
    videos = f"{door.url}/v1/videos"
    for headers in (
        {},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": f"{door.url}.evil.example"},
    ):
        assert await answer(visitor, "POST", videos, json=JOB, headers=headers) == (403, "cross_site")
        assert await answer(visitor, "DELETE", f"{videos}/video_x", headers=headers) == (403, "cross_site")
        assert await answer(visitor, "POST", f"{door.url}/login/end", headers=headers) == (403, "cross_site")
    for headers in (SAME, {"Origin": door.url}):
        assert (await answer(visitor, "POST", videos, json=JOB, headers=headers))[0] == 202


async def test_a_header_that_is_there_decides(door: Any, visitor: Any, liar: Any, arrive: Any) -> None:
    door.let_in(liar.issuer)
    await arrive()
    usage = f"{door.url}/v1/usage"
    assert await answer(visitor, "GET", usage) == (200, "rich")
    key = {"Authorization": f"Bearer {door.keys['idler']}"}
    assert await answer(visitor, "GET", usage, headers=key) == (200, "idler")
    assert await answer(visitor, "GET", usage, headers={"Authorization": "Bearer vf_x_y"}) == OVER


async def test_cookies_that_are_not_ours(door: Any, visitor: Any, liar: Any, arrive: Any) -> None:
    door.let_in(liar.issuer)
    await arrive()
    real = session_text(visitor, door)
    day, payload, signature = real.split(".")
    said = {"tenant": "rich", "by": digest("painters"), "admin": "", "who": "0" * 16}
    said["client"] = digest(liar.issuer, "videofleet")

    async def as_cookie(text: str) -> tuple[int, str]:
        async with aiohttp.ClientSession(headers={"Cookie": f"{Purpose.SESSION}={text}"}) as anybody:
            return await answer(anybody, "GET", f"{door.url}/v1/usage")

    async with (
        JobQueue.connect(door.redis_url, door.installation) as queue,
        JobQueue.connect(door.redis_url, f"{door.installation}-2") as other,
    ):
        assert await as_cookie(await seal(queue.signing, Purpose.SESSION, said, 60)) == (200, "rich")
        forged = [
            f"{day}.{payload}A.{signature}",
            f"{day}.{payload[:-2]}.{signature}",
            f"{int(day) - 1}.{payload}.{signature}",
            f"{day}.{payload}.{'A' * 43}",
            "..",
            "x" * 3000,
            await seal(queue.signing, Purpose.ATTEMPT, said, 60),
            await seal(queue.signing, Purpose.SESSION, said, -1),
            await seal(other.signing, Purpose.SESSION, said, 60),
            await seal(queue.signing, Purpose.SESSION, said | {"tenant": "idler"}, 60),
            await seal(queue.signing, Purpose.SESSION, said | {"admin": digest("painters")}, 60),
        ]
    assert [await as_cookie(text) for text in forged] == [OVER] * len(forged)
    assert await as_cookie(real) == (200, "rich")


async def test_a_session_ends_when_the_file_changes_its_mind(door: Any, visitor: Any, liar: Any, arrive: Any) -> None:
    usage = f"{door.url}/v1/usage"
    for change in (
        {"tenants": {"staff": "rich"}},
        {"tenants": {"painters": "idler"}},
        {"clientId": "another"},
        {"issuer": "https://login.example.org"},
    ):
        door.let_in(liar.issuer)
        assert await arrive() == (200, "")
        assert await answer(visitor, "GET", usage) == (200, "rich")
        door.let_in(**{"issuer": liar.issuer} | change)
        assert await answer(visitor, "GET", usage) == OVER
    (door.folder / "oidc.json").write_text("{")
    assert await answer(visitor, "GET", usage) == OVER, "the last good version stays"
    assert "sign-in rules not reloaded" in door.log()


async def test_admins_and_what_the_audit_log_says_of_them(door: Any, visitor: Any, liar: Any, arrive: Any) -> None:
    pause = f"{door.url}/v1/intake/pause"
    door.let_in(liar.issuer, admins=["wardens"])
    await arrive()
    fleet = {"model": "ads/five-b"}
    assert await answer(visitor, "POST", pause, json=fleet, headers=SAME) == (403, "forbidden")
    liar.claims = {"groups": ["wardens", "painters"]}
    await arrive()
    async with visitor.get(f"{door.url}/v1/usage") as response:
        assert (await response.json())["role"] == "admin"
    assert (await answer(visitor, "POST", pause, json=fleet, headers=SAME))[0] == 200
    resume = f"{door.url}/v1/intake/resume"
    assert (await answer(visitor, "POST", resume, json=fleet, headers=SAME))[0] == 200
    actor = f'"actor":"oidc:rich:{digest(liar.issuer, "ada")}"'
    assert actor in door.log().replace('": "', '":"')
    door.let_in(liar.issuer)
    assert await answer(visitor, "GET", f"{door.url}/v1/usage") == OVER


async def test_links_of_a_session_open_and_die_with_the_tenant(
    door: Any, visitor: Any, liar: Any, arrive: Any, work: Any
) -> None:
    door.let_in(liar.issuer)
    await arrive()
    async with visitor.post(f"{door.url}/v1/videos", json=JOB, headers=SAME) as response:
        job = await work(door, (await response.json())["id"])
    async with visitor.post(f"{door.url}/v1/videos/{job.id}/links", headers=SAME) as response:
        links = (await response.json())["links"]
    async with aiohttp.ClientSession(door.url) as anybody:
        assert (await answer(anybody, "GET", links["video"]))[0] == 200
        assert await answer(anybody, "GET", f"/v1/usage?{links['video'].partition('?')[2]}") == OVER
        door.let_in(liar.issuer, tenants={"painters": "idler"})
        assert await answer(anybody, "GET", links["video"]) == OVER
        door.let_in(liar.issuer)
        assert (await answer(anybody, "GET", links["video"]))[0] == 200


async def test_erasing_is_for_ones_own_tenant(door: Any, visitor: Any, liar: Any, arrive: Any) -> None:
    door.let_in(liar.issuer, tenants={"painters": "loner8"})
    await arrive()
    erase = f"{door.url}/v1/erase"
    assert (await answer(visitor, "POST", f"{door.url}/v1/videos", json=JOB, headers=SAME))[0] == 202
    assert await answer(visitor, "POST", erase, json={"tenant": "rich"}, headers=SAME) == (403, "forbidden")
    async with visitor.post(erase, json={"tenant": "loner8"}, headers=SAME) as response:
        assert (response.status, (await response.json())["videos"]) == (200, 1)


async def test_the_tenants_rules_are_those_of_the_keys_file(door: Any, visitor: Any, liar: Any, arrive: Any) -> None:
    door.let_in(liar.issuer, tenants={"painters": "loner7"})
    door.rules["loner7"] = {"requestsPerMinute": 2}
    door.write_keys()
    await arrive()
    usage = f"{door.url}/v1/usage"
    deadline = time.monotonic() + 60
    while (last := await answer(visitor, "GET", usage)) == (200, "loner7"):
        assert time.monotonic() < deadline
    assert last == (429, "rate_limited")


async def test_behind_tls_cookies_are_bound_to_the_host(door: Any, liar: Any) -> None:
    door.let_in(liar.issuer, redirectUrl="https://video.example.com/login/callback")
    async with aiohttp.ClientSession(door.url) as http, http.get("/login", allow_redirects=False) as response:
        (cookie,) = response.headers.getall("Set-Cookie")
        assert response.status == 302
        assert "no-store" in response.headers["Cache-Control"]
    assert cookie.startswith("__Host-vf-login=")
    assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=600"} <= set(cookie.split("; "))
    assert "Domain" not in cookie


@pytest.mark.parametrize("claim", ["painters", ["other", "painters"]], ids=str)
async def test_a_claim_is_a_text_or_a_list(door: Any, visitor: Any, liar: Any, arrive: Any, claim: Any) -> None:
    door.let_in(liar.issuer, tenantClaim="team")
    liar.claims = {"team": claim}
    assert await arrive() == (200, "")
    for other in (None, "painter", ["x"], [7, None], 7, {"painters": True}, []):
        liar.claims = {"team": other}
        assert await arrive() == (403, "no_tenant")
