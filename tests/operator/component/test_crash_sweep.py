"""SIGKILL before and after every write of a create, a rollout, an abort, a scale-up, a scale-down and a deletion.

The end is the same and tidy each time. More than a hundred points in all.
"""

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from enum import Enum
from pathlib import Path

import pytest
import yaml

from videofleet import ids
from videofleet.beacons import WorkerBeacon, WorkerState
from videofleet.jobs import Claim, JobState, NewJob, Progress, VideoRequest, VideoResult
from videofleet.queue import JobQueue, connection
from videofleet.tiers import Tier
from videofleet_operator.manifests.names import COST_ANNOTATION

LANES = 10  # crash points at a time, each in its own namespace
HORIZON = 60  # writes that a whole life takes at most
SPEC = yaml.safe_load((Path(__file__).parents[3] / "examples/tiny.yaml").read_text())["spec"]
PATIENCE_S = 120
BURST = 3  # jobs, and workers for them
TIER = Tier(name="small", width=128, height=128, num_frames=81, num_inference_steps=8, fps=16)


class DoomedOperators:
    """A zygote and the children it forks."""

    def __init__(self) -> None:
        command = [sys.executable, str(Path(__file__).with_name("zygote.py"))]
        self._zygote = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._children: set[int] = set()
        self._asking = asyncio.Lock()

    async def start(self, operator, die_at: str | None) -> int:
        """Its pid. A fork of so large a process takes a while, in which the API server here is to go on."""
        order = {
            "arguments": operator.arguments,
            "environment": operator.environment,
            "log": str(operator.log),
            "die_at": die_at,
        }
        async with self._asking:
            child = await asyncio.to_thread(self._ask, order)
        self._children.add(child)
        return child

    def _ask(self, order) -> int:
        assert self._zygote.stdin is not None
        assert self._zygote.stdout is not None
        self._zygote.stdin.write(json.dumps(order) + "\n")
        self._zygote.stdin.flush()
        return int(self._zygote.stdout.readline())

    def kill(self, child: int) -> None:
        self._children.discard(child)
        try:
            os.kill(child, signal.SIGKILL)
        except ProcessLookupError:
            return

    def close(self) -> None:
        for child in list(self._children):
            self.kill(child)
        for pipe in (self._zygote.stdin, self._zygote.stdout):
            pipe.close()
        self._zygote.wait(10)


