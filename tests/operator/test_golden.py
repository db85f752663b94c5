"""Golden prompts before the first weight, on the simulated cluster."""

from datetime import timedelta

import pytest

MODEL = {"architecture": "wan2.2-t2v-a14b", "source": "pvc://models/new"}


@pytest.fixture
def cluster(new_cluster):
    """A canary that is warm, with two golden prompts to render."""
    cluster = new_cluster()
    rules = {"steps": [{"weight": "5%"}], "analysis": {"goldenPrompts": 2}}
    cluster.change(scaling={"minReplicas": 2}, rollout=rules)
    cluster.settle()
    cluster.old = cluster.stable
    cluster.change(model=MODEL)
    cluster.settle()
    return cluster


def rendered(cluster, revision=None, **counts):
    cluster.demand = {"golden": {"revision": revision or cluster.target, "asked": 2} | counts}
    cluster.settle()
    return cluster.rollout


def test_they_are_queued_for_a_canary_that_gets_nothing_else(cluster):
    assert (cluster.rollout["phase"], cluster.rollout["weight"]) == ("Proving", "0%")
    assert cluster.policy.tracks == {cluster.old: "stable", cluster.target: "canary"}
    assert cluster.policy.canary.weight_permille == 0
    golden = cluster.plan().golden
    assert golden.revision == cluster.target
    assert [(one.seed, one.tier.name, one.allow_fallback) for one in golden.requests] == [
        (1, "small", False),
        (2, "small", False),
    ]
    assert cluster.condition("Progressing")[:2] == ("True", "GoldenPrompts")


def test_when_all_are_good_the_first_step_begins(cluster):
    assert rendered(cluster, succeeded=1)["phase"] == "Proving"
    assert "1 of 2 golden prompts rendered" in cluster.condition("Progressing")[2]
    assert cluster.plan().golden is None, "they are queued once"
    told = rendered(cluster, succeeded=2)
    assert (told["phase"], told["step"], told["weight"]) == ("Stepping", 1, "5%")


@pytest.mark.parametrize("bad", [{"succeeded": 1, "failed": 1}, {"succeeded": 2, "rejected": 1}])
def test_one_bad_one_rejects(cluster, bad):
    assert rendered(cluster, **bad)["phase"] == "Rejected"
    assert "1 of 2 golden prompts failed or were refused" in cluster.condition("Degraded")[2]
    assert cluster.policy.tracks == {cluster.old: "stable"}


def test_those_of_an_earlier_canary_prove_nothing(cluster):
    assert rendered(cluster, revision="0123456789", succeeded=2)["phase"] == "Proving"
    assert cluster.plan().golden is not None


def test_promote_does_not_wait_for_them(cluster):
    cluster.command = f"promote:{cluster.target}"
    cluster.settle()
    assert cluster.stable == cluster.target != cluster.old


def test_stuck_ones_end_as_insufficient_evidence_and_get_no_other_job(cluster):
    rendered(cluster, succeeded=1)
    cluster.now += timedelta(hours=2)
    cluster.settle()
    assert (cluster.rollout["phase"], cluster.rollout["paused"]) == ("Paused", "InsufficientEvidence")
    status, reason, words = cluster.condition("Progressing")
    assert (status, reason) == ("False", "InsufficientEvidence")
    assert "1 of 2 golden prompts rendered" in words
    assert (cluster.rollout["weight"], cluster.policy.canary.weight_permille) == ("0%", 0)


def test_a_canary_that_lost_its_workers_does_not_prove_itself_for_ever(cluster):
    cluster.broken.add(cluster.target)
    cluster.now += timedelta(hours=2, minutes=1)
    cluster.settle()
    assert cluster.rollout["paused"] == "InsufficientEvidence"


@pytest.fixture
def stuck(cluster):
    """Its golden prompts have had all their time."""
    rendered(cluster, succeeded=1)
    cluster.now += timedelta(hours=2)
    cluster.settle()
    return cluster


def test_stuck_ones_that_end_after_all_go_on_by_themselves(stuck):
    told = rendered(stuck, succeeded=2)
    assert (told["phase"], told["step"], told.get("paused")) == ("Stepping", 1, None)


def test_stuck_ones_that_fail_after_all_reject(stuck):
    assert rendered(stuck, succeeded=1, failed=1)["phase"] == "Rejected"


def test_resume_gives_stuck_ones_their_time_again(stuck):
    stuck.command = f"resume:{stuck.target}"
    stuck.settle()
    assert stuck.rollout["phase"] == "Proving"
    stuck.now += timedelta(hours=1)
    stuck.settle()
    assert stuck.rollout["phase"] == "Proving"
    stuck.now += timedelta(hours=1)
    stuck.settle()
    assert stuck.rollout["phase"] == "Paused"


def test_a_spec_that_asks_for_fewer_or_none_any_more_is_obeyed(cluster):
    rendered(cluster, succeeded=1)
    cluster.change(rollout=cluster.spec["rollout"] | {"analysis": {"goldenPrompts": 0}})
    cluster.settle()
    assert (cluster.rollout["phase"], cluster.rollout["step"]) == ("Stepping", 1)


LOOK = {"brightness": 110, "contrast": 50, "detail": 9, "motion": 4, "colour": 30}


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({}, None),
        ({"brightness": 60, "contrast": 20, "detail": 20, "motion": 12, "colour": 100}, None),
        ({"detail": 60, "motion": 60}, "detail is 60.0 of 255 in the mean, that of stable's 9.0"),
        ({"detail": 0.5}, "detail"),
        ({"motion": 60}, "motion"),
        ({"colour": 130}, "colour"),
        ({"contrast": 8}, "contrast"),
        ({"brightness": 210}, "brightness"),
    ],
)
def test_clips_that_are_of_another_kind_than_stables_reject(cluster, other, said):
    looks = {cluster.old: {"1": LOOK, "2": LOOK}, cluster.target: {"1": LOOK | other, "2": LOOK | other}}
    told = rendered(cluster, succeeded=2, looks=looks)
    assert told["phase"] == ("Rejected" if said else "Stepping")
    if said:
        assert said in cluster.condition("Degraded")[2]
        assert f"unlike those of revision {cluster.old}" in cluster.condition("Degraded")[2]


def test_one_odd_clip_among_many_is_no_other_kind(cluster):
    looks = {cluster.old: {"1": LOOK, "2": LOOK}, cluster.target: {"1": LOOK | {"motion": 20}, "2": LOOK}}
    assert rendered(cluster, succeeded=2, looks=looks)["phase"] == "Stepping"


def test_a_stable_that_never_made_them_is_not_compared(cluster):
    looks = {cluster.target: {"1": LOOK | {"detail": 99}, "2": LOOK}}
    assert rendered(cluster, succeeded=2, looks=looks)["phase"] == "Stepping"
