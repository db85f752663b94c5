"""Pods as processes: real programs on a real API server."""

from pathlib import Path
from typing import Any

import aiohttp

from videofleet_devcluster.client import CLAIMS, PODS, SERVICES

SERVER = """
import http.server, os, pathlib
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        is_open = pathlib.Path(os.environ["GATE"], "open").exists()
        self.send_response(200 if is_open else 503)
        self.end_headers()
        self.wfile.write(os.environ["BIND_ADDRESS"].encode())
    def log_message(self, *_): pass
print("listening", flush=True)
http.server.ThreadingHTTPServer((os.environ["BIND_ADDRESS"], 8081), Handler).serve_forever()
"""
GATED: dict[str, Any] = {
    "env": [{"name": "GATE", "value": "/gate"}],
    "volumeMounts": [{"name": "gate", "mountPath": "/gate"}],
    "ports": [{"name": "http", "containerPort": 8081}],
    "readinessProbe": {
        "httpGet": {"path": "/readyz", "port": "http"},
        "periodSeconds": 1,
        "timeoutSeconds": 30,
        "failureThreshold": 1,
    },
}
GATE = {"volumes": [{"name": "gate", "emptyDir": {}}]}


def ready(pod: dict[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def text_of(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def exists(process: int) -> bool:
    return Path(f"/proc/{process}").exists()


async def test_a_pod_is_ready_only_while_its_probe_passes_and_its_service_answers_then(world: Any) -> None:
    ports = [{"port": 80, "targetPort": "http"}]
    service = await world.create(SERVICES, "web", spec={"selector": {"app": "web"}, "ports": ports})
    pod = await world.pod("web", "python3", "-c", SERVER, spec=GATE, **GATED)

    async def probed() -> bool:
        return "Readiness probe failed: HTTP probe failed with statuscode: 503" in await world.events("Unhealthy")

    await world.until(probed)
    assert not ready(await world.client.get(PODS, "default", "web"))
    (world.volume(pod, "gate") / "open").touch()
    pod = await world.until_pod("web", ready)

    async def answer() -> str:
        async with aiohttp.ClientSession() as session:
            try:
                async with session.get(f"http://{service['spec']['clusterIP']}/") as response:
                    return await response.text()
            except aiohttp.ClientError:
                return ""

    assert await world.until(answer) == pod["status"]["podIP"]
    (world.volume(pod, "gate") / "open").unlink()
    await world.until_pod("web", lambda p: not ready(p))

    async def refused() -> bool:
        return await answer() == ""

    await world.until(refused)


async def test_deletion_ends_the_whole_family(world: Any, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    code = f"""
import os, subprocess, pathlib, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path({str(pids)!r}).write_text(f"{{os.getpid()}} {{child.pid}}")
child.wait()
"""
    await world.pod("p", "python3", "-c", code)

    async def family() -> list[int]:
        return [int(word) for word in text_of(pids).split()]

    found = await world.until(family)
    assert len(found) == 2
    await world.client.delete(PODS, "default", "p")
    await world.until_gone(PODS, "p")

    async def gone() -> bool:
        return not any(exists(each) for each in found)

    await world.until(gone)


async def test_two_pods_share_a_claimed_folder(world: Any) -> None:
    await world.create(
        CLAIMS, "shared", spec={"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    )
    volumes = {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "shared"}}], "restartPolicy": "Never"}
    mounts = [{"name": "v", "mountPath": "/data"}]
    write = "import sys; open(sys.argv[1].removeprefix('file://') + '/x', 'w').write('hello')"
    await world.pod("a", "python3", "-c", write, spec=volumes, volumeMounts=mounts, args=["file:///data"])
    await world.until_pod("a", lambda p: p["status"]["phase"] == "Succeeded")
    read = "import os, sys; sys.exit(0 if open(os.environ['AT'] + '/x').read() == 'hello' else 1)"
    env = [{"name": "AT", "value": "/data"}]
    await world.pod("b", "python3", "-c", read, spec=volumes, volumeMounts=mounts, env=env)
    await world.until_pod("b", lambda p: p["status"]["phase"] == "Succeeded")
    (folder,) = (world.folder / "volumes").iterdir()
    assert (folder / "x").read_text() == "hello"
    await world.client.delete(CLAIMS, "default", "shared")

    async def folder_gone() -> bool:
        return list((world.folder / "volumes").iterdir()) == []

    await world.until(folder_gone)
