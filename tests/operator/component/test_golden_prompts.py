"""Golden prompts through the real operator and queue: stuck, made after all, and then of another kind than stable's."""

import pytest

from videofleet.jobs import ClipLook, VideoResult
from videofleet.queue.golden import TENANT

RESYNC_S = 120  # a paused rollout is looked at every minute
GOOD = ClipLook(brightness=110, contrast=50, detail=9, motion=4, colour=30)
NOISE = GOOD.model_copy(update={"detail": 80, "motion": 85})

pytestmark = pytest.mark.timeout(240)


async def rollout(world):
    return (await world.get())["status"].get("rollout", {})


async def phase_is(world, phase, other_than=""):
    told = await rollout(world)
    return told.get("phase") == phase and told.get("canaryRevision") != other_than


async def begin_canary(world, source, most):
    spec = (await world.get())["spec"]
    rules = {"steps": [{"weight": "5%"}], "analysis": {"goldenPrompts": 2, "maxStepDuration": most}}
    await world.apply(spec | {"model": spec["model"] | {"source": source}, "rollout": rules})


async def make_golden_clips(world, wait_until, revision, look):
    """What the canary's worker does: it gets golden prompts, and tells how they look."""
    uid = await world.uid()

    async def made():
        """Whether one was made."""
        claims = (await world.queue.claim(uid, worker="w", revision=revision)).claims
        for claim in claims:
            assert claim.job.tenant == TENANT, "no user's job comes before"
            await world.queue.succeed(claim, result_of(claim, look))
        return claims

    for _ in range(2):
        await wait_until(made)


def result_of(claim, look):
    return VideoResult(
        store="videos",
        video_key="v",
        thumbnail_key="t",
        video_bytes=1,
        tier=claim.tier,
        seed=claim.job.request.seed,
        revision=claim.job.revision,
        attempt=claim.attempt,
        seconds_per_step=0.1,
        worker_seconds=0.1,
        look=look,
    )


async def test_stuck_ones_pause_those_made_after_all_go_on_and_noise_is_turned_down(world, wait_until):
    world.operator.start()
    await world.apply()
    await wait_until(world.is_settled)

    await begin_canary(world, "pvc://models/new", "10s")
    await wait_until(lambda: phase_is(world, "Paused"))
    told = await rollout(world)
    assert told["paused"] == "InsufficientEvidence"
    assert (await world.condition("Progressing"))[1] == "InsufficientEvidence"
    new = told["canaryRevision"]
    await make_golden_clips(world, wait_until, new, GOOD)
    await wait_until(lambda: phase_is(world, "Stepping"), RESYNC_S)
    assert (await rollout(world))["step"] == 1

    path = f"/apis/videofleet.dev/v1alpha1/namespaces/{world.namespace}/videogenerators/tiny"
    await world.kube.merge(path, {"metadata": {"annotations": {"videofleet.dev/rollout": f"promote:{new}"}}})
    await wait_until(world.is_settled)
    await begin_canary(world, "pvc://models/noisy", "1h")
    await wait_until(lambda: phase_is(world, "Proving", new))
    await make_golden_clips(world, wait_until, (await rollout(world))["canaryRevision"], NOISE)
    await wait_until(lambda: phase_is(world, "Rejected"))
    status, reason, words = await world.condition("Degraded")
    assert (status, reason) == ("True", "CanaryRejected")
    assert f"look unlike those of revision {new}: their detail is 80.0" in words
