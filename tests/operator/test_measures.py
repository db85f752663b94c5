"""A canary with queries of its own, on the simulated cluster."""

import math

import pytest

from videofleet_operator.crd.rollout_status import Phase, RolloutStatus
from videofleet_operator.crd.sections.metrics import MetricQuery
from videofleet_operator.observed import Measure
from videofleet_operator.plan.measures import Question, opinion, questions

QUERY = {"name": "errors", "query": 'sum(rate(bad{revision="$canary"}[5m]))', "max": "0.05"}


@pytest.fixture
def cluster(new_cluster):
    """A canary at its first step, with jobs enough for all steps."""
    cluster = new_cluster()
    rules = {"steps": [{"weight": "5%"}, {"weight": "50%"}], "analysis": {"metrics": [QUERY]}}
    cluster.change(scaling={"minReplicas": 4}, rollout=rules)
    cluster.settle()
    cluster.change(model={"architecture": "wan2.2-t2v-a14b", "source": "pvc://models/new"})
    cluster.settle()
    return cluster


def when(cluster, *recent, why=""):
    cluster.measures = (Measure("errors", recent, why),) if recent else ()
    cluster.live(400, ticks=5)
    return cluster.rollout


def test_within_its_limit_it_stands_in_nobodys_way(cluster):
    when(cluster, 0.01)
    cluster.live(400, ticks=20)
    assert cluster.stable == cluster.target


@pytest.mark.parametrize(
    ("recent", "why", "words"),
    [
        ((), "", "not asked yet"),
        ((None,), "the answer is empty", "Metric errors: the answer is empty"),
        ((0.01, None), "Prometheus cannot be reached (ClientConnectorError)", "cannot be reached"),
        ((math.nan,), "", "no number"),
        ((0.09, 0.09), "", "Metric errors is 0.09, more than 0.05"),
        ((0.09, None, 0.09), "", "more than 0.05"),
    ],
)
def test_no_answer_and_a_bad_look_hold_it_with_the_reason_and_never_pass(cluster, recent, why, words):
    told = when(cluster, *recent, why=why)
    assert (told["phase"], told["step"]) == ("Stepping", 1)
    assert words in told["verdict"]
    assert words in cluster.condition("Progressing")[2]
    when(cluster, 0.01)
    cluster.settle()
    assert cluster.stable == cluster.target, "then it goes on"


def test_three_bad_looks_in_a_row_reject(cluster):
    assert when(cluster, 0.09, 0.06, 0.0612345)["phase"] == "Rejected"
    assert "Metric errors is 0.0612, more than 0.05, 3 looks in a row" in cluster.condition("Degraded")[2]


def test_less_than_a_minimum_is_outside_too():
    query = MetricQuery.model_validate({"name": "psnr", "query": "x", "min": "30"})
    assert "is 12, less than 30" in str(opinion([query], [Measure("psnr", (12.0,) * 3)]).failed)
    assert opinion([query], [Measure("psnr", (31.0,) * 3)]).held is None


def test_only_a_canary_with_jobs_is_asked_about_and_by_its_own_name():
    query = MetricQuery.model_validate(QUERY | {"query": 'a{r="$canary"} / a{r="$stable", f="$fleet", x=~"b$"}'})
    status = RolloutStatus(phase=Phase.STEPPING, stable_revision="s1", canary_revision="c1")
    asked = questions([query], status, "studio/tiny")
    assert asked == (Question("errors", 'a{r="c1"} / a{r="s1", f="studio/tiny", x=~"b$"}'),)
    assert questions([query], status.model_copy(update={"phase": Phase.WARMING_UP}), "studio/tiny") == ()
    assert questions([query], RolloutStatus(phase=Phase.SETTLED), "studio/tiny") == ()


@pytest.mark.parametrize("wrong", [{"max": "1e3"}, {"max": None}, {"name": "A b"}, {"query": ""}])
def test_a_query_that_decides_nothing_is_refused(wrong):
    with pytest.raises(ValueError, match=r"max|number|lower-case|at least 1"):
        MetricQuery.model_validate(QUERY | wrong)
