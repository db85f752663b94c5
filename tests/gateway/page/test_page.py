"""The page at `/` in a real Chromium: a prompt is typed, progress is seen, the video plays, and nothing complains."""

from pathlib import Path
from typing import Any

import aiohttp
import pytest

from videofleet.beacons import WorkerBeacon, WorkerState
from videofleet.jobs import Progress, VideoResult
from videofleet.queue import JobQueue

pytestmark = pytest.mark.timeout(300)
PROMPT = "The sun sets behind drifting hills, slow tracking shot, warm light"
CTRL, ENTER, TAB = 2, 13, 9
FLEET = "0b5c2c0e-6f3f-4d0e-9d55-000000000001"


async def enter(browser: Any, gateway: Any, tenant: str) -> None:
    await browser.open(gateway.url + "/")
    await browser.until("!document.getElementById('door').hidden")
    await browser.type(gateway.keys[tenant])
    await browser.press("Enter", ENTER, "\r")
    await browser.until("!document.getElementById('rooms').hidden && !!document.querySelector('#tiers :checked')")


async def text(browser: Any, element: str) -> str:
    return str(await browser.js(f"document.getElementById({element!r}).textContent"))


async def finish(gateway: Any, queue: JobQueue, claim: Any, clip: tuple[Path, Path, Path]) -> None:
    folder = f"out/{claim.job.id}/{claim.attempt}"
    await gateway.store.put_file(f"{folder}/video.mp4", clip[0], "video/mp4")
    await gateway.store.put_file(f"{folder}/thumbnail.jpg", clip[1], "image/jpeg")
    await gateway.store.put_file(f"{folder}/spritesheet.jpg", clip[2], "image/jpeg")
    result = VideoResult(
        store="videos",
        video_key=f"{folder}/video.mp4",
        thumbnail_key=f"{folder}/thumbnail.jpg",
        spritesheet_key=f"{folder}/spritesheet.jpg",
        video_bytes=clip[0].stat().st_size,
        tier=claim.job.request.tier,
        seed=claim.job.request.seed,
        revision="r1",
        attempt=claim.attempt,
        seconds_per_step=1.0,
        worker_seconds=5.0,
    )
    await queue.succeed(claim, result)


async def claim_newest(queue: JobQueue, tenant: str) -> Any:
    (job,) = await queue.page([FLEET], tenant, after=None, limit=1, newest_first=True)
    while True:
        (claim,) = (await queue.claim(FLEET, worker="tiny-7c9d-x2kfp", revision="r1")).claims
        if claim.job.id == job.id:
            return claim


async def submit(browser: Any, prompt: str) -> None:
    await browser.js("document.getElementById('prompt').value = ''; document.getElementById('prompt').focus()")
    await browser.type(prompt)
    await browser.press("Enter", ENTER, "\r", CTRL)


