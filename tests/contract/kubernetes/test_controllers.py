"""Deployments, ReplicaSets, Endpoints and budgets. The case plays the kubelet: its pods have no scheduler."""

import asyncio

import pytest


def condition_of(answer, kind):
    found = answer.state.get("conditions") or []
    return next(((c["status"], c["reason"], c.get("message", "")) for c in found if c["type"] == kind), None)


def counts_of(answer):
    names = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas")
    return tuple(answer.state.get(name, 0) for name in names)


def ready(pod):
    conditions = pod["status"].get("conditions") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def is_complete(replicas):
    def holds(found):
        current = found.state.get("observedGeneration") == found.meta["generation"]
        return current and counts_of(found) == (replicas, replicas, replicas, replicas, 0)

    return holds


@pytest.fixture
def roll(when, then, kubelet):
    """Reports pods as ready until the Deployment is complete; `watch` sees the pods at every look."""

    async def complete(replicas, watch=lambda pods: None):
        async def done():
            pods = await when.items("pods", labelSelector="app=d")
            watch(pods)
            waiting = [pod for pod in pods if not ready(pod)]
            if waiting:
                await kubelet.reports(waiting[0]["metadata"]["name"])
            found = await when.reads("deployments/d")
            return found if is_complete(replicas)(found) else None

        return await then.eventually(done)

    return complete


def with_env(value):
    container = {"name": "c", "image": "img:1", "env": [{"name": "A", "value": value}]}
    return {"spec": {"template": {"spec": {"containers": [container]}}}}


async def pods_of(when, then, count, selector="app=d"):
    async def are_there():
        pods = await when.items("pods", labelSelector=selector)
        return (pods,) if len(pods) == count else None

    (found,) = await then.eventually(are_there)
    return found


async def test_a_deployment_makes_a_replica_set_and_that_its_pods(given, when, then):
    made = await given.deployment("d", replicas=2)
    pods = await pods_of(when, then, 2)
    (replica_set,) = await when.items("replicasets", labelSelector="app=d")
    meta = replica_set["metadata"]
    digest = meta["labels"]["pod-template-hash"]
    assert meta["name"] == f"d-{digest}"
    assert replica_set["spec"]["selector"]["matchLabels"] == {"app": "d", "pod-template-hash": digest}
    (owner,) = meta["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("Deployment", made.uid, True)
    for pod in pods:
        assert pod["metadata"]["name"].startswith(f"d-{digest}-")
        assert pod["metadata"]["generateName"] == f"d-{digest}-"
        assert pod["metadata"]["labels"] == {"app": "d", "pod-template-hash": digest}
        assert pod["metadata"]["ownerReferences"][0]["uid"] == meta["uid"]
    scaled = await then.eventually_event("ScalingReplicaSet", about="d")
    assert scaled["message"] == f"Scaled up replica set d-{digest} from 0 to 2"
    created = await then.eventually_event("SuccessfulCreate", about=f"d-{digest}")
    assert created["message"].startswith(f"Created pod: d-{digest}-")


async def test_a_deployment_counts_its_pods_and_tells_its_condition(given, when, then, kubelet):
    await given.deployment("d", replicas=2)
    pods = await pods_of(when, then, 2)
    waiting = await then.eventually_is("deployments/d", lambda found: counts_of(found) == (2, 2, 0, 0, 2))
    assert waiting.meta["annotations"]["deployment.kubernetes.io/revision"] == "1"
    name = pods[0]["metadata"]["ownerReferences"][0]["name"]
    no, yes = "Deployment does not have minimum availability.", "Deployment has minimum availability."
    assert condition_of(waiting, "Available") == ("False", "MinimumReplicasUnavailable", no)
    assert condition_of(waiting, "Progressing") == (
        "True",
        "ReplicaSetUpdated",
        f'ReplicaSet "{name}" is progressing.',
    )
    for pod in pods:
        await kubelet.reports(pod["metadata"]["name"])
    complete = await then.eventually_is("deployments/d", is_complete(2))
    assert condition_of(complete, "Available") == ("True", "MinimumReplicasAvailable", yes)
    assert condition_of(complete, "Progressing") == (
        "True",
        "NewReplicaSetAvailable",
        f'ReplicaSet "{name}" has successfully progressed.',
    )
    await kubelet.reports(pods[0]["metadata"]["name"], ready=False)
    lost = await then.eventually_is("deployments/d", lambda found: counts_of(found) == (2, 2, 1, 1, 1))
    assert condition_of(lost, "Available")[0] == "False"


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "most", "least"),
    [(4, 1, 0, 5, 4), (4, 0, 1, 4, 3), (4, "50%", "25%", 6, 3), (1, "25%", "25%", 2, 1)],
    ids=("surge", "unavailable", "both", "rounded"),
)
async def test_a_rolling_update_stays_within_its_limits(
    given, when, then, roll, replicas, surge, unavailable, most, least
):  # fmt: skip
    rolling = {"maxSurge": surge, "maxUnavailable": unavailable}
    await given.deployment("d", replicas=replicas, strategy={"type": "RollingUpdate", "rollingUpdate": rolling})
    await roll(replicas)
    (before,) = await when.items("replicasets")
    await when.patches("deployments/d", with_env("2"), how="strategic")
    seen = []

    def watch(pods):
        seen.append((len(pods), sum(map(ready, pods))))

    async def as_far_as_it_may_go():  # while no new pod is ready
        watch(await when.items("pods", labelSelector="app=d"))
        return seen[-1] == (most, least)

    await then.eventually(as_far_as_it_may_go)
    await roll(replicas, watch=watch)
    assert max(total for total, _ in seen) == most
    assert min(available for _, available in seen) == least
    old = await when.reads(f"replicasets/{before['metadata']['name']}")
    assert old.spec["replicas"] == 0, "kept for a rollback"


