"""`videofleet explain-scale`, `top` and `drain` against an API server of a few lines."""

import asyncio
import copy
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

Start = Any
WHY = "From 1 to 3 workers: 9 jobs wait with 5 min of work, 1 run; a wait under 60 s needs 3.0"
FLEET: dict[str, Any] = {
    "metadata": {"namespace": "studio", "name": "wan", "generation": 3},
    "spec": {
        "model": {"architecture": "wan2.2-t2v-a14b", "source": "pvc://models/tiny"},
        "tiers": [{"name": "small", "width": 128, "height": 128, "numFrames": 17, "numInferenceSteps": 4}],
        "output": {"store": "videos"},
        "scaling": {
            "maxReplicas": 4,
            "targetWait": "1m",
            "schedule": [{"start": "00:00", "end": "00:00", "minReplicas": 2}],
        },
    },
    "status": {
        "replicas": 3,
        "readyReplicas": 1,
        "queue": {"waiting": 9, "running": 1, "wait": "45s", "updated": "2026-01-01T00:00:00Z"},
        "scaling": {
            "desired": 3,
            "reason": "ScaledUp",
            "message": WHY,
            "coldStartSeconds": 95,
            "history": [
                {"at": "2026-01-01T00:00:00Z", "before": 1, "desired": 3, "reason": "ScaledUp", "message": WHY}
            ],
        },
        "fallback": {"tier": "preview", "share": "40%"},
        "conditions": [
            {"type": "Ready", "status": "True", "reason": "WorkersReady", "message": "Warm."},
            {"type": "FallbackActive", "status": "True", "reason": "UnderLoad", "message": "40 % get preview."},
        ],
    },
}


def pod(name: str, app: str = "videofleet-worker") -> dict[str, Any]:
    labels = {"app.kubernetes.io/name": app}
    return {"metadata": {"name": name, "namespace": "studio", "uid": f"uid-{name}", "labels": labels}}


