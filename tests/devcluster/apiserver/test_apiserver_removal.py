"""What an eviction does to a budget that nobody has counted anew."""

import pytest

PODS = "/api/v1/namespaces/default/pods"
BUDGETS = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
MERGE = "application/merge-patch+json"


@pytest.fixture
async def running_pod(api):
    """A Ready pod `p` with the label app=p on the node `n`."""
    node = {"metadata": {"name": "n"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    await api("POST", "/api/v1/nodes", node)
    spec = {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]}
    assert (await api("POST", PODS, {"metadata": {"name": "p", "labels": {"app": "p"}}, "spec": spec})).status == 201
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    assert (await api("PATCH", f"{PODS}/p/status", {"status": status}, kind=MERGE)).status == 200


async def budget(api, allowed, **status):
    """A budget for app=p as its controller would have counted it."""
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "p"}}}
    await api("POST", BUDGETS, {"metadata": {"name": "b"}, "spec": spec})
    counted = {"disruptionsAllowed": allowed, "currentHealthy": 1, "desiredHealthy": 1, "observedGeneration": 1}
    answer = await api("PATCH", f"{BUDGETS}/b/status", {"status": counted | status}, kind=MERGE)
    assert answer.status == 200


def eviction(grace_s=0):
    options = {"gracePeriodSeconds": grace_s}
    return {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}, "deleteOptions": options}


async def test_an_allowed_eviction_takes_one_from_the_budget(api, running_pod):
    await budget(api, 1)
    assert (await api("POST", f"{PODS}/p/eviction?dryRun=All", eviction())).status == 201
    assert (await api("POST", f"{PODS}/p/eviction", eviction())).status == 201
    assert (await api("GET", f"{PODS}/p")).status == 404
    status = (await api("GET", f"{BUDGETS}/b")).body["status"]
    assert status["disruptionsAllowed"] == 0
    assert "p" in status["disruptedPods"]


async def test_a_budget_that_nobody_counted_yet_says_when_to_come_back(api, running_pod):
    await budget(api, 1, observedGeneration=0)
    answer = await api("POST", f"{PODS}/p/eviction", eviction())
    assert (answer.status, answer.headers["Retry-After"]) == (429, "10")
    assert "still being processed by the server" in answer.body["details"]["causes"][0]["message"]
