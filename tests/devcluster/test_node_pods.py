"""Pods as processes: real programs on a real API server."""

import asyncio
import base64
import os
import signal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from videofleet_devcluster.client import CLAIMS, CONFIG_MAPS, PODS, SECRETS, SERVICES, ApiError

SLEEP = ("python3", "-c", "import time; time.sleep(600)")
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
    "readinessProbe": {"httpGet": {"path": "/readyz", "port": "http"}, "periodSeconds": 1, "failureThreshold": 1},
}
GATE = {"volumes": [{"name": "gate", "emptyDir": {}}]}


def main(pod: dict[str, Any]) -> dict[str, Any]:
    statuses = pod.get("status", {}).get("containerStatuses") or [{}]
    return statuses[0]


def ready(pod: dict[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def running(pod: dict[str, Any]) -> bool:
    return "running" in main(pod).get("state", {})


def waits_for(reason: str) -> Any:
    return lambda pod: main(pod).get("state", {}).get("waiting", {}).get("reason") == reason


def pid(pod: dict[str, Any]) -> int:
    return int(main(pod)["containerID"].removeprefix("process://"))


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


async def test_a_killed_container_is_restarted_and_its_end_is_told(world: Any) -> None:
    await world.pod("p", *SLEEP)
    first = await world.until_pod("p", running)
    os.kill(pid(first), signal.SIGKILL)
    second = await world.until_pod("p", lambda p: running(p) and main(p)["restartCount"] == 1)
    assert pid(second) != pid(first)
    ended = main(second)["lastState"]["terminated"]
    assert (ended["exitCode"], ended["signal"], ended["reason"]) == (137, 9, "Error")


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


async def test_a_crash_loop_backs_off_in_the_kubelets_words(world: Any) -> None:
    code = "import sys; open(sys.argv[1], 'w').write('no model'); sys.exit(3)"
    pod = await world.pod("p", "python3", "-c", code, args=["/dev/termination-log"])
    pod = await world.until_pod("p", waits_for("CrashLoopBackOff"))
    uid = pod["metadata"]["uid"]
    message = main(pod)["state"]["waiting"]["message"]
    assert message == f"back-off 300ms restarting failed container=main pod=p_default({uid})"
    assert main(pod)["restartCount"] == 1
    ended = main(pod)["lastState"]["terminated"]
    assert (ended["exitCode"], ended["reason"], ended["message"]) == (3, "Error", "no model")
    assert pod["status"]["phase"] == "Running"

    async def told() -> bool:
        return f"Back-off restarting failed container main in pod p_default({uid})" in await world.events("BackOff")

    await world.until(told)


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


async def test_a_missing_secret_is_reported_and_heals(world: Any) -> None:
    volumes = {"volumes": [{"name": "x", "secret": {"secretName": "later"}}]}
    mounts = [{"name": "x", "mountPath": "/etc/x"}]
    env = [{"name": "E", "valueFrom": {"secretKeyRef": {"name": "later", "key": "url"}}}]
    await world.pod("volume", *SLEEP, spec=volumes, volumeMounts=mounts)
    await world.pod("env", *SLEEP, env=env)
    pod = await world.until_pod("env", waits_for("CreateContainerConfigError"))
    assert main(pod)["state"]["waiting"]["message"] == 'secret "later" not found'

    async def told() -> bool:
        text = 'MountVolume.SetUp failed for volume "x" : secret "later" not found'
        return text in await world.events("FailedMount")

    await world.until(told)
    await world.pod("unmounted", *SLEEP, spec=volumes, volumeMounts=mounts)
    await world.until_pod("unmounted", lambda p: p["status"].get("podIP"))
    await world.client.delete(PODS, "default", "unmounted")
    await world.until_gone(PODS, "unmounted", limit_s=0.9)
    pod = await world.client.get(PODS, "default", "volume")
    assert (pod["status"]["phase"], main(pod)["state"]["waiting"]["reason"]) == ("Pending", "ContainerCreating")
    await world.create(SECRETS, "later", data={"url": base64.b64encode(b"1").decode()})
    await world.until_pod("volume", running)
    await world.until_pod("env", running)


async def test_a_changed_config_map_reaches_the_running_pod(world: Any) -> None:
    await world.create(CONFIG_MAPS, "c", data={"key": "old"})
    volumes = {"volumes": [{"name": "v", "configMap": {"name": "c"}}]}
    pod = await world.pod("p", *SLEEP, spec=volumes, volumeMounts=[{"name": "v", "mountPath": "/etc/c"}])
    await world.until_pod("p", running)
    file = world.volume(pod, "v") / "key"
    assert file.read_text() == "old"
    await world.client.patch(CONFIG_MAPS, "default", "c", {"data": {"key": "new"}})

    async def changed() -> bool:
        return file.read_text() == "new"

    await world.until(changed)


POLITE = """
import pathlib, signal, sys, time
def end(*_):
    pathlib.Path(sys.argv[1]).open("a").write("term ")
    if sys.argv[2] == "obey": sys.exit(0)
signal.signal(signal.SIGTERM, end)
pathlib.Path(sys.argv[1]).open("a").write("up ")
while True: time.sleep(600)
"""


@pytest.mark.parametrize(("manner", "grace_s"), [("obey", 30), ("ignore", 1)])
async def test_an_end_is_prestop_then_sigterm_then_the_grace(
    world: Any, tmp_path: Path, manner: str, grace_s: int
) -> None:
    diary = tmp_path / "diary"
    hook = {"exec": {"command": ["sh", "-c", f"printf 'stop ' >> {diary}"]}}
    await world.pod(
        *("p", "python3", "-c", POLITE),
        args=[str(diary), manner],
        lifecycle={"preStop": hook},
        spec={"terminationGracePeriodSeconds": grace_s},
    )

    async def is_up() -> bool:
        return diary.exists() and diary.read_text() == "up "

    await world.until(is_up)
    began = asyncio.get_running_loop().time()
    await world.client.delete(PODS, "default", "p")
    await world.until_gone(PODS, "p", limit_s=10)
    took_s = asyncio.get_running_loop().time() - began
    assert diary.read_text() == "up stop term "
    assert took_s >= (1 if manner == "ignore" else 0)


async def test_a_second_deletion_shortens_the_grace(world: Any, tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    spec = {"terminationGracePeriodSeconds": 600}
    await world.pod("p", "python3", "-c", POLITE, args=[str(diary), "ignore"], spec=spec)

    async def reads(text: str) -> bool:
        return text_of(diary) == text

    await world.until(lambda: reads("up "))
    await world.client.delete(PODS, "default", "p")
    await world.until(lambda: reads("up term "))
    await world.client.delete(PODS, "default", "p", grace_s=1)
    await world.until_gone(PODS, "p", limit_s=10)
    assert await reads("up term term ")


async def test_init_containers_run_first_and_in_order(world: Any) -> None:
    def step(word: str) -> dict[str, Any]:
        command = ["sh", "-c", f"printf {word} >> /work/log"]
        mounts = [{"name": "w", "mountPath": "/work"}]
        return {"name": word, "image": "none", "command": command, "volumeMounts": mounts}

    spec = {"initContainers": [step("a"), step("b")], "volumes": [{"name": "w", "emptyDir": {}}]}
    pod = await world.pod("p", *SLEEP, spec=spec)
    pod = await world.until_pod("p", running)
    assert (world.volume(pod, "w") / "log").read_text() == "ab"
    assert all(s["state"]["terminated"]["reason"] == "Completed" for s in pod["status"]["initContainerStatuses"])


async def test_a_failing_liveness_probe_restarts_the_container(world: Any) -> None:
    probe = {"exec": {"command": ["sh", "-c", "test ! -e /w/broken"]}, "periodSeconds": 1, "failureThreshold": 1}
    mounts = [{"name": "w", "mountPath": "/w"}]
    spec = {"volumes": [{"name": "w", "emptyDir": {}}]}
    pod = await world.pod("p", *SLEEP, spec=spec, volumeMounts=mounts, livenessProbe=probe)
    await world.until_pod("p", running)
    (world.volume(pod, "w") / "broken").touch()
    await world.until_pod("p", lambda p: main(p)["restartCount"] >= 1)
    assert "Container main failed liveness probe, will be restarted" in await world.events("Killing")


async def test_a_program_that_does_not_exist_is_a_start_error(world: Any) -> None:
    await world.pod("p", "no-such-program")
    pod = await world.until_pod("p", waits_for("CrashLoopBackOff"))
    ended = main(pod)["lastState"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (128, "StartError")
    assert "no-such-program" in ended["message"]


WHO_AM_I = """
import base64, json, os, ssl, sys, urllib.request, yaml
config = yaml.safe_load(open(os.environ["KUBECONFIG"]))
cluster, token = config["clusters"][0]["cluster"], config["users"][0]["user"]["token"]
context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
url = cluster["server"] + "/api/v1/namespaces/default/pods"
try:
    urllib.request.urlopen(urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"}), context=context)
except urllib.error.HTTPError as error:
    print(error.code, json.load(error)["message"])
"""


async def test_a_pod_speaks_to_the_api_as_its_service_account(world: Any) -> None:
    spec = {"restartPolicy": "Never", "automountServiceAccountToken": True}
    await world.pod("p", "python3", "-c", WHO_AM_I, spec=spec)
    await world.until_pod("p", lambda p: p["status"]["phase"] == "Succeeded")
    log = await world.logs("p")
    assert log.startswith('403 pods is forbidden: User "system:serviceaccount:default:default" cannot list')


async def test_logs_of_this_run_and_of_the_one_before(world: Any) -> None:
    code = "import os, time; print('one'); print('run', os.getpid(), flush=True); time.sleep(600)"
    await world.pod("p", "python3", "-c", code)
    first = await world.until_pod("p", running)

    async def written() -> bool:
        return await world.logs("p", tailLines="1") == f"run {pid(first)}\n"

    await world.until(written)
    os.kill(pid(first), signal.SIGKILL)
    await world.until_pod("p", lambda p: running(p) and main(p)["restartCount"] == 1)
    assert await world.logs("p", previous="true") == f"one\nrun {pid(first)}\n"


SLOW_WORDS = """
import time
print("early", flush=True)
time.sleep(1.5)
print("late", flush=True)
time.sleep(600)
"""


async def test_logs_know_when_each_line_was_written(world: Any) -> None:
    await world.pod("p", "python3", "-c", SLOW_WORDS)

    async def both() -> list[str] | None:
        lines = (await world.logs("p", timestamps="true")).splitlines()
        return lines if len(lines) == 2 else None

    early, late = [line.split(" ") for line in await world.until(both, 60)]
    assert [early[1], late[1]] == ["early", "late"]
    assert early[0] < late[0]
    assert await world.logs("p", sinceTime=late[0]) == "late\n"
    assert await world.logs("p", sinceSeconds="3600", limitBytes="4") == "earl"
    assert "no number" in await world.logs("p", sinceSeconds="an hour")


async def test_names_that_are_taken_again_get_a_pod_of_their_own(world: Any) -> None:
    await world.pod("p", *SLEEP)
    first = await world.until_pod("p", running)
    await world.client.delete(PODS, "default", "p", grace_s=0)
    await world.until_gone(PODS, "p")
    await world.pod("p", *SLEEP)
    second = await world.until_pod("p", running)
    assert second["metadata"]["uid"] != first["metadata"]["uid"]
    assert second["status"]["podIP"] != first["status"]["podIP"]
    with pytest.raises(ApiError, match="409"):
        await world.client.delete(PODS, "default", "p", uid=first["metadata"]["uid"])