async def test_recreate_ends_the_old_pods_first(given, when, roll):
    await given.deployment("d", replicas=2, strategy={"type": "Recreate"})
    await roll(2)
    await when.patches("deployments/d", with_env("2"), how="strategic")
    seen = []
    await roll(2, watch=lambda pods: seen.append({p["metadata"]["labels"]["pod-template-hash"] for p in pods}))
    assert max(map(len, seen)) == 1, "never two revisions at once"


async def test_a_rollout_that_stands_still_exceeds_its_deadline(given, then):
    await given.deployment("d", progressDeadlineSeconds=1)
    late = await then.eventually_is(
        "deployments/d", lambda found: (condition_of(found, "Progressing") or ("True",))[0] == "False"
    )
    _, reason, message = condition_of(late, "Progressing")
    assert reason == "ProgressDeadlineExceeded"
    assert message.endswith("has timed out progressing.")


async def test_a_rollback_takes_the_old_replica_set_again(given, when, roll):
    await given.deployment("d", env={"A": "1"})
    await roll(1)
    (first,) = await when.names("replicasets")
    await when.patches("deployments/d", with_env("2"), how="strategic")
    second = await roll(1)
    assert second.meta["annotations"]["deployment.kubernetes.io/revision"] == "2"
    await when.patches("deployments/d", with_env("1"), how="strategic")
    third = await roll(1)
    assert third.meta["annotations"]["deployment.kubernetes.io/revision"] == "3"
    again = await when.reads(f"replicasets/{first}")
    assert (again.spec["replicas"], again.meta["annotations"]["deployment.kubernetes.io/revision"]) == (1, "3")
    assert len(await when.names("replicasets")) == 2


async def test_refused_pods_are_told_until_they_are_let_in(given, when, then):
    await given.deployment("d", pod={"serviceAccountName": "late"})

    def failure(found):
        return condition_of(found, "ReplicaFailure") or ("", "", "")

    found = await then.eventually_is("deployments/d", lambda found: failure(found)[:2] == ("True", "FailedCreate"))
    assert 'serviceaccount "late" not found' in failure(found)[2]
    assert condition_of(found, "Available")[0] == "False"
    await given.made("serviceaccounts", "late", {})
    await then.eventually_is("deployments/d", lambda found: found.state.get("replicas") == 1)
    await then.eventually_is("deployments/d", lambda found: condition_of(found, "ReplicaFailure") is None)


