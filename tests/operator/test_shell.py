"""The shell's own promises: one run a key at a time, endless patience, freshness, deletions only on proof."""

import asyncio
import itertools

import pytest
from aiohttp.test_utils import TestClient, TestServer

from videofleet.architectures import Architecture
from videofleet.jobs import Outcomes
from videofleet.policy import FleetPolicy
from videofleet_operator.cache import ObjectCache, fleet_by_name
from videofleet_operator.deletions import FleetCloser
from videofleet_operator.election import Term
from videofleet_operator.freshness import STALE_AFTER_S, Freshness
from videofleet_operator.handlers import EndlessBackoffs
from videofleet_operator.health import health_app
from videofleet_operator.kube.client import KubeClient
from videofleet_operator.kube.errors import Conflict, Gone, KubeUnavailable, NotFound, Refused, Throttled, error_for
from videofleet_operator.kube.paths import collection, item, resource_of
from videofleet_operator.leadership import Leadership
from videofleet_operator.loops import forever
from videofleet_operator.metrics import FleetOutcomes
from videofleet_operator.workqueue import WorkQueue

A, B = ("ns", "a"), ("ns", "b")


async def running(queue):
    task = asyncio.create_task(queue.run())
    await asyncio.sleep(0)
    return task


async def until(check, within_s=60):
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    while not check():
        assert loop.time() < deadline, f"not within {within_s} s"
        await asyncio.sleep(0.005)


async def stop(task):
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_key_runs_once_at_a_time_and_once_more_when_added_meanwhile():
    active, worst, runs, gate = 0, 0, [], asyncio.Event()

    async def reconcile(key):
        nonlocal active, worst
        active += 1
        worst = max(worst, active)
        runs.append(key)
        await gate.wait()
        active -= 1

    queue = WorkQueue(reconcile, concurrency=4)
    task = await running(queue)
    for _ in range(5):
        queue.add(A)
    await until(lambda: runs == [A])
    queue.add(A)
    queue.add(A)
    gate.set()
    await until(lambda: len(runs) == 2)
    assert worst == 1
    await stop(task)


async def test_a_failing_key_backs_off_while_others_run_and_a_throttle_is_obeyed():
    loop, tries, done = asyncio.get_running_loop(), [], []

    async def reconcile(key):
        if key == B:
            done.append(key)
            return
        tries.append(loop.time())
        if len(tries) == 1:
            raise Throttled("slow down", 0.6)
        if len(tries) == 2:
            raise RuntimeError("a bug in one fleet")

    queue = WorkQueue(reconcile)
    task = await running(queue)
    queue.add(A)
    queue.add(B)
    await until(lambda: len(tries) == 3)
    assert done == [B]
    assert tries[1] - tries[0] >= 0.59
    await stop(task)


async def test_the_sooner_of_two_delays_counts():
    runs = []

    async def reconcile(key):
        runs.append(key)

    queue = WorkQueue(reconcile)
    task = await running(queue)
    queue.add_after(A, 60)
    queue.add_after(A, 0.01)
    queue.add_after(A, 60)
    await until(lambda: runs)
    assert runs == [A]
    await stop(task)


def test_backoffs_never_end_and_stay_bounded():
    delays = list(itertools.islice(EndlessBackoffs(), 10_000))
    assert max(delays) <= 10
    assert min(delays[20:]) >= 5


async def test_a_loop_survives_errors_of_the_api_server():
    answers = iter([KubeUnavailable("down"), Throttled("wait", 0.01), None])
    ended = asyncio.Event()

    async def step():
        answer = next(answers)
        if answer is not None:
            raise answer
        ended.set()
        return 3600.0

    task = asyncio.create_task(forever("test", step))
    await asyncio.wait_for(ended.wait(), 5)
    await stop(task)
    assert task.cancelled()


@pytest.mark.parametrize(
    ("status", "kind"),
    [(404, NotFound), (409, Conflict), (410, Gone), (403, Refused), (422, Refused), (500, KubeUnavailable)],
)
def test_status_codes_become_errors(status, kind):
    assert type(error_for(status, "GET /x", "x")) is kind


