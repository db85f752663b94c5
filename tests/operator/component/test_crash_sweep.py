"""SIGKILL before and after every write of a create, a rollout and a deletion: the end is the same and tidy."""

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from videofleet.queue import JobQueue

LANES = 4  # crash points at a time, each in its own namespace
HORIZON = 60  # writes that a whole life takes at most


class DoomedOperators:
    """A zygote and the children it forks."""

    def __init__(self) -> None:
        command = [sys.executable, str(Path(__file__).with_name("zygote.py"))]
        self._zygote = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._children: set[int] = set()

    def start(self, operator, die_at: str | None) -> int:
        order = {
            "arguments": operator.arguments,
            "environment": operator.environment,
            "log": str(operator.log),
            "die_at": die_at,
        }
        assert self._zygote.stdin is not None
        assert self._zygote.stdout is not None
        self._zygote.stdin.write(json.dumps(order) + "\n")
        self._zygote.stdin.flush()
        child = int(self._zygote.stdout.readline())
        self._children.add(child)
        return child

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
def doomed():
    operators = DoomedOperators()
    yield operators
    operators.close()


@pytest.mark.timeout(400)
async def test_a_life_with_a_crash_at_any_write_ends_the_same(world, wait_until, doomed, tmp_path, redis_url):
    assert await sweep(Life, world, wait_until, doomed, tmp_path, redis_url) >= 40


@pytest.mark.timeout(400)
async def test_a_canary_with_a_crash_at_any_write_ends_the_same(world, wait_until, doomed, tmp_path, redis_url):
    assert await sweep(CanaryLife, world, wait_until, doomed, tmp_path, redis_url) >= 50


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
        self.has_crashed = False

    async def live(self, die_at: str, wait_until) -> bool:
        """Whether the crash happened."""
        try:
            await self.whole_life(die_at, wait_until)
        finally:
            self.doomed.kill(self.child)
            await self.queue.close()
        assert "Traceback" not in self.operator.log.read_text(), die_at
        return self.has_crashed

    async def whole_life(self, die_at: str, wait_until) -> None:
        world = self.world
        await world.kube.send("POST", "/api/v1/namespaces", body={"metadata": {"name": self.namespace}})
        await self.world.make_lease()
        self.child = self.doomed.start(self.operator, die_at)
        await world.apply()
        await wait_until(self.stepping(world.is_settled), 30)
        spec = (await world.get())["spec"]
        old = (await world.get())["status"]["revisions"]["stable"]
        await world.apply({**spec, "warmup": {"maxRuns": 2}})
        await wait_until(self.stepping(world.is_settled), 30)
        await wait_until(self.stepping(lambda: self.is_tidy(old)), 30)
        uid = await world.uid()
        await world.delete()
        await wait_until(self.stepping(lambda: self.is_gone(uid)), 30)

    def stepping(self, check):
        """The check, after starting the operator again if it has died."""

        async def step():
            if not is_alive(self.child):
                assert not self.has_crashed, self.operator.log.read_text()[-2000:]
                self.has_crashed = True
                self.child = self.doomed.start(self.operator, None)
            return await check()

        return step

    async def is_tidy(self, old: str) -> bool:
        """Two revisions, each with its three children; the old one without workers, the new one with the label."""
        new = (await self.world.get())["status"]["revisions"]["stable"]
        children = await self.world.children()
        kinds = ("ControllerRevision", "ConfigMap", "Deployment")
        names = {f"{kind}/tiny-{revision}" for kind in kinds for revision in (old, new)}
        deployments = {rev: children[f"Deployment/tiny-{rev}"] for rev in (old, new)}
        tracks = [found["metadata"]["labels"].get("videofleet.dev/track") for found in deployments.values()]
        pods = (await self.world.kube.list("Pod", self.namespace))["items"]
        assert set(children) == {*names, "Service/tiny", "ServiceAccount/tiny-worker"}
        return (
            [found["spec"]["replicas"] for found in deployments.values()] == [0, 1]
            and tracks == [None, "stable"]
            and [pod["metadata"]["labels"]["videofleet.dev/revision"] for pod in pods] == [new]
        )

    async def is_gone(self, uid: str) -> bool:
        policy = await self.queue.policy(uid)
        pods = (await self.world.kube.list("Pod", self.namespace))["items"]
        return policy.closed == "fleet_deleted" and not pods and not await self.world.children()


class CanaryLife(Life):
    """A fleet whose canary is aborted, tried again and promoted."""

    async def whole_life(self, die_at: str, wait_until) -> None:
        world = self.world
        await world.kube.send("POST", "/api/v1/namespaces", body={"metadata": {"name": self.namespace}})
        await world.make_lease()
        self.child = self.doomed.start(self.operator, die_at)
        await world.apply()
        await wait_until(self.stepping(world.is_settled), 30)
        spec = (await world.get())["spec"]
        old = (await world.get())["status"]["revisions"]["stable"]
        model = spec["model"] | {"source": "pvc://models/new"}
        await world.apply({**spec, "model": model, "rollout": {"steps": [{"weight": "5%"}]}})
        await wait_until(self.stepping(lambda: self.is_on_trial(old)), 30)
        new = (await world.get())["status"]["rollout"]["canaryRevision"]
        await self.ask(f"abort:{new}")
        await wait_until(self.stepping(lambda: self.is_turned_down(old, new)), 30)
        await self.ask(f"retry:{new}")
        await wait_until(self.stepping(lambda: self.is_on_trial(old)), 30)
        await self.ask(f"promote:{new}")
        await wait_until(self.stepping(world.is_settled), 30)
        await wait_until(self.stepping(lambda: self.is_tidy(old)), 30)
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
