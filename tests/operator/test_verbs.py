"""What people ask of a rollout, and that nothing else listens: annotations bound to a revision."""

import pytest

MODEL = {"architecture": "wan2.2-t2v-a14b", "source": "pvc://models/"}


@pytest.fixture
def cluster(new_cluster):
    """A fleet of two with a canary at its first step."""
    cluster = new_cluster()
    cluster.change(scaling={"minReplicas": 2}, rollout={"steps": [{"weight": "5%"}, {"weight": "50%"}]})
    cluster.settle()
    cluster.old = cluster.stable
    cluster.change(model=MODEL | {"source": "pvc://models/new"})
    cluster.settle()
    cluster.new = cluster.target
    return cluster


def ask(cluster, command):
    cluster.command = command
    cluster.settle()
    return cluster.rollout["lastCommand"]["outcome"]


def test_promote_needs_no_more_evidence(cluster):
    assert ask(cluster, f"promote:{cluster.new}").startswith("Done")
    assert cluster.stable == cluster.new
    assert cluster.rollout["lastCommand"]["text"] == f"promote:{cluster.new}"


def test_abort_is_remembered_until_retry(cluster):
    ask(cluster, f"abort:{cluster.new}")
    assert cluster.policy.tracks == {cluster.old: "stable"}
    assert cluster.rollout["phase"] == "Rejected"
    assert "Aborted by command" in cluster.condition("Degraded")[2]
    cluster.settle()
    assert cluster.rollout["phase"] == "Rejected"
    ask(cluster, f"retry:{cluster.new}")
    assert (cluster.rollout["phase"], cluster.rollout["step"]) == ("Stepping", 1)
    assert ask(cluster, f"abort:{cluster.new}").startswith("Done"), "the same as before, but another one since"
    assert cluster.rollout["phase"] == "Rejected"


def test_pause_holds_through_any_evidence_until_resume(cluster):
    ask(cluster, f"pause:{cluster.new}")
    cluster.live(400, ticks=5)
    assert (cluster.rollout["phase"], cluster.rollout["step"], cluster.rollout["weight"]) == ("Paused", 1, "5%")
    assert cluster.condition("Progressing")[:2] == ("False", "CanaryPaused")
    ask(cluster, f"resume:{cluster.new}")
    cluster.tick()
    assert cluster.rollout["step"] == 2


def test_a_paused_canary_that_turns_bad_is_rejected(cluster):
    ask(cluster, f"pause:{cluster.new}")
    cluster.live(400, ticks=10, bad={cluster.new: 0.8})
    assert cluster.rollout["phase"] == "Rejected"


def test_undo_goes_back_and_holds_while_the_spec_names_the_same(cluster):
    ask(cluster, f"promote:{cluster.new}")
    assert ask(cluster, f"undo:{cluster.old}").startswith("Done")
    assert cluster.stable == cluster.old
    assert cluster.policy.tracks == {cluster.old: "stable"}
    assert cluster.condition("Ready")[0] == "True"
    assert cluster.condition("Degraded")[:2] == ("True", "Undone")
    cluster.command = None
    cluster.change(queue={"maxDepth": 7})
    cluster.settle()
    assert cluster.stable == cluster.old
    cluster.change(model=MODEL | {"source": "pvc://models/third"})
    cluster.settle()
    assert cluster.rollout["canaryRevision"] == cluster.target not in (cluster.old, cluster.new)


def test_undo_of_an_undo_is_the_revision_of_the_spec(cluster):
    ask(cluster, f"promote:{cluster.new}")
    ask(cluster, f"undo:{cluster.old}")
    ask(cluster, f"undo:{cluster.new}")
    cluster.command = f"promote:{cluster.new}:again"
    cluster.settle()
    assert cluster.stable == cluster.new
    assert cluster.condition("Degraded")[0] == "False"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("promote:0123456789", "is not the canary"),
        ("undo:0123456789", "is not kept; kept are"),
        ("retry:{new}", "is not rejected"),
        ("resume:{new}", "is not paused"),
        ("explode:{new}", "none of promote, abort"),
        ("promote", "is not the canary"),
    ],
)
def test_what_does_not_fit_is_ignored_with_the_reason(cluster, command, words):
    before = cluster.policy
    outcome = ask(cluster, command.format(new=cluster.new))
    assert outcome.startswith("Ignored")
    assert words in outcome
    assert cluster.policy == before


def test_one_that_was_left_in_git_does_no_harm(cluster):
    ask(cluster, f"promote:{cluster.new}")
    cluster.change(model=MODEL | {"source": "pvc://models/third"})
    cluster.settle()
    assert cluster.rollout["phase"] == "Stepping"
    cluster.live(10, ticks=3)
    assert cluster.rollout["phase"] == "Stepping"
