"""A fleet that does nothing costs the API server no write: at no restart, at no look, and whatever others added."""

import socket

import pytest

from videofleet_operator.kube.paths import item

LOOKS = 20  # of the operator at a fleet that does nothing


@pytest.fixture
def world(world):
    """Its operator serves metrics."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        world.operator.port = free.getsockname()[1]
    return world


async def start(world, wait_until):
    """A fleet that is Ready."""
    world.operator.start()
    await world.apply()
    await wait_until(world.is_settled)


async def test_nothing_is_written_while_nothing_changes(world, wait_until, http):
    await start(world, wait_until)
    world.operator.stop()
    seen = []
    for _ in range(2):  # each start is a resync
        world.operator.start()
        await wait_until(lambda: reconciles(http, world.operator.port))
        calls = [line for line in (await metrics(http, world.operator.port)).splitlines() if "leases" not in line]
        assert not [line for line in calls if "PATCH" in line]
        world.operator.stop()
        seen.append(versions(world))  # not before: the stopped one's last Event may still have been on its way
    assert seen[0] == seen[1]


async def test_look_after_look_at_an_idle_fleet_writes_no_child_of_any_kind(world, wait_until, http):
    await start(world, wait_until)
    for name, child in (await world.children()).items():
        await fill_in(world.kube, name.partition("/")[0], child)
    written = -1.0
    while written != (written := await writes(world, http)):  # what came of the changes
        await look(world, wait_until, http)
    before = versions(world, "videogenerators")
    for _ in range(LOOKS):
        await look(world, wait_until, http)
    assert (versions(world, "videogenerators"), await writes(world, http)) == (before, written)
    assert world.operator.stop() == 0


DEFAULTS = {
    "Service": {"clusterIPs": ["None"], "ipFamilies": ["IPv4"], "sessionAffinity": "None", "type": "ClusterIP"},
    "Deployment": {"minReadySeconds": 0},
}


async def fill_in(kube, kind, child):
    """What real API servers and other controllers add to an object of ours."""
    meta = child["metadata"]
    patch = {"metadata": {"annotations": {"example.com/seen": "yes"}, "labels": {"example.com/owner": "platform"}}}
    if kind in DEFAULTS:
        patch["spec"] = DEFAULTS[kind]
    await kube.merge(item(kind, meta["namespace"], meta["name"]), patch)


async def writes(world, http):
    """Calls that were no reads, but for the Lease's renewals."""
    lines = (await metrics(http, world.operator.port)).splitlines()
    counted = [line for line in lines if line.startswith("videofleet_operator_api_calls_total")]
    return sum(
        float(line.split()[-1]) for line in counted if not any(word in line for word in ("GET", "WATCH", "leases"))
    )


async def reconciled(world, http):
    lines = (await metrics(http, world.operator.port)).splitlines()
    return sum(float(line.split()[-1]) for line in lines if "reconcile_seconds_count" in line)


async def has_looked_again(world, http, looks):
    return await reconciled(world, http) > looks


async def look(world, wait_until, http):
    """The operator looks at the fleet: somebody's annotation is news, and nothing to do."""
    looks = await reconciled(world, http)
    note = {"metadata": {"annotations": {"somebody": str(looks)}}}
    await world.kube.merge(item("VideoGenerator", "studio", "tiny"), note)
    await wait_until(lambda: has_looked_again(world, http, looks))


def versions(world, *without):
    resources = [("apps", "deployments"), ("apps", "controllerrevisions"), ("videofleet.dev", "videogenerators")]
    resources += [("policy", "poddisruptionbudgets"), ("networking.k8s.io", "networkpolicies")]
    resources += [("", plural) for plural in ("configmaps", "services", "serviceaccounts", "events", "pods")]
    kinds = [resource for resource in resources if resource[1] not in without]
    found = [one["metadata"] for resource in kinds for one in world.api.store.listed(resource)]
    return {meta["uid"]: meta["resourceVersion"] for meta in found}


async def metrics(http, port):
    try:
        async with http.get(f"http://127.0.0.1:{port}/metrics") as response:
            return await response.text()
    except OSError:
        return ""


async def reconciles(http, port):
    """Whether at least two reconciles went well and nothing waits."""
    text = await metrics(http, port)
    counts = [
        line.split()[-1] for line in text.splitlines() if line.startswith("videofleet_operator_reconcile_seconds_count")
    ]
    return counts and float(counts[0]) >= 2 and "videofleet_operator_workqueue_depth 0.0" in text
