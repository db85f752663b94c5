"""A rollout through the real operator process, steered by the real command line."""

import asyncio
import copy
import json
import os
import sys

import pytest

from videofleet_devcluster.apiserver.faults import FaultAction, FaultRule

STEPS = {"steps": [{"weight": "5%"}, {"weight": "50%"}]}


class Story:
    """Given a fleet with steps and a canary at the first one; when …; then …"""

    def __init__(self, world, wait_until):
        self.world, self.wait_until = world, wait_until
        self.old = self.new = self.uid = ""

    async def begin(self):
        world = self.world
        world.operator.start()
        await world.apply()
        spec = (await world.get())["spec"]
        await world.apply(copy.deepcopy(spec) | {"rollout": STEPS})
        await self.wait_until(world.is_settled)
        self.uid = await world.uid()
        self.old = (await world.get())["status"]["revisions"]["stable"]
        await self.apply_model("pvc://models/new")
        await self.wait_until(lambda: self.is_in("Stepping"))
        self.new = (await self.rollout())["canaryRevision"]
        return self

    async def apply_model(self, source):
        spec = (await self.world.get())["spec"]
        await self.world.apply(copy.deepcopy(spec) | {"model": spec["model"] | {"source": source}, "rollout": STEPS})

    async def rollout(self):
        return (await self.world.get())["status"].get("rollout", {})

    async def is_in(self, phase):
        return (await self.rollout()).get("phase") == phase

    async def tracks(self):
        return (await self.world.queue.policy(self.uid)).tracks

    async def workers(self):
        deployments = self.world.api.store.listed(("apps", "deployments"))
        return {one["metadata"]["labels"]["videofleet.dev/revision"]: one["spec"]["replicas"] for one in deployments}

    async def has_workers(self, **wanted):
        return await self.workers() == {getattr(self, name): count for name, count in wanted.items()}

    async def videofleet(self, *arguments):
        """Exit code and output of the command line."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "videofleet_cli.main", "rollout", *arguments, "-n", "studio"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=os.environ
            | {"KUBECONFIG": str(self.world.operator.folder.parent / "admin"), "COLUMNS": "200", "NO_COLOR": "1"},
        )
        out, _ = await asyncio.wait_for(process.communicate(), 60)
        return process.returncode, out.decode()


@pytest.fixture
async def story(world, wait_until):
    return await Story(world, wait_until).begin()


async def test_a_canary_gets_its_share_and_a_person_promotes_it(story):
    policy = await story.world.queue.policy(story.uid)
    assert policy.tracks == {story.old: "stable", story.new: "canary"}
    assert (policy.canary.revision, policy.canary.weight_permille) == (story.new, 50)
    assert policy.valid_until_ms is not None
    assert await story.has_workers(old=1, new=1)
    code, said = await story.videofleet("status", "tiny")
    assert code == 0
    assert f"{story.new}, 5% of the jobs" in said
    code, said = await story.videofleet("promote", "tiny")
    assert (code, said.split(":")[0]) == (0, "Done")
    await story.wait_until(lambda: story.has_workers(old=0, new=1))
    code, said = await story.videofleet("status", "tiny", "-w", "--json")
    assert code == 0
    assert json.loads(said)["phase"] == "Settled"
    assert await story.tracks() == {story.new: "stable"}
    code, said = await story.videofleet("history", "tiny", "--json")
    assert [(row["revision"], row["part"]) for row in json.loads(said)] == [(story.new, "stable"), (story.old, "kept")]
    code, said = await story.videofleet("undo", "tiny")
    assert code == 0, said
    await story.wait_until(lambda: story.has_workers(old=1, new=0))
    await story.wait_until(lambda: story.is_in("Undone"))


async def test_an_abort_stands_until_retry_and_its_exit_codes_say_so(story):
    code, said = await story.videofleet("abort", "tiny")
    assert (code, said.split(":")[0]) == (0, "Done")
    await story.wait_until(lambda: story.has_workers(old=1, new=0))
    await story.wait_until(lambda: story.is_in("Rejected"))
    assert await story.tracks() == {story.old: "stable"}
    code, said = await story.videofleet("status", "tiny")
    assert code == 1
    assert "Aborted by command" in said
    code, said = await story.videofleet("promote", "tiny")
    assert code == 2
    assert "has no canary" in said
    code, said = await story.videofleet("retry", "tiny")
    assert code == 0, said
    await story.wait_until(lambda: story.has_workers(old=1, new=1))
    code, said = await story.videofleet("resume", "tiny")
    assert code == 2
    assert "not paused" in said
    code, said = await story.videofleet("status", "nobody")
    assert code == 2


async def test_an_abort_stops_the_jobs_though_the_api_server_refuses_every_write(story):
    refused = FaultRule(FaultAction.ERROR, verb="patch", resource="deployments*", status=503, count=None)
    story.world.api.faults.add(refused)
    await story.world.kube.merge(
        "/apis/videofleet.dev/v1alpha1/namespaces/studio/videogenerators/tiny",
        {"metadata": {"annotations": {"videofleet.dev/rollout": f"abort:{story.new}"}}},
    )

    async def has_no_canary():
        return await story.tracks() == {story.old: "stable"}

    await story.wait_until(has_no_canary)
    assert await story.has_workers(old=1, new=1), "no write was let through"
    story.world.api.faults.clear()
    await story.wait_until(lambda: story.has_workers(old=1, new=0))
