"""From `webhook` in a request to a verified message at the receiver, through real processes that die on the way."""

import asyncio
import base64
import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
from aiohttp import web
from standardwebhooks import Webhook

OLD, NEW, STRANGE = (f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}" for _ in range(3))
CANARY = "zirkonium-canary"


@dataclass
class Deliverer:
    """A `videofleet-gateway deliver` process."""

    gateway: Any
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        folder: Path = self.gateway.folder
        (folder / "redis-url").write_text(self.gateway.redis_url)
        command = [sys.executable, "-m", "videofleet_gateway", "deliver", f"--installation={self.gateway.installation}"]
        command += [f"--redis-url-file={folder}/redis-url", f"--webhooks-file={folder}/webhooks.json"]
        with (folder / "stderr").open("ab") as stderr:
            environment = os.environ | {"BIND_ADDRESS": "127.0.0.1"}
            self.process = subprocess.Popen([*command, f"--port={self.port}"], stderr=stderr, env=environment)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(how)
        return self.process.wait(30)

    async def metrics(self) -> str:
        async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{self.port}/metrics") as response:
            return await response.text()


@dataclass
class Receiver:
    """Keeps every message; answers what `answer` says of the number of messages so far."""

    url: str = ""
    messages: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    answer: Callable[[int], int] = lambda _: 200

    async def handle(self, request: web.Request) -> web.Response:
        self.messages.append((dict(request.headers), await request.read()))
        return web.Response(status=self.answer(len(self.messages)))


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    heard = Receiver()
    app = web.Application()
    app.router.add_post("/hook", heard.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    heard.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield heard
    await runner.cleanup()


def write_rules(gateway: Any, *own: str) -> None:
    rules = {"secrets": {"rich": list(own)}, "allowedNetworks": ["127.0.0.0/8"]}
    fresh = gateway.folder / "webhooks.new"
    fresh.write_text(json.dumps(rules))
    fresh.replace(gateway.folder / "webhooks.json")


@pytest.fixture
def told_gateway(own_gateway: Any) -> Any:
    """A gateway whose tenant `rich` has a signing secret, and may be told on loopback addresses."""
    write_rules(own_gateway, NEW)
    own_gateway.extra_arguments += (f"--webhooks-file={own_gateway.folder}/webhooks.json",)
    own_gateway.start()
    return own_gateway


@pytest.fixture
def deliverers(told_gateway: Any) -> Iterator[list[Deliverer]]:
    """Two of them, not started."""
    made = [Deliverer(told_gateway), Deliverer(told_gateway)]
    yield made
    for each in made:
        if each.process is not None and each.process.poll() is None:
            each.process.kill()
            each.process.wait()


async def eventually(holds: Callable[[], bool], within_s: float = 60) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.02)


async def submit(gateway: Any, url: str, **more: Any) -> str:
    fields = {"prompt": CANARY, "model": "studio/tiny", "webhook": {"url": url}} | more
    async with gateway.session("rich") as http, http.post("/v1/videos", json=fields) as response:
        video = await response.json()
        assert response.status == 202, video
        assert video["webhook"] == {"url": url, "status": None, "attempts": 0}
        return str(video["id"])


async def webhook_of(gateway: Any, job_id: str) -> dict[str, Any]:
    async with gateway.session("rich") as http, http.get(f"/v1/videos/{job_id}") as response:
        return dict((await response.json())["webhook"])


async def told(gateway: Any, job_id: str, status: str) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while (seen := await webhook_of(gateway, job_id))["status"] != status:  # noqa: ASYNC110 - in another process
            await asyncio.sleep(0.02)
    return seen


async def test_a_finished_video_is_told_signed_and_without_its_prompt(
    told_gateway: Any, deliverers: list[Deliverer], receiver: Receiver, work: Any
) -> None:
    deliverers[0].start()
    job_id = await submit(told_gateway, receiver.url)
    await work(told_gateway, job_id)
    await eventually(lambda: bool(receiver.messages))
    headers, body = receiver.messages[0]
    event = Webhook(NEW).verify(body, headers)
    assert (event["type"], event["data"]["id"], event["data"]["status"]) == ("video.completed", job_id, "completed")
    assert event["id"] == headers["webhook-id"]
    assert CANARY not in body.decode()
    assert len(body) < 20_000
    with openai.OpenAI(api_key="x", webhook_secret=NEW) as client:
        assert client.webhooks.unwrap(body, headers).type == "video.completed"
    with pytest.raises(Exception, match="signature"):
        Webhook(STRANGE).verify(body, headers)
    assert (await told(told_gateway, job_id, "delivered"))["attempts"] == 1
    figures = await deliverers[0].metrics()
    assert 'videofleet_deliver_notices_total{outcome="delivered"} 1.0' in figures
    assert "videofleet_deliver_outbox 0.0" in figures
    assert deliverers[0].stop() == 0
    assert CANARY not in told_gateway.log()
    assert receiver.url not in told_gateway.log(), "a URL may hold the receiver's secret"