def is_alive(child: int) -> bool:
    try:
        os.kill(child, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def doomed(monkeypatch):
    """Beside operators that come and go, clients of the test's own that wait for Redis however slow the machine is."""
    monkeypatch.setattr(connection, "_CONNECT_S", PATIENCE_S)
    monkeypatch.setattr(connection, "_REPLY_S", PATIENCE_S)
    operators = DoomedOperators()
    yield operators
    operators.close()


@pytest.mark.timeout(400)
async def test_a_life_with_a_crash_at_any_write_ends_the_same(world, wait_until, doomed, tmp_path, redis_url):
    assert await sweep(Life, world, wait_until, doomed, tmp_path, redis_url) >= 40


@pytest.mark.timeout(400)
async def test_a_canary_with_a_crash_at_any_write_ends_the_same(world, wait_until, doomed, tmp_path, redis_url):
    assert await sweep(CanaryLife, world, wait_until, doomed, tmp_path, redis_url) >= 50


@pytest.mark.timeout(400)
async def test_a_burst_with_a_crash_at_any_write_costs_no_job_an_attempt(
    world, wait_until, doomed, tmp_path, redis_url
):
    assert await sweep(BurstLife, world, wait_until, doomed, tmp_path, redis_url) >= 24


async def sweep(kind, world, wait_until, doomed, tmp_path, redis_url) -> int:
    """Lives of this kind, each with a crash at another write, until one had so many that none was left. How many."""
    points = iter([(number, when) for number in range(1, HORIZON) for when in ("before", "after")])
    survived: list[int] = []
    swept: list[tuple[int, str]] = []

    async def lane() -> None:
        for number, when in points:
            if survived:
                return
            life = kind(world, doomed, tmp_path / f"{number}-{when}", redis_url)
            if not await life.live(f"{number}:{when}", wait_until):
                survived.append(number)
                return
            swept.append((number, when))

    await asyncio.gather(*(lane() for _ in range(LANES)))
    assert survived, f"a life takes more than {HORIZON} writes"
    return len(swept)


class Life:
    """One fleet from its creation through a rollout to its deletion, in a namespace of its own."""

    def __init__(self, world, doomed, folder, redis_url) -> None:
        self.namespace = f"sweep-{secrets.token_hex(4)}"
        admin = world.operator.folder.parent / "admin"
        name = f"test-{self.namespace}"
        self.operator = type(world.operator)(folder, admin, redis_url, name, (self.namespace,))
        self.queue = JobQueue.connect(redis_url, name)
        self.world = type(world)(world.api, world.kube, self.queue, world.node, self.operator, self.namespace)
        self.doomed = doomed
        self.child = 0
        self.working: asyncio.Task[None] | None = None
        self.has_crashed = False

    async def live(self, die_at: str, wait_until) -> bool:
        """Whether the crash happened."""
        try:
            await self.whole_life(die_at, wait_until)
        finally:
            self.doomed.kill(self.child)
            await self.queue.close()
        await self.world.kube.delete(f"/api/v1/namespaces/{self.namespace}")
        assert "Traceback" not in self.operator.log.read_text(), die_at
        return self.has_crashed

    async def whole_life(self, die_at: str, wait_until) -> None:
        world = self.world
        await world.kube.send("POST", "/api/v1/namespaces", body={"metadata": {"name": self.namespace}})
        await self.world.make_lease()
        self.child = await self.doomed.start(self.operator, die_at)
        await world.apply()
        await wait_until(self.stepping(world.is_settled), PATIENCE_S)
        spec = (await world.get())["spec"]
        old = (await world.get())["status"]["revisions"]["stable"]
        await world.apply({**spec, "warmup": {"maxRuns": 2}})
        await wait_until(self.stepping(world.is_settled), PATIENCE_S)
        await wait_until(self.stepping(lambda: self.is_tidy(old)), PATIENCE_S)
        uid = await world.uid()
        await world.delete()
        await wait_until(self.stepping(lambda: self.is_gone(uid)), PATIENCE_S)

    def stepping(self, check):
        """The check, after starting the operator again if it has died; whoever works here must not have died."""

        async def step():
            if self.working is not None and self.working.done():
                self.working.result()
            if not is_alive(self.child):
                assert not self.has_crashed, self.operator.log.read_text()[-2000:]
                self.has_crashed = True
                self.child = await self.doomed.start(self.operator, None)
            return await check()

        return step

    async def is_tidy(self, old: str) -> bool:
        """Two revisions, each with its four children; the old one without workers, the new one with the label."""
        new = (await self.world.get())["status"]["revisions"]["stable"]
        children = await self.world.children()
        kinds = ("ControllerRevision", "ConfigMap", "PodDisruptionBudget", "Deployment")
        names = {f"{kind}/tiny-{revision}" for kind in kinds for revision in (old, new)}
        deployments = {rev: children[f"Deployment/tiny-{rev}"] for rev in (old, new)}
        tracks = [found["metadata"]["labels"].get("videofleet.dev/track") for found in deployments.values()]
        pods = self.world.stored("Pod")
        assert set(children) == {*names, "Service/tiny", "NetworkPolicy/tiny", "ServiceAccount/tiny-worker"}
        return (
            [found["spec"]["replicas"] for found in deployments.values()] == [0, 1]
            and tracks == [None, "stable"]
            and [pod["metadata"]["labels"]["videofleet.dev/revision"] for pod in pods] == [new]
        )

    async def is_gone(self, uid: str) -> bool:
        policy = await self.queue.policy(uid)
        pods = self.world.stored("Pod")
        return policy.closed == "fleet_deleted" and not pods and not await self.world.children()


class CanaryLife(Life):
    """A fleet whose canary is aborted, tried again and promoted; crashes while it is made are `Life`'s."""

    async def whole_life(self, die_at: str, wait_until) -> None:
        world = self.world
        await world.kube.send("POST", "/api/v1/namespaces", body={"metadata": {"name": self.namespace}})
        await world.make_lease()
        self.child = await self.doomed.start(self.operator, f"{die_at}:later")
        await world.apply()
        await wait_until(self.stepping(world.is_settled), PATIENCE_S)
        os.kill(self.child, signal.SIGUSR1)
        spec = (await world.get())["spec"]
        old = (await world.get())["status"]["revisions"]["stable"]
        model = spec["model"] | {"source": "pvc://models/new"}
        await world.apply({**spec, "model": model, "rollout": {"steps": [{"weight": "5%"}]}})
        await wait_until(self.stepping(lambda: self.is_on_trial(old)), PATIENCE_S)
        new = (await world.get())["status"]["rollout"]["canaryRevision"]
        await self.ask(f"abort:{new}")
        await wait_until(self.stepping(lambda: self.is_turned_down(old, new)), PATIENCE_S)
        await self.ask(f"retry:{new}")
        await wait_until(self.stepping(lambda: self.is_on_trial(old)), PATIENCE_S)
        await self.ask(f"promote:{new}")
        await wait_until(self.stepping(world.is_settled), PATIENCE_S)
        await wait_until(self.stepping(lambda: self.is_tidy(old)), PATIENCE_S)
        assert (await self.policy()).tracks == {new: "stable"}

    async def ask(self, command: str) -> None:
        path = f"/apis/videofleet.dev/v1alpha1/namespaces/{self.namespace}/videogenerators/tiny"
        await self.world.kube.merge(path, {"metadata": {"annotations": {"videofleet.dev/rollout": command}}})

    async def policy(self):
        return await self.queue.policy(await self.world.uid())

    async def is_on_trial(self, old: str) -> bool:
        rollout = (await self.world.get()).get("status", {}).get("rollout", {})
        policy = await self.policy()
        return rollout.get("phase") == "Stepping" and policy.canary is not None and policy.tracks.get(old) == "stable"

    async def is_turned_down(self, old: str, new: str) -> bool:
        """Rejected, without jobs or workers, and stable has its own."""
        rollout = (await self.world.get())["status"]["rollout"]
        policy, children = await self.policy(), await self.world.children()
        replicas = [children[f"Deployment/tiny-{revision}"]["spec"]["replicas"] for revision in (old, new)]
        return rollout["phase"] == "Rejected" and policy.tracks == {old: "stable"} and replicas == [1, 0]


class BurstLife(Life):
    """One worker, three for a burst, one again: the crash falls into the way up or the way down."""

    async def whole_life(self, die_at: str, wait_until) -> None:
        world = self.world
        await world.kube.send("POST", "/api/v1/namespaces", body={"metadata": {"name": self.namespace}})
        await world.make_lease()
        self.child = await self.doomed.start(self.operator, f"{die_at}:later")
        scaling = {"minReplicas": 1, "maxReplicas": BURST, "targetWait": "1s", "scaleDownAfter": "1s"}
        await world.apply(SPEC | {"scaling": scaling})
        await wait_until(self.stepping(world.is_settled), PATIENCE_S)
        crew = Crew(world, await world.uid())
        self.working = asyncio.create_task(crew.work())
        try:
            os.kill(self.child, signal.SIGUSR1)
            jobs = [(await world.queue.submit(new_job(crew.fleet))).job.id for _ in range(BURST)]
            await wait_until(self.stepping(crew.is_busy), PATIENCE_S)
            crew.finishes = Finishes.IF_MARKED
            await wait_until(self.stepping(lambda: self.is_small_again(crew)), PATIENCE_S)
            crew.finishes = Finishes.ALWAYS
            await wait_until(self.stepping(lambda: all_succeeded(world.queue, jobs)), PATIENCE_S)
        finally:
            self.working.cancel()
            await asyncio.gather(self.working, return_exceptions=True)
        assert {(await world.queue.get(job)).attempt for job in jobs} == {1}

    async def is_small_again(self, crew) -> bool:
        """One pod, at work, and nothing left of the scale-down."""
        (deployment,) = (one for one in (await self.world.children()).values() if one["kind"] == "Deployment")
        pods, policy = crew.pods(), await self.world.queue.policy(crew.fleet)
        annotations = [pod["metadata"].get("annotations") or {} for pod in pods]
        return (
            deployment["spec"]["replicas"] == len(pods) == 1
            and {pod["metadata"]["name"] for pod in pods} == set(crew.held)
            and not policy.marks
            and not any(COST_ANNOTATION in found for found in annotations)
        )


class Finishes(Enum):
    """When the workers of a crew come to the end of their jobs."""

    NEVER = "never"
    IF_MARKED = "if marked"
    ALWAYS = "always"


class Crew:
    """The workers of a life as Redis sees them: once they are all there each claims a job and works at it."""

    def __init__(self, world, fleet: str) -> None:
        self.world, self.fleet = world, fleet
        self.held: dict[str, Claim] = {}
        self.finishes = Finishes.NEVER

    def pods(self):
        return self.world.stored("Pod")

    async def is_busy(self) -> bool:
        return len(self.held) == BURST

    async def work(self) -> None:
        is_complete = False
        while True:
            pods = self.pods()
            is_complete = is_complete or len(pods) == BURST
            for pod in pods if is_complete else ():
                meta = pod["metadata"]
                await self._turn(meta["name"], meta["labels"]["videofleet.dev/revision"])
            await asyncio.sleep(0.05)

    async def _turn(self, worker: str, revision: str) -> None:
        """One look of one worker: it claims, goes on, or delivers; a marked one that has nothing to do rests."""
        queue = self.world.queue
        claim, state = self.held.get(worker), WorkerState.READY
        if claim is None:
            claimed = await queue.claim(self.fleet, worker=worker, revision=revision)
            (self.world.node.resting.add if claimed.is_marked else self.world.node.resting.discard)(worker)
            state = WorkerState.DRAINING if claimed.is_marked else state
            self.held.update((worker, one) for one in claimed.claims)
        elif await self._is_done(worker):
            await queue.succeed(self.held.pop(worker), result_of(claim))
        else:
            await queue.beat(claim, Progress(stage="denoising"))
        job = self.held[worker].job.id if worker in self.held else None
        await queue.put_beacon(self.fleet, WorkerBeacon(worker=worker, revision=revision, state=state, job=job))

    async def _is_done(self, worker: str) -> bool:
        if self.finishes is Finishes.IF_MARKED:
            return worker in (await self.world.queue.policy(self.fleet)).marks
        return self.finishes is Finishes.ALWAYS


def new_job(fleet: str) -> NewJob:
    job_id = ids.job_id(fleet, time.time_ns() // 1_000_000, os.urandom(10))
    return NewJob(id=job_id, fleet_uid=fleet, tenant="t", request=VideoRequest(prompt="a fox", seed=1, tier=TIER))


def result_of(claim: Claim) -> VideoResult:
    return VideoResult(
        store="videos",
        video_key="v",
        thumbnail_key="t",
        video_bytes=1,
        tier=TIER,
        seed=1,
        revision=claim.job.revision or "",
        attempt=claim.attempt,
        seconds_per_step=0.1,
        worker_seconds=0.1,
    )


async def all_succeeded(queue: JobQueue, jobs: list[str]) -> bool:
    return all([(await queue.get(job)).state == JobState.SUCCEEDED for job in jobs])
