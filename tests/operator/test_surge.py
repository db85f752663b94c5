"""A rollout where no GPU is to spare: workers are swapped in place, one at a time, and nobody waits for ever."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from videofleet_operator.plan.shares import Seats, weight_within, workers_on_trial, workers_taking_over

MODEL = {"architecture": "wan2.2-t2v-a14b", "source": "pvc://models/new"}


def full_fleet(new_cluster, replicas, steps=None, scaling=None, **rollout):
    """A fleet that has every GPU there is, and a new revision."""
    cluster = new_cluster(gpus=replicas)
    steps = {"steps": [{"weight": weight} for weight in steps]} if steps else {}
    cluster.change(scaling={"minReplicas": replicas, **(scaling or {})}, rollout={**steps, **rollout})
    cluster.settle()
    cluster.old = cluster.stable
    cluster.change(model=MODEL)
    return cluster


def live_until_promoted(cluster, most=150):
    """Plans every ten seconds under load. Returns: the fewest warm workers there ever were."""
    fewest = 1000
    for _ in range(most):
        cluster.live(400)
        serving = set(cluster.policy.tracks)
        fewest = min(fewest, sum(pod.is_ready for pod in cluster.pods.values() if pod.revision in serving))
        if cluster.stable == cluster.target:
            return fewest
    raise AssertionError(cluster.rollout)


@pytest.mark.parametrize("steps", [None, ["5%", "50%"]], ids=["at once", "by steps"])
@pytest.mark.parametrize("replicas", [2, 3, 8])
def test_a_full_cluster_is_rolled_over_with_one_worker_less_at_the_most(new_cluster, replicas, steps):
    cluster = full_fleet(new_cluster, replicas, steps, surgeTimeout="1m")
    assert live_until_promoted(cluster) >= replicas - 1
    cluster.settle()
    assert {revision: seen["wanted"] for revision, seen in cluster.deployments.items()} == {
        cluster.old: 0,
        cluster.stable: replicas,
    }


def test_auto_waits_for_a_gpu_first(new_cluster):
    cluster = full_fleet(new_cluster, 3, ["5%"], surgeTimeout="10m")
    cluster.live(10, ticks=20)
    assert cluster.deployments[cluster.old]["wanted"] == 3
    assert cluster.condition("Progressing")[:2] == ("True", "Unschedulable")
    cluster.gpus = 4
    cluster.live(10, ticks=3)
    assert cluster.rollout["phase"] == "Stepping"
    assert cluster.deployments[cluster.old]["wanted"] == 3


def test_always_waits_for_ever(new_cluster):
    cluster = full_fleet(new_cluster, 3, ["5%"], surge="Always", surgeTimeout="1m")
    cluster.live(10, ticks=30)
    assert cluster.deployments[cluster.old]["wanted"] == 3


def test_never_is_no_worker_more_though_there_is_room(new_cluster):
    cluster = full_fleet(new_cluster, 4, ["5%", "50%"], surge="Never")
    cluster.gpus = 100
    most = 0
    for _ in range(60):
        cluster.live(200)
        most = max(most, len(cluster.pods))
    assert cluster.stable == cluster.target
    assert most == 4


def test_a_maximum_that_leaves_no_room_is_obeyed_at_once(new_cluster):
    cluster = full_fleet(new_cluster, 4, ["5%", "50%"], scaling={"maxReplicas": 4})
    cluster.gpus = 100
    most = 0
    for _ in range(60):
        cluster.live(200)
        most = max(most, len(cluster.pods))
    assert cluster.stable == cluster.target
    assert most == 4


def test_the_only_worker_stays_until_a_gpu_comes_or_an_outage_is_allowed(new_cluster):
    cluster = full_fleet(new_cluster, 1, ["5%"], surgeTimeout="1m")
    cluster.live(10, ticks=30)
    assert cluster.deployments[cluster.old]["wanted"] == 1
    assert cluster.condition("Ready")[0] == "True"
    assert cluster.condition("Degraded")[:2] == ("True", "NoSpareGPU")
    assert "allowOutage" in cluster.condition("Degraded")[2]
    cluster.change(rollout={"surgeTimeout": "1m", "allowOutage": True})
    live_until_promoted(cluster)
    assert cluster.stable == cluster.target


def test_never_beside_the_only_worker_says_that_it_cannot_begin(new_cluster):
    cluster = full_fleet(new_cluster, 1, ["5%"], surge="Never")
    cluster.live(10, ticks=5)
    assert cluster.condition("Degraded")[:2] == ("True", "NoSpareGPU")
    cluster.change(rollout={"surge": "Never", "allowOutage": True})
    live_until_promoted(cluster)
    cluster.settle()
    assert cluster.condition("Degraded")[0] == "False"


def test_a_swapped_canary_that_fails_gives_its_gpu_back(new_cluster):
    cluster = full_fleet(new_cluster, 3, ["5%"], surge="Never")
    cluster.tick()
    cluster.broken.add(cluster.target)
    cluster.faults[cluster.target] = {"termination_message": '{"reason": "NotFinite", "message": "NaN"}'}
    cluster.live(10, ticks=30)
    assert cluster.rollout["phase"] == "Rejected"
    assert cluster.deployments[cluster.old]["wanted"] == 3
    assert sum(pod.is_ready for pod in cluster.pods.values()) == 3


SEATS = st.builds(
    Seats,
    wanted=st.integers(0, 100),
    surge=st.integers(0, 20),
    ready=st.integers(0, 100),
    stable_ready=st.integers(0, 100),
    canary_wanted=st.integers(0, 100),
    stable_pods=st.integers(0, 100),
    may_have_outage=st.booleans(),
)


@settings(max_examples=500)
@given(SEATS, st.integers(1, 999))
@example(Seats(wanted=2, surge=0, ready=1, stable_ready=1, canary_wanted=2, stable_pods=1), 500)
def test_shares_keep_their_promises(seats, weight):
    for workers in (workers_on_trial(seats, weight), workers_taking_over(seats)):
        assert 0 <= workers.stable <= max(1, seats.wanted)
        assert workers.stable >= min(1, seats.wanted) or seats.may_have_outage
        assert workers.canary <= max(1, seats.wanted)
        if seats.surge:
            assert workers.canary >= 1
            grown = max(0, workers.canary - seats.ready)
            assert workers.stable + min(seats.ready, workers.canary) + grown <= max(1, seats.wanted) + seats.surge
        elif not seats.is_alone:
            assert workers.stable + workers.canary <= max(1, seats.wanted) + (0 if seats.wanted else 1)
    assert 0 <= weight_within(weight, seats) <= weight
    assert (weight_within(weight, seats) == 0) == (seats.ready == 0)


def test_a_swap_is_two_steps():
    """Stable's worker leaves; when its pod is gone, and with it its hold on the GPU, the canary's comes."""
    before = Seats(wanted=4, surge=0, ready=0, stable_ready=4, canary_wanted=0, stable_pods=4)
    assert (workers_on_trial(before, 50).stable, workers_on_trial(before, 50).canary) == (3, 0)
    after = Seats(wanted=4, surge=0, ready=0, stable_ready=3, canary_wanted=0, stable_pods=3)
    assert (workers_on_trial(after, 50).stable, workers_on_trial(after, 50).canary) == (3, 1)
