"""The controllers' decisions: tables over plain objects."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from videofleet_devcluster.controllers.claims import plan_claim
from videofleet_devcluster.controllers.deployment import limits, plan_deployment
from videofleet_devcluster.controllers.disruption import plan_budget
from videofleet_devcluster.controllers.endpoints import plan_endpoints
from videofleet_devcluster.controllers.nodes import eviction_in_s, taints_of
from videofleet_devcluster.controllers.replicaset import plan_replica_set, victims
from videofleet_devcluster.controllers.scheduler import place, requests_of
from videofleet_devcluster.objects import condition_of, name_hash, quantity, selects

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def stamp(age_s: float = 0) -> str:
    return (NOW - timedelta(seconds=age_s)).strftime("%Y-%m-%dT%H:%M:%SZ")


def deployment(replicas: int = 3, image: str = "b", strategy: Any = None, **status: Any) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": image}]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": "x"}}, "template": template}
    spec |= {"strategy": strategy or {"type": "RollingUpdate"}, "progressDeadlineSeconds": 60}
    meta = {"name": "d", "namespace": "n", "uid": "D", "generation": 2}
    return {"metadata": meta, "spec": spec, "status": status}


def replica_set(image: str, replicas: int, available: int, age_s: float = 0) -> dict[str, Any]:
    template = deployment(image=image)["spec"]["template"]
    digest = name_hash(template)
    meta = {"name": f"d-{image}", "namespace": "n", "uid": image, "creationTimestamp": stamp(age_s)}
    meta |= {"labels": {"app": "x", "pod-template-hash": digest}, "annotations": {}}
    counts = {"replicas": replicas, "availableReplicas": available, "readyReplicas": available}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": "x"}}, "template": template}
    return {"metadata": meta, "spec": spec, "status": counts}


@pytest.mark.parametrize(
    ("replicas", "rolling", "expected"),
    [
        (3, {}, (1, 0)),
        (10, {}, (3, 2)),
        (4, {"maxSurge": 0, "maxUnavailable": 0}, (0, 1)),
        (4, {"maxSurge": "50%", "maxUnavailable": 1}, (2, 1)),
        (0, {}, (0, 1)),
    ],
)
def test_surge_rounds_up_and_unavailable_down(replicas: int, rolling: Any, expected: tuple[int, int]) -> None:
    assert limits(deployment(replicas, strategy={"rollingUpdate": rolling})) == expected


def sizes(d: dict[str, Any], sets: list[dict[str, Any]], old_pods: int = 0) -> dict[str, int]:
    plan = plan_deployment(d, sets, {"a": old_pods}, NOW)
    found = {scale.replica_set["metadata"]["name"]: scale.replicas for scale in plan.scale}
    return found | ({"new": plan.create["spec"]["replicas"]} if plan.create else {})


@pytest.mark.parametrize(
    ("sets", "expected", "why"),
    [
        ([], {"new": 3}, "a first rollout starts at full size"),
        ([("a", 3, 3)], {"new": 1}, "one surge pod beside the old ones"),
        ([("a", 3, 3), ("b", 1, 0)], {}, "nothing moves until the new pod is available"),
        ([("a", 3, 3), ("b", 1, 1)], {"d-a": 2}, "an available new pod frees one old"),
        ([("a", 2, 2), ("b", 1, 1)], {"d-b": 2}, "and its place goes to the next new one"),
        ([("a", 3, 0), ("b", 1, 0)], {}, "unavailable old ones are within the minimum"),
        ([("a", 3, 1), ("b", 1, 1)], {"d-a": 2}, "unhealthy old pods go first"),
        ([("b", 5, 5)], {"d-b": 3}, "scaled down"),
        ([("b", 3, 3)], {}, "done"),
    ],
)
def test_a_rolling_update_step_by_step(sets: Any, expected: dict[str, int], why: str) -> None:
    given = [replica_set(image, n, available, age_s=9 if image == "a" else 1) for image, n, available in sets]
    assert sizes(deployment(), given) == expected, why


def test_recreate_waits_for_the_last_old_pod() -> None:
    d = deployment(strategy={"type": "Recreate"})
    old, idle = replica_set("a", 3, 3, 9), replica_set("a", 0, 0, 9)
    assert sizes(d, [old], old_pods=3) == {"d-a": 0, "new": 0}
    new = replica_set("b", 0, 0)
    assert sizes(d, [idle, new], old_pods=1) == {}
    assert sizes(d, [idle, new], old_pods=0) == {"d-b": 3}


def condition(d: dict[str, Any], sets: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    status = plan_deployment(d, sets, {}, NOW).status
    return next(c for c in status["conditions"] if c["type"] == kind)


def test_progress_is_reported_completed_and_given_up() -> None:
    waiting = replica_set("b", 3, 0)
    first = condition(deployment(), [waiting], "Progressing")
    assert (first["status"], first["reason"]) == ("True", "ReplicaSetUpdated")
    done = condition(deployment(), [replica_set("b", 3, 3)], "Progressing")
    assert done["reason"] == "NewReplicaSetAvailable"
    assert done["message"] == 'ReplicaSet "d-b" has successfully progressed.'
    stuck = first | {"lastUpdateTime": stamp(61)}
    late = condition(deployment(updatedReplicas=3, replicas=3, conditions=[stuck]), [waiting], "Progressing")
    assert (late["status"], late["reason"]) == ("False", "ProgressDeadlineExceeded")


def test_availability_counts_what_may_be_missing() -> None:
    assert condition(deployment(), [replica_set("b", 3, 3)], "Available")["status"] == "True"
    missing = condition(deployment(), [replica_set("b", 3, 2)], "Available")
    assert (missing["status"], missing["reason"]) == ("False", "MinimumReplicasUnavailable")


def test_the_new_replica_set_is_found_by_its_template_and_its_revision_rises() -> None:
    old = replica_set("a", 3, 3, 9)
    old["metadata"]["annotations"] = {"deployment.kubernetes.io/revision": "4"}
    plan = plan_deployment(deployment(), [old], {}, NOW)
    assert plan.revision == "5"
    assert plan.create is not None
    labels = plan.create["spec"]["template"]["metadata"]["labels"]
    assert labels["pod-template-hash"] == plan.create["spec"]["selector"]["matchLabels"]["pod-template-hash"]
    assert plan.create["metadata"]["ownerReferences"][0]["controller"] is True


def pod(name: str, node: str | None = "n1", phase: str = "Running", ready: bool = True, **more: Any) -> Any:
    age_s, ready_s, restarts = more.get("age_s", 100), more.get("ready_s", 50), more.get("restarts", 0)
    cost, labels = more.get("cost"), more.get("labels", {"app": "x"})
    annotations = {"controller.kubernetes.io/pod-deletion-cost": cost} if cost else {}
    meta = {"name": name, "namespace": "n", "uid": name, "labels": labels, "annotations": annotations}
    meta |= {"creationTimestamp": stamp(age_s)}
    conditions = [{"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": stamp(ready_s)}]
    status = {"phase": phase, "conditions": conditions, "podIP": more.get("ip", "127.64.0.1")}
    status |= {"containerStatuses": [{"restartCount": restarts}]}
    container = {
        "name": "c",
        "resources": more.get("resources", {}),
        "ports": [{"name": "http", "containerPort": 80}],
    }
    spec = {"containers": [container]} | ({"nodeName": node} if node else {}) | more.get("spec", {})
    return {"metadata": meta, "spec": spec, "status": status}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (
            pod("unassigned", node=None, phase="Pending", ready=False),
            pod("pending", phase="Pending", ready=False),
        ),
        (pod("pending", phase="Pending", ready=False), pod("not ready", ready=False)),
        (pod("not ready", ready=False, cost="100"), pod("ready")),
        (pod("cheap", cost="-1"), pod("usual")),
        (pod("usual", ready_s=500), pod("dear", cost="1", ready_s=1)),
        (pod("new", ready_s=10), pod("proven", ready_s=20)),
        (pod("restarted", restarts=2), pod("steady")),
        (pod("young", age_s=10), pod("old", age_s=20)),
    ],
)
def test_victims_come_in_kubernetes_order(first: Any, second: Any) -> None:
    assert victims([second, first], NOW)[0] is first


def test_a_replica_set_ignores_ended_and_leaving_pods() -> None:
    rs = replica_set("b", 2, 0)
    leaving = pod("leaving")
    leaving["metadata"]["deletionTimestamp"] = stamp()
    plan = plan_replica_set(rs, [pod("p"), pod("failed", phase="Failed"), leaving], NOW)
    assert (plan.create, plan.delete) == (1, ())
    assert plan.status["replicas"] == plan.status["readyReplicas"] == 1


def test_min_ready_seconds_delays_availability() -> None:
    rs = replica_set("b", 1, 0)
    rs["spec"]["minReadySeconds"] = 60
    plan = plan_replica_set(rs, [pod("p", ready_s=50)], NOW)
    assert "availableReplicas" not in plan.status
    assert plan.requeue_after_s == pytest.approx(10.1)


def test_a_crowded_node_is_relieved_before_a_lonely_one() -> None:
    first, lonely = pod("crowded", node="n1"), pod("lonely", node="n2", ready_s=1)
    assert victims([lonely, first], NOW, related=[pod("sister", node="n1")])[0] is first


def test_a_replica_set_adopts_orphans_and_releases_strangers() -> None:
    rs = replica_set("b", 2, 0)
    stranger = pod("stranger", labels={"app": "y"})
    plan = plan_replica_set(rs, [stranger], NOW, orphans=[pod("orphan"), pod("other", labels={})])
    assert [p["metadata"]["name"] for p in plan.adopt] == ["orphan"]
    assert plan.release == (stranger,)
    assert plan.create == 1


def owned(name: str, ready: bool = True) -> dict[str, Any]:
    obj: dict[str, Any] = pod(name, ready=ready)
    obj["metadata"]["ownerReferences"] = [{"uid": "rs", "controller": True, "name": "rs", "kind": "ReplicaSet"}]
    return obj


@pytest.mark.parametrize(
    ("spec", "ready", "expected"),
    [
        ({"minAvailable": 2}, [True, True, True], (3, 2, 3, 1)),
        ({"minAvailable": 2}, [True, True, False], (3, 2, 2, 0)),
        ({"minAvailable": "50%"}, [True, True, True], (3, 2, 3, 1)),
        ({"maxUnavailable": 1}, [True, True, True], (3, 2, 3, 1)),
        ({"maxUnavailable": "10%"}, [True, True, True], (3, 2, 3, 1)),
        ({"maxUnavailable": 0}, [True, True, True], (3, 3, 3, 0)),
        ({"minAvailable": 1}, [], (0, 1, 0, 0)),
    ],
)
def test_a_budget_allows_what_stays_above_its_limit(spec: Any, ready: list[bool], expected: Any) -> None:
    budget = {"metadata": {"generation": 1}, "spec": {"selector": {"matchLabels": {"app": "x"}}} | spec}
    pods = [owned(f"p{n}", ready=each) for n, each in enumerate(ready)]
    status = plan_budget(budget, pods, {"rs": 3}, NOW)
    counts = ("expectedPods", "desiredHealthy", "currentHealthy", "disruptionsAllowed")
    assert tuple(status[name] for name in counts) == expected
    assert condition_of({"status": status}, "DisruptionAllowed")["status"] == ("True" if expected[3] else "False")  # type: ignore[index]  # it is there


def test_an_evicted_pod_counts_as_gone_until_it_is_or_two_minutes_are_over() -> None:
    budget = {"metadata": {}, "spec": {"selector": {"matchLabels": {"app": "x"}}, "minAvailable": 1}}
    noted = budget | {"status": {"disruptedPods": {"p": stamp(1), "late": stamp(121), "gone": stamp(1)}}}
    status = plan_budget(noted, [owned("p"), owned("late")], {"rs": 2}, NOW)
    assert list(status["disruptedPods"]) == ["p"]
    assert (status["currentHealthy"], status["disruptionsAllowed"]) == (1, 0)


def unreachable(*tolerations: dict[str, Any]) -> Any:
    return pod("p", spec={"tolerations": list(tolerations)})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (unreachable(), 0),
        (unreachable({"operator": "Exists"}), None),
        (unreachable({"key": "node.kubernetes.io/unreachable", "operator": "Exists", "tolerationSeconds": 300}), 290),
        (unreachable({"operator": "Exists", "effect": "NoSchedule"}), 0),
    ],
)
def test_a_lost_nodes_pods_leave_when_their_toleration_runs_out(given: Any, expected: float | None) -> None:
    lost = node()
    lost["status"]["conditions"][0]["status"] = "Unknown"
    lost["spec"]["taints"] = taints_of(lost, datetime.fromisoformat(stamp(10)))
    assert [(taint["key"], taint["effect"]) for taint in lost["spec"]["taints"]] == [
        ("node.kubernetes.io/unreachable", "NoSchedule"),
        ("node.kubernetes.io/unreachable", "NoExecute"),
    ]
    assert eviction_in_s(given, lost, NOW) == expected


def test_taints_of_other_people_stay_and_our_own_go_with_their_cause() -> None:
    theirs = {"key": "gpu", "value": "only", "effect": "NoSchedule"}
    fine = node()
    fine["spec"] = {"unschedulable": True, "taints": [theirs]}
    assert [taint["key"] for taint in taints_of(fine, NOW)] == ["gpu", "node.kubernetes.io/unschedulable"]
    uncordoned = fine | {"spec": {"taints": taints_of(fine, NOW)}}
    assert taints_of(uncordoned, NOW) == [theirs]


def node(name: str = "n1", **allocatable: str) -> dict[str, Any]:
    room = {"cpu": "2", "memory": "4Gi", "pods": "10"} | {k.replace("_", "/"): v for k, v in allocatable.items()}
    ready = {"type": "Ready", "status": "True"}
    meta = {"name": name, "labels": {"zone": name}}
    return {"metadata": meta, "spec": {}, "status": {"allocatable": room, "conditions": [ready]}}


def asks(**requests: str) -> Any:
    return pod("p", node=None, resources={"requests": {k.replace("_", "/"): v for k, v in requests.items()}})


def test_a_pod_goes_to_the_emptier_node_that_has_room() -> None:
    assert (
        place(asks(cpu="1"), [node("n1"), node("n2")], {"n1": Counter(requests_of(pod("q", node="n1")))}, []).node
        == "n2"
    )


@pytest.mark.parametrize(
    ("given", "nodes", "message"),
    [
        (asks(), [], "no nodes available to schedule pods"),
        (
            pod("p", node=None, resources={"limits": {"nvidia.com/gpu": "1"}}),
            [node()],
            "0/1 nodes are available: 1 Insufficient nvidia.com/gpu. preemption: 0/1 nodes are available: "
            "1 No preemption victims found for incoming pod.",
        ),
        (
            asks(cpu="3"),
            [node("n1"), node("n2")],
            "0/2 nodes are available: 2 Insufficient cpu. preemption: 0/2 nodes are available: "
            "2 No preemption victims found for incoming pod.",
        ),
        (
            asks(**{"nvidia.com_gpu": "1"}),
            [node("n1"), node("n2") | {"spec": {"unschedulable": True}}],
            "0/2 nodes are available: 1 Insufficient nvidia.com/gpu, 1 node(s) were unschedulable. "
            "preemption: 0/2 nodes are available: 1 No preemption victims found for incoming pod, "
            "1 Preemption is not helpful for scheduling.",
        ),
        (
            pod("p", node=None, spec={"nodeSelector": {"zone": "moon"}}),
            [node()],
            "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. "
            "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.",
        ),
        (
            pod("p", node=None, spec={"volumes": [{"persistentVolumeClaim": {"claimName": "weights"}}]}),
            [node()],
            '0/1 nodes are available: persistentvolumeclaim "weights" not found. '
            "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.",
        ),
    ],
)
def test_a_refusal_reads_as_kube_schedulers(given: Any, nodes: Any, message: str) -> None:
    assert place(given, nodes, {}, []).message == message


def test_taints_keep_pods_away_unless_tolerated() -> None:
    tainted = node()
    tainted["spec"]["taints"] = [{"key": "gpu", "value": "only", "effect": "NoSchedule"}]
    assert "untolerated taint {gpu: only}" in place(asks(), [tainted], {}, []).message
    tolerant = pod("p", node=None, spec={"tolerations": [{"key": "gpu", "operator": "Exists"}]})
    assert place(tolerant, [tainted], {}, []).node == "n1"
    cordoned = node()
    cordoned["spec"]["unschedulable"] = True
    assert "node(s) were unschedulable" in place(asks(), [cordoned], {}, []).message


def test_endpoints_split_ready_from_unready_and_resolve_named_ports() -> None:
    ports = [{"port": 8080, "targetPort": "http", "name": "web"}]
    meta = {"name": "s", "namespace": "n", "uid": "S"}
    service = {"metadata": meta, "spec": {"selector": {"app": "x"}, "ports": ports}}
    pods = [pod("a"), pod("b", ready=False, ip="127.64.0.2"), pod("other", labels={"app": "y"})]
    plan = plan_endpoints(service, pods)
    assert plan is not None
    endpoints, slice_ = plan
    (subset,) = endpoints["subsets"]
    assert [a["ip"] for a in subset["addresses"]] == ["127.64.0.1"]
    assert [a["ip"] for a in subset["notReadyAddresses"]] == ["127.64.0.2"]
    assert subset["ports"] == [{"name": "web", "port": 80, "protocol": "TCP"}]
    assert [e["conditions"]["ready"] for e in slice_["endpoints"]] == [True, False]


def claim(**spec: Any) -> dict[str, Any]:
    base = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return {"metadata": {"name": "c", "namespace": "n", "uid": "U"}, "spec": base | spec}


def volume(name: str, size: str, **spec: Any) -> dict[str, Any]:
    base = {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], "storageClassName": "standard"}
    return {"metadata": {"name": name}, "spec": base | spec}


def test_a_claim_takes_the_smallest_volume_that_fits_or_a_fresh_folder() -> None:
    root = Path("/volumes")
    plan = plan_claim(claim(), [volume("big", "9Gi"), volume("fit", "2Gi"), volume("small", "1Mi")], root)
    assert plan is not None
    assert (plan.volume["metadata"]["name"], plan.provision) == ("fit", False)
    fresh = plan_claim(claim(), [volume("small", "1Mi")], root)
    assert fresh is not None
    assert fresh.provision
    assert fresh.volume["spec"]["hostPath"]["path"] == "/volumes/n_c_U"
    assert plan_claim(claim(storageClassName=""), [volume("other class", "9Gi")], root) is None
    named = plan_claim(claim(storageClassName="", volumeName="m"), [volume("m", "1Gi", storageClassName="")], root)
    assert named is not None
    assert named.volume["spec"]["claimRef"]["uid"] == "U"


def test_quantities_and_selectors() -> None:
    assert quantity("250m") * 4 == 1
    assert quantity("1Ki") == 1024
    assert quantity("2") == quantity("2000m")
    expressions = [{"key": "a", "operator": "In", "values": ["1"]}, {"key": "b", "operator": "DoesNotExist"}]
    assert selects({"matchExpressions": expressions}, {"a": "1"})
    assert not selects({"matchExpressions": expressions}, {"a": "1", "b": ""})
