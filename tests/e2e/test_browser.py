"""The MP4 in a real browser: it plays to its end, at its size."""

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

PAGE = """<!doctype html><video id="video" muted autoplay src="/video.mp4"></video><script>
const video = document.getElementById("video");
const tell = (what) => fetch("/told", {method: "POST", body: JSON.stringify({what, error: video.error?.message,
  width: video.videoWidth, height: video.videoHeight, duration: video.duration, played: video.currentTime})});
video.onended = () => tell("ended");
video.onerror = () => tell("error");
</script>"""
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
)

pytestmark = pytest.mark.timeout(240)


async def played(video: Path, profile: Path) -> dict[str, Any]:
    """What Chromium tells of the video once it ended or failed."""
    told: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    async def receive(request: web.Request) -> web.Response:
        told.set_result(json.loads(await request.text()))
        return web.Response()

    async def page(_: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    async def file(_: web.Request) -> web.FileResponse:
        return web.FileResponse(video)

    app = web.Application()
    app.router.add_get("/", page)
    app.router.add_get("/video.mp4", file)
    app.router.add_post("/told", receive)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    browser = await asyncio.create_subprocess_exec(
        "chromium",
        *FLAGS,
        f"--user-data-dir={profile}",
        f"http://127.0.0.1:{runner.addresses[0][1]}/",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        return await asyncio.wait_for(told, 60)
    finally:
        browser.terminate()
        await browser.wait()
        await runner.cleanup()


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Debian's chromium, as CONTRIBUTING says")
async def test_the_video_plays_in_a_browser(system: Any, eventually: Callable[..., Any], tmp_path: Path) -> None:
    (video,) = system.folder.glob("demo/video_*.mp4")
    seen = await played(video, tmp_path / "profile")
    assert (seen["what"], seen.get("error")) == ("ended", None)
    assert (seen["width"], seen["height"]) == (128, 128)
    assert seen["duration"] == pytest.approx(17 / 16, abs=0.05)
    assert seen["played"] == pytest.approx(seen["duration"], abs=0.05)
