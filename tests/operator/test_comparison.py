"""The A/B report, on the simulated cluster: both tracks, one period, and it outlives the trial."""

import pytest

from videofleet.feedback import Feedback

MODEL = {"architecture": "wan2.2-t2v-a14b", "source": "pvc://models/new"}


@pytest.fixture
def cluster(new_cluster):
    """A canary at its first step beside a stable with a past."""
    cluster = new_cluster()
    cluster.change(scaling={"minReplicas": 4}, rollout={"steps": [{"weight": "50%"}]})
    cluster.settle()
    cluster.old = cluster.stable
    cluster.count_of(cluster.old, attempts=10_000, attempt_failures=900, steps=10_000, step_s=10_000.0)
    cluster.change(model=MODEL)
    cluster.settle()
    return cluster


def test_both_columns_are_of_the_same_time(cluster):
    cluster.count_of(cluster.target, waited=2, wait_s=7.5)
    cluster.opinions = [Feedback(revision=cluster.target, tier="small", ratings=3, liked=2, disliked=1)]
    cluster.live(20, ticks=3, bad={cluster.target: 0.1})
    told = cluster.rollout["comparison"]
    assert (told["canaryRevision"], told["stableRevision"]) == (cluster.target, cluster.old)
    canary, stable = told["canary"], told["stable"]
    assert (stable["attempts"], stable["failures"], stable["stepMs"]) == (30, 0, 30_000), "not of stable's past"
    assert (canary["attempts"], canary["failures"]) == (30, 3)
    assert (canary["waited"], canary["waitMs"], canary["liked"], canary["disliked"]) == (2, 7500, 2, 1)


def test_it_outlives_the_trial_until_the_next(cluster):
    cluster.live(20, ticks=3)
    first = cluster.target
    cluster.command = f"abort:{first}"
    cluster.settle()
    assert cluster.rollout["comparison"]["canary"]["attempts"] == 30
    cluster.change(model=MODEL | {"source": "pvc://models/third"})
    cluster.settle()
    assert cluster.rollout["comparison"]["canaryRevision"] == cluster.target != first
    assert cluster.rollout["comparison"]["canary"]["attempts"] == 0
