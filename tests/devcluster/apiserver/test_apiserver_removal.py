"""Eviction within budgets, deletion in the foreground, lists in pieces: what drain and big clusters need."""

import pytest

PODS = "/api/v1/namespaces/default/pods"
MAPS = "/api/v1/namespaces/default/configmaps"
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


async def test_a_spent_budget_refuses_the_eviction(api, running_pod):
    await budget(api, 0)
    answer = await api("POST", f"{PODS}/p/eviction", eviction())
    assert (answer.status, answer.body["reason"]) == (429, "TooManyRequests")
    assert answer.body["message"] == "Cannot evict pod as it would violate the pod's disruption budget."
    cause = {
        "reason": "DisruptionBudget",
        "message": "The disruption budget b needs 1 healthy pods and has 1 currently",
    }
    assert answer.body["details"]["causes"] == [cause]
    assert (await api("GET", f"{PODS}/p")).status == 200


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


async def test_pods_that_serve_nobody_go_whatever_the_budget(api, running_pod):
    await budget(api, 0)
    await api("PATCH", f"{PODS}/p/status", {"status": {"phase": "Failed"}}, kind=MERGE)
    assert (await api("POST", f"{PODS}/p/eviction", eviction())).status == 201


async def test_kubectl_cordons_and_drains(api, kubectl, running_pod):
    await budget(api, 1)
    assert (await kubectl("cordon", "n")).returncode == 0
    assert "SchedulingDisabled" in (await kubectl("get", "node", "n")).stdout
    drained = await kubectl("drain", "n", "--force", "--grace-period=0", "--timeout=20s")
    assert (drained.returncode, "pod/p evicted" in drained.stdout) == (0, True)
    assert (await kubectl("uncordon", "n")).stdout == "node/n uncordoned\n"


async def test_foreground_deletion_waits_for_what_blocks_it(api, eventually):
    owner = (await api("POST", MAPS, {"metadata": {"name": "owner"}})).body
    ref = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    held = {"name": "held", "finalizers": ["x.dev/f"], "ownerReferences": [ref | {"blockOwnerDeletion": True}]}
    await api("POST", MAPS, {"metadata": held})
    await api("POST", MAPS, {"metadata": {"name": "free", "ownerReferences": [ref]}})
    marked = await api("DELETE", f"{MAPS}/owner", {"propagationPolicy": "Foreground"})
    assert marked.body["metadata"]["finalizers"] == ["foregroundDeletion"]
    assert marked.body["metadata"]["deletionGracePeriodSeconds"] == 0

    async def child_is_marked():
        return "deletionTimestamp" in (await api("GET", f"{MAPS}/held")).body["metadata"]

    async def all_gone():
        return {(await api("GET", f"{MAPS}/{name}")).status for name in ("owner", "held", "free")} == {404}

    await eventually(child_is_marked)
    assert (await api("GET", f"{MAPS}/owner")).status == 200, "the child still blocks it"
    await api("PATCH", f"{MAPS}/held", {"metadata": {"finalizers": None}}, kind=MERGE)
    await eventually(all_gone)


async def test_kubectl_deletes_in_the_foreground_and_leaves_orphans(api, kubectl, make):
    created = await api("POST", "/apis/apps/v1/namespaces/default/deployments", make.deployment())
    ref = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d", "uid": created.body["metadata"]["uid"]}
    owned = {"name": "kept", "ownerReferences": [ref | {"blockOwnerDeletion": True}]}
    await api("POST", MAPS, {"metadata": owned})
    assert (await kubectl("delete", "deployment", "d", "--cascade=orphan", "--timeout=20s")).returncode == 0
    assert "ownerReferences" not in (await api("GET", f"{MAPS}/kept")).body["metadata"]
    created = await api("POST", "/apis/apps/v1/namespaces/default/deployments", make.deployment())
    owned |= {"name": "gone", "ownerReferences": [ref | {"uid": created.body["metadata"]["uid"]}]}
    await api("POST", MAPS, {"metadata": owned})
    deleted = await kubectl("delete", "deployment", "d", "--cascade=foreground", "--timeout=20s")
    assert deleted.returncode == 0, deleted.stderr


async def test_an_unknown_propagation_policy_is_invalid(api):
    await api("POST", MAPS, {"metadata": {"name": "a"}})
    assert (await api("DELETE", f"{MAPS}/a?propagationPolicy=Quick")).status == 422
    assert (await api("DELETE", f"{MAPS}/a?gracePeriodSeconds=soon")).status == 400


async def test_a_list_in_pieces_is_one_consistent_list(api):
    for name in "abcde":
        await api("POST", MAPS, {"metadata": {"name": name, "labels": {"in": "yes"}}})
    first = (await api("GET", f"{MAPS}?limit=2")).body
    assert [item["metadata"]["name"] for item in first["items"]] == ["a", "b"]
    assert first["metadata"]["remainingItemCount"] == 3
    await api("DELETE", f"{MAPS}/c")
    token = first["metadata"]["continue"]
    rest = (await api("GET", f"{MAPS}?limit=5&continue={token}")).body
    assert [item["metadata"]["name"] for item in rest["items"]] == ["c", "d", "e"]
    assert rest["metadata"] == {"resourceVersion": first["metadata"]["resourceVersion"]}
    selected = (await api("GET", f"{MAPS}?limit=2&labelSelector=in=yes")).body["metadata"]
    assert "remainingItemCount" not in selected, "Kubernetes does not count what a selector hides"


async def test_a_token_of_a_compacted_list_is_expired(api, server):
    for name in "abc":
        await api("POST", MAPS, {"metadata": {"name": name}})
    token = (await api("GET", f"{MAPS}?limit=1")).body["metadata"]["continue"]
    await api("POST", MAPS, {"metadata": {"name": "d"}})
    server.store.compact()
    answer = await api("GET", f"{MAPS}?limit=1&continue={token}")
    assert (answer.status, answer.body["reason"]) == (410, "Expired")
    assert "continue parameter is too old" in answer.body["message"]


async def test_kubectl_lists_what_an_account_may(api, kubectl):
    everything = await kubectl("auth", "can-i", "--list")
    assert everything.returncode == 0, everything.stderr
    assert "*.*" in everything.stdout
