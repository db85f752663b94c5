"""`videofleet status` and the odd cases: nothing installed, nothing there, not allowed, nobody at home."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

Start = Any
FLEET = {
    "metadata": {"namespace": "studio", "name": "wan", "generation": 3},
    "status": {
        "observedGeneration": 3,
        "replicas": 2,
        "readyReplicas": 1,
        "decoders": {"replicas": 2, "ready": 0, "message": "CrashLoop: worker d exited. Workers decode meanwhile."},
        "queue": {"waiting": 7, "running": 1, "updated": "2026-01-01T00:00:00Z"},
        "revisions": {"stable": "aaaaaaaaaa", "target": "bbbbbbbbbb"},
        "conditions": [
            {"type": "Ready", "status": "True", "reason": "Ready", "message": "One worker is [warm]."},
            {"type": "Degraded", "status": "True", "reason": "ModelCorrupt", "message": "Fix the weights."},
        ],
    },
}


class ApiServer:
    """Answers the one question that `status` asks, as a Kubernetes API server would."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = str(kubeconfig)
        self.code = 200
        self.fleets: list[dict[str, Any]] = []

    async def answer(self, request: web.Request) -> web.Response:
        if self.code != 200:
            return web.json_response({"kind": "Status", "code": self.code}, status=self.code)
        everywhere = "namespaces" not in request.path
        items = [f for f in self.fleets if everywhere or f"/{f['metadata']['namespace']}/" in request.path]
        return web.json_response({"kind": "VideoGeneratorList", "items": items})


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[ApiServer]:
    server = ApiServer(tmp_path / "kubeconfig")
    app = web.Application()
    app.router.add_get("/apis/videofleet.dev/v1alpha1/{rest:.*}", server.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    write_kubeconfig(server.kubeconfig, f"http://{host}:{port}")
    yield server
    await runner.cleanup()


def write_kubeconfig(path: str, url: str) -> None:
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "dev",
        "clusters": [{"name": "dev", "cluster": {"server": url}}],
        "users": [{"name": "dev", "user": {}}],
        "contexts": [{"name": "dev", "context": {"cluster": "dev", "user": "dev", "namespace": "studio"}}],
    }
    Path(path).write_text(yaml.safe_dump(content))


async def test_a_fleet_in_sentences(api: ApiServer, start: Start) -> None:
    api.fleets = [FLEET]
    done = await (await start("status", "wan", "--kubeconfig", api.kubeconfig)).done()
    assert done.code == 0
    for words in (
        "studio/wan",
        "1 warm of 2",
        "0 warm of 2: CrashLoop: worker d exited.",
        "7 waiting, 1 running",
        "aaaaaaaaaa serves, bbbbbbbbbb on its way",
        "One worker is [warm].",
        "ModelCorrupt",
    ):
        assert words in done.out


async def test_json(api: ApiServer, start: Start) -> None:
    api.fleets = [FLEET]
    done = await (await start("status", "--json", KUBECONFIG=api.kubeconfig)).done()
    (fleet,) = json.loads(done.out)
    assert (fleet["name"], fleet["readyReplicas"], len(fleet["conditions"])) == ("wan", 1, 2)


async def test_a_fleet_that_nobody_looked_at(api: ApiServer, start: Start) -> None:
    api.fleets = [{"metadata": FLEET["metadata"]}]
    done = await (await start("status", KUBECONFIG=api.kubeconfig)).done()
    assert "The operator has not looked at it yet" in done.out


async def test_nothing_here_is_no_error(api: ApiServer, start: Start) -> None:
    api.fleets = [FLEET]
    done = await (await start("status", "-n", "other", KUBECONFIG=api.kubeconfig)).done()
    assert done.code == 0
    assert "kubectl apply -f examples/tiny.yaml" in done.out


@pytest.mark.parametrize(
    ("code", "expected", "words"),
    [
        (404, 2, "does not know VideoGenerators; install the chart"),
        (401, 4, "401"),
        (403, 4, "403"),
        (500, 3, "500"),
    ],
)
async def test_refusals(api: ApiServer, start: Start, code: int, expected: int, words: str) -> None:
    api.code = code
    done = await (await start("status", KUBECONFIG=api.kubeconfig)).done()
    assert done.code == expected
    assert words in done.err
    assert "Traceback" not in done.err


async def test_a_name_that_is_not_there(api: ApiServer, start: Start) -> None:
    done = await (await start("status", "nope", KUBECONFIG=api.kubeconfig)).done()
    assert done.code == 2
    assert "there is no VideoGenerator 'nope'" in done.err


async def test_nobody_at_home(start: Start, tmp_path: Path) -> None:
    write_kubeconfig(str(tmp_path / "kubeconfig"), "http://127.0.0.1:9")
    done = await (await start("status", KUBECONFIG=str(tmp_path / "kubeconfig"))).done()
    assert done.code == 3
    assert "the cluster does not answer" in done.err


async def test_no_kubeconfig(start: Start) -> None:
    done = await (await start("status")).done()
    assert done.code == 2
    assert "there is no kubeconfig at" in done.err
