"""Two replicas: one leads. It is killed, paused, stopped, and its Lease is made anew."""

import asyncio
import signal
import socket
import time

import pytest

from videofleet.architectures import Architecture
from videofleet.policy import FleetPolicy
from videofleet.queue import StaleEpoch
from videofleet_devcluster.apiserver.faults import FaultAction, FaultRule
from videofleet_operator.kube.paths import item


def replica(world, name):
    """Another replica, with a port of its own."""
    first = world.operator
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = first.folder.parent / name
    return type(first)(folder, first.kubeconfig, first.redis_url, first.installation, port=port)


@pytest.fixture
def pair(world):
    """A leader to be and its standby."""
    operators = replica(world, "first"), replica(world, "second")
    yield operators
    for operator in operators:
        if operator.is_running:
            operator.process.send_signal(signal.SIGCONT)
        operator.kill()
        assert "Traceback" not in (operator.log.read_text() if operator.log.exists() else "")


async def leader_is(world, name):
    return (await world.lease()).get("holderIdentity") == name


async def started(world, pair, wait_until, http):
    """The first one leads, the second one stands by and is ready."""
    first, second = pair
    first.start()
    await wait_until(lambda: leader_is(world, "first"))
    second.start()
    await wait_until(lambda: is_ready(http, second.port))
    return first, second


async def is_ready(http, port):
    try:
        async with http.get(f"http://127.0.0.1:{port}/readyz") as answer:
            return answer.status == 200
    except OSError:
        return False


