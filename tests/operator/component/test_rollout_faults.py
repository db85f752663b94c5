"""A promotion while the API server does what it likes ends as ever: one Deployment a revision, nobody lost."""

import copy
import time

import pytest

from videofleet_devcluster.apiserver.faults import FaultAction, FaultRule

STEPS = {"steps": [{"weight": "5%"}, {"weight": "50%"}]}
NOT_THE_LEASE = "[!l]*"
FAULTS = {
    "409": FaultRule(FaultAction.ERROR, resource=NOT_THE_LEASE, verb="patch", status=409, count=6),
    "410": FaultRule(FaultAction.ERROR, verb="watch", status=410, count=6),
    "history forgotten": FaultRule(FaultAction.COMPACT, verb="watch", count=3),
    "429": FaultRule(FaultAction.THROTTLE, resource=NOT_THE_LEASE, count=6),
    "5xx": FaultRule(FaultAction.ERROR, resource=NOT_THE_LEASE, status=503, count=20),
    "applied, then an error": FaultRule(FaultAction.APPLIED_ERROR, resource=NOT_THE_LEASE, verb="patch", count=4),
    "applied, then no answer": FaultRule(FaultAction.APPLIED_DROP, resource=NOT_THE_LEASE, verb="patch", count=4),
    "watches that see nothing for a while": FaultRule(FaultAction.DELAY, verb="watch", delay_s=3.0, count=8),
}


@pytest.fixture
async def story(world, wait_until):
    """Given a canary at its first step."""
    world.operator.start()
    await world.apply()
    spec = copy.deepcopy((await world.get())["spec"]) | {"rollout": STEPS}
    await world.apply(spec)
    await wait_until(world.is_settled, 60)
    await world.apply(spec | {"model": spec["model"] | {"source": "pvc://models/new"}})
    await wait_until(lambda: is_in(world, "Stepping"), 60)
    return world


async def rollout(world):
    return (await world.get())["status"].get("rollout", {})


async def is_in(world, phase):
    return (await rollout(world)).get("phase") == phase


async def ask(world, verb, revision):
    path = f"/apis/videofleet.dev/v1alpha1/namespaces/{world.namespace}/videogenerators/tiny"
    await world.kube.merge(path, {"metadata": {"annotations": {"videofleet.dev/rollout": f"{verb}:{revision}"}}})


async def workers(world):
    deployments = (await world.kube.list("Deployment", world.namespace))["items"]
    return {one["metadata"]["labels"]["videofleet.dev/revision"]: one["spec"]["replicas"] for one in deployments}


@pytest.mark.parametrize("rule", FAULTS.values(), ids=FAULTS.keys())
async def test_a_promotion_gets_over_it(story, wait_until, rule):
    told = await rollout(story)
    old, new = told["stableRevision"], told["canaryRevision"]
    story.operator.kill()
    await ask(story, "promote", new)
    rule.hits = 0
    story.api.faults.add(rule)
    story.operator.start()
    await wait_until(lambda: rule.hits >= min(rule.count, 3), 60)
    story.api.faults.clear()
    await wait_until(story.is_settled, 60)
    assert await workers(story) == {old: 0, new: 1}
    assert (await rollout(story))["lastCommand"]["outcome"].startswith("Done")
    assert story.operator.is_running


async def test_two_operators_promote_once(story, wait_until, tmp_path):
    first = story.operator
    told = await rollout(story)
    other = type(first)(tmp_path / "other", first.kubeconfig, first.redis_url, first.installation)
    other.start()
    await ask(story, "promote", told["canaryRevision"])
    await wait_until(story.is_settled, 60)
    assert await workers(story) == {told["stableRevision"]: 0, told["canaryRevision"]: 1}
    other.kill()


async def test_a_policy_that_ran_out_is_renewed_by_the_next_operator(story, wait_until):
    """What gateways do meanwhile, tests/common/test_queue_canary.py shows: nothing new goes to the canary."""
    uid = await story.uid()
    policy = await story.queue.policy(uid)
    story.operator.kill()
    await story.queue.publish_policy(policy.model_copy(update={"valid_until_ms": 1}))
    story.operator.start()

    async def is_renewed():
        found = await story.queue.policy(uid)
        return found.valid_until_ms > time.time() * 1000 and found.canary.weight_permille == 50

    await wait_until(is_renewed, 60)
    assert await is_in(story, "Stepping"), "the trial goes on where it was"
