"""The users that docs/how-to/redis.md writes out, on a real Redis: each can do its part, and nothing of another's."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError
from specimens import FLEET, new_job, policy, result

from videofleet import ids
from videofleet.beacons import WorkerBeacon, WorkerState
from videofleet.jobs import NewJob, Progress
from videofleet.queue import Decoded, DecodeOrder, Durability, JobQueue
from videofleet.queue.batches import Batch, BatchLine, batch_id
from videofleet.queue.limits import TenantLimits

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/how-to/redis.md").read_text()
OTHER = "0b5c2c0e-6f3f-4d0e-9d55-0c8f5f1d2a11"


def users() -> dict[str, list[str]]:
    """Name → rules, as the page has them."""
    (block,) = re.findall(r"```acl\n(.*?)```", PAGE, re.DOTALL)
    lines = [line.replace("FLEET_UID", FLEET).split() for line in block.splitlines()]
    return {words[1]: words[2:] for words in lines}


def numbered_job(uid: str, number: int) -> NewJob:
    return new_job(uid, id=ids.job_id(uid, 1_700_000_000_000, bytes([number] * 10)), idempotency_key=f"key-{number}")


@pytest.fixture
async def urls(redis_server: Any) -> AsyncIterator[dict[str, str]]:
    """User → URL, after the page's users were made."""
    async with Redis.from_url(redis_server.url) as admin:
        made = {}
        for name, rules in users().items():
            if name != "default":
                await admin.execute_command("ACL", "SETUSER", name, "reset", *rules)
                (password,) = (rule[1:] for rule in rules if rule.startswith(">"))
                made[name] = f"redis://{name}:{password}@127.0.0.1:{redis_server.port}/0"
        yield made


async def test_each_user_can_do_its_part(urls: dict[str, str]) -> None:
    """Scripts included: Redis checks every command that a script calls."""
    connect = JobQueue.connect
    async with (
        connect(urls["videofleet-operator"], "videofleet") as operator,
        connect(urls["videofleet-gateway"], "videofleet") as gateway,
        connect(urls["studio-wan"], "videofleet") as worker,
    ):
        for uid in (FLEET, OTHER):
            await operator.publish_policy(policy(uid, fleet=f"studio/{uid[-2:]}", retention_s=60))
        await gateway.check_durability()
        for number in range(3):
            await gateway.submit(
                numbered_job(FLEET, number), TenantLimits(queued=9, unfinished=9, seconds_a_day=99_999)
            )
        await worker.put_beacon(FLEET, WorkerBeacon(worker="w1", revision="r1", state=WorkerState.READY))
        claimed = await worker.claim(FLEET, worker="w1", revision="r1")
        (claim,) = claimed.claims
        await worker.beat(claim, Progress(stage="denoising", step=1, steps=4))
        await worker.succeed(claim, result())
        (second,) = (await worker.claim(FLEET, worker="w1", revision="r1")).claims
        await worker.give_back(second)
        await worker.drop_beacon(FLEET, "w1")
        job = claim.job
        await gateway.reap(FLEET)
        await gateway.page([FLEET, OTHER], "studio", after=None, limit=10, newest_first=True)
        await gateway.page([FLEET], "studio", after=job.id, limit=10, newest_first=False)
        await gateway.usage([FLEET], "studio")
        await gateway.dead(FLEET, "studio")
        await gateway.intake.pause(FLEET)
        assert await gateway.intake.paused() == {FLEET}
        await gateway.intake.resume(FLEET)
        await gateway.signing.today()
        await gateway.cache.remember(job, "studio", "digest")
        assert await gateway.cache.candidates(FLEET, "studio", "digest") == [job.id]
        await gateway.opinions.rate(job.id, 5, None)
        await gateway.leaving.expire(FLEET)
        for number in range(3):
            await gateway.leaving.purge(numbered_job(FLEET, number).id)
        for owed in await gateway.leaving.owed(FLEET):
            await gateway.leaving.paid(owed)
        batch = Batch(batch_id(1, bytes(10)), "studio", 1, total=1, cursor=0)
        line = BatchLine(number=1, job=numbered_job(FLEET, 9))
        await gateway.batches.create(batch, [line], "digest", "body")
        assert await gateway.batches.take(5) == [("studio", batch.id)]
        assert await gateway.batches.lines(batch, 0) == [line]
        assert await gateway.batches.commit(batch, 0, [line])
        await gateway.batches.cancel(batch, 2)
        assert [each.id for each in await gateway.batches.page("studio", after=None, limit=5)] == [batch.id]
        await gateway.batches.close("studio", batch.id)
        await gateway.leaving.forget_tenant("studio", [FLEET, OTHER])
        assert {row.revision for row in await operator.outcomes(FLEET)} >= {"r1"}
        assert (await operator.opinions.of(FLEET))[0].ratings == 1
        assert await operator.stats(FLEET)
        assert await operator.beacons(FLEET) == []
        await operator.close_fleet(OTHER, "fleet_deleted")  # type: ignore[arg-type]  # its text is what travels