async def test_a_prompt_becomes_a_playing_video(
    gateway: Any, browser: Any, tenant: str, clip: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    async with JobQueue.connect(gateway.redis_url, gateway.installation) as queue:
        ready = WorkerBeacon(worker="tiny-7c9d-x2kfp", revision="r1", state=WorkerState.READY, job="video_x")
        warming = WorkerState.WARMING
        await queue.put_beacon(FLEET, ready)
        await queue.put_beacon(FLEET, WorkerBeacon(worker="tiny-7c9d-b81zz", revision="r1", state=WorkerState.READY))
        await queue.put_beacon(
            FLEET,
            WorkerBeacon(
                worker="tiny-7c9d-q4m2d", revision="r1", state=warming, detail="warming small, run 2 of at most 4"
            ),
        )
        await enter(browser, gateway, tenant)
        assert await browser.js("document.activeElement.id") == "prompt"
        for theme, width in (("light", 1280), ("dark", 390)):
            (tmp_path / f"empty-{theme}-{width}.png").write_bytes(await browser.look(width, theme))

        for _ in range(3):
            await submit(browser, PROMPT)
            await browser.until("document.getElementById('stage-title').textContent.startsWith('Waiting')")
            claim = await claim_newest(queue, tenant)
            for step in (1, 2, 3):
                await queue.beat(claim, Progress(stage="denoising", step=step, steps=4))
                await browser.until(f"document.getElementById('stage-detail').textContent.includes('step {step} of 4')")
            assert await text(browser, "stage-title") == "Painting"
            assert await browser.js("document.getElementById('bar').value") == 5 + 85 * 3 // 4
            (tmp_path / "working.png").write_bytes(await browser.look(1280, "dark"))
            await finish(gateway, queue, claim, clip)
            played = (
                "(v => v && v.currentTime > 0.2 && !v.error && v.videoWidth)(document.querySelector('#screen video'))"
            )
            assert await browser.until(played) == 640
        await browser.until("document.querySelectorAll('#cards img').length === 3")
        await browser.js("document.querySelector('#cards button').focus()")
        moving = "getComputedStyle(document.querySelector('#cards .sprites')).backgroundImage.includes('spritesheet')"
        await browser.until(moving)
        assert "tiny-7c9d-x2kfpmaking a video" in await text(browser, "fleet-list")
        assert "warming small, run 2" in await text(browser, "fleet-list")
        await browser.js("document.querySelectorAll('#rating button')[3].click()")
        await browser.until("document.querySelectorAll('#rating .lit').length === 4")
        assert [row.rating_sum for row in await queue.opinions.of(FLEET)] == [4]
        await browser.js("document.querySelector('#screen video').pause()")
        await browser.js("document.activeElement.blur(); window.scrollTo(0, 0)")
        for theme in ("light", "dark"):
            for width in (1280, 390):
                (tmp_path / f"page-{theme}-{width}.png").write_bytes(await browser.look(width, theme))
                overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
                assert await browser.js(overflow) == 0
    assert browser.errors == []


async def test_faults_stand_at_their_field_and_the_job_can_be_cancelled(
    gateway: Any, browser: Any, tenant: str
) -> None:
    await enter(browser, gateway, tenant)
    await browser.js("document.getElementById('seed').value = 'seven'")
    await submit(browser, "<img src=x onerror=alert(1)> walks")
    await browser.until("document.getElementById('seed-fault').textContent.includes('whole number')")
    assert await browser.js("document.activeElement.id") == "seed"
    browser.errors.clear()  # Chromium calls every 422 an error
    await browser.js("document.getElementById('seed').value = ''")
    await submit(browser, "<img src=x onerror=alert(1)>")
    await browser.until("document.getElementById('stage-title').textContent.startsWith('Waiting')")
    assert "<img" in await text(browser, "stage-prompt")
    assert await browser.js("document.getElementById('advice').children.length") > 0
    await browser.until("[...document.querySelectorAll('#acts button')].some(b => b.textContent === 'Cancel')")
    await browser.js("document.querySelector('#acts button').click()")
    await browser.until("document.getElementById('stage-title').textContent === 'No video'")
    assert "cancelled" in await text(browser, "stage-detail")
    assert browser.errors == []


async def test_a_wrong_key_and_signing_out(gateway: Any, browser: Any, tenant: str) -> None:
    await browser.open(gateway.url + "/")
    await browser.until("!document.getElementById('door').hidden")
    await browser.type("vf_nobody_0123456789abcdef")
    await browser.press("Enter", ENTER, "\r")
    await browser.until("document.getElementById('key-fault').textContent.includes('not known')")
    assert await browser.js("sessionStorage.length") == 0
    await enter(browser, gateway, tenant)
    await browser.js("document.getElementById('forget').click()")
    await browser.until("!document.getElementById('door').hidden")
    assert await browser.js("sessionStorage.length") == 0


async def test_the_whole_form_is_reached_by_keyboard_and_every_control_has_a_name(
    gateway: Any, browser: Any, tenant: str
) -> None:
    await enter(browser, gateway, tenant)
    seen = []
    for _ in range(5):
        seen.append(await browser.js("document.activeElement.id || document.activeElement.tagName"))
        await browser.press("Tab", TAB)
    assert seen == ["prompt", "model", "INPUT", "SUMMARY", "submit"]
    tree = (await browser.call("Accessibility.getFullAXTree"))["nodes"]
    controls = {"button", "textbox", "combobox", "radio", "link", "progressbar", "video"}
    nameless = [
        node for node in tree if node.get("role", {}).get("value") in controls and not node.get("name", {}).get("value")
    ]
    assert nameless == []


async def test_the_policy_is_strict(gateway: Any) -> None:
    async with aiohttp.ClientSession(gateway.url) as http:
        async with http.get("/") as response:
            policy = response.headers["Content-Security-Policy"]
            etag = response.headers["ETag"]
            assert (response.status, response.content_type) == (200, "text/html")
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        async with http.get("/", headers={"If-None-Match": etag}) as response:
            assert response.status == 304
        for missing in ("/page/nothing.js", "/page/..%2fapp.py", "/page/__init__.py"):
            async with http.get(missing) as response:
                assert response.status == 404
