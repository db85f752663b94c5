"""The page when something is missing or away: it says so, goes on by itself, and stays usable by everybody."""

from pathlib import Path
from typing import Any

import pytest

from videofleet.jobs import ErrorCode
from videofleet.queue import JobQueue

pytestmark = pytest.mark.timeout(300)
ENTER = 13
FLEET = "0b5c2c0e-6f3f-4d0e-9d55-000000000001"
AWAY = "document.getElementById('away')"


async def enter(browser: Any, gateway: Any, tenant: str) -> None:
    await browser.open(gateway.url + "/")
    await browser.until("!document.getElementById('door').hidden")
    await browser.type(gateway.keys[tenant])
    await browser.press("Enter", ENTER, "\r")
    await browser.until("!document.getElementById('rooms').hidden")


def crash(gateway: Any) -> None:
    gateway.process.kill()
    gateway.process.wait()


async def test_a_gateway_that_is_away_is_said_and_comes_back_by_itself(
    own_gateway: Any, browser: Any, tmp_path: Path
) -> None:
    own_gateway.start()
    await enter(browser, own_gateway, "loner1")
    assert await browser.js(f"{AWAY}.hidden")
    crash(own_gateway)
    await browser.until(f"!{AWAY}.hidden && {AWAY}.textContent.includes('does not answer')")
    for theme, width in (("light", 1280), ("dark", 390)):
        (tmp_path / f"away-{theme}-{width}.png").write_bytes(await browser.look(width, theme))
        assert await browser.axe() == []
    await browser.js("document.getElementById('prompt').value = 'a car drives'")
    await browser.js("document.getElementById('form').requestSubmit()")
    await browser.until("document.getElementById('form-fault').textContent.includes('does not answer')")
    assert await browser.js("document.getElementById('prompt').value") == "a car drives", "nothing typed is lost"
    own_gateway.start()
    await browser.until(f"{AWAY}.hidden")
    await browser.js("document.getElementById('form').requestSubmit()")
    await browser.until("document.getElementById('stage-title').textContent.startsWith('Waiting')")
    assert await browser.js("document.getElementById('form-fault').textContent") == ""


async def test_a_key_is_not_asked_for_again_because_redis_is_away(
    own_gateway: Any, browser: Any, redis_server: Any
) -> None:
    own_gateway.start()
    await enter(browser, own_gateway, "loner1")
    redis_server.kill()
    await browser.open(own_gateway.url + "/?again")
    await browser.until("document.getElementById('key-fault').textContent.includes('does not answer')")
    assert await browser.js("document.getElementById('rooms').hidden")
    redis_server.start()
    await browser.until("!document.getElementById('rooms').hidden")
    assert await browser.js("document.getElementById('key').value") == "", "nobody had to type it"


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 390)])
async def test_empty_failed_and_gone_are_said_and_axe_finds_no_fault(
    own_gateway: Any, browser: Any, tmp_path: Path, theme: str, width: int
) -> None:
    own_gateway.start()
    await enter(browser, own_gateway, "idler")  # may use no fleet
    await browser.look(width, theme)
    await browser.until("document.getElementById('fleet-list').textContent === 'No fleet is open to you yet.'")
    assert await browser.axe() == []
    await browser.js("document.getElementById('forget').click()")
    await enter(browser, own_gateway, "loner1")
    await browser.until("document.getElementById('cards').textContent.startsWith('No videos yet')")
    await browser.js("document.querySelector('details').open = true")
    await browser.js("document.getElementById('seed').value = 'seven'")
    await browser.js("document.getElementById('form').requestSubmit()")
    await browser.until("document.getElementById('seed-fault').textContent.includes('whole number')")
    (tmp_path / f"faults-{theme}-{width}.png").write_bytes(await browser.look(width, theme))
    assert await browser.axe() == []
    async with (
        own_gateway.session("loner1") as http,
        JobQueue.connect(own_gateway.redis_url, own_gateway.installation) as queue,
    ):
        async with http.post("/v1/videos", json={"prompt": "a car drives"}) as response:
            job = (await response.json())["id"]
        (claim,) = (await queue.claim(FLEET, worker="w", revision="r1")).claims
        await queue.fail(claim, ErrorCode.GENERATION_FAILED, "The pipeline raised.", retry=False)
        await browser.open(own_gateway.url + "/?again")
        await browser.until("document.querySelectorAll('#cards button').length === 1")
        await browser.js("document.querySelector('#cards button').click()")
        await browser.until("document.getElementById('stage-title').textContent === 'No video'")
        assert await browser.js("document.getElementById('stage-detail').textContent") == "The pipeline raised."
        (tmp_path / f"failed-{theme}-{width}.png").write_bytes(await browser.look(width, theme))
        assert await browser.axe() == []
        async with http.delete(f"/v1/videos/{job}") as response:
            assert response.status == 200
        await browser.js("document.querySelector('#cards button').click()")
        await browser.until("document.getElementById('stage-title').textContent === 'Gone'")
        await browser.until("document.querySelectorAll('#cards button').length === 0")


async def test_a_key_that_has_expired_is_told_from_a_wrong_one(own_gateway: Any, browser: Any) -> None:
    own_gateway.ends["loner1"] = "2020-01-01T00:00:00Z"
    own_gateway.write_keys()
    own_gateway.start()
    await browser.open(own_gateway.url + "/")
    await browser.until("!document.getElementById('door').hidden")
    await browser.type(own_gateway.keys["loner1"])
    await browser.press("Enter", ENTER, "\r")
    await browser.until("document.getElementById('key-fault').textContent.includes('expired at 2020-01-01')")
    assert await browser.js("sessionStorage.length") == 0