async def test_a_fleets_user_is_enough_for_its_decoders(urls: dict[str, str]) -> None:
    order = DecodeOrder(job="j", attempt=1, request=new_job().request, latents_key="k")
    async with JobQueue.connect(urls["studio-wan"], "videofleet") as worker:
        await worker.decodes.ask(FLEET, "r1", "j/1", order)
        taken = await worker.decodes.take(FLEET, "r1")
        assert taken is not None
        await worker.decodes.beat(FLEET, taken)
        await worker.decodes.give_back(FLEET, taken)
        assert await worker.decodes.is_anyone_there(FLEET, "r1")
        taken = await worker.decodes.take(FLEET, "r1")
        assert taken is not None
        await worker.decodes.settle(FLEET, taken, Decoded())
        await worker.decodes.withdraw(FLEET, "r1", "j/1")


async def test_a_fleets_workers_cannot_reach_another_fleet_or_the_gateways_keys(urls: dict[str, str]) -> None:
    async with (
        JobQueue.connect(urls["videofleet-operator"], "videofleet") as operator,
        JobQueue.connect(urls["videofleet-gateway"], "videofleet") as gateway,
        JobQueue.connect(urls["studio-wan"], "videofleet") as worker,
    ):
        await operator.publish_policy(policy(OTHER))
        theirs = (await gateway.submit(numbered_job(OTHER, 7))).job
        await gateway.signing.today()
        for attempt in (
            lambda: worker.claim(OTHER, worker="w1", revision="r1"),
            lambda: worker.get(theirs.id),
            lambda: worker.leaving.purge(theirs.id),
            lambda: worker.fleets(),
            lambda: worker.signing.today(),
            lambda: operator.signing.today(),
        ):
            with pytest.raises(NoPermissionError):
                await attempt()
        assert (await gateway.get(theirs.id)).state == "queued"


@pytest.mark.parametrize("user", [name for name in users() if name != "default"])
async def test_nobody_lists_configures_or_flushes(urls: dict[str, str], user: str) -> None:
    async with Redis.from_url(urls[user]) as redis:
        for command in (
            ("SCAN", "0"),
            ("KEYS", "*"),
            ("CONFIG", "GET", "*"),
            ("FLUSHALL",),
            ("ACL", "LIST"),
            ("MONITOR",),
            ("SCRIPT", "FLUSH"),
            ("CLIENT", "LIST"),
            ("SET", "somebody-elses", "1"),
        ):
            with pytest.raises(NoPermissionError):
                await redis.execute_command(*command)


@pytest.mark.parametrize("user", [name for name in users() if name != "default"])
def test_every_command_of_the_scripts_is_allowed(user: str) -> None:
    lua = "".join(path.read_text() for path in (ROOT / "common/videofleet/queue/lua").glob("*.lua"))
    called = {name.lower() for name in re.findall(r"redis\.p?call\('([A-Z]+)'", lua)}
    allowed = {rule[1:] for rule in users()[user] if rule.startswith("+")}
    assert called - allowed == set()


async def test_the_mode_wait_is_allowed_too(urls: dict[str, str]) -> None:
    """No replica is there, so nothing is confirmed; but nothing is forbidden either."""
    async with JobQueue.connect(urls["videofleet-operator"], "videofleet") as operator:
        await operator.publish_policy(policy(FLEET))
    async with JobQueue.connect(urls["videofleet-gateway"], "videofleet", Durability.WAIT) as gateway:
        with pytest.raises(Exception, match="no replica"):
            await gateway.submit(numbered_job(FLEET, 1))
