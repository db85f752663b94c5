"""kill -9 of every part while jobs run: everything that was accepted succeeds, and is delivered once."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

JOBS = 20
LOST_WORKER_S = 60  # lease 30 s, and warm again

pytestmark = pytest.mark.timeout(400)


def test_all_jobs_survive_the_death_of_every_part(system: Any, eventually: Callable[..., Any]) -> None:
    jobs = [system.submit(f"take {number}", seed=number) for number in range(JOBS)]

    def states() -> Counter[str]:
        videos = [system.video(job) for job in jobs]
        return Counter(video["status"] if video else "unanswered" for video in videos)

    def finished() -> int:
        return states()["completed"]

    for program in ("videofleet-worker", "videofleet-operator", "videofleet-gateway", "redis-server"):
        before = finished()
        assert before < JOBS, "the jobs ran out before everything was killed once"
        killed = system.kill(program)
        import time; t0=time.monotonic(); print("KILL", program, before, flush=True)
        eventually(lambda program=program, killed=killed: set(system.pids(program)) - {killed}, 30)
        print("BACK", time.monotonic()-t0, flush=True)
        eventually(lambda before=before: finished() > before, LOST_WORKER_S + 30)
        print("PROGRESS", time.monotonic()-t0, flush=True)
    eventually(lambda: finished() == JOBS, 120)

    assert len(set(jobs)) == JOBS
    for number, job in enumerate(jobs):
        video = system.video(job)
        assert (video["status"], video["seed"], video["error"]) == ("completed", number, None)
    listed = system.http("GET", "/v1/videos?limit=100")[1]["data"]
    assert Counter(video["id"] for video in listed if video["id"] in jobs) == Counter(jobs)
    assert max(commits(system.folder, jobs).values()) == 1


def commits(folder: Path, jobs: list[str]) -> Counter[str]:
    """How often workers logged that a job of theirs succeeded."""
    lines = [line for log in folder.glob("dev/logs/pods/**/*") if log.is_file() for line in log.open()]
    records = [json.loads(line) for line in lines if line.startswith("{")]
    return Counter(record["job"] for record in records if record["message"] == "succeeded" and record["job"] in jobs)
