"""What the page shows of rollout and fallback, what an admin may do there, and whether everybody can use it."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from videofleet.beacons import WorkerBeacon, WorkerState
from videofleet.jobs import Priority
from videofleet.policy import CanaryRule, FallbackRule, Track
from videofleet.queue import JobQueue

pytestmark = pytest.mark.timeout(300)
FLEET = "0b5c2c0e-6f3f-4d0e-9d55-000000000001"
ENTER = 13
STABLE, CANARY = "5f0c9a7d21", "b81e44c0aa"


@pytest.fixture
def governed(own_gateway: Any) -> Any:
    """A gateway where `rich` is admin and may use four fleets."""
    own_gateway.roles["rich"] = "admin"
    own_gateway.write_keys()
    own_gateway.start()
    return own_gateway


async def enter(browser: Any, gateway: Any, tenant: str) -> None:
    await browser.open(gateway.url + "/")
    await browser.until("!document.getElementById('door').hidden")
    await browser.type(gateway.keys[tenant])
    await browser.press("Enter", ENTER, "\r")
    await browser.until("!document.getElementById('rooms').hidden && !!document.querySelector('#tiers :checked')")


async def publish(gateway: Any, **changes: Any) -> None:
    async with JobQueue.connect(gateway.redis_url, gateway.installation) as queue:
        policy = await queue.policy(FLEET)
        assert policy is not None
        await queue.publish_policy(policy.model_copy(update=changes))


def says(words: str) -> str:
    return f"document.getElementById('fleet-list').textContent.includes({json.dumps(words)})"


async def test_rollout_fallback_and_decisions_are_shown(governed: Any, browser: Any, tmp_path: Path) -> None:
    await publish(governed, tracks={STABLE: Track.STABLE})
    async with JobQueue.connect(governed.redis_url, governed.installation) as queue:
        for name, revision in (("tiny-5f0c9a7d21-x2kfp", STABLE), ("tiny-b81e44c0aa-q4m2d", CANARY)):
            ready = WorkerBeacon(worker=name, revision=revision, state=WorkerState.READY)
            await queue.put_beacon(FLEET, ready)
        async with governed.session("rich") as http:
            for priority in (["batch"] * 3) + ["interactive"]:
                body = {"prompt": "a car drives", "model": "studio/tiny", "priority": priority}
                async with http.post("/v1/videos", json=body) as response:
                    assert response.status == 202
        await enter(browser, governed, "rich")
        await browser.until(says(f"revision {STABLE}"))
        await browser.until(says("In the queue: 1 interactive · 3 batch"))
        tracks = {STABLE: Track.STABLE, CANARY: Track.CANARY}
        await publish(governed, tracks=tracks, canary=CanaryRule(revision=CANARY, weight_permille=10))
        await browser.until(says(f"canary {CANARY} began with 1 % of the jobs"))
        rule = FallbackRule(
            tier="preview",
            share_permille=300,
            priorities=[Priority.BATCH],
            cause="jobs would wait 4 min, the target is 2 min",
        )
        marks = {"tiny-5f0c9a7d21-x2kfp": int(time.time() * 1000) + 600_000}
        canary = CanaryRule(revision=CANARY, weight_permille=50)
        await publish(governed, canary=canary, fallback=rule, marks=marks)
        await browser.until(says("30 % of the jobs are made in tier preview: jobs would wait 4 min"))
        for words in ("95 % 5f0c9a7d21 · 5 % canary", "goes from 1 % to 5 %", "idle, leaving", "idle · canary"):
            assert await browser.js(says(words)), words
        for theme, width in (("light", 1280), ("dark", 1280), ("dark", 390)):
            (tmp_path / f"fleets-{theme}-{width}.png").write_bytes(await browser.look(width, theme))
        await publish(governed, tracks={CANARY: Track.STABLE}, canary=None, fallback=None, marks={})
        await browser.until(says(f"canary {CANARY} was promoted"))
        assert await browser.js(says("every job gets its own tier again"))
    assert browser.errors == []


async def test_an_admin_pauses_a_fleet_on_the_page(governed: Any, browser: Any) -> None:
    await enter(browser, governed, "rich")
    button = "document.querySelector('[data-intake=\"studio/tiny\"]')"
    await browser.until(f"{button}?.textContent === 'Pause intake'")
    await browser.js(f"{button}.click()")
    await browser.until(f"{button}?.textContent === 'Resume intake'")
    assert await browser.js(says("Intake is paused"))
    await browser.js(f"{button}.click()")
    await browser.until(f"{button}?.textContent === 'Pause intake'")
    await enter_as(browser, governed, "loner1")
    assert await browser.js("document.querySelectorAll('[data-intake]').length") == 0
    assert browser.errors == []


async def enter_as(browser: Any, gateway: Any, tenant: str) -> None:
    await browser.js("sessionStorage.clear()")
    await browser.open(gateway.url + "/?again")
    await enter(browser, gateway, tenant)


async def test_everything_is_erased_only_by_name(governed: Any, browser: Any, work: Any) -> None:
    async with governed.session("loner1") as http:
        async with http.post("/v1/videos", json={"prompt": "a car drives"}) as response:
            await work(governed, (await response.json())["id"])
        await enter(browser, governed, "loner1")
        await browser.until("document.querySelectorAll('#cards button').length === 1")
        await browser.js("document.getElementById('erase').click()")
        await browser.js("document.getElementById('erase-tenant').focus()")
        await browser.type("loner2")
        await browser.press("Enter", ENTER, "\r")
        await browser.until("document.getElementById('erase-fault').textContent.includes('Type loner1')")
        await browser.js("document.getElementById('erase-tenant').value = ''")
        await browser.type("loner1")
        await browser.press("Enter", ENTER, "\r")
        await browser.until("document.getElementById('stage-detail').textContent === '1 video is gone.'")
        await browser.until("document.querySelectorAll('#cards button').length === 0")
        async with http.get("/v1/videos") as response:
            assert (await response.json())["data"] == []
    assert browser.errors == []


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_axe_finds_no_fault(governed: Any, browser: Any, work: Any, theme: str) -> None:
    """At the door, in the rooms with a playing video and a dialog, in both themes."""
    rule = FallbackRule(tier="preview", share_permille=300, priorities=[Priority.BATCH], cause="a long queue")
    await publish(governed, canary=CanaryRule(revision=CANARY, weight_permille=10), fallback=rule)
    await browser.open(governed.url + "/")
    await browser.until("!document.getElementById('door').hidden")
    await browser.look(1280, theme)
    assert await browser.axe() == []
    async with governed.session("rich") as http:
        for _ in range(2):
            async with http.post("/v1/videos", json={"prompt": "a car drives", "model": "studio/tiny"}) as response:
                job = (await response.json())["id"]
        await work(governed, job)
    await enter(browser, governed, "rich")
    await browser.until("document.querySelectorAll('#cards button').length === 2")
    await browser.js("document.querySelectorAll('#cards button')[0].click()")
    await browser.until("!document.getElementById('rating').hidden")
    assert await browser.axe() == []
    await browser.js("document.getElementById('erase').click()")
    assert await browser.axe() == []
