"""A node whose kubelet is gone: its Lease stops, the cluster gives it up, and its pods are replaced elsewhere."""

PATIENCE_S = 120.0  # a cluster waits for 40 or 50 s, which began with the session


def taints(node):
    return {(taint["key"], taint["effect"]) for taint in node.spec.get("taints") or []}


def ready(obj):
    return next(c for c in obj["status"]["conditions"] if c["type"] == "Ready")


async def test_a_lost_node_is_not_ready_and_its_pods_are_replaced(lost_node, when, eventually):
    there = type(when)(when.http, lost_node)

    async def given_up():
        node = await there.reads(f"nodes/{lost_node}")
        return node if ("node.kubernetes.io/unreachable", "NoExecute") in taints(node) else None

    node = await eventually(given_up, PATIENCE_S)
    assert ("node.kubernetes.io/unreachable", "NoSchedule") in taints(node), "nor do others come"
    told = {key: ready(node.body)[key] for key in ("status", "reason", "message")}
    assert told == {
        "status": "Unknown",
        "reason": "NodeStatusUnknown",
        "message": "Kubelet stopped posting node status.",
    }

    async def replaced():
        pods = (await there.lists("pods"))["items"]
        leaving = [pod for pod in pods if "deletionTimestamp" in pod["metadata"]]
        return (leaving, [pod for pod in pods if pod not in leaving]) if len(pods) == 2 and leaving else None

    leaving, staying = await eventually(replaced, PATIENCE_S)
    assert [pod["spec"]["nodeName"] for pod in leaving] == [lost_node]
    assert ready(leaving[0])["status"] == "False", "nobody answers for it"
    assert [pod["status"]["phase"] for pod in staying] == ["Pending"], "it selects a node that takes nothing"


async def test_a_pod_that_tolerates_a_lost_node_stays_bound_to_it(lost_node, when, given, kubelet, eventually):
    spec = {"schedulerName": "nobody", "containers": [{"name": "c", "image": "img:1"}]}
    await given.pod("patient", spec | {"tolerations": [{"operator": "Exists"}]})
    await kubelet.takes("patient", lost_node)

    async def given_up():
        node = await when.reads(f"nodes/{lost_node}")
        return ("node.kubernetes.io/unreachable", "NoExecute") in taints(node)

    await eventually(given_up, PATIENCE_S)
    assert "deletionTimestamp" not in (await when.reads("pods/patient")).meta
