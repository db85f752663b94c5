"""Sending over real sockets: what a hostile receiver or DNS may try, and that nothing inside is ever touched."""

import socket
import time
from collections.abc import AsyncIterator
from ipaddress import ip_network
from typing import Any

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from videofleet_gateway.webhooks import sending
from videofleet_gateway.webhooks.sending import Reply, Sender
from videofleet_gateway.webhooks.targets import Reach

LOOPBACK = Reach(networks=(ip_network("127.0.0.0/8"),), domains=("receiver.test", "rebound.example"))


class Names(AbstractResolver):
    """A DNS that says what a test wants, another thing each time."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> Any:
        hosts = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        return [
            ResolveResult(hostname=host, host=each, port=port, family=socket.AF_INET, proto=0, flags=0)
            for each in hosts
        ]

    async def close(self) -> None: ...


class Receiver:
    """A real HTTP server that counts who comes."""

    def __init__(self) -> None:
        self.hits: list[tuple[str, bytes]] = []
        self.status = 200
        self.headers: dict[str, str] = {}
        self.body = b""

    async def handle(self, request: web.Request) -> web.Response:
        self.hits.append((request.path, await request.read()))
        return web.Response(status=self.status, headers=self.headers, body=self.body)


@pytest.fixture
async def receiver() -> AsyncIterator[tuple[Receiver, int]]:
    heard = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", heard.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield heard, runner.addresses[0][1]
    await runner.cleanup()


async def send(url: str, reach: Reach = LOOPBACK, names: Names | None = None) -> Reply:
    return await Sender(names).send(url, '{"a":1}', {"webhook-id": "x"}, reach)


async def test_it_arrives(receiver: Any) -> None:
    heard, port = receiver
    assert await send(f"http://127.0.0.1:{port}/hook?x=1") == Reply(200)
    assert heard.hits == [("/hook", b'{"a":1}')]


async def test_a_redirect_is_a_failure_and_is_not_followed(receiver: Any) -> None:
    heard, port = receiver
    heard.status, heard.headers = 302, {"Location": f"http://127.0.0.1:{port}/secret"}
    assert (await send(f"http://127.0.0.1:{port}/hook")).status == 302
    assert [path for path, _ in heard.hits] == ["/hook"]


async def test_retry_after_is_read_and_nonsense_is_not(receiver: Any) -> None:
    heard, port = receiver
    for text, seconds in (("120", 120.0), ("Wed, 21 Oct 2026 07:28:00 GMT", 0.0), ("9" * 400, 0.0), ("-5", 0.0)):
        heard.status, heard.headers = 429, {"Retry-After": text}
        assert await send(f"http://127.0.0.1:{port}/") == Reply(429, retry_after_s=seconds)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "localhost"])
async def test_nothing_inside_is_touched_by_any_spelling(receiver: Any, host: str) -> None:
    heard, port = receiver
    for url in (f"http://{host}:{port}/", f"https://{host}:{port}/", f"https://{host}/"):
        assert (await send(url, Reach())).fault == "forbidden"
    assert heard.hits == []


async def test_a_name_that_leads_inside_is_refused_when_connecting(
    receiver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard, port = receiver
    inside = Reach(domains=("rebound.example",))  # the name passes the first check, with any port
    url = f"http://rebound.example:{port}/"
    assert (await send(url, inside, Names(["127.0.0.1"]))).fault == "forbidden"
    assert (await send(url, inside, Names(["93.184.216.34", "127.0.0.1"]))).fault == "forbidden", "one of them"
    # Even if the judging of names were gone, the socket is never made.
    monkeypatch.setattr(sending, "all_permitted", lambda *_: True)
    assert (await send(url, inside, Names(["127.0.0.1"]))).fault == "forbidden"
    assert heard.hits == []


async def test_a_name_is_resolved_once_a_delivery(receiver: Any) -> None:
    """Rebinding: the second answer would lead elsewhere, so there must be no second question."""
    heard, port = receiver
    names = Names(["127.0.0.1"], ["169.254.169.254"])
    assert (await send(f"http://receiver.test:{port}/", names=names)).status == 200
    assert (names.asked, len(heard.hits)) == (1, 1)


async def test_proxies_of_the_environment_are_ignored(receiver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    heard, port = receiver
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert (await send(f"http://127.0.0.1:{port}/")).status == 200
    assert len(heard.hits) == 1


async def test_a_silent_receiver_and_a_closed_port_and_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "LIMIT_S", 0.3)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        began = time.monotonic()
        assert (await send(f"http://127.0.0.1:{silent.getsockname()[1]}/")).fault == "timeout"
        assert time.monotonic() - began < 10
        port = silent.getsockname()[1]
    assert (await send(f"http://127.0.0.1:{port}/")).fault == "connection"

    class Nobody(Names):
        async def resolve(self, *_: Any, **__: Any) -> Any:
            raise OSError("no such name")

    assert (await send("http://receiver.test:80/", names=Nobody([]))).fault == "dns"


async def test_an_endless_reply_is_not_read(receiver: Any) -> None:
    heard, port = receiver
    heard.body = b"x" * (64 << 20)
    began = time.monotonic()
    assert (await send(f"http://127.0.0.1:{port}/")).status == 200
    assert time.monotonic() - began < 10


async def test_a_plain_server_behind_https_is_a_tls_fault_or_none(receiver: Any) -> None:
    _, port = receiver
    assert (await send(f"https://127.0.0.1:{port}/")).fault in ("tls", "connection")