def test_a_server_that_does_not_know_our_crd_yet_has_not_lost_our_objects():
    missing = '{"kind": "Status", "details": {"name": "tiny", "kind": "videogenerators"}}'
    assert error_for(404, "GET /x", missing).is_object_missing
    assert not error_for(404, "GET /x", "404 page not found").is_object_missing
    assert not error_for(404, "GET /x", '{"kind": "Status", "details": {}}').is_object_missing


def test_retry_after_is_read():
    throttled = error_for(429, "GET /x", "x", "7")
    assert isinstance(throttled, Throttled)
    assert throttled.retry_after_s == 7
    assert error_for(429, "GET /x", "x", "soon").retry_after_s == 1


def test_paths():
    assert item("Deployment", "ns", "d") == "/apis/apps/v1/namespaces/ns/deployments/d"
    assert resource_of(item("Deployment", "ns", "d") + "/scale") == "deployments/scale"
    assert resource_of(collection("Pod", "ns")) == "pods"


async def test_a_blind_operator_fails_its_health_check():
    now = 0.0
    freshness = Freshness(clock=lambda: now)
    freshness.expect("Pod in studio")
    fleets = ObjectCache(fleet_by_name)
    meta = {"namespace": "studio", "name": "tiny", "uid": "1", "resourceVersion": "1"}
    ready = {"type": "Ready", "status": "True"}
    fleets.put({"kind": "VideoGenerator", "metadata": meta, "status": {"conditions": [ready]}})
    async with TestClient(TestServer(health_app(freshness, fleets))) as client:
        assert (await client.get("/readyz")).status == 503
        freshness.touch("Pod in studio")
        assert (await client.get("/readyz")).status == 200
        assert (await client.get("/healthz")).status == 200
        now = STALE_AFTER_S + 1
        answer = await client.get("/healthz")
        assert answer.status == 503
        assert "Pod in studio" in await answer.text()
        metrics = await (await client.get("/metrics")).text()
        assert "videofleet_operator_reconcile_seconds" in metrics
        assert 'videofleet_operator_fleets{condition="Ready",status="True"} 1.0' in metrics


def policy(uid, fleet):
    return FleetPolicy(
        fleet=fleet,
        fleet_uid=uid,
        architecture=Architecture.WAN22_T2V_A14B,
        tiers=[],
        tracks={},
        max_depth=1,
        max_attempts=1,
        store="videos",
    )


def leading():
    """The leadership of a process that has just won."""
    leadership = Leadership(KubeClient(None), "studio", "lease", "me")
    leadership._term = Term(1, float("inf"))
    return leadership


async def test_only_what_was_published_before_the_list_and_is_not_in_it_is_closed(queue):
    gone, live, foreign = (f"00000000-0000-0000-0000-00000000000{number}" for number in range(3))
    for uid, fleet in ((gone, "studio/gone"), (live, "studio/live"), (foreign, "elsewhere/x")):
        await queue.publish_policy(policy(uid, fleet))
    closer = FleetCloser(queue, ("studio",), leading())
    closer.note_missing(await closer.published(), {live})
    await closer.close_pending()
    closed = [(await queue.policy(uid)).closed for uid in (gone, live, foreign)]
    assert closed == ["fleet_deleted", None, None]


def test_endings_are_counters_by_fleet_revision_and_tier():
    outcomes = FleetOutcomes()
    outcomes.by_fleet = {
        "studio/wan": [Outcomes(revision="r1", tier="small", succeeded=3, dead=1, steps=3, step_s=1.5)]
    }
    samples = {(s.name, s.labels.get("outcome")): s.value for family in outcomes.collect() for s in family.samples}
    assert samples["videofleet_fleet_jobs_total", "succeeded"] == 3
    assert samples["videofleet_fleet_jobs_total", "dead"] == 1
    assert samples["videofleet_fleet_step_seconds_total", None] == 1.5
