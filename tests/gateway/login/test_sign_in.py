"""From the door to the identity provider and back, with a real one; and what a session may and may not."""

from typing import Any

import aiohttp

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
