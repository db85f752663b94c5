"""Which node a pod gets, and what is said when there is none. The nodes are hollow: no kubelet answers for them."""

import re

import pytest


def asking(given, gpus=0, **spec):
    limits = {"nvidia.com/gpu": str(gpus)} if gpus else {}
    container = {"name": "c", "image": "img:1", "resources": {"limits": limits}}
    return {"nodeSelector": given.hollow, "containers": [container]} | spec


def is_placed(pod):
    return pod.spec.get("nodeName")


def refusal_of(pod):
    found = [c for c in pod.state.get("conditions") or [] if c["type"] == "PodScheduled" and c["status"] == "False"]
    return found[0] if found else None


def says(*texts):
    """Whether the pod is refused, and all these reasons are among those given (other nodes add theirs)."""
    return lambda pod: refusal_of(pod) and all(re.search(text, refusal_of(pod)["message"]) for text in texts)


async def test_gpus_are_counted(given, when, then):
    nodes = {await given.hollow_node(name, **{"nvidia.com_gpu": "1"}) for name in ("a", "b")}
    for name in ("p1", "p2"):
        await given.pod(name, asking(given, gpus=1))
    placed = {(await then.eventually_is(f"pods/{name}", is_placed)).spec["nodeName"] for name in ("p1", "p2")}
    assert placed == nodes
    await given.pod("p3", asking(given, gpus=1))
    waiting = await then.eventually_is("pods/p3", says(r"^0/\d+ nodes are available: .*2 Insufficient nvidia.com/gpu"))
    assert (refusal_of(waiting)["reason"], waiting.state["phase"]) == ("Unschedulable", "Pending")
    told = await then.eventually_event("FailedScheduling", about="p3")
    assert (told["type"], "2 Insufficient nvidia.com/gpu" in told["message"]) == ("Warning", True)
    await when.deletes("pods/p1", {"gracePeriodSeconds": 0})
    assert await then.eventually_is("pods/p3", is_placed)


async def test_finished_pods_hold_nothing(given, when, then, kubelet):
    await given.hollow_node("a", **{"nvidia.com_gpu": "1"})
    await given.pod("p1", asking(given, gpus=1))
    await then.eventually_is("pods/p1", is_placed)
    await kubelet.reports("p1", ready=False, phase="Succeeded")
    await given.pod("p2", asking(given, gpus=1))
    assert await then.eventually_is("pods/p2", is_placed)


async def test_requests_have_to_fit(given, then):
    await given.hollow_node("a")
    container = {"name": "c", "image": "img:1", "resources": {"requests": {"cpu": "3500m", "memory": "1Gi"}}}
    await given.pod("p1", asking(given, containers=[container]))
    await then.eventually_is("pods/p1", is_placed)
    await given.pod("p2", asking(given, containers=[container]))
    assert await then.eventually_is("pods/p2", says("1 Insufficient cpu"))


async def test_a_node_has_to_match_the_selector(given, then):
    await given.hollow_node("a")
    await given.pod("p", asking(given, nodeSelector=given.hollow | {"disk": "ssd"}))
    assert await then.eventually_is("pods/p", says(r"node\(s\) didn't match Pod's node affinity/selector"))


async def test_a_cordoned_node_takes_nothing(given, when, then):
    node = await given.hollow_node("a", spec={"unschedulable": True})
    await given.pod("p", asking(given))
    await then.eventually_is("pods/p", says(r"1 node\(s\) were unschedulable"))
    await when.patches(f"nodes/{node}", {"spec": {"unschedulable": None}})
    assert (await then.eventually_is("pods/p", is_placed)).spec["nodeName"] == node


@pytest.mark.parametrize(
    "toleration",
    [
        {"key": "dedicated", "operator": "Equal", "value": "video", "effect": "NoSchedule"},
        {"key": "dedicated", "operator": "Exists"},
        {"operator": "Exists"},
    ],
    ids=("equal", "exists", "all"),
)
async def test_taints_keep_out_who_does_not_tolerate_them(given, then, toleration):
    taint = {"key": "dedicated", "value": "video", "effect": "NoSchedule"}
    node = await given.hollow_node("a", spec={"taints": [taint]})
    await given.pod("out", asking(given))
    await given.pod("in", asking(given, tolerations=[toleration]))
    await then.eventually_is("pods/out", says("untolerated taint"))
    assert (await then.eventually_is("pods/in", is_placed)).spec["nodeName"] == node


async def test_a_node_that_is_not_ready_takes_nothing(given, then, when):
    node = await given.hollow_node("a", ready=False)
    await given.pod("p", asking(given))
    await then.eventually_is("pods/p", says("untolerated taint"))
    assert not is_placed(await when.reads("pods/p"))
    assert node


async def test_a_pod_of_another_scheduler_is_left_alone(given, when, then):
    await given.hollow_node("a")
    await given.pod("theirs", asking(given, schedulerName="another"))
    await given.pod("ours", asking(given))
    await then.eventually_is("pods/ours", is_placed)
    assert not is_placed(await when.reads("pods/theirs"))


async def test_an_unbound_claim_holds_its_pod(given, then):
    await given.hollow_node("a")
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": ""}
    await given.made("persistentvolumeclaims", "v", {"spec": claim})
    volumes = {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "v"}}]}
    await given.pod("p", asking(given, **volumes))
    await then.eventually_is("pods/p", says("unbound immediate PersistentVolumeClaims"))
    other = {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "absent"}}]}
    await given.pod("q", asking(given, **other))
    assert await then.eventually_is("pods/q", says('persistentvolumeclaim "absent" not found'))
