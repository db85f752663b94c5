"""Every fault shows its own reason, with the remedy, and only what needs a person stalls."""

import json
from datetime import timedelta

import pytest

from videofleet.beacons import WorkerBeacon, WorkerFault, WorkerState
from videofleet_operator.plan.status import rounded
from videofleet_operator.reasons import FAULT_REMEDIES, MEANINGS, Reason

SAID = json.dumps({"reason": "ModelCorrupt", "message": "shard 2 is truncated"})
SEEN = [
    (
        "said at exit",
        {"termination_message": SAID, "waiting_reason": "CrashLoopBackOff"},
        "ModelCorrupt",
        "shard 2",
        True,
    ),
    ("no GPU", {"unschedulable": "0/3 nodes: 3 Insufficient nvidia.com/gpu."}, "Unschedulable", "Insufficient", False),
    ("no claim", {"unschedulable": 'persistentvolumeclaim "models" not found'}, "VolumeClaimMissing", "models", True),
    (
        "image",
        {"waiting_reason": "ImagePullBackOff", "waiting_message": "no such tag"},
        "ImagePullFailed",
        "no such tag",
        True,
    ),
    (
        "secret",
        {"mount_failure": 'MountVolume.SetUp failed: secret "videos" not found'},
        "SecretMissing",
        "Secret videos is missing in namespace studio",
        True,
    ),
    ("claim", {"mount_failure": 'persistentvolumeclaim "weights" not found'}, "VolumeClaimMissing", "weights", True),
    ("mount", {"mount_failure": "nfs timed out"}, "VolumeMountFailed", "nfs timed out", False),
    ("memory", {"exit_reason": "OOMKilled", "waiting_reason": "CrashLoopBackOff"}, "OOMKilled", "limits.memory", True),
    ("crash", {"waiting_reason": "CrashLoopBackOff", "exit_code": 139}, "CrashLoop", "code 139", True),
    (
        "config",
        {"waiting_reason": "CreateContainerConfigError", "waiting_message": "x"},
        "ContainerConfigError",
        "x",
        True,
    ),
    ("garbage at exit", {"termination_message": "[1]", "waiting_reason": "CrashLoopBackOff"}, "CrashLoop", "log", True),
]


@pytest.mark.parametrize(("look", "reason", "words", "stalls"), [row[1:] for row in SEEN], ids=[row[0] for row in SEEN])
def test_first_revision_that_cannot_start_says_why(new_cluster, look, reason, words, stalls):
    cluster = new_cluster()
    cluster.tick()
    cluster.broken.add(cluster.target)
    cluster.faults[cluster.target] = look
    cluster.settle()
    assert cluster.condition("Ready")[:2] == ("False", reason)
    assert words in cluster.condition("Ready")[2]
    assert cluster.condition("Degraded")[:2] == ("True", reason)
    assert cluster.condition("Stalled")[0] == str(stalls)
    assert cluster.condition("Progressing")[0] == str(not stalls)
    assert reason in cluster.events


def test_a_beacon_tells_sooner_than_the_pod(new_cluster):
    cluster = new_cluster()
    cluster.tick()
    cluster.broken.add(cluster.target)
    cluster.run_pods()
    worker = next(iter(cluster.pods))
    cluster.beacons = [
        WorkerBeacon(
            worker=worker,
            revision=cluster.target,
            state=WorkerState.FAILED,
            reason=WorkerFault.NOT_FINITE,
            message="",
        )
    ]
    cluster.tick()
    assert cluster.condition("Ready")[1] == "NotFinite"
    assert "bfloat16" in cluster.condition("Ready")[2]


def test_what_a_worker_waits_for_is_told_before_it_gives_up(new_cluster):
    cluster = new_cluster()
    cluster.tick()
    cluster.broken.add(cluster.target)
    cluster.run_pods()
    waits = {"reason": WorkerFault.STORE_UNREACHABLE, "message": "store videos: writing failed"}
    cluster.beacons = [
        WorkerBeacon(worker=next(iter(cluster.pods)), revision=cluster.target, state=WorkerState.LOADING, **waits)
    ]
    cluster.tick()
    assert cluster.condition("Ready")[1] == "StoreUnreachable"
    assert cluster.condition("Stalled")[0] == "False", "it may pass"


def test_progress_of_warm_up_is_told(new_cluster):
    cluster = new_cluster()
    cluster.tick()
    cluster.broken.add(cluster.target)
    cluster.run_pods()
    worker = next(iter(cluster.pods))
    cluster.beacons = [
        WorkerBeacon(worker=worker, revision=cluster.target, state="warming", detail="warming small, run 2")
    ]
    cluster.tick()
    assert "warming small, run 2" in cluster.condition("Ready")[2]


def test_a_stable_revision_that_loses_its_workers_is_degraded(new_cluster):
    cluster = new_cluster()
    cluster.settle()
    cluster.broken.add(cluster.target)
    cluster.settle()
    assert cluster.condition("Ready")[:2] == ("False", "WarmingUp")
    assert cluster.condition("Degraded")[0] == "True"
    assert cluster.condition("Progressing")[0] == "True"


def test_a_ready_worker_has_no_fault_whatever_it_said_before(new_cluster):
    cluster = new_cluster()
    cluster.settle()
    cluster.look(cluster.target, termination_message=SAID, exit_reason="OOMKilled")
    assert cluster.plan().status is None


def test_transition_times_move_only_with_the_status(new_cluster):
    cluster = new_cluster()
    cluster.settle()
    before = {c["type"]: c["lastTransitionTime"] for c in cluster.status["conditions"]}
    cluster.now += timedelta(hours=1)
    cluster.change(scaling={"minReplicas": 2})
    cluster.tick()
    after = {c["type"]: c["lastTransitionTime"] for c in cluster.status["conditions"]}
    assert before["Ready"] == after["Ready"]
    assert before["Progressing"] != after["Progressing"]


def test_queue_figures_are_written_at_most_every_30_s(new_cluster):
    cluster = new_cluster()
    cluster.settle()
    cluster.waiting = 123
    assert cluster.plan().status is None
    cluster.now += timedelta(seconds=31)
    assert cluster.plan().status["queue"]["waiting"] == 120


def test_what_others_write_into_status_is_no_news(new_cluster):
    cluster = new_cluster()
    cluster.settle()
    cluster.status["conditions"].append({"type": "Theirs", "status": "True", "reason": "X", "message": ""})
    assert cluster.plan().status is None


@pytest.mark.parametrize(("count", "shown"), [(0, 0), (7, 7), (99, 99), (123, 120), (4567, 4600), (99_999, 100_000)])
def test_figures_keep_two_digits(count, shown):
    assert rounded(count) == shown


def test_every_reason_has_a_meaning():
    assert set(MEANINGS) == set(Reason)
    assert set(FAULT_REMEDIES) == set(WorkerFault)