async def test_a_lost_pod_is_replaced(given, when, then):
    await given.deployment("d")
    (pod,) = await pods_of(when, then, 1)
    await when.deletes(f"pods/{pod['metadata']['name']}")

    async def another():
        found = await when.items("pods", labelSelector="app=d")
        return found and found[0]["metadata"]["uid"] != pod["metadata"]["uid"]

    await then.eventually(another)


async def test_a_deployment_takes_everything_along(given, when, then):
    await given.deployment("d", replicas=2)
    await pods_of(when, then, 2)
    await when.deletes("deployments/d")
    await pods_of(when, then, 0)

    async def none():
        return not await when.names("replicasets")

    await then.eventually(none)


async def test_victims_go_in_kubernetes_order(given, when, then, kubelet):
    """Unassigned, then Pending, then NotReady, then the lower deletion cost, then the one ready for less long."""
    node = await given.hollow_node("n")
    await given.deployment("d", replicas=6)
    names = [pod["metadata"]["name"] for pod in await pods_of(when, then, 6)]
    unassigned, pending, not_ready, cheap, young, old = names
    for name in names[1:]:
        await kubelet.takes(name, node)
    for name, cost in ((cheap, "-5"), (not_ready, "100")):  # readiness comes before cost
        annotations = {"controller.kubernetes.io/pod-deletion-cost": cost}
        await when.patches(f"pods/{name}", {"metadata": {"annotations": annotations}})
    await kubelet.reports(pending, ready=False, phase="Pending")
    await kubelet.reports(not_ready, ready=False)
    for name, since_s in ((cheap, 9000), (young, 10), (old, 9000)):  # who counts three as ready has seen the rest, too
        await kubelet.reports(name, since_s=since_s)
    await then.eventually_is("deployments/d", lambda found: found.state.get("readyReplicas") == 3)
    gone = []
    for left in range(5, 0, -1):
        await when.patches("deployments/d/scale", {"spec": {"replicas": left}})
        stay = {pod["metadata"]["name"] for pod in await pods_of(when, then, left)}
        gone += [name for name in names if name not in stay and name not in gone]
    assert gone == [unassigned, pending, not_ready, cheap, young]
    assert stay == {old}


def addresses_of(endpoints, key="addresses"):
    subsets = endpoints.body.get("subsets") or []
    return sorted(address["ip"] for subset in subsets for address in subset.get(key) or [])


async def serving_pods(given, when, then, kubelet):
    """Two ready pods with a named port on a hollow node; their names."""
    node = await given.hollow_node("n")
    container = {"name": "c", "image": "img:1", "ports": [{"name": "http", "containerPort": 8081}]}
    await given.deployment("d", replicas=2, pod={"containers": [container]})
    names = [pod["metadata"]["name"] for pod in await pods_of(when, then, 2)]
    for number, name in enumerate(names, 1):
        await kubelet.takes(name, node)
        await kubelet.reports(name, ip=f"10.9.0.{number}")
    return names


async def test_endpoints_are_the_ready_pods(given, when, then, kubelet):
    first, _ = await serving_pods(given, when, then, kubelet)
    spec = {"selector": {"app": "d"}, "ports": [{"name": "web", "port": 80, "targetPort": "http"}]}
    await given.made("services", "s", {"spec": spec})
    both = await then.eventually_is("endpoints/s", lambda e: addresses_of(e) == ["10.9.0.1", "10.9.0.2"])
    (subset,) = both["subsets"]
    assert subset["ports"] == [{"name": "web", "port": 8081, "protocol": "TCP"}]
    assert subset["addresses"][0]["targetRef"]["kind"] == "Pod"
    await kubelet.reports(first, ready=False, ip="10.9.0.1")
    one = await then.eventually_is("endpoints/s", lambda e: addresses_of(e) == ["10.9.0.2"])
    assert addresses_of(one, "notReadyAddresses") == ["10.9.0.1"]


async def test_endpoint_slices_say_who_is_ready(given, when, then, kubelet):
    first, _ = await serving_pods(given, when, then, kubelet)
    await kubelet.reports(first, ready=False, ip="10.9.0.1")
    spec = {"selector": {"app": "d"}, "clusterIP": "None", "ports": [{"port": 8081}]}
    await given.made("services", "s", {"spec": spec})

    async def both():
        slices = await when.items("endpointslices", labelSelector="kubernetes.io/service-name=s")
        found = [endpoint for each in slices for endpoint in each.get("endpoints") or []]
        return {e["addresses"][0]: e["conditions"]["ready"] for e in found} == {"10.9.0.1": False, "10.9.0.2": True}

    await then.eventually(both)


