"""Deployments end to end: real pods on the real API server."""

from typing import Any

from videofleet_devcluster.client import DEPLOYMENTS, NODES, PODS, REPLICA_SETS
from videofleet_devcluster.objects import condition_of, is_deleting

SLEEP = "import time; time.sleep(600)"


def deployment(replicas: int, mark: str = "1", **spec: Any) -> dict[str, Any]:
    container = {"name": "main", "image": "none", "command": ["python3", "-c", SLEEP, mark]}
    pod = {"containers": [container], "terminationGracePeriodSeconds": 2, "automountServiceAccountToken": False}
    template = {"metadata": {"labels": {"app": "d"}}, "spec": pod | spec.pop("pod", {})}
    return {"replicas": replicas, "selector": {"matchLabels": {"app": "d"}}, "template": template} | spec


async def pods(world: Any) -> list[dict[str, Any]]:
    found = await world.client.list(PODS, "default", labelSelector="app=d")
    return [pod for pod in found["items"] if not is_deleting(pod)]


async def until_complete(world: Any, replicas: int, reason: str = "NewReplicaSetAvailable") -> dict[str, Any]:
    async def complete() -> dict[str, Any] | None:
        d: dict[str, Any] = await world.client.get(DEPLOYMENTS, "default", "d")
        status, progressing = d.get("status", {}), condition_of(d, "Progressing") or {}
        counts = {status.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas")}
        current = status.get("observedGeneration") == d["metadata"]["generation"]
        return d if current and counts == {replicas} and progressing.get("reason") == reason else None

    found: dict[str, Any] = await world.until(complete)
    return found


async def test_scaling_down_takes_the_cheapest_pod(world: Any) -> None:
    await world.create(DEPLOYMENTS, "d", spec=deployment(3))
    await until_complete(world, 3)
    cheap = (await pods(world))[1]["metadata"]["name"]
    cost = {"metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": "-1"}}}
    await world.client.patch(PODS, "default", cheap, cost)
    await world.client.patch(DEPLOYMENTS, "default", "d", {"spec": {"replicas": 2}}, "scale")
    await until_complete(world, 2)
    await world.until_gone(PODS, cheap)
    assert len(await pods(world)) == 2


async def test_a_new_template_rolls_and_deletion_takes_everything(world: Any) -> None:
    await world.create(DEPLOYMENTS, "d", spec=deployment(2))
    first = await until_complete(world, 2)
    assert first["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "1"
    old = {pod["metadata"]["name"] for pod in await pods(world)}
    await world.client.patch(DEPLOYMENTS, "default", "d", {"spec": deployment(2, "2")})
    second = await until_complete(world, 2)
    assert second["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"
    assert not old & {pod["metadata"]["name"] for pod in await pods(world)}
    sets = (await world.client.list(REPLICA_SETS, "default"))["items"]
    assert sorted(rs["spec"]["replicas"] for rs in sets) == [0, 2]
    assert any("Scaled up replica set" in text for text in await world.events("ScalingReplicaSet"))

    await world.client.patch(DEPLOYMENTS, "default", "d", {"spec": deployment(2, "1")})
    third = await until_complete(world, 2)
    assert third["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"
    sets = (await world.client.list(REPLICA_SETS, "default"))["items"]
    revisions = {rs["metadata"]["annotations"]["deployment.kubernetes.io/revision"] for rs in sets}
    assert revisions == {"2", "3"}, "a rollback reuses the old ReplicaSet under a new revision"

    await world.client.delete(DEPLOYMENTS, "default", "d")

    async def all_gone() -> bool:
        left = [await world.client.list(kind, "default") for kind in (REPLICA_SETS, PODS)]
        return not any(answer["items"] for answer in left)

    await world.until(all_gone)


async def test_recreate_has_no_two_revisions_at_once(world: Any) -> None:
    await world.create(DEPLOYMENTS, "d", spec=deployment(2, strategy={"type": "Recreate"}))
    await until_complete(world, 2)
    await world.client.patch(DEPLOYMENTS, "default", "d", {"spec": deployment(2, "2")})
    most = 0

    async def rolled() -> bool:
        nonlocal most
        found = (await world.client.list(PODS, "default", labelSelector="app=d"))["items"]
        most = max(most, len({pod["metadata"]["labels"]["pod-template-hash"] for pod in found}))
        return all(pod["spec"]["containers"][0]["command"][-1] == "2" for pod in found) and len(found) == 2

    await world.until(rolled)
    await until_complete(world, 2)
    assert most == 1


async def test_a_rollout_that_does_not_move_exceeds_its_deadline(world: Any) -> None:
    never = {"exec": {"command": ["false"]}, "periodSeconds": 1}
    spec = deployment(1, progressDeadlineSeconds=1)
    spec["template"]["spec"]["containers"][0]["readinessProbe"] = never
    await world.create(DEPLOYMENTS, "d", spec=spec)

    async def given_up() -> Any:
        progressing = condition_of(await world.client.get(DEPLOYMENTS, "default", "d"), "Progressing") or {}
        return progressing if progressing.get("reason") == "ProgressDeadlineExceeded" else None

    progressing = await world.until(given_up)
    assert progressing["status"] == "False"
    assert progressing["message"].endswith("has timed out progressing.")


async def test_a_pod_without_room_waits_and_says_why(world: Any) -> None:
    gpu = {"resources": {"limits": {"nvidia.com/gpu": "1"}}}
    pod = await world.pod("p", "python3", "-c", SLEEP, **gpu)

    async def refusal() -> str:
        found = await world.client.get(PODS, "default", pod["metadata"]["name"])
        return str((condition_of(found, "PodScheduled") or {}).get("message", ""))

    assert await world.until(refusal) == (
        "0/1 nodes are available: 1 Insufficient nvidia.com/gpu. preemption: 0/1 nodes are available: "
        "1 No preemption victims found for incoming pod."
    )
    (node,) = (await world.client.list(NODES))["items"]
    room = {"status": {"allocatable": {"nvidia.com/gpu": "1"}}}
    await world.client.patch(NODES, "", node["metadata"]["name"], room, "status")
    await world.until_pod("p", lambda p: p["status"]["phase"] == "Running")
