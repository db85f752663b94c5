"""A fleet's life on a simulated cluster: create, change, break, roll back, and any mix of these with crashes."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from videofleet.beacons import WorkerBeacon, WorkerState
from videofleet_operator.plan.actions import Apply, Stage
from videofleet_operator.plan.revisions import HISTORY_LIMIT

TIERS = [
    [{"name": "small", "width": size, "height": size, "numFrames": 17, "numInferenceSteps": 4}]
    for size in range(64, 64 + 16 * 9, 16)
]


@pytest.fixture
def cluster(new_cluster):
    return new_cluster()


def test_a_new_fleet_gets_its_children_in_an_order_that_never_dangles(cluster):
    plan = cluster.tick()
    kinds = [action.manifest["kind"] for action in plan.actions if isinstance(action, Apply)]
    once = ["ServiceAccount", "Service", "NetworkPolicy"]
    assert kinds == [*once, "ControllerRevision", "ConfigMap", "PodDisruptionBudget", "Deployment"]
    assert cluster.condition("Ready")[:2] == ("False", "WarmingUp")
    assert cluster.condition("Progressing")[:2] == ("True", "WarmingUp")
    assert cluster.condition("Degraded")[0] == "False"
    assert set(cluster.policy.tracks) == {cluster.target}


def test_warm_workers_make_it_ready_and_then_nothing_is_written(cluster):
    cluster.settle()
    assert cluster.condition("Ready")[:2] == ("True", "WorkersReady")
    assert cluster.condition("Progressing")[0] == "False"
    assert cluster.stable == cluster.target
    plan = cluster.plan()
    assert (plan.actions, plan.policy, plan.status, plan.events, plan.requeue_after_s) == ((), None, None, (), None)


@pytest.mark.parametrize("is_restarted", [False, True])
def test_an_idle_fleet_is_not_written_minute_after_minute(cluster, is_restarted):
    cluster.settle()
    if is_restarted:
        cluster.memory = None
    before, told = cluster.writes, len(cluster.events)
    for _ in range(28):  # then, after `scaleToZeroAfter`, its worker goes
        cluster.now += timedelta(minutes=1)
        cluster.tick()
    assert (cluster.writes, len(cluster.events)) == (before, told)


def test_what_a_serving_worker_wants_people_to_know_stands_in_ready(cluster):
    cluster.settle()
    note = "The model is served in bfloat16, because float16 does not hold it"
    cluster.beacons = [WorkerBeacon(worker="w", revision=cluster.stable, state=WorkerState.READY, note=note)]
    cluster.settle()
    assert cluster.condition("Ready")[0] == "True"
    assert note in cluster.condition("Ready")[2]


def test_min_replicas_scales_in_place(cluster):
    cluster.settle()
    before = cluster.target
    cluster.change(scaling={"minReplicas": 3})
    cluster.settle()
    assert cluster.target == before
    assert cluster.deployments[before]["wanted"] == 3


def test_a_new_revision_takes_over_when_all_its_workers_are_warm(cluster):
    cluster.change(scaling={"minReplicas": 2})
    cluster.settle()
    old = cluster.stable
    cluster.change(tiers=TIERS[0])
    cluster.tick()
    new = cluster.target
    cluster.broken.add(new)
    cluster.settle()
    assert cluster.condition("Ready")[0] == "True"
    assert cluster.condition("Progressing")[:2] == ("True", "RollingOut")
    assert cluster.policy.tracks == {old: "stable"}
    assert cluster.policy.tiers[0].width == 128, "the policy offers what the serving revision is warm for"
    cluster.broken.clear()
    cluster.settle()
    assert cluster.policy.tracks == {new: "stable"}
    assert {rev: seen["wanted"] for rev, seen in cluster.deployments.items()} == {old: 0, new: 2}
    assert {rev: seen["stable"] for rev, seen in cluster.deployments.items()} == {old: False, new: True}
    assert [e for e in cluster.events if e.startswith("Revision")][-2:] == ["RevisionStable", "RevisionRetired"]


def test_a_broken_new_revision_leaves_the_old_one_serving(cluster):
    cluster.settle()
    old = cluster.stable
    cluster.change(model=cluster.spec["model"] | {"source": "pvc://models/gone"})
    cluster.tick()
    cluster.broken.add(cluster.target)
    cluster.faults[cluster.target] = {"termination_message": '{"reason": "ModelNotFound", "message": "no index"}'}
    cluster.settle()
    assert cluster.condition("Ready")[0] == "True"
    for kind, status in (("Degraded", "True"), ("Stalled", "True"), ("Progressing", "False")):
        assert cluster.condition(kind)[:2] == (status, "ModelNotFound")
    assert f"Revision {old} keeps serving" in cluster.condition("Degraded")[2]
    assert cluster.deployments[old] == {"wanted": 1, "stable": True}


def test_a_third_revision_replaces_the_second_which_was_never_proven(cluster):
    cluster.settle()
    old = cluster.stable
    cluster.change(tiers=TIERS[0])
    cluster.tick()
    second = cluster.target
    cluster.broken.add(second)
    cluster.settle()
    cluster.change(tiers=TIERS[1])
    cluster.tick()
    assert cluster.deployments[second]["wanted"] == 0
    assert cluster.deployments[old]["wanted"] == 1
    cluster.settle()
    assert cluster.stable == cluster.target not in (old, second)


def test_going_back_to_an_old_spec_uses_its_kept_revision(cluster):
    cluster.settle()
    first = cluster.stable
    spec = cluster.spec["tiers"]
    cluster.change(tiers=TIERS[0])
    cluster.settle()
    cluster.change(tiers=spec)
    cluster.settle()
    assert cluster.stable == first
    assert len(cluster.revisions) == 2


def test_old_revisions_are_kept_up_to_the_limit(cluster):
    for tiers in TIERS:
        cluster.change(tiers=tiers)
        cluster.settle()
    assert len(cluster.revisions) == len(cluster.deployments) == len(cluster.config_maps) == HISTORY_LIMIT + 1


def test_an_upgrade_of_the_installation_leaves_running_workers_alone(cluster):
    cluster.settle()
    cluster.installation = replace(
        cluster.installation, worker_image="worker:2", redis_secret="r", stores={"videos": "claim"}
    )
    assert cluster.plan().actions == ()


def test_a_spec_that_slipped_past_the_rules_is_named_and_changes_nothing(cluster):
    cluster.settle()
    cluster.change(tiers=[{"name": "odd", "width": 100, "height": 100, "numFrames": 2, "numInferenceSteps": 1}])
    plan = cluster.tick()
    assert plan.actions == ()
    assert cluster.condition("Ready")[:2] == ("False", "InvalidSpec")
    assert "multiples of 16" in cluster.condition("Ready")[2]
    assert "keeps serving" in cluster.condition("Ready")[2]


def test_an_unknown_store_names_the_known_ones(cluster):
    cluster.change(output={"store": "elsewhere"})
    cluster.tick()
    assert cluster.condition("Stalled")[:2] == ("True", "StoreUnknown")
    assert "known: videos" in cluster.condition("Ready")[2]


def test_redis_down_degrades_and_the_policy_follows_when_it_is_back(cluster):
    cluster.redis_is_up = False
    cluster.tick()
    cluster.run_pods()
    cluster.tick()
    assert cluster.condition("Ready")[0] == "True"
    assert cluster.condition("Degraded")[:2] == ("True", "QueueUnreachable")
    assert "queue" not in cluster.status
    cluster.redis_is_up = True
    cluster.settle()
    assert cluster.policy is not None
    assert cluster.condition("Degraded")[0] == "False"


def test_nothing_retires_while_the_policy_cannot_be_published(cluster):
    cluster.settle()
    old = cluster.stable
    cluster.change(tiers=TIERS[0])
    cluster.tick()
    cluster.redis_is_up = False
    cluster.run_pods()
    cluster.tick()
    assert cluster.deployments[old]["wanted"] == 1, "workers still obey the old policy"


@pytest.mark.parametrize(
    "limits",
    [
        {"queue": {"maxDepth": 5}},
        {"queue": {"batchMaxWait": "5m"}},
        {"queue": {"weights": {"studio": 3}}},
        {"access": {"tenants": ["a"]}},
        {"output": {"store": "videos", "prefix": "p"}},
        {"output": {"store": "videos", "retention": "24h"}},
        {"output": {"store": "videos", "cache": "tenant"}},
    ],
)
def test_limits_reach_the_policy_without_touching_workers(cluster, limits):
    cluster.settle()
    cluster.change(**limits)
    plan = cluster.tick()
    assert plan.actions == ()
    assert plan.policy is not None


def test_children_that_somebody_changed_or_deleted_come_back(cluster):
    cluster.settle()
    del cluster.fleet_children["Service"]
    cluster.fleet_children["ServiceAccount"] |= {"automountServiceAccountToken": True}
    cluster.config_maps.clear()
    cluster.disruption_budgets.clear()
    whys = [action.why for action in cluster.plan().actions]
    assert len(whys) == 4
    assert any("changed by somebody" in why for why in whys)
    cluster.settle()
    assert cluster.plan().actions == ()


STEPS = st.one_of(
    st.tuples(st.just("spec"), st.integers(0, 3)),
    st.tuples(st.just("replicas"), st.integers(0, 3)),
    st.tuples(st.just("break"), st.integers(0, 3)),
    st.tuples(st.just("redis"), st.integers(0, 1)),
    st.tuples(st.just("pods"), st.just(0)),
    st.tuples(st.just("crash"), st.integers(0, 6)),
    st.tuples(st.just("tick"), st.just(0)),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, max_size=25))
def test_any_history_with_crashes_converges(new_cluster, steps):
    cluster = new_cluster()
    for step, number in steps:
        perform(cluster, step, number)
        check_policy_is_served(cluster)
    cluster.redis_is_up = True
    cluster.broken.clear()
    cluster.settle()
    active = {revision for revision, seen in cluster.deployments.items() if seen["wanted"]}
    assert active == {cluster.target} == {cluster.stable} == set(cluster.policy.tracks)
    assert [revision for revision, seen in cluster.deployments.items() if seen["stable"]] == [cluster.target]
    assert cluster.config_maps <= {f"tiny-{revision}" for revision in cluster.revisions}, "no orphan"
    assert cluster.condition("Ready")[0] == "True"
    assert cluster.plan().actions == ()


def perform(cluster, step, number):
    match step:
        case "spec":
            cluster.change(tiers=TIERS[number])
        case "replicas":
            cluster.change(scaling={"minReplicas": number})
        case "break":
            cluster.broken ^= set(list(cluster.deployments)[number : number + 1])
        case "redis":
            cluster.redis_is_up = bool(number)
        case "pods":
            cluster.run_pods()
        case "crash":
            cluster.tick(crash_after=number)
        case "tick":
            cluster.tick()


def check_policy_is_served(cluster):
    """Whoever the policy names has workers wanted, whatever was cut off where."""
    for revision in cluster.policy.tracks if cluster.policy else ():
        assert cluster.deployments[revision]["wanted"] > 0


def test_what_retires_comes_after_what_builds(cluster):
    cluster.settle()
    cluster.change(tiers=TIERS[0])
    cluster.tick()
    cluster.run_pods()
    stages = [action.stage for action in cluster.plan().actions]
    assert stages == sorted(stages)
    assert stages[0] is Stage.BUILD


def test_a_paused_fleet_is_left_alone_and_goes_on_afterwards(cluster):
    cluster.settle()
    old, policy = cluster.stable, cluster.policy
    cluster.is_paused = True
    cluster.change(tiers=TIERS[1], queue={"maxDepth": 5})
    cluster.epoch = 2
    cluster.settle()
    assert cluster.condition("Progressing")[:2] == ("False", "Paused")
    assert "remove it to go on" in cluster.condition("Progressing")[2]
    assert cluster.condition("Ready")[0] == "True"
    assert (set(cluster.deployments), cluster.policy) == ({old}, policy)
    assert cluster.status["observedGeneration"] == 2
    cluster.is_paused = False
    cluster.settle()
    assert cluster.stable != old
    assert (cluster.policy.max_depth, cluster.policy.epoch) == (5, 2)


def test_a_fleet_that_is_paused_from_its_birth_gets_no_child(cluster):
    cluster.is_paused = True
    cluster.settle()
    assert (cluster.deployments, cluster.fleet_children, cluster.policy) == ({}, {}, None)
    assert cluster.condition("Ready")[:2] == ("False", "Paused")