async def test_a_budget_refuses_what_would_break_it(given, when, then, kubelet):
    await given.deployment("d", replicas=2)
    names = [pod["metadata"]["name"] for pod in await pods_of(when, then, 2)]
    for name in names:
        await kubelet.reports(name)
    await given.made(
        "poddisruptionbudgets", "b", {"spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": "d"}}}}
    )

    def spent(budget):
        return budget.state.get("observedGeneration") == 1 and budget.state.get("currentHealthy") == 2

    found = await then.eventually_is("poddisruptionbudgets/b", spent)
    state = {key: found.state[key] for key in ("currentHealthy", "desiredHealthy", "expectedPods")}
    assert state == {"currentHealthy": 2, "desiredHealthy": 2, "expectedPods": 2}
    assert found.state.get("disruptionsAllowed", 0) == 0
    assert condition_of(found, "DisruptionAllowed")[:2] == ("False", "InsufficientPods")
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": names[0]}}
    refused = await when.creates(f"pods/{names[0]}/eviction", eviction)
    message = "Cannot evict pod as it would violate the pod's disruption budget."
    assert refused.refusal == (429, "TooManyRequests", message)
    assert refused.causes == [
        ("", "DisruptionBudget", "The disruption budget b needs 2 healthy pods and has 2 currently")
    ]
    assert (await when.reads(f"pods/{names[0]}")).status == 200


async def test_a_budget_allows_what_it_can_spare(given, when, then, kubelet):
    await given.deployment("d", replicas=3)
    names = [pod["metadata"]["name"] for pod in await pods_of(when, then, 3)]
    await asyncio.gather(*(kubelet.reports(name) for name in names))
    budget = {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "d"}}}
    await given.made("poddisruptionbudgets", "b", {"spec": budget})
    found = await then.eventually_is("poddisruptionbudgets/b", lambda b: b.state.get("disruptionsAllowed") == 1)
    assert found.state["desiredHealthy"] == 2
    assert condition_of(found, "DisruptionAllowed")[:2] == ("True", "SufficientPods")

    async def evict(name):
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
        return (await when.creates(f"pods/{name}/eviction", body)).status

    assert [await evict(name) for name in names[:2]] == [201, 429]
    await then.eventually_is("poddisruptionbudgets/b", lambda b: not b.state.get("disruptedPods"))
    await kubelet.reports(names[1], ready=False, phase="Failed")
    assert await evict(names[1]) == 201, "a pod that has ended is no loss"


async def test_a_node_that_turns_not_ready_is_tainted_and_loses_its_pods(given, when, then, kubelet):
    node = await given.hollow_node("n")
    hasty = {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0}
    pod = {"schedulerName": "nobody", "containers": [{"name": "c", "image": "img:1"}]}
    await given.pod("hasty", pod | {"tolerations": [hasty]})
    patient = await given.pod("patient", pod)
    assert {(t["key"], t["tolerationSeconds"]) for t in patient.spec["tolerations"]} == {
        ("node.kubernetes.io/not-ready", 300),
        ("node.kubernetes.io/unreachable", 300),
    }, "without a word every pod tolerates a lost node for five minutes"
    for name in ("hasty", "patient"):
        await kubelet.takes(name, node)
    down = {"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "KubeletNotReady"}]}}
    await when.patches(f"nodes/{node}/status", down, how="strategic")

    def tainted(found):
        taints = {(t["key"], t["effect"]) for t in found.spec.get("taints") or []}
        return {("node.kubernetes.io/not-ready", effect) for effect in ("NoSchedule", "NoExecute")} <= taints

    await then.eventually_is(f"nodes/{node}", tainted)

    async def hasty_goes():
        found = await when.reads("pods/hasty")
        return found.status == 404 or "deletionTimestamp" in found.meta

    await then.eventually(hasty_goes)
    assert "deletionTimestamp" not in (await when.reads("pods/patient")).meta
