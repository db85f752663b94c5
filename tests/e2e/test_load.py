"""A burst, as the platform engineer sees it: a lower tier at once, more workers soon, everything back, then zero.

And a node that is emptied, by us and by kubectl, while its worker has a job. The order is the story's.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(420)

SPEC = {
    "scaling": {"maxReplicas": 2, "targetWait": "3s", "scaleDownAfter": "15s", "scaleToZeroAfter": "8s"},
    "fallback": {"enabled": True, "stepEvery": "1s"},
}
BURST = 12


@pytest.fixture(scope="module")
def system(begin: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """An installation on two nodes."""
    running = begin(tmp_path_factory.mktemp("load"), "--nodes=2")
    yield running
    done = running.videofleet("dev", "down", f"--state={running.folder}/dev")
    assert done.returncode == 0, done.stdout + done.stderr


def configure(system: Any, spec: dict[str, Any]) -> None:
    system.kubectl("patch", "vg", "tiny", "--type=merge", "-p", json.dumps({"spec": spec}))


def status(system: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(system.kubectl("get", "vg", "tiny", "-o", "json"))["status"]
    return found


def condition(system: Any, kind: str) -> dict[str, str]:
    return next(
        (found for found in status(system)["conditions"] if found["type"] == kind), {"status": "", "reason": ""}
    )


def is_completed(system: Any, job: str) -> bool:
    """False also while the gateway moves."""
    return (system.video(job) or {}).get("status") == "completed"


def worker_of(system: Any, job: str) -> tuple[str, str] | None:
    """Pod and node of the worker that has this job, by what Kubernetes and Redis say of the only worker."""
    if (system.video(job) or {}).get("status") != "in_progress":
        return None
    pods = json.loads(system.kubectl("get", "pods", "-l", "app.kubernetes.io/name=videofleet-worker", "-o", "json"))[
        "items"
    ]
    alive = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    return (alive[0]["metadata"]["name"], alive[0]["spec"]["nodeName"]) if len(alive) == 1 else None


def test_a_burst_lowers_the_tier_scales_out_and_passes(system: Any, eventually: Callable[..., Any]) -> None:
    configure(system, SPEC)
    eventually(lambda: condition(system, "Ready")["status"] == "True", 90)

    jobs = [system.submit(f"burst {number}", priority="batch") for number in range(BURST)]
    protected = system.submit("never small", allow_fallback=False)

    eventually(lambda: condition(system, "FallbackActive")["reason"] == "UnderLoad", 60)
    eventually(lambda: status(system)["scaling"]["desired"] == 2, 60)
    eventually(lambda: len(system.pids("videofleet-worker")) == 2, 60)
    told = system.kubectl("videofleet", "explain-scale", "tiny")
    assert "From 1 to 2 workers" in told
    assert "default/tiny" in system.kubectl("videofleet", "top", "--once")

    eventually(lambda: all(is_completed(system, job) for job in [*jobs, protected]), 240)
    videos = [system.video(job) for job in jobs]
    lowered = [video for video in videos if video["size"] == "64x64"]
    assert lowered, "no job was lowered"
    assert {video["size"] for video in videos} <= {"64x64", "128x128"}
    assert system.video(protected)["size"] == "128x128"
    assert all(video["attempt"] == 1 for video in videos), "scaling cost a job an attempt"

    eventually(lambda: condition(system, "FallbackActive")["reason"] == "FullQuality", 90)


def test_an_idle_fleet_goes_to_zero_and_the_next_job_wakes_it(system: Any, eventually: Callable[..., Any]) -> None:
    configure(system, {"scaling": SPEC["scaling"] | {"targetWait": "8m"}})  # nothing is kept free for what came lately
    eventually(lambda: condition(system, "Ready")["reason"] == "ScaledToZero", 180)
    eventually(lambda: not system.pids("videofleet-worker"), 60)
    assert condition(system, "Ready")["status"] == "True"
    history = [(step["before"], step["desired"]) for step in status(system)["scaling"]["history"]]
    assert history[0][1] == 0
    assert (1, 2) in history

    configure(system, {"scaling": SPEC["scaling"] | {"targetWait": "8m", "maxReplicas": 1, "scaleToZeroAfter": "10m"}})
    job = system.submit("good morning")
    eventually(lambda: is_completed(system, job), 120)
    assert condition(system, "Ready")["reason"] == "WorkersReady"
    assert status(system)["scaling"]["history"][0]["reason"] == "ScaledFromZero"


def test_equal_small_jobs_are_made_together_where_warm_up_found_a_gain(
    system: Any, eventually: Callable[..., Any]
) -> None:
    jobs = [system.submit(f"small {number}", size="64x64", allow_fallback=False) for number in range(12)]
    eventually(lambda: all(is_completed(system, job) for job in jobs), 120)
    said = [json.loads(line) for pod in workers(system) for line in system.kubectl("logs", pod).splitlines()]
    found = [line["batch"] for line in said if line["message"] == "batch measured" and line["tier"] == "preview"]
    claimed = [line["batch"] for line in said if line["message"] == "claimed" and line["job"] in jobs]
    assert len(claimed) == len(jobs)
    assert max(claimed) > 1 or max(found) == 1, "they were made one by one"
    assert max(claimed) <= max(found)


def workers(system: Any) -> list[str]:
    return [name for name in system.kubectl("get", "pods", "-o", "name").split() if "/tiny-" in name]


@pytest.mark.parametrize(
    "drain",
    [
        ("videofleet", "drain"),
        ("drain", "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=150s"),  # gateway and operator move too
    ],
    ids=["kubectl videofleet drain", "kubectl drain"],
)
def test_a_node_is_emptied_and_its_running_job_loses_no_attempt(
    system: Any, eventually: Callable[..., Any], drain: tuple[str, ...]
) -> None:
    jobs = [system.submit(f"busy {number}", allow_fallback=False) for number in range(3)]
    pod, node = eventually(lambda: worker_of(system, jobs[0]), 60)

    system.kubectl(*drain, node)

    left = system.kubectl("get", "pods", "--field-selector", f"spec.nodeName={node}", "-o", "name")
    assert f"pod/{pod}" not in left
    assert "SchedulingDisabled" in system.kubectl("get", "node", node)
    eventually(lambda: all(is_completed(system, job) for job in jobs), 180)
    assert [system.video(job)["attempt"] for job in jobs] == [1, 1, 1]
    system.kubectl("uncordon", node)
