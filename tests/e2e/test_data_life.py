"""What happens to videos in a whole installation: reused, linked, expired, erased. In the order of the story."""

import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(300)
Eventually = Callable[[Callable[[], Any], float], Any]


def patch(system: Any, **output: str) -> None:
    body = json.dumps({"spec": {"output": output}})
    system.kubectl("patch", "vg", "tiny", "--type=merge", "-p", body)


def made(system: Any, eventually: Eventually, prompt: str, **fields: Any) -> Any:
    job = system.submit(prompt, tier="preview", **fields)
    return eventually(lambda: (video := system.video(job)) and video["status"] == "completed" and video, 120)


def files(system: Any, job: str) -> list[Path]:
    return [path for path in system.folder.rglob(f"{job}/**/*") if path.is_file()]


def test_an_equal_request_is_answered_by_a_copy(system: Any, eventually: Eventually) -> None:
    patch(system, cache="tenant")
    first = made(system, eventually, "a red panda rides a skateboard", seed=7)

    def reused() -> Any:  # once the operator has published the change
        again = system.video(system.submit("a red panda rides a skateboard", tier="preview", seed=7))
        return again if again["cached"] else None

    again = eventually(reused, 60)
    assert (again["status"], again["attempt"]) == ("completed", 0)
    names = {path.name for path in files(system, again["id"])}
    assert names == {"video.mp4", "thumbnail.jpg", "spritesheet.jpg"} == {p.name for p in files(system, first["id"])}


def test_a_link_opens_the_files_without_a_key(system: Any, eventually: Eventually) -> None:
    video = made(system, eventually, "a lighthouse blinks in the fog")
    status, made_links = system.http("POST", f"/v1/videos/{video['id']}/links", {})
    assert status == 201
    heads = {"video": b"ftyp", "thumbnail": b"\xff\xd8", "spritesheet": b"\xff\xd8"}
    for variant, head in heads.items():
        with urllib.request.urlopen(system.env["VIDEOFLEET_GATEWAY"] + made_links["links"][variant]) as reply:
            assert head in reply.read()[:16]


def test_videos_leave_when_their_retention_is_over(system: Any, eventually: Eventually) -> None:
    video = made(system, eventually, "a train leaves the station")
    assert video["expires_at"] is None
    patch(system, retention="1m")
    told = eventually(lambda: (system.video(video["id"]) or {}).get("expires_at"), 60)
    assert told == pytest.approx(video["completed_at"] + 60, abs=1)
    eventually(lambda: system.http("GET", f"/v1/videos/{video['id']}")[0] == 404, 120)
    eventually(lambda: not files(system, video["id"]), 60)
    system.kubectl("patch", "vg", "tiny", "--type=json", "-p", '[{"op": "remove", "path": "/spec/output/retention"}]')


def test_a_running_job_and_a_tenant_are_erased(system: Any, eventually: Eventually) -> None:
    """The worker drops the job at its next sign of life, and makes the next one."""
    running = system.submit("a ship sails over the horizon")
    eventually(lambda: (system.video(running) or {}).get("status") == "in_progress", 120)
    done = system.videofleet("erase", running)
    assert done.returncode == 0, done.stderr
    assert system.http("GET", f"/v1/videos/{running}")[0] == 404
    video = made(system, eventually, "a ship comes back")
    done = system.videofleet("erase", "--tenant", "demo")
    assert done.returncode == 0, done.stderr
    assert system.http("GET", "/v1/videos")[1]["data"] == []
    eventually(lambda: not files(system, video["id"]) and not files(system, running), 60)
