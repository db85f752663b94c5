"""A real hook over HTTP: what it refuses is refused, and when it is away each tenant's rule decides."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

ASKED = {"prompt": "zirkonium sails past a lighthouse", "negative_prompt": "fog", "model": "studio/tiny"}
KEY = "hook-key-0123456789"


class HookServer:
    """Answers as told and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[dict[str, str], bytes]] = []
        self.answers: dict[str, Any] = {"prompt": {"allow": True}, "video": {"allow": True}}
        self.status = 200
        self.release = asyncio.Event()
        self.release.set()
        self.video_asked = asyncio.Event()

    async def judge(self, request: web.Request) -> web.Response:
        self.asked.append((dict(request.headers), await request.read()))
        if request.headers["VideoFleet-Stage"] == "video":
            self.video_asked.set()
        await self.release.wait()
        return web.json_response(self.answers[request.headers["VideoFleet-Stage"]], status=self.status)


@pytest.fixture
async def hook(own_gateway: Any) -> AsyncIterator[HookServer]:
    """The hook, and the gateway that asks it, started."""
    server = HookServer()
    app = web.Application(client_max_size=1 << 26)
    app.router.add_post("/judge", server.judge)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    (own_gateway.folder / "hook-key").write_text(KEY + "\n")
    own_gateway.extra_arguments += (
        f"--moderation-url=http://127.0.0.1:{runner.addresses[0][1]}/judge",
        f"--moderation-key-file={own_gateway.folder}/hook-key",
    )
    own_gateway.rules = {"loner1": {"moderation": "open"}, "loner2": {"moderation": "off"}}
    own_gateway.write_keys()
    own_gateway.start()
    yield server
    server.release.set()
    await runner.cleanup()


async def submit(http: aiohttp.ClientSession) -> tuple[int, dict[str, Any]]:
    async with http.post("/v1/videos", json=ASKED) as response:
        return response.status, await response.json()


async def content(http: aiohttp.ClientSession, job: str, variant: str = "video") -> tuple[int, str]:
    async with http.get(f"/v1/videos/{job}/content", params={"variant": variant}) as response:
        refused = response.content_type == "application/problem+json"
        return response.status, (await response.json())["error"]["code"] if refused else ""


async def test_prompt_and_video_are_judged_once_each(own_gateway: Any, hook: HookServer, work: Any) -> None:
    async with own_gateway.session("rich") as http:
        job = await work(own_gateway, (await submit(http))[1]["id"])
        ((headers, body),) = hook.asked
        assert json.loads(body) == {
            "stage": "prompt",
            "tenant": "rich",
            "prompt": ASKED["prompt"],
            "negative_prompt": "fog",
        }
        assert headers["Authorization"] == f"Bearer {KEY}"
        hook.release.clear()
        asking = [asyncio.create_task(content(http, job.id, variant)) for variant in ("video", "thumbnail", "video")]
        async with asyncio.timeout(60):
            await hook.video_asked.wait()
        hook.release.set()
        assert await asyncio.gather(*asking) == [(200, "")] * 3
        headers, body = hook.asked[1]
        assert (headers["VideoFleet-Video"], len(body)) == (job.id, job.result.video_bytes)
        own_gateway.stop()
        own_gateway.start()
    async with own_gateway.session("rich") as http:
        assert await content(http, job.id) == (200, "")
        assert len(hook.asked) == 2, "the verdict is kept with the job"
    assert "zirkonium" not in own_gateway.log()
    assert KEY not in own_gateway.log()


async def test_what_the_hook_refuses(own_gateway: Any, hook: HookServer, work: Any) -> None:
    async with own_gateway.session("rich") as http:
        job = await work(own_gateway, (await submit(http))[1]["id"])
        hook.answers = {"prompt": {"allow": False, "reason": "no lighthouses"}, "video": {"allow": False}}
        status, told = await submit(http)
        assert (status, told["error"]["code"], told["error"]["param"]) == (422, "moderation_refused", "prompt")
        assert told["detail"].endswith("no lighthouses")
        for variant in ("video", "thumbnail"):
            assert await content(http, job.id, variant) == (403, "moderation_refused")
        async with http.post(f"/v1/videos/{job.id}/links") as response:
            link = (await response.json())["links"]["video"]
        async with aiohttp.ClientSession(own_gateway.url) as anybody, anybody.get(link) as response:
            assert response.status == 403, "a link does not get around it"
        async with http.get("/v1/videos") as response:
            assert len((await response.json())["data"]) == 1, "nothing was queued"


@pytest.mark.parametrize("trouble", ["503", "nonsense", "silence"])
async def test_a_hook_without_an_answer(own_gateway: Any, hook: HookServer, work: Any, trouble: str) -> None:
    async with (
        own_gateway.session("rich") as closed,
        own_gateway.session("loner1") as opened,
        own_gateway.session("loner2") as off,
    ):
        job = await work(own_gateway, (await submit(closed))[1]["id"])
        other = await work(own_gateway, (await submit(opened))[1]["id"])
        if trouble == "503":
            hook.status = 503
        elif trouble == "nonsense":
            hook.answers = {"prompt": ["yes"], "video": {"allow": "yes"}}
        else:
            hook.release.clear()
        status, told = await submit(closed)
        assert (status, told["error"]["code"]) == (503, "moderation_unavailable")
        if trouble != "silence":  # a video may take the hook half a minute
            assert await content(closed, job.id) == (503, "moderation_unavailable")
            assert await content(opened, other.id) == (200, "")
        assert (await submit(opened))[0] == 202
        before = len(hook.asked)
        assert (await submit(off))[0] == 202
        assert len(hook.asked) == before
        hook.status, hook.answers = 200, {"prompt": {"allow": True}, "video": {"allow": False}}
        hook.release.set()
        assert await content(opened, other.id) == (403, "moderation_refused"), "asked again once it is back"


async def test_each_line_of_a_batch_is_judged(own_gateway: Any, hook: HookServer) -> None:
    lines = "\n".join(json.dumps({"custom_id": each, "body": ASKED}) for each in ("a", "b"))
    jsonl = {"Content-Type": "application/jsonl"}
    async with own_gateway.session("rich") as http:
        hook.answers["prompt"] = {"allow": False}
        async with http.post("/v1/batches", data=lines, headers=jsonl) as response:
            assert (response.status, "moderation" in (await response.json())["detail"]) == (422, True)
        hook.status = 500
        async with http.post("/v1/batches", data=lines, headers=jsonl) as response:
            told = await response.json()
            assert (response.status, told["error"]["code"]) == (503, "moderation_unavailable")
        hook.status, hook.answers["prompt"] = 200, {"allow": True}
        async with http.post("/v1/batches", data=lines, headers=jsonl) as response:
            assert response.status == 202
    assert len(hook.asked) == 6