async def metric(http, port, name):
    """The sum over all label values."""
    async with http.get(f"http://127.0.0.1:{port}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


async def writes(http, operator):
    """Everything but reads that the operator sent to the API server, its Lease aside."""
    async with http.get(f"http://127.0.0.1:{operator.port}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    calls = [line for line in lines if line.startswith("videofleet_operator_api_calls_total")]
    return [line for line in calls if 'verb="GET"' not in line and 'verb="WATCH"' not in line and "leases" not in line]


async def test_a_standby_is_ready_and_writes_nothing(world, pair, wait_until, http):
    first, second = await started(world, pair, wait_until, http)
    await world.apply()
    await wait_until(world.is_settled)
    assert await metric(http, first.port, "videofleet_operator_leading") == 1
    assert await metric(http, second.port, "videofleet_operator_leading") == 0
    assert await writes(http, first) != []
    assert await writes(http, second) == []


async def test_a_stopped_leader_hands_over_at_once(world, pair, wait_until, http):
    first, _ = await started(world, pair, wait_until, http)
    assert first.stop() == 0
    assert (await world.lease())["holderIdentity"] in ("", "second"), "it is not waited for until the Lease runs out"
    await wait_until(lambda: leader_is(world, "second"))
    await world.apply()
    await wait_until(world.is_settled)


async def test_a_killed_leader_is_replaced_and_a_restarted_pod_leads_on_at_once(world, pair, wait_until, http):
    first, second = await started(world, pair, wait_until, http)
    await world.apply()
    await wait_until(world.is_settled)
    epoch = (await world.queue.policy(await world.uid())).epoch
    first.kill()
    first.start()
    await wait_until(lambda: leads_with(world, "first", epoch + 1), 60)

    first.kill()
    at = time.monotonic()
    await wait_until(lambda: leads_with(world, "second", epoch + 2), 60)
    assert time.monotonic() - at < 40, "13 s, a look every 2 s, and a busy machine"
    await wait_until(lambda: policy_of(world, epoch + 2), 60)
    await world.apply(name="another")
    await wait_until(lambda: world.is_settled("another"), 60)
    assert await metric(http, second.port, "videofleet_operator_epoch") == epoch + 2


async def leads_with(world, name, epoch):
    spec = await world.lease()
    return (spec["holderIdentity"], spec["leaseTransitions"]) == (name, epoch)


async def policy_of(world, epoch):
    return (await world.queue.policy(await world.uid())).epoch == epoch


async def test_a_paused_leader_that_wakes_up_in_the_middle_of_its_work_changes_nothing(world, pair, wait_until, http):
    first, _ = await started(world, pair, wait_until, http)
    slow = FaultRule(FaultAction.DELAY, verb="patch", resource="services", delay_s=8, count=1)
    world.api.faults.add(slow)
    await world.apply()
    await wait_until(lambda: slow.hits)
    first.process.send_signal(signal.SIGSTOP)  # with most of its plan ahead of it
    await wait_until(lambda: leader_is(world, "second"), 60)
    await wait_until(world.is_settled, 60)
    await wait_until(lambda: is_quiet(world), 60)
    before, policy = versions(world), await world.queue.policy(await world.uid())

    first.process.send_signal(signal.SIGCONT)
    await wait_until(lambda: has_stepped_down(http, first), 60)
    spec = (await world.get())["spec"]
    await world.apply(spec, name="afterwards")  # it sees events again, and leaves them alone
    done = await writes(http, first)
    assert all('resource="service' in line for line in done), "what followed in its plan was never sent"
    await wait_until(lambda: world.is_settled("afterwards"), 60)
    assert await writes(http, first) == done
    assert {uid: version for uid, version in versions(world).items() if uid in before} == before
    assert await world.queue.policy(await world.uid()) == policy
    assert await leader_is(world, "second")
    assert first.is_running


async def is_quiet(world):
    """The new leader, and the node, have said all they had to say."""
    before = versions(world)
    await asyncio.sleep(1)
    return versions(world) == before


async def has_stepped_down(http, operator):
    return await metric(http, operator.port, "videofleet_operator_leading") == 0


def versions(world):
    resources = [("apps", "deployments"), ("apps", "controllerrevisions"), ("videofleet.dev", "videogenerators")]
    resources += [("policy", "poddisruptionbudgets"), ("networking.k8s.io", "networkpolicies")]
    resources += [("", plural) for plural in ("configmaps", "services", "serviceaccounts", "events")]
    found = [one["metadata"] for resource in resources for one in world.api.store.listed(resource)]
    return {meta["uid"]: meta["resourceVersion"] for meta in found}


async def test_a_lease_made_anew_catches_up_with_the_epoch_in_redis(world, wait_until):
    world.operator.start()
    await world.apply()
    await wait_until(world.is_settled)
    policy = await world.queue.policy(await world.uid())
    await world.queue.publish_policy(policy.model_copy(update={"epoch": 40}))
    await world.kube.delete(item("Lease", world.namespace, "videofleet-operator"))
    await world.make_lease()
    await world.apply({**(await world.get())["spec"], "warmup": {"maxRuns": 2}})
    await wait_until(world.is_settled, 60)
    assert (await world.queue.policy(await world.uid())).epoch > 40


async def test_a_policy_of_an_earlier_epoch_is_refused(world):
    def policy(epoch, depth):
        return FleetPolicy(
            fleet="studio/x",
            fleet_uid="00000000-0000-0000-0000-000000000001",
            architecture=Architecture.WAN22_T2V_A14B,
            tiers=[],
            tracks={},
            epoch=epoch,
            max_depth=depth,
            max_attempts=1,
            store="videos",
        )

    await world.queue.publish_policy(policy(2, 10))
    await world.queue.publish_policy(policy(2, 20))
    with pytest.raises(StaleEpoch, match="of epoch 2"):
        await world.queue.publish_policy(policy(1, 30))
    assert (await world.queue.policy("00000000-0000-0000-0000-000000000001")).max_depth == 20


async def test_a_deleted_lease_is_made_anew_and_nobody_leads_before_an_earlier_leader_has_stopped(
    world, pair, wait_until, http
):
    first, second = await started(world, pair, wait_until, http)
    await world.apply()
    await wait_until(world.is_settled)
    epoch = (await world.queue.policy(await world.uid())).epoch
    await world.kube.delete(item("Lease", world.namespace, "videofleet-operator"))
    at = time.monotonic()

    await wait_until(lambda: is_held_by_nobody(world), 30)
    await wait_until(lambda: has_stepped_down(http, first), 30)
    await wait_until(lambda: somebody_leads(http, first, second), 60)
    assert time.monotonic() - at > 9, "for so long the one before may have gone on writing"
    await wait_until(lambda: policy_after(world, epoch), 60)
    await world.apply(name="afterwards")
    await wait_until(lambda: world.is_settled("afterwards"), 60)


async def is_held_by_nobody(world):
    leases = world.api.store.listed(("coordination.k8s.io", "leases"), world.namespace)
    return [lease["spec"].get("holderIdentity") for lease in leases] == ["made-anew"]


async def somebody_leads(http, *operators):
    return any([await metric(http, one.port, "videofleet_operator_leading") == 1 for one in operators])


async def policy_after(world, epoch):
    return (await world.queue.policy(await world.uid())).epoch > epoch
