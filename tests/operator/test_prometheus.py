"""Queries as metrics: what any Prometheus may answer, and what a canary becomes by it."""

import asyncio
import math
import shutil
import socket
import time
from types import SimpleNamespace

import pytest
from aiohttp import web

from videofleet_operator.observed import Measure
from videofleet_operator.plan.measures import Question
from videofleet_operator.prometheus import NoNumber, Prometheus, number_in

KEY = ("studio", "tiny")
SCALAR = '{"status":"success","data":{"resultType":"scalar","result":[1,"0.25"]}}'
VECTOR = '{"data":{"resultType":"vector","result":[{"metric":{},"value":[1,"%s"]}]}}'
NOTHING = '{"data":{"resultType":"vector","result":[]}}'
TWO = '{"data":{"resultType":"vector","result":[{"value":[1,"1"]},{"value":[1,"2"]}]}}'


@pytest.mark.parametrize(("body", "value"), [(SCALAR, 0.25), (VECTOR % "3e-2", 0.03), (VECTOR % "+Inf", math.inf)])
def test_one_number_is_read(body, value):
    assert number_in(body.encode()) == value


@pytest.mark.parametrize(
    ("body", "why"),
    [(NOTHING, "empty"), (TWO, "2 series"), (VECTOR % "NaN", "NaN"), ("<html>", "read"), ('{"data":[]}', "read")],
)
def test_anything_else_is_no_number_and_says_why(body, why):
    with pytest.raises(NoNumber, match=why):
        number_in(body.encode())


@pytest.fixture
async def api(unused_tcp_port_factory):
    """A server that speaks the API: `api.answer` is (status, body); `api.asked` holds the queries."""
    app = web.Application()
    runner = web.AppRunner(app)

    async def query(request):
        app_state.asked.append((await request.post())["query"])
        await asyncio.sleep(app_state.delay_s)
        status, body = app_state.answer
        return web.Response(status=status, text=body, headers={"Location": "/elsewhere"})

    app_state = SimpleNamespace(asked=[], answer=(200, SCALAR), delay_s=0.0, url="")
    app.add_routes([web.post("/api/v1/query", query)])
    await runner.setup()
    port = unused_tcp_port_factory()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    app_state.url = f"http://127.0.0.1:{port}/"
    yield app_state
    await runner.cleanup()


async def answered(prometheus, *questions):
    """The first answers."""
    deadline = time.monotonic() + 60
    while not (found := prometheus.look(KEY, questions)):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    return found


async def test_a_look_never_waits_and_hands_back_what_is_known(api):
    api.delay_s = 0.2
    prometheus, question = Prometheus(api.url), Question("errors", 'rate(x{revision="abc"}[5m])')
    assert prometheus.look(KEY, (question,)) == (), "nothing is known yet"
    assert await answered(prometheus, question) == (Measure("errors", (0.25,)),)
    for _ in range(20):
        prometheus.look(KEY, (question,))
    assert api.asked == ['rate(x{revision="abc"}[5m])'], "asked again after ten seconds only"


async def test_three_answers_are_kept(api, monkeypatch):
    monkeypatch.setattr("videofleet_operator.prometheus.ASK_EVERY_S", 0.0)
    prometheus, question = Prometheus(api.url), Question("errors", "x")
    deadline = time.monotonic() + 60
    while len(api.asked) < 6 and time.monotonic() < deadline:
        found = prometheus.look(KEY, (question,))
        await asyncio.sleep(0.01)
    assert found == (Measure("errors", (0.25, 0.25, 0.25)),)
    assert prometheus.look(KEY, (Question("errors", "y"),)) == (), "another query, another canary: all over again"


@pytest.mark.parametrize(
    ("answer", "why"), [((503, "busy"), "503"), ((302, ""), "302"), ((200, NOTHING), "empty"), ((200, "{"), "read")]
)
async def test_what_is_no_answer_says_why(api, answer, why):
    api.answer = answer
    (measure,) = await answered(Prometheus(api.url), Question("errors", "x"))
    assert measure.recent == (None,)
    assert why in measure.why_not
    assert len(api.asked) == 1, "redirects are not followed"


async def test_nobody_there_nobody_named_and_nobody_in_time(api, monkeypatch, unused_tcp_port):
    (measure,) = await answered(Prometheus(f"http://127.0.0.1:{unused_tcp_port}"), Question("errors", "x"))
    assert "cannot be reached" in measure.why_not
    (measure,) = Prometheus(None).look(KEY, (Question("errors", "x"),))
    assert "prometheus.url" in measure.why_not
    monkeypatch.setattr("videofleet_operator.prometheus.TIMEOUT_S", 0.05)
    api.delay_s = 5.0
    (measure,) = await answered(Prometheus(api.url), Question("errors", "x"))
    assert "does not answer" in measure.why_not


async def test_the_real_prometheus_is_understood(tmp_path):
    if shutil.which("prometheus") is None:
        pytest.skip("prometheus is not on PATH")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    (tmp_path / "prometheus.yml").write_text("global: {scrape_interval: 1s}\n")
    arguments = (f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data")
    with (tmp_path / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            "prometheus", *arguments, f"--web.listen-address={address}", stdout=log, stderr=log
        )
    try:
        scalar = Question("scalar", "scalar(vector(0.5))")
        deadline = time.monotonic() + 60
        while (await answered(Prometheus(f"http://{address}"), scalar))[0].recent != (0.5,):  # it starts
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
        names = {"empty": "no_such_metric", "nan": "vector(0) / 0", "bad": "sum("}
        asked = (Question(name, promql) for name, promql in names.items())
        found = {one.name: one for one in await answered(Prometheus(f"http://{address}"), *asked)}
        assert found["empty"].why_not == "the answer is empty"
        assert found["nan"].why_not == "the answer is NaN"
        assert found["bad"].why_not == "Prometheus answers 400"
    finally:
        process.terminate()
        await process.wait()
