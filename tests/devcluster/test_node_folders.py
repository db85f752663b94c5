"""Where a container finds itself: folders that work wherever the state folder lies, and however long its name is."""

import os
import tempfile
from pathlib import Path
from typing import Any

FOLDERS = """
import json, os, socket, tempfile
listener = socket.socket(socket.AF_UNIX)
listener.bind(tempfile.mkdtemp(prefix="pymp-") + "/listener-12345678")
open(os.environ["SCRATCH"] + "/file", "w").close()
print(json.dumps({"cwd": os.getcwd(), "home": os.environ["HOME"], "tmp": os.environ["TMPDIR"]}))
"""
MOUNTED: dict[str, Any] = {
    "env": [{"name": "SCRATCH", "value": "/tmp"}],
    "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
}
VOLUMES = {"volumes": [{"name": "tmp", "emptyDir": {}}], "restartPolicy": "Never"}


def aliases_into(folder: Path) -> list[str]:
    """Short names in the system's folder that lead below this one; other clusters have theirs there too."""
    with os.scandir(tempfile.gettempdir()) as entries:
        links = [entry.path for entry in entries if entry.name.startswith("vf-") and entry.is_symlink()]
    return [link for link in links if os.path.realpath(link).startswith(str(folder))]


async def test_unix_sockets_fit_and_the_nodes_own_paths_are_not_rewritten(world: Any) -> None:
    """pytest's folder is long and lies in /tmp, which most pods mount something on."""
    pod = await world.pod("p", "python3", "-c", FOLDERS, spec=VOLUMES, **MOUNTED)
    done = await world.until_pod("p", lambda pod: pod.get("status", {}).get("phase") in ("Succeeded", "Failed"))
    log = await world.logs("p")
    assert done["status"]["phase"] == "Succeeded", log
    root = world.folder / "node" / "pods" / pod["metadata"]["uid"] / "root" / "main"
    assert f'"cwd": "{root}"' in log
    assert f'"home": "{root}"' in log
    assert (world.volume(pod, "tmp") / "file").exists()


async def test_no_alias_is_left(world: Any) -> None:
    await world.pod("p", "python3", "-c", "import os; print(os.environ['TMPDIR'])", spec=VOLUMES, **MOUNTED)
    await world.until_pod("p", lambda pod: pod.get("status", {}).get("phase") == "Succeeded")
    assert "/vf-" in await world.logs("p")
    assert aliases_into(world.folder) == []
