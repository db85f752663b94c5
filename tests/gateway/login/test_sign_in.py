"""From the door to the identity provider and back, with a real one; and what a session may and may not."""

import json
from typing import Any

import aiohttp
from yarl import URL

from videofleet_gateway.login.rules import digest

SAME = {"Sec-Fetch-Site": "same-origin"}


async def sign_in(visitor: aiohttp.ClientSession, door: Any, who: str = "ada") -> aiohttp.ClientResponse:
    """As a person does it: the link on the page, then one's name at the provider."""
    async with visitor.get(f"{door.url}/login") as form:
        assert form.status == 200
        return await visitor.post(form.url, data={"sub": who}, allow_redirects=False)


async def back(visitor: aiohttp.ClientSession, reply: aiohttp.ClientResponse) -> tuple[int, str]:
    """Follows the provider's redirect to the gateway."""
    async with visitor.get(reply.headers["Location"], allow_redirects=False) as response:
        return response.status, response.headers.get("Location", "") or await response.text()


async def test_somebody_signs_in_and_uses_the_api_without_a_key(
    door: Any, visitor: aiohttp.ClientSession, identity_provider: str
) -> None:
    door.let_in(identity_provider, name="Example Co")
    async with visitor.get(f"{door.url}/login/session") as response:
        assert await response.json() == {"object": "login", "name": "Example Co", "tenant": None}
    assert await back(visitor, await sign_in(visitor, door)) == (303, "/")
    async with visitor.get(f"{door.url}/login/session") as response:
        assert (await response.json())["tenant"] == "rich"
    async with visitor.get(f"{door.url}/v1/usage") as response:
        usage = await response.json()
        assert (response.status, usage["tenant"], usage["role"]) == (200, "rich", "user")
    fields = {"prompt": "a car", "model": "studio/tiny"}
    async with visitor.post(f"{door.url}/v1/videos", json=fields, headers=SAME) as response:
        assert response.status == 202
        video = (await response.json())["id"]
    async with door.session("rich") as key, key.get(f"/v1/videos/{video}") as response:
        assert response.status == 200, "the same tenant as the key's"
    async with visitor.post(f"{door.url}/login/end", headers=SAME) as response:
        assert response.status == 204
    async with visitor.get(f"{door.url}/v1/usage") as response:
        assert response.status == 401


async def test_an_attempt_cannot_be_repeated_or_swapped(
    door: Any, visitor: aiohttp.ClientSession, identity_provider: str
) -> None:
    door.let_in(identity_provider)
    reply = await sign_in(visitor, door)
    right = URL(reply.headers["Location"])
    jar = {cookie.key: cookie.value for cookie in visitor.cookie_jar}
    for wrong in (
        right.update_query(state="another"),
        URL(f"{right.without_query_params('state')}&state=%ff%ed%a0%80", encoded=True),
        right.without_query_params("state"),
        right.without_query_params("code"),
        right.update_query(iss="https://login.example.org"),
        right.update_query(code="x" * 5000),
    ):
        async with visitor.get(wrong, allow_redirects=False) as response:
            assert (response.status, (await response.json())["error"]["code"]) == (400, "sign_in_failed")
    assert await back(visitor, reply) == (303, "/")
    assert (await back(visitor, reply))[0] == 400, "the cookie of the attempt is gone"
    async with aiohttp.ClientSession(cookies=jar, cookie_jar=aiohttp.CookieJar(unsafe=True)) as thief:
        assert (await back(thief, reply))[0] == 400, "the provider knows the code no more"
    async with aiohttp.ClientSession() as stranger:
        assert (await back(stranger, reply))[0] == 400, "another browser has no attempt"


async def test_who_says_no_and_who_is_nobody(door: Any, visitor: aiohttp.ClientSession, identity_provider: str) -> None:
    door.let_in(identity_provider)
    async with visitor.get(f"{door.url}/login") as form:
        denied = await visitor.post(form.url, data={"action": "deny"}, allow_redirects=False)
    with_state = URL(denied.headers["Location"]).update_query(state=form.url.query["state"])  # this provider forgets it
    async with visitor.get(with_state) as response:
        status, text = response.status, await response.text()
    assert (status, "access_denied" in text) == (400, True)
    status, text = await back(visitor, await sign_in(visitor, door, "guest"))
    problem = json.loads(text)
    assert (status, problem["error"]["code"]) == (403, "no_tenant")
    assert "“groups”" in problem["detail"]
    assert "visitors" not in text


async def test_nobody_is_sent_elsewhere(door: Any, visitor: aiohttp.ClientSession, identity_provider: str) -> None:
    door.let_in(identity_provider)
    elsewhere = "?next=https://evil.example&redirect_uri=https://evil.example/&return_to=//evil.example"
    async with visitor.get(f"{door.url}/login{elsewhere}", allow_redirects=False) as response:
        assert response.headers["Location"].startswith(f"{identity_provider}/oauth2/authorize?")
        assert "evil" not in response.headers["Location"]
    reply = await sign_in(visitor, door)
    more = URL(reply.headers["Location"]).update_query(next="https://evil.example", redirect="//evil.example")
    async with visitor.get(more, allow_redirects=False, headers={"Host": "evil.example"}) as response:
        assert (response.status, response.headers["Location"]) == (303, "/")


async def test_the_logs_hold_who_as_a_digest_and_nothing_more(
    door: Any, visitor: aiohttp.ClientSession, identity_provider: str
) -> None:
    door.let_in(identity_provider)
    reply = await sign_in(visitor, door)
    code = URL(reply.headers["Location"]).query["code"]
    await back(visitor, reply)
    secrets = [code, *(cookie.value for cookie in visitor.cookie_jar)]
    async with visitor.get(f"{door.url}/v1/usage") as response:
        assert response.status == 200
    log = door.log()
    assert f"oidc:rich:{digest(identity_provider, 'ada')}" in log
    for secret in ("ada@example.com", "Ada Lovelace", "not-in-any-log", "eyJ", "painters", *secrets):
        assert secret not in log


async def test_without_the_file_nobody_signs_in(gateway: Any, http: aiohttp.ClientSession) -> None:
    for path in ("/login", "/login/callback?code=x&state=y"):
        async with http.get(path, allow_redirects=False) as response:
            assert (response.status, "Set-Cookie" in response.headers) == (404, False)
    async with http.get("/login/session") as response:
        assert await response.json() == {"object": "login", "name": None, "tenant": None}
    assert gateway.keys["rich"]
