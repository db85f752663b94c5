"""Fallback through the whole plan: the rule in the policy, the condition, the status, Events, and a restart."""

from datetime import timedelta

from videofleet.jobs import Priority, WaitingFigures

TIERS = [
    {"name": "small", "width": 128, "height": 128, "numFrames": 17, "numInferenceSteps": 4},
    {"name": "preview", "width": 64, "height": 64, "numFrames": 9, "numInferenceSteps": 4},
]
BUSY = {Priority.BATCH: WaitingFigures(jobs=10, cost_s=170.0), Priority.INTERACTIVE: WaitingFigures(jobs=1, cost_s=20)}


def loaded_cluster(new_cluster, **fallback):
    cluster = new_cluster()
    cluster.change(tiers=TIERS, fallback={"enabled": True, **fallback}, scaling={"maxReplicas": 1, "minReplicas": 1})
    cluster.settle()
    cluster.waiting, cluster.demand = 11, {"waiting_cost_s": 190.0, "by_priority": BUSY}
    cluster.tick()
    return cluster


def test_load_lowers_the_tier_of_batch_jobs_and_says_so(new_cluster) -> None:
    cluster = loaded_cluster(new_cluster)
    rule = cluster.policy.fallback
    assert (rule.tier, rule.priorities) == ("preview", [Priority.BATCH])
    assert 0 < rule.share_permille < 1000
    assert cluster.policy.valid_until_ms is not None
    status, reason, message = cluster.condition("FallbackActive")
    assert (status, reason) == ("True", "UnderLoad")
    assert message.startswith("90 % of the batch jobs that allow it get preview")
    assert cluster.status["fallback"]["tier"] == "preview"
    assert cluster.status["fallback"]["until"] > cluster.status["fallback"]["since"]
    assert cluster.condition("Ready")[0] == "True", "a fleet under load is no broken fleet"
    assert "UnderLoad" in cluster.events


def test_it_recovers_and_the_policy_loses_the_rule(new_cluster) -> None:
    cluster = loaded_cluster(new_cluster)
    cluster.waiting, cluster.demand = 0, {}
    cluster.now += timedelta(minutes=6)
    cluster.tick()
    assert cluster.policy.fallback is None
    assert cluster.policy.valid_until_ms is None
    assert cluster.status["fallback"]["tier"] == "small"
    assert cluster.condition("FallbackActive")[1] == "FullQuality"
    assert cluster.events[-1] == "FullQuality"


def test_a_new_leader_goes_on_with_the_same_fallback(new_cluster) -> None:
    cluster = loaded_cluster(new_cluster)
    told, rule = cluster.status["fallback"], cluster.policy.fallback
    cluster.memory, cluster.epoch = None, cluster.epoch + 1
    cluster.tick()
    assert cluster.policy.fallback == rule
    assert cluster.status["fallback"] == told


def test_the_rule_is_renewed_before_it_lapses(new_cluster) -> None:
    cluster = loaded_cluster(new_cluster)
    first_ms = cluster.policy.valid_until_ms
    cluster.now += timedelta(seconds=60)
    assert cluster.plan().policy is None, "half of its life is left"
    cluster.now += timedelta(seconds=120)
    cluster.tick()
    assert cluster.policy.valid_until_ms > first_ms


def test_nothing_is_lowered_unless_the_spec_says_so(new_cluster) -> None:
    cluster = loaded_cluster(new_cluster, enabled=False)
    assert cluster.policy.fallback is None
    assert cluster.condition("FallbackActive")[:2] == ("False", "FallbackOff")
    assert cluster.status["fallback"]["tier"] == "small"


def test_max_tier_is_a_floor(new_cluster) -> None:
    assert loaded_cluster(new_cluster, maxTier="small").policy.fallback is None
