"""kill -9 of every part while jobs run: everything that was accepted succeeds, and is delivered once."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

JOBS = 20
BACK_S = 120  # a killed part is back and at work; on a busy machine warming up alone takes half of it
ALL_S = 240

pytestmark = pytest.mark.timeout(900)


def test_all_jobs_survive_the_death_of_every_part(system: Any, eventually: Callable[..., Any]) -> None:
    jobs = [system.submit(f"take {number}", seed=number) for number in range(JOBS)]

    def finished() -> int:
        status, page = system.http("GET", "/v1/videos?limit=100")
        videos = page["data"] if status == 200 else []
        return sum(video["status"] == "completed" and video["id"] in jobs for video in videos)

    for program in ("videofleet-worker", "videofleet-operator", "videofleet-gateway", "redis-server"):
        before = eventually(lambda: finished() + 1, BACK_S) - 1
        assert before < JOBS, "the jobs ran out before everything was killed once"
        killed = system.kill(program)
        eventually(lambda program=program, killed=killed: set(system.pids(program)) - {killed}, BACK_S)
        eventually(lambda before=before: finished() > before, BACK_S)
    eventually(lambda: finished() == JOBS, ALL_S)

    for number, job in enumerate(jobs):
        video = system.video(job)
        assert (video["status"], video["seed"], video["error"]) == ("completed", number, None)
    times_committed = commits(system.folder, jobs)
    assert max(times_committed.values()) == 1
    assert sum(times_committed.values()) >= JOBS - 1, "the killed worker may have died between commit and log line"


def commits(folder: Path, jobs: list[str]) -> Counter[str]:
    """How often workers logged that a job of theirs succeeded."""
    logs = [log for log in folder.glob("dev/logs/pods/**/*") if log.is_file()]
    lines = [line.partition(" ")[2] for log in logs for line in log.read_text().splitlines()]  # behind the node's time
    records = [json.loads(line) for line in lines if line.startswith("{")]
    return Counter(record["job"] for record in records if record["message"] == "succeeded" and record["job"] in jobs)
