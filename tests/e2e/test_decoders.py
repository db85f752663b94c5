"""A fleet with decoders, as the operator makes it: they make the videos, and one that is killed is missed by nobody."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.timeout(600)


def status(system: Any) -> Any:
    return json.loads(system.kubectl("get", "vg", "tiny", "-o", "json")).get("status", {})


def is_warm(system: Any) -> bool:
    said = status(system)
    return said.get("readyReplicas") == 1 and said.get("decoders") == {"replicas": 1, "ready": 1}


def decoders(system: Any) -> list[int]:
    return [
        pid
        for pid in system.pids("videofleet-worker")
        if b"\0decode\0" in (Path("/proc") / str(pid) / "cmdline").read_bytes()
    ]


def made_by_decoders(system: Any, job: str) -> bool:
    """Their files lie in a folder of their own below the attempt's."""
    (video,) = [path for path in system.folder.rglob("video.mp4") if job in path.parts]
    return video.parts[-4] == job


def test_decoders_make_the_videos_of_their_revision(
    system: Any, eventually: Callable[[Callable[[], Any], float], Any]
) -> None:
    manifest = yaml.safe_load((ROOT / "examples/tiny.yaml").read_text())
    manifest["spec"]["worker"]["decode"] = {"replicas": 2}
    path = system.folder / "split.yaml"
    path.write_text(yaml.safe_dump(manifest))
    system.kubectl("delete", "vg", "tiny", "--wait=true")
    system.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(path))
    eventually(lambda: is_warm(system), 180)

    def video(prompt: str) -> str:
        job = system.submit(prompt, tier="preview")
        eventually(lambda: (system.video(job) or {}).get("status") == "completed", 120)
        return job

    job = video("a red car")
    assert made_by_decoders(system, job)
    (decoder,) = decoders(system)
    os.kill(decoder, signal.SIGKILL)
    video("a red car at night")  # by whoever is there
    eventually(lambda: is_warm(system) and decoders(system) not in ([], [decoder]), 180)
    assert made_by_decoders(system, video("a red car in the morning"))