async def test_a_cancelled_video_is_told_as_failed(
    told_gateway: Any, deliverers: list[Deliverer], receiver: Receiver
) -> None:
    deliverers[0].start()
    job_id = await submit(told_gateway, receiver.url)
    async with told_gateway.session("rich") as http, http.delete(f"/v1/videos/{job_id}") as response:
        assert response.status == 200
    await eventually(lambda: bool(receiver.messages))
    event = Webhook(NEW).verify(receiver.messages[0][1], receiver.messages[0][0])
    assert (event["type"], event["data"]["error"]["code"]) == ("video.failed", "cancelled")


async def test_what_nobody_delivered_waits_and_is_told_later_once(
    told_gateway: Any, deliverers: list[Deliverer], receiver: Receiver, work: Any
) -> None:
    """Neither Redis' nor the deliverers' deaths lose a notice, and two deliverers do not tell it twice."""
    jobs = [await submit(told_gateway, receiver.url) for _ in range(6)]
    for job_id in jobs:
        await work(told_gateway, job_id)
    for each in deliverers:
        each.start()
    await eventually(lambda: len(receiver.messages) == len(jobs))
    for job_id in jobs:
        await told(told_gateway, job_id, "delivered")
    assert sorted(json.loads(body)["data"]["id"] for _, body in receiver.messages) == sorted(jobs)


async def test_a_failing_receiver_is_tried_again_with_the_same_id_also_after_a_kill(
    told_gateway: Any, deliverers: list[Deliverer], receiver: Receiver, work: Any
) -> None:
    receiver.answer = lambda number: 200 if number > 1 else 503
    deliverers[0].start()
    job_id = await submit(told_gateway, receiver.url)
    await work(told_gateway, job_id)
    async with asyncio.timeout(60):
        while (await webhook_of(told_gateway, job_id))["attempts"] != 1:  # noqa: ASYNC110 - in another process
            await asyncio.sleep(0.02)
    deliverers[0].stop(signal.SIGKILL)
    deliverers[1].start()
    assert (await told(told_gateway, job_id, "delivered"))["attempts"] == 2
    ids = {headers["webhook-id"] for headers, _ in receiver.messages}
    bodies = {body for _, body in receiver.messages}
    assert (len(receiver.messages), len(ids), len(bodies)) == (2, 1, 1)


async def test_410_ends_it_and_silences_the_url(
    told_gateway: Any, deliverers: list[Deliverer], receiver: Receiver, work: Any
) -> None:
    receiver.answer = lambda _: 410
    deliverers[0].start()
    first = await submit(told_gateway, receiver.url)
    await work(told_gateway, first)
    assert (await told(told_gateway, first, "disabled"))["attempts"] == 1
    second = await submit(told_gateway, receiver.url)
    await work(told_gateway, second)
    assert (await told(told_gateway, second, "disabled"))["attempts"] == 0
    assert len(receiver.messages) == 1


async def test_two_secrets_sign_while_a_receiver_changes_over(
    told_gateway: Any, deliverers: list[Deliverer], receiver: Receiver, work: Any
) -> None:
    deliverers[0].start()
    await asyncio.to_thread(write_rules, told_gateway, NEW, OLD)  # read without a restart
    job_id = await submit(told_gateway, receiver.url)
    await work(told_gateway, job_id)
    await eventually(lambda: bool(receiver.messages))
    headers, body = receiver.messages[0]
    for secret in (OLD, NEW):
        assert Webhook(secret).verify(body, headers)["data"]["id"] == job_id


async def test_the_sdk_and_forms_may_ask_for_a_webhook(told_gateway: Any) -> None:
    url = "https://hooks.example.com/x"
    async with openai.AsyncOpenAI(api_key=told_gateway.keys["rich"], base_url=told_gateway.url + "/v1") as client:
        for given in ({"url": url}, url):
            with pytest.warns(DeprecationWarning):  # noqa: PT030 - the SDK's own words
                video = await client.videos.create(
                    prompt="a fox runs", extra_body={"model": "studio/tiny", "webhook": given}
                )
            assert video.webhook["url"] == url  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("tenant", "webhook"),
    [
        ("rich", {"url": "https://169.254.169.254/"}),
        ("rich", {"url": "http://hooks.example.com/"}),
        ("rich", {"url": "https://hooks.example.com/", "secret": "x"}),
        ("rich", 7),
        ("loner0", {"url": "https://hooks.example.com/"}),
    ],
)
async def test_a_webhook_that_may_not_be_is_refused_at_once(told_gateway: Any, tenant: str, webhook: Any) -> None:
    fields = {"prompt": "a fox", "model": "studio/tiny", "webhook": webhook}
    async with told_gateway.session(tenant) as http, http.post("/v1/videos", json=fields) as response:
        problem = await response.json()
    assert (response.status, problem["error"]["param"]) == (422, "webhook")


def test_a_broken_file_is_told_without_its_secrets(own_gateway: Any) -> None:
    weak = "whsec_" + base64.b64encode(b"short").decode()
    (own_gateway.folder / "webhooks.json").write_text(json.dumps({"secrets": {"rich": [weak]}}))
    own_gateway.extra_arguments += (f"--webhooks-file={own_gateway.folder}/webhooks.json",)
    with contextlib.suppress(AssertionError):
        own_gateway.start()
    assert own_gateway.process.wait(60) == 1
    assert "24 to 64 random bytes" in own_gateway.log()
    assert weak not in own_gateway.log()