class ApiServer:
    """Fleets, pods, one node; evicts on the third try, as a disruption budget may have it."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = str(kubeconfig)
        self.fleets = [copy.deepcopy(FLEET)]
        self.pods = {"w-1": pod("w-1"), "w-2": pod("w-2"), "db": pod("db", "redis")}
        self.cordoned: list[str] = []
        self.refusals = 2
        self.evicted: list[str] = []

    def routes(self) -> web.Application:
        app = web.Application()
        fleets = "/apis/videofleet.dev/v1alpha1/namespaces/studio/videogenerators"
        app.router.add_get(fleets, self.list_fleets)
        app.router.add_get("/api/v1/pods", self.on_node)
        app.router.add_get("/api/v1/namespaces/studio/pods", self.by_name)
        app.router.add_get("/api/v1/namespaces/studio/pods/{name}", self.get_pod)
        app.router.add_post("/api/v1/namespaces/studio/pods/{name}/eviction", self.evict)
        app.router.add_patch("/api/v1/nodes/{name}", self.cordon)
        return app

    async def list_fleets(self, _: web.Request) -> web.Response:
        return web.json_response({"kind": "VideoGeneratorList", "items": self.fleets})

    async def on_node(self, request: web.Request) -> web.Response:
        assert request.query["fieldSelector"] == "spec.nodeName=gpu-1"
        workers = [one for one in self.pods.values() if one["metadata"]["name"].startswith("w-")]
        return web.json_response({"kind": "PodList", "items": workers})

    async def by_name(self, request: web.Request) -> web.Response:
        name = request.query["fieldSelector"].removeprefix("metadata.name=")
        return web.json_response({"kind": "PodList", "items": [self.pods[name]] if name in self.pods else []})

    async def get_pod(self, request: web.Request) -> web.Response:
        found = self.pods.get(request.match_info["name"])
        return web.json_response(found) if found else self.status(404)

    async def evict(self, request: web.Request) -> web.Response:
        if self.refusals:
            self.refusals -= 1
            return self.status(429)
        name = request.match_info["name"]
        self.evicted.append(name)
        asyncio.get_running_loop().call_later(0.2, self.pods.pop, name)
        return web.json_response({"kind": "Status", "status": "Success"}, status=201)

    async def cordon(self, request: web.Request) -> web.Response:
        if request.match_info["name"] != "gpu-1":
            return self.status(404)
        assert (await request.json()) == {"spec": {"unschedulable": True}}
        self.cordoned.append("gpu-1")
        return web.json_response({"kind": "Node", "metadata": {"name": "gpu-1"}})

    @staticmethod
    def status(code: int) -> web.Response:
        return web.json_response({"kind": "Status", "code": code}, status=code)


def write_kubeconfig(path: Path, url: str) -> None:
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "dev",
        "clusters": [{"name": "dev", "cluster": {"server": url}}],
        "users": [{"name": "dev", "user": {}}],
        "contexts": [{"name": "dev", "context": {"cluster": "dev", "user": "dev", "namespace": "studio"}}],
    }
    path.write_text(yaml.safe_dump(content))


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[ApiServer]:
    server = ApiServer(tmp_path / "kubeconfig")
    runner = web.AppRunner(server.routes())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    write_kubeconfig(Path(server.kubeconfig), f"http://{host}:{port}")
    yield server
    await runner.cleanup()


async def test_why_so_many_in_sentences(api: ApiServer, start: Start) -> None:
    done = await (await start("explain-scale", "wan", "--kubeconfig", api.kubeconfig)).done()
    assert done.code == 0, done.err
    for words in (
        WHY,
        "1 warm of 3",
        "2 to 4 workers, by the window 00:00–00:00 UTC",
        "95 s",
        "40 % get preview",
        "1 → 3",
    ):
        assert words in done.out


async def test_why_for_programs(api: ApiServer, start: Start) -> None:
    done = await (await start("explain-scale", "wan", "--json", "--kubeconfig", api.kubeconfig)).done()
    told = json.loads(done.out)
    assert (told["desired"], told["reason"], len(told["history"])) == (3, "ScaledUp", 1)


async def test_advice_is_called_advice(api: ApiServer, start: Start) -> None:
    api.fleets[0]["spec"]["scaling"]["mode"] = "Advisory"
    done = await (await start("explain-scale", "wan", "--kubeconfig", api.kubeconfig)).done()
    assert "advice" in done.out


async def test_a_fleet_that_is_not_there_or_not_decided(api: ApiServer, start: Start) -> None:
    assert (await (await start("explain-scale", "no", "--kubeconfig", api.kubeconfig)).done()).code == 2
    del api.fleets[0]["status"]["scaling"]
    done = await (await start("explain-scale", "wan", "--kubeconfig", api.kubeconfig)).done()
    assert done.code == 2
    assert "decided nothing yet" in done.err


async def test_top_is_one_table_without_a_terminal(api: ApiServer, start: Start) -> None:
    done = await (await start("top", "--kubeconfig", api.kubeconfig)).done()
    assert done.code == 0, done.err
    header, line = done.out.splitlines()
    assert header.split()[:3] == ["FLEET", "READY", "WORKERS"]
    assert line.split() == ["studio/wan", "WorkersReady", "1/3", "3", "9", "1", "45s", "preview", "40%", "–"]
    done = await (await start("top", "--json", "--kubeconfig", api.kubeconfig)).done()
    assert json.loads(done.out)[0]["desired"] == 3


async def test_a_node_is_cordoned_and_emptied_as_budgets_allow(api: ApiServer, start: Start) -> None:
    done = await (await start("drain", "gpu-1", "--kubeconfig", api.kubeconfig)).done()
    assert done.code == 0, done.err
    assert api.cordoned == ["gpu-1"]
    assert sorted(api.evicted) == ["w-1", "w-2"]
    assert "gpu-1 is empty; workers that have gone: 2" in done.out


async def test_a_worker_is_drained_alone(api: ApiServer, start: Start) -> None:
    api.refusals = 0
    done = await (await start("drain", "w-2", "--kubeconfig", api.kubeconfig)).done()
    assert (done.code, api.evicted, api.cordoned) == (0, ["w-2"], [])


async def test_what_is_no_worker_is_left_alone(api: ApiServer, start: Start) -> None:
    for target in ("db", "nothing"):
        assert (await (await start("drain", target, "--kubeconfig", api.kubeconfig)).done()).code == 2
    assert api.evicted == []


async def test_a_drain_that_takes_long_says_that_it_goes_on(api: ApiServer, start: Start) -> None:
    api.refusals = 10_000
    done = await (await start("drain", "w-1", "--timeout", "1", "--kubeconfig", api.kubeconfig)).done()
    assert done.code == 5
    assert "goes on draining" in done.err
