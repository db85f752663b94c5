"""What a user sees of the operator: fleets come, change, break, go; nothing is written without need."""

import copy
import json
import secrets
import time

import pytest

from videofleet import ids
from videofleet.beacons import WorkerBeacon, WorkerFault, WorkerState
from videofleet.jobs import JobState, NewJob, VideoRequest
from videofleet_devcluster.apiserver.faults import FaultAction, FaultRule
from videofleet_operator.kube.errors import Refused
from videofleet_operator.kube.paths import item


def changed(spec, **fields):
    return copy.deepcopy(spec) | fields


async def started(world, wait_until, name="tiny"):
    """A fleet that is Ready, and its UID."""
    world.operator.start()
    await world.apply(name=name)
    await wait_until(lambda: world.is_settled(name))
    return await world.uid(name)


async def test_a_fleet_comes_and_goes(world, wait_until):
    uid = await started(world, wait_until)
    status = (await world.get())["status"]
    revision = status["revisions"]["target"]
    assert set(await world.children()) == {
        "Service/tiny",
        "ServiceAccount/tiny-worker",
        "NetworkPolicy/tiny",
        *(
            f"{kind}/tiny-{revision}"
            for kind in ("ControllerRevision", "ConfigMap", "PodDisruptionBudget", "Deployment")
        ),
    }
    assert (status["replicas"], status["readyReplicas"], status["observedGeneration"]) == (1, 1, 1)
    await wait_until(lambda: has_events(world, {"RevisionStarted", "RevisionStable", "WorkersReady"}))
    generator = await world.get()
    assert "finalizers" not in generator["metadata"]
    assert "annotations" not in generator["metadata"]

    policy = await world.queue.policy(uid)
    request = VideoRequest(prompt="x", seed=1, tier=policy.tiers[0])
    job = ids.job_id(uid, time.time_ns() // 1_000_000, secrets.token_bytes(10))
    await world.queue.submit(NewJob(id=job, fleet_uid=uid, tenant="t", request=request))
    await world.delete()
    await wait_until(lambda: is_cancelled(world, job))
    assert (await world.queue.get(job)).error_code == "fleet_deleted"
    await wait_until(lambda: has_no_children(world))
    assert world.operator.stop() == 0


async def has_events(world, reasons):
    """Events are written after the status that they tell of."""
    return reasons <= {event["reason"] for event in (await world.kube.list("Event", "studio"))["items"]}


async def is_cancelled(world, job):
    return (await world.queue.get(job)).state is JobState.CANCELLED


async def has_no_children(world):
    pods = (await world.kube.list("Pod", "studio"))["items"]
    return not pods and not await world.children()


async def is_closed(world, uid):
    return (await world.queue.policy(uid)).closed == "fleet_deleted"


async def test_a_deletion_that_nobody_saw_closes_the_fleet_later(world, wait_until):
    uid = await started(world, wait_until)
    await world.apply(name="other")
    await wait_until(lambda: world.is_settled("other"))
    world.operator.stop()
    await world.delete()
    world.operator.start()
    await wait_until(lambda: is_closed(world, uid))
    assert (await world.queue.policy(await world.uid("other"))).closed is None


async def test_a_new_revision_replaces_the_old_one_once_it_is_warm(world, wait_until):
    await started(world, wait_until)
    old = (await world.get())["status"]["revisions"]["stable"]
    spec = (await world.get())["spec"]
    await world.apply(changed(spec, warmup={"maxRuns": 2}))
    await wait_until(lambda: world.is_settled())
    new = (await world.get())["status"]["revisions"]["stable"]
    assert new != old
    children = await world.children()
    assert [children[f"Deployment/tiny-{rev}"]["spec"]["replicas"] for rev in (old, new)] == [0, 1]
    labels = [
        children[f"Deployment/tiny-{rev}"]["metadata"]["labels"].get("videofleet.dev/track") for rev in (old, new)
    ]
    assert labels == [None, "stable"]


async def test_a_broken_revision_is_told_and_the_old_one_serves(world, wait_until):
    uid = await started(world, wait_until)
    old = (await world.get())["status"]["revisions"]["stable"]
    spec = (await world.get())["spec"]
    waiting = {"state": {"waiting": {"reason": "PodInitializing"}}}
    world.node.broken = Broken({old}, waiting)
    await world.apply(changed(spec, model=spec["model"] | {"source": "pvc://models/gone"}))
    new = await wait_until(lambda: target_other_than(world, old))
    worker = await wait_until(lambda: worker_of(world, new))
    await world.queue.put_beacon(
        uid,
        WorkerBeacon(
            worker=worker,
            revision=new,
            state=WorkerState.FAILED,
            reason=WorkerFault.MODEL_NOT_FOUND,
            message="no model_index.json",
        ),
    )
    await wait_until(lambda: degraded_by(world, "ModelNotFound"))
    assert (await world.condition("Ready"))[0] == "True"
    assert f"Revision {old} keeps serving" in (await world.condition("Degraded"))[2]
    assert set((await world.queue.policy(uid)).tracks) == {old}


class Broken(dict):
    """Every revision but the healthy ones is broken."""

    def __init__(self, healthy, look):
        super().__init__()
        self.healthy, self.look = healthy, look

    def __contains__(self, revision):
        return revision not in self.healthy

    def get(self, revision, default=None):
        return self.look if revision in self else default


async def target_other_than(world, old):
    target = (await world.get())["status"]["revisions"].get("target")
    return target if target != old else None


async def worker_of(world, revision):
    pods = (await world.kube.list("Pod", "studio"))["items"]
    names = [p["metadata"]["name"] for p in pods if p["metadata"]["labels"]["videofleet.dev/revision"] == revision]
    return names[0] if names else None


async def degraded_by(world, reason):
    return (await world.condition("Degraded"))[:2] == ("True", reason)


async def test_words_of_a_dying_worker_are_read_from_the_pod_when_redis_is_down(world, wait_until, redis_server):
    world.operator = type(world.operator)(
        world.operator.folder, world.operator.kubeconfig, redis_server.url, world.operator.installation
    )
    redis_server.kill()
    said = json.dumps({"reason": "ModelCorrupt", "message": "shard 2 is truncated"})
    ended = {"exitCode": 1, "reason": "Error", "message": said}
    look = {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": ended}}
    world.node.broken = Broken(set(), look)
    world.operator.start()
    await world.apply()
    await wait_until(lambda: degraded_by(world, "ModelCorrupt"))
    world.node.broken = {}
    await wait_until(lambda: degraded_by(world, "QueueUnreachable"))
    assert (await world.condition("Ready"))[0] == "True"
    redis_server.start()
    await wait_until(lambda: is_healthy(world))
    world.operator.kill()


async def is_healthy(world):
    return (await world.condition("Degraded"))[0] == "False"


async def test_a_spec_that_breaks_a_rule_is_refused_with_path_and_remedy(world):
    await world.apply()
    spec = (await world.get())["spec"]
    spec["tiers"][0]["width"] = 100
    with pytest.raises(
        Refused, match=r"spec\.tiers.*wan2.2-t2v-a14b: width and height of every tier must be multiples of 16"
    ):
        await world.apply(spec)


async def has_epoch(world, uid, epoch):
    return (await world.queue.policy(uid)).epoch == epoch


async def test_a_deletion_that_no_watch_saw_makes_no_orphans(world, wait_until):
    uid = await started(world, wait_until)
    refused = FaultRule(FaultAction.ERROR, verb="watch", resource="videogenerators", status=403, count=None)
    world.api.faults.add(refused)
    world.operator.kill()
    world.operator.start()
    await wait_until(lambda: has_epoch(world, uid, 2))  # it knows the fleet, by its list
    await wait_until(lambda: refused.hits)
    assert (await world.get())["metadata"]["uid"] == uid
    await world.delete()
    await wait_until(lambda: is_closed(world, uid))
    await wait_until(lambda: has_no_children(world))


async def test_a_paused_fleet_is_hands_off_until_the_annotation_goes(world, wait_until):
    await started(world, wait_until)
    path = item("VideoGenerator", "studio", "tiny")
    await world.kube.merge(path, {"metadata": {"annotations": {"videofleet.dev/paused": "true"}}})
    await wait_until(lambda: progress_is(world, "Paused"))
    (deployment,) = world.api.store.listed(("apps", "deployments"))
    await world.kube.delete(item("Service", "studio", "tiny"))
    await world.apply(changed((await world.get())["spec"], warmup={"maxRuns": 2}))
    await wait_until(lambda: progress_is(world, "Paused"))
    assert "Service/tiny" not in await world.children()
    assert [one["metadata"]["name"] for one in world.api.store.listed(("apps", "deployments"))] == [
        deployment["metadata"]["name"]
    ]
    await world.kube.merge(path, {"metadata": {"annotations": {"videofleet.dev/paused": None}}})
    await wait_until(world.is_settled)
    assert "Service/tiny" in await world.children()


async def progress_is(world, reason):
    return (await world.condition("Progressing"))[:2] == ("False", reason)
