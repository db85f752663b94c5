"""A revision that fails again and again gives way to the one before it: once, told, and undone by a person."""

import pytest

MODEL = {"architecture": "wan2.2-t2v-a14b", "source": "pvc://models/new"}


@pytest.fixture
def cluster(new_cluster):
    """A fleet of two whose second revision was promoted."""
    return promoted(new_cluster, standby={})


def promoted(new_cluster, **rollout):
    cluster = new_cluster()
    cluster.change(scaling={"minReplicas": 2}, rollout=rollout)
    cluster.settle()
    cluster.old = cluster.stable
    cluster.change(model=MODEL)
    cluster.settle()
    cluster.new = cluster.stable
    assert cluster.new != cluster.old
    return cluster


def when_jobs_fail(cluster, count):
    cluster.demand = {"failing": {cluster.stable: count}}
    cluster.settle()


def test_three_jobs_in_a_row_switch_to_the_revision_before(cluster):
    assert cluster.rollout["standbyRevision"] == cluster.old
    when_jobs_fail(cluster, 2)
    assert cluster.stable == cluster.new
    when_jobs_fail(cluster, 3)
    assert cluster.stable == cluster.old
    assert cluster.policy.tracks == {cluster.old: "stable"}
    assert cluster.rollout["phase"] == "Undone"
    status, reason, message = cluster.condition("Degraded")
    assert (status, reason) == ("True", "StandbyActive")
    assert f"Revision {cluster.new} gives way to its standby {cluster.old}: attempts of 3 jobs in a row" in message
    assert "apply a corrected spec" in message
    assert cluster.condition("Ready")[0] == "True"
    assert cluster.events.count("StandbyActive") == 1


def test_people_hear_of_it_before_the_standby_is_warm(cluster):
    cluster.broken.add(cluster.old)
    when_jobs_fail(cluster, 3)
    assert cluster.condition("Degraded")[1] == "StandbyActive"
    assert cluster.policy.tracks == {cluster.new: "stable"}, "a bad one serves until a warm one can"


def test_one_switch_and_no_flapping(cluster):
    when_jobs_fail(cluster, 3)
    for _ in range(5):
        when_jobs_fail(cluster, 50)
        assert cluster.stable == cluster.old


def test_another_spec_ends_it(cluster):
    when_jobs_fail(cluster, 3)
    cluster.demand = {}
    cluster.change(model=MODEL | {"source": "pvc://models/third"})
    cluster.settle()
    assert cluster.stable == cluster.target not in (cluster.old, cluster.new)
    assert cluster.condition("Degraded")[0] == "False"
    assert cluster.rollout["standbyRevision"] == cluster.old


def test_a_person_goes_back_to_the_one_that_failed(cluster):
    when_jobs_fail(cluster, 3)
    cluster.demand = {}
    cluster.command = f"undo:{cluster.new}"
    cluster.settle()
    assert cluster.stable == cluster.new
    assert cluster.condition("Degraded")[0] == "False"


def test_after_an_undo_by_a_person_nothing_switches(cluster):
    cluster.command = f"undo:{cluster.old}"
    cluster.settle()
    when_jobs_fail(cluster, 9)
    assert cluster.stable == cluster.old


def test_without_the_rule_nothing_switches(new_cluster):
    cluster = promoted(new_cluster)
    when_jobs_fail(cluster, 99)
    assert cluster.stable == cluster.new


def test_weights_that_rot_switch_too_and_a_missing_secret_does_not(cluster):
    cluster.broken.add(cluster.new)
    cluster.faults[cluster.new] = {"mount_failure": 'secret "videos" not found'}
    cluster.settle()
    assert cluster.stable == cluster.new, "the standby would miss it too"
    cluster.look(cluster.new, mount_failure=None)
    cluster.faults[cluster.new] = {"termination_message": '{"reason": "ModelCorrupt", "message": "bit rot"}'}
    cluster.settle()
    assert cluster.stable == cluster.old
    assert "bit rot" in cluster.condition("Degraded")[2]


def test_the_standby_is_kept_beyond_the_history_limit(cluster):
    cluster.change(rollout={"standby": {}, "steps": [{"weight": "5%"}]})
    for number in range(8):
        cluster.change(model=MODEL | {"source": f"pvc://models/{number}"})
        cluster.settle()
        cluster.command = f"abort:{cluster.target}:{number}"
        cluster.settle()
    assert cluster.stable == cluster.new
    assert cluster.old in cluster.revisions
    when_jobs_fail(cluster, 3)
    assert cluster.stable == cluster.old, "while the spec names a rejected one too"


def test_a_canary_on_trial_is_judged_first(cluster):
    cluster.change(rollout={"standby": {}, "steps": [{"weight": "5%"}]}, model=MODEL | {"source": "pvc://models/x"})
    cluster.settle()
    when_jobs_fail(cluster, 5)
    assert cluster.rollout["phase"] == "Stepping"
