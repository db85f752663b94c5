"""A burst, as the platform engineer sees it: a lower tier at once, more workers soon, everything back, then zero."""

import json
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(420)

SPEC = {
    "scaling": {"maxReplicas": 2, "targetWait": "4s", "scaleDownAfter": "20s", "scaleToZeroAfter": "20s"},
    "fallback": {"enabled": True, "stepEvery": "2s"},
}
BURST = 24


def given_a_fleet_that_may_scale_and_lower_tiers(system: Any, eventually: Callable[..., Any]) -> None:
    system.kubectl("patch", "vg", "tiny", "--type=merge", "-p", json.dumps({"spec": SPEC}))
    eventually(lambda: condition(system, "Ready")["status"] == "True", 90)


def status(system: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(system.kubectl("get", "vg", "tiny", "-o", "json"))["status"]
    return found


def condition(system: Any, kind: str) -> dict[str, str]:
    return next(
        (found for found in status(system)["conditions"] if found["type"] == kind), {"status": "", "reason": ""}
    )


def test_a_burst_lowers_the_tier_scales_out_and_passes(system: Any, eventually: Callable[..., Any]) -> None:
    given_a_fleet_that_may_scale_and_lower_tiers(system, eventually)

    jobs = [system.submit(f"burst {number}", priority="batch") for number in range(BURST)]
    protected = system.submit("never small", allow_fallback=False)

    eventually(lambda: condition(system, "FallbackActive")["reason"] == "UnderLoad", 60)
    eventually(lambda: status(system)["scaling"]["desired"] == 2, 60)
    eventually(lambda: len(system.pids("videofleet-worker")) == 2, 60)
    told = system.videofleet("explain-scale", "tiny")
    assert "From 1 to 2 workers" in told.stdout, told.stdout + told.stderr
    assert "tiny" in system.videofleet("top").stdout

    eventually(lambda: all(system.video(job)["status"] == "completed" for job in [*jobs, protected]), 240)
    videos = [system.video(job) for job in jobs]
    lowered = [video for video in videos if video["size"] == "64x64"]
    assert lowered, "no job was lowered"
    assert {video["size"] for video in videos} <= {"64x64", "128x128"}
    assert system.video(protected)["size"] == "128x128"
    assert all(video.get("attempt", 1) == 1 for video in videos), "scaling cost a job an attempt"

    eventually(lambda: condition(system, "FallbackActive")["reason"] == "FullQuality", 90)


def test_an_idle_fleet_goes_to_zero_and_the_next_job_wakes_it(system: Any, eventually: Callable[..., Any]) -> None:
    eventually(lambda: condition(system, "Ready")["reason"] == "ScaledToZero", 180)
    eventually(lambda: not system.pids("videofleet-worker"), 60)
    assert condition(system, "Ready")["status"] == "True"
    history = [(step["before"], step["desired"]) for step in status(system)["scaling"]["history"]]
    assert history[0][1] == 0
    assert (1, 2) in history

    job = system.submit("good morning")
    eventually(lambda: system.video(job)["status"] == "completed", 120)
    assert condition(system, "Ready")["reason"] == "WorkersReady"
    assert status(system)["scaling"]["history"][0]["reason"] in ("ScaledFromZero", "ScaledToZero")


def test_equal_small_jobs_are_made_together_where_warm_up_found_a_gain(
    system: Any, eventually: Callable[..., Any]
) -> None:
    jobs = [system.submit(f"small {number}", size="64x64", allow_fallback=False) for number in range(12)]
    eventually(lambda: all(system.video(job)["status"] == "completed" for job in jobs), 120)
    said = [json.loads(line) for pod in workers(system) for line in system.kubectl("logs", pod).splitlines()]
    found = [line["batch"] for line in said if line["message"] == "batch measured" and line["tier"] == "preview"]
    claimed = [line["batch"] for line in said if line["message"] == "claimed" and line["job"] in jobs]
    assert len(claimed) == len(jobs)
    assert max(claimed) > 1 or max(found) == 1, "they were made one by one"
    assert max(claimed) <= max(found)


def workers(system: Any) -> list[str]:
    return [name for name in system.kubectl("get", "pods", "-o", "name").split() if "/tiny-" in name]
