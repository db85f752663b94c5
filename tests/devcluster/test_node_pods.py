"""Pods as processes: real programs on a real API server."""

from pathlib import Path
from typing import Any

from videofleet_devcluster.apiserver.faults import FaultAction, FaultRule, Faults
from videofleet_devcluster.client import CLAIMS, PODS


def text_of(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def exists(process: int) -> bool:
    return Path(f"/proc/{process}").exists()


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


async def test_a_pod_ends_though_the_word_of_it_is_lost(world: Any, faults: Faults) -> None:
    await world.pod("p", "python3", "-c", "import time; time.sleep(600)")
    await world.until_pod("p", lambda pod: pod["status"]["phase"] == "Running")
    await world.client.delete(PODS, "default", "p")
    refused = faults.add(FaultRule(FaultAction.ERROR, verb="delete", resource="pods", count=2))  # the node's, next
    await world.until_gone(PODS, "p")
    assert refused.hits == 2


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
