"""A rollout as its users live it, on a simulated cluster: steps, verdicts, rejections, third revisions, crashes."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from videofleet.jobs import Outcomes
from videofleet_operator.plan.counters import failures_in_row

STEPS = [{"weight": "5%"}, {"weight": "50%"}]
MODEL = {"architecture": "wan2.2-t2v-a14b", "source": "pvc://models/"}


def given_a_fleet(new_cluster, replicas=4, **rollout):
    """A fleet that serves, with steps."""
    cluster = new_cluster()
    cluster.change(scaling={"minReplicas": replicas}, rollout={"steps": STEPS, **rollout})
    cluster.settle()
    return cluster


def when_a_new_model_is_applied(cluster, name="new"):
    cluster.change(model=MODEL | {"source": f"pvc://models/{name}"})
    cluster.settle()
    return cluster.target


def workers(cluster):
    return {revision: seen["wanted"] for revision, seen in cluster.deployments.items() if seen["wanted"]}


@pytest.fixture
def cluster(new_cluster):
    return given_a_fleet(new_cluster)


def test_a_good_canary_goes_step_by_step_and_is_promoted_without_a_restart(cluster):
    old = cluster.stable
    new = when_a_new_model_is_applied(cluster)
    assert cluster.policy.tracks == {old: "stable", new: "canary"}
    assert (cluster.policy.canary.revision, cluster.policy.canary.weight_permille) == (new, 50)
    assert workers(cluster) == {old: 4, new: 1}
    assert cluster.condition("Progressing")[:2] == ("True", "CanaryAtStep")
    assert (cluster.rollout["phase"], cluster.rollout["step"], cluster.rollout["weight"]) == ("Stepping", 1, "5%")
    cluster.live(200, ticks=5)
    cluster.settle()
    assert (cluster.rollout["step"], cluster.rollout["weight"]) == (2, "50%")
    assert workers(cluster) == {old: 2, new: 2}
    pods = {name for name in cluster.pods if new in name}
    cluster.live(20, ticks=12)
    cluster.settle()
    assert cluster.policy.tracks == {new: "stable"}
    assert cluster.policy.canary is None
    assert workers(cluster) == {new: 4}
    assert pods <= set(cluster.pods), "promotion restarts nothing"
    assert (cluster.stable, cluster.rollout["phase"]) == (new, "Settled")
    told = [event for event in cluster.events if event.startswith(("Canary", "RevisionStable"))]
    assert told[1:] == ["CanaryAtStep", "CanaryAtStep", "CanaryPromoted", "RevisionStable"]
    assert cluster.condition("Degraded")[0] == "False"


def test_a_canary_without_a_warm_worker_gets_no_jobs(new_cluster):
    cluster = given_a_fleet(new_cluster)
    old = cluster.stable
    cluster.change(model=MODEL | {"source": "pvc://models/new"})
    cluster.tick()
    cluster.broken.add(cluster.target)
    cluster.settle()
    assert cluster.policy.tracks == {old: "stable"}
    assert workers(cluster) == {old: 4, cluster.target: 1}
    assert cluster.rollout["phase"] == "WarmingUp"
    assert cluster.condition("Progressing")[:2] == ("True", "RollingOut")


def test_one_worker_of_one_has_a_canary_beside_it(new_cluster):
    cluster = given_a_fleet(new_cluster, replicas=1)
    old = cluster.stable
    new = when_a_new_model_is_applied(cluster)
    assert workers(cluster) == {old: 1, new: 1}
    assert cluster.policy.canary.weight_permille == 50


@pytest.mark.parametrize(("kind", "metric"), [("bad", "errorRate"), ("slow", "secondsPerStep")])
def test_a_worse_canary_is_rejected_and_stays_so_while_the_spec_names_it(cluster, kind, metric):
    old = cluster.stable
    new = when_a_new_model_is_applied(cluster)
    for _ in range(60):
        cluster.live(100, **{kind: {new: 0.6, old: 0.01}})
        if cluster.rollout["phase"] == "Rejected":
            break
    assert cluster.rollout["samples"] <= 30, "found soon, at the smallest weight"
    cluster.settle()
    assert cluster.policy.tracks == {old: "stable"}
    assert workers(cluster) == {old: 4}
    assert cluster.condition("Ready")[0] == "True"
    assert cluster.condition("Progressing")[0] == "False"
    assert cluster.condition("Degraded")[:2] == ("True", "CanaryRejected")
    assert metric in cluster.condition("Degraded")[2]
    assert f"Revision {old} keeps serving" in cluster.condition("Degraded")[2]
    cluster.change(queue={"maxDepth": 7})
    cluster.live(100, ticks=5)
    assert workers(cluster) == {old: 4}, "it is remembered while spec names it"
    cluster.change(model=MODEL | {"source": "pvc://models/tiny"})
    cluster.settle()
    assert cluster.condition("Degraded")[0] == "False"
    assert when_a_new_model_is_applied(cluster) == new
    assert workers(cluster) == {old: 4, new: 1}, "asked for anew, it is tried anew"


@pytest.mark.parametrize(
    ("counts", "metric"),
    [
        ({"attempt_failures": 2}, "errorRate"),
        ({"rejected": 2}, "rejectedRate"),
        ({"slow": 2}, "secondsPerStep"),
        ({"measured": 2, "weighed": 2, "hungry": 2}, "gpuMemory"),
        ({"timed_recoveries": 1, "slow_recoveries": 1}, "recoveryTime"),
    ],
)
def test_each_metric_alone_can_fail_a_canary(cluster, counts, metric):
    old, new = cluster.stable, when_a_new_model_is_applied(cluster)
    for _ in range(20):
        cluster.count_of(new, **counts)
        if "weighed" in counts:
            cluster.count_of(old, measured=38, weighed=38)
        cluster.live(40)
        if cluster.rollout["phase"] == "Rejected":
            break
    assert cluster.rollout["phase"] == "Rejected"
    assert f"Worse than stable in {metric}" in cluster.condition("Degraded")[2]


def test_memory_that_is_measured_must_be_proven_and_recoveries_that_never_happen_need_not(cluster):
    old, new = cluster.stable, when_a_new_model_is_applied(cluster)
    cluster.count_of(old, measured=100)  # the canary's workers do not tell
    cluster.live(400, ticks=30)
    assert (cluster.rollout["step"], cluster.rollout["phase"]) == (1, "Stepping")
    assert "gpuMemory: 0 of 0" in cluster.rollout["verdict"]
    for _ in range(20):
        cluster.count_of(new, measured=20, weighed=20)
        cluster.count_of(old, measured=380, weighed=380)
        cluster.live(400)
    cluster.settle()
    assert cluster.stable == new


def test_what_is_too_much_memory_and_too_long_a_recovery_follows_from_stable(cluster):
    cluster.count_of(cluster.stable, measured=4, memory_bytes=40e9, recoveries=2, recovery_s=120.0)
    when_a_new_model_is_applied(cluster)
    rule = cluster.policy.canary
    assert rule.memory_above_bytes == {"small": 11e9}
    assert rule.recovery_above_s == 180, "three times the mean, which is more than the tolerated two minutes"


def test_evidence_of_an_operator_with_fewer_metrics_begins_anew(cluster):
    when_a_new_model_is_applied(cluster)
    cluster.live(200)
    cluster.status["rollout"]["evidence"]["metrics"] = cluster.rollout["evidence"]["metrics"][:3]
    cluster.live(200, ticks=2)
    assert len(cluster.rollout["evidence"]["metrics"]) == 5
    assert cluster.rollout["phase"] == "Stepping"


def test_a_rejection_reaches_the_data_plane_before_anything_is_built(cluster):
    old, new = cluster.stable, when_a_new_model_is_applied(cluster)
    cluster.serve(400, bad={new: 1.0, old: 0.01})
    cluster.now += timedelta(seconds=10)
    plan = cluster.plan()
    assert plan.policy.canary is None
    assert plan.is_policy_first


def test_a_revision_whose_workers_say_it_cannot_work_is_rejected_at_once(cluster):
    old = cluster.stable
    cluster.change(model=MODEL | {"source": "pvc://models/damaged"})
    cluster.tick()
    new = cluster.target
    cluster.broken.add(new)
    cluster.faults[new] = {"termination_message": '{"reason": "NotFinite", "message": "NaN in latents"}'}
    cluster.settle()
    assert workers(cluster) == {old: 4}
    assert cluster.condition("Degraded")[:2] == ("True", "CanaryRejected")
    assert "NaN in latents" in cluster.condition("Degraded")[2]
    assert cluster.condition("Stalled")[0] == "True"


def test_a_third_revision_first_ends_the_second(cluster):
    old, second = cluster.stable, when_a_new_model_is_applied(cluster)
    cluster.live(200, ticks=5)
    cluster.change(model=MODEL | {"source": "pvc://models/third"})
    plan = cluster.tick()
    assert plan.is_policy_first
    assert cluster.policy.tracks == {old: "stable"}
    cluster.settle()
    third = cluster.target
    assert third != second
    assert workers(cluster).keys() == {old, third}
    assert (cluster.rollout["canaryRevision"], cluster.rollout["step"], cluster.rollout["samples"]) == (third, 1, 0)


def test_thin_evidence_holds_with_an_eta_and_then_pauses(cluster):
    when_a_new_model_is_applied(cluster)
    cluster.live(100, ticks=3)
    assert cluster.rollout["step"] == 1
    assert cluster.rollout["eta"] > cluster.rollout["evidence"]["looked"]
    cluster.now += timedelta(hours=3)
    cluster.settle()
    assert (cluster.rollout["phase"], cluster.rollout["paused"]) == ("Paused", "InsufficientEvidence")
    assert cluster.condition("Progressing")[:2] == ("False", "InsufficientEvidence")
    assert cluster.policy.canary.weight_permille == 50, "it keeps its share"
    cluster.live(200, ticks=5)
    assert cluster.rollout["step"] == 2, "evidence that comes later counts"


def test_a_gate_waits_for_a_person(new_cluster):
    cluster = given_a_fleet(new_cluster, steps=[{"weight": "5%", "hold": "Manual"}, {"weight": "50%"}])
    new = when_a_new_model_is_applied(cluster)
    cluster.live(200, ticks=20)
    assert (cluster.rollout["phase"], cluster.rollout["paused"]) == ("Paused", "ManualGate")
    assert cluster.condition("Progressing")[:2] == ("False", "AwaitingApproval")
    cluster.command = f"resume:{new}"
    cluster.settle()
    assert (cluster.rollout["phase"], cluster.rollout["step"]) == ("Stepping", 2)


def test_other_tiers_cannot_be_compared_and_replace_when_warm(cluster):
    old = cluster.stable
    cluster.change(tiers=[{"name": "small", "width": 64, "height": 64, "numFrames": 17, "numInferenceSteps": 4}])
    cluster.settle()
    assert cluster.stable == cluster.target != old


def test_a_canary_rescues_a_stable_that_needs_a_person(cluster):
    old, new = cluster.stable, when_a_new_model_is_applied(cluster)
    cluster.broken.add(old)
    cluster.faults[old] = {"termination_message": '{"reason": "ModelCorrupt", "message": "bit rot"}'}
    cluster.settle()
    assert cluster.stable == new


def test_the_policy_of_a_canary_runs_out_unless_it_is_renewed(cluster):
    when_a_new_model_is_applied(cluster)
    until_ms = cluster.policy.valid_until_ms
    assert cluster.now.timestamp() * 1000 + 120_000 < until_ms
    cluster.tick()
    assert cluster.policy.valid_until_ms == until_ms, "not at every look"
    cluster.now += timedelta(seconds=200)
    cluster.tick()
    assert cluster.policy.valid_until_ms > until_ms


def test_nothing_moves_while_redis_is_down(cluster):
    when_a_new_model_is_applied(cluster)
    before = cluster.rollout
    cluster.redis_is_up = False
    cluster.now += timedelta(hours=3)
    cluster.tick()
    cluster.tick()
    assert {**cluster.rollout, "weight": "5%"} == {**before, "weight": "5%"}


def test_jobs_above_the_tolerated_time_are_counted_by_thresholds_that_stay(cluster):
    cluster.serve(50)
    when_a_new_model_is_applied(cluster)
    assert cluster.policy.canary.slow_above_s == {"small": 1.25}
    row = next(iter(cluster.counted.values()))
    cluster.counted[row.revision] = row.model_copy(update={"step_s": row.step_s * 3})
    cluster.tick()
    assert cluster.policy.canary.slow_above_s == {"small": 1.25}


def test_a_small_canary_is_compared_with_a_stable_so_busy_that_none_of_its_jobs_is_alone(cluster):
    cluster.serve(50)
    row = next(iter(cluster.counted.values()))
    in_threes = {"step_s": row.step_s / 2, "alone": 0, "alone_s": 0.0, "pass_s": row.step_s * 1.5}
    cluster.counted[row.revision] = row.model_copy(update=in_threes)
    when_a_new_model_is_applied(cluster)
    rule = cluster.policy.canary
    assert rule.slow_above_s == {"small": 1.875}, "one alone takes longer than a share, and no longer than the batch"
    assert rule.slow_together_above_s == {"small": 0.625}


def test_a_canary_that_makes_its_jobs_in_batches_is_compared_with_a_stable_that_never_did(cluster):
    cluster.serve(50)
    when_a_new_model_is_applied(cluster)
    assert cluster.policy.canary.slow_together_above_s == {"small": 1.25}


def test_a_bigger_model_may_take_longer_than_twice_as_long_a_step(cluster):
    cluster.serve(50)
    cluster.change(rollout={"steps": [{"weight": "5%"}], "analysis": {"tolerate": {"secondsPerStep": "150%"}}})
    when_a_new_model_is_applied(cluster)
    assert cluster.policy.canary.slow_above_s == {"small": 2.5}


def test_one_that_the_data_plane_gave_up_is_rejected(cluster):
    new = when_a_new_model_is_applied(cluster)
    assert cluster.policy.canary.max_failures_in_row >= 3
    cluster.demand = {"canary_given_up": new}
    cluster.settle()
    assert cluster.rollout["phase"] == "Rejected"
    assert "in a row" in cluster.condition("Degraded")[2]
    cluster.demand = {}
    cluster.settle()
    assert cluster.rollout["phase"] == "Rejected"


@pytest.mark.parametrize(("share", "in_row"), [(0.01, 3), (0.05, 4), (0.2, 8), (1.0, 17)])
def test_failures_in_a_row_that_stable_has_too_are_no_alarm(share, in_row):
    outcomes = [Outcomes(revision="s", tier="t", attempts=10_000, attempt_failures=round(10_000 * share))]
    assert failures_in_row(outcomes, "s", 0.01) == in_row


ACTS = st.one_of(
    st.tuples(st.just("model"), st.integers(0, 3)),
    st.tuples(st.just("replicas"), st.integers(1, 5)),
    st.tuples(st.just("jobs"), st.integers(0, 400)),
    st.tuples(st.just("worse"), st.integers(0, 400)),
    st.tuples(st.just("break"), st.integers(0, 3)),
    st.tuples(st.just("redis"), st.integers(0, 1)),
    st.tuples(st.just("verb"), st.sampled_from(["promote", "abort", "pause", "resume", "retry", "undo"])),
    st.tuples(st.just("crash"), st.integers(0, 6)),
    st.tuples(st.just("tick"), st.integers(0, 9000)),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(ACTS, max_size=30))
def test_any_history_of_a_rollout_keeps_its_promises(new_cluster, acts):
    cluster = given_a_fleet(new_cluster, replicas=2)
    for act, value in acts:
        perform(cluster, act, value)
        check_promises(cluster)
    cluster.redis_is_up, cluster.command = True, None
    cluster.broken.clear()
    cluster.settle()
    check_promises(cluster)
    for _ in range(100):
        if cluster.stable == cluster.target:
            break
        verb = "retry" if cluster.rollout["phase"] == "Rejected" else "resume"
        cluster.command = f"{verb}:{cluster.target}:{cluster.now}"
        cluster.live(400)
    assert cluster.stable == cluster.target, cluster.rollout
    cluster.settle()
    assert set(workers(cluster)) == {cluster.stable}
    assert cluster.plan().actions == ()


def perform(cluster, act, value):
    match act:
        case "model":
            cluster.change(model=MODEL | {"source": f"pvc://models/{value}"})
        case "replicas":
            cluster.change(scaling={"minReplicas": value})
        case "jobs":
            cluster.serve(value)
        case "worse":
            cluster.serve(value, bad={cluster.target: 0.5})
        case "break":
            cluster.broken ^= set(list(cluster.deployments)[value : value + 1])
        case "redis":
            cluster.redis_is_up = bool(value)
        case "verb":
            known = cluster.status["revisions"]
            revision = known.get("stable") if value == "undo" else known["target"]
            cluster.command = f"{value}:{revision}:{cluster.now}"
        case "crash":
            cluster.tick(crash_after=value)
        case "tick":
            cluster.run_pods()
            cluster.now += timedelta(seconds=value)
            cluster.tick()


def check_promises(cluster):
    """Whoever has jobs has workers; a rejected revision has no jobs; the weight is one of a step, or less."""
    for revision in cluster.policy.tracks:
        assert cluster.deployments[revision]["wanted"] > 0
    stands = {one["revision"] for one in cluster.rollout.get("rejected", []) if one["stands"]}
    if cluster.redis_is_up and cluster.policy.canary is not None and cluster.rollout["phase"] == "Rejected":
        assert cluster.policy.canary.revision not in stands
