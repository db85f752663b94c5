"""Whatever the API server does for a while, the operator stays up and converges; no child is made twice."""

import asyncio

import pytest

from videofleet_devcluster.apiserver.faults import FaultAction, FaultRule
from videofleet_operator.cache import CHILD_KINDS

CHILDREN = sorted(kind for kind in CHILD_KINDS if kind != "Pod")

CHILDREN_AND_FLEETS = "[!l]*"  # leases apart: what befalls the election is tested with it

FAULTS = {
    "conflicts on every write": [
        FaultRule(FaultAction.ERROR, resource=CHILDREN_AND_FLEETS, verb="patch", status=409, count=6)
    ],
    "throttled": [FaultRule(FaultAction.THROTTLE, resource=CHILDREN_AND_FLEETS, count=6)],
    "errors": [FaultRule(FaultAction.ERROR, resource=CHILDREN_AND_FLEETS, status=500, count=30)],
    "no answer": [FaultRule(FaultAction.DROP, resource=CHILDREN_AND_FLEETS, count=15)],
    "applied, then an error": [
        FaultRule(FaultAction.APPLIED_ERROR, resource=CHILDREN_AND_FLEETS, verb="patch", count=8)
    ],
    "applied, then no answer": [
        FaultRule(FaultAction.APPLIED_DROP, resource=CHILDREN_AND_FLEETS, verb="patch", count=8)
    ],
    "watches too old": [FaultRule(FaultAction.ERROR, verb="watch", status=410, count=6)],
    "watches break": [FaultRule(FaultAction.DROP, verb="watch", count=6)],
    "events refused": [FaultRule(FaultAction.ERROR, verb="patch", resource="events", status=403, count=None)],
}


@pytest.mark.parametrize("rules", FAULTS.values(), ids=FAULTS.keys())
async def test_survives(world, wait_until, rules):
    await world.apply()
    for rule in rules:
        rule.hits = 0
        world.api.faults.add(rule)
    world.operator.start()
    await wait_until(lambda: all(rule.hits >= min(rule.count or 1, 6) for rule in rules))
    world.api.faults.clear()  # the test looks through the same server
    await wait_until(world.is_settled)
    assert sorted(name.split("/")[0] for name in await world.children()) == CHILDREN
    assert world.operator.is_running


async def test_an_api_server_that_is_away_for_a_while(world, wait_until):
    await world.apply()
    outage = world.api.faults.add(FaultRule(FaultAction.ERROR, status=503, count=None))
    world.operator.start()
    await wait_until(lambda: outage.hits >= 25)
    world.api.faults.clear()
    await wait_until(world.is_settled)
    assert world.operator.is_running


async def test_two_operators_at_once_make_no_mess(world, wait_until, tmp_path):
    """Two of them only cost writes: everything is idempotent."""
    first = world.operator
    other = type(first)(tmp_path / "other", first.kubeconfig, first.redis_url, first.installation)
    first.start()
    other.start()
    await world.apply()
    await wait_until(world.is_settled)
    assert sorted(name.split("/")[0] for name in await world.children()) == CHILDREN
    other.kill()


async def test_one_bad_fleet_does_not_hold_up_the_others(world, wait_until):
    """A fleet whose children are refused for ever, beside a good one."""
    refusal = FaultRule(FaultAction.ERROR, verb="patch", resource="controllerrevisions", name="bad-*", count=None)
    world.api.faults.add(refusal)
    world.operator.start()
    await world.apply(name="bad")
    await asyncio.gather(*(world.apply(name=f"good{number}") for number in range(3)))
    for number in range(3):
        await wait_until(lambda name=f"good{number}": world.is_settled(name))
    assert refusal.hits
