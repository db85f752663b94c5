"""The outbox: whoever asked to be told has a notice from the moment the job ends, taken by one, until it is settled."""

import asyncio

import pytest
from specimens import FLEET, new_job, policy, result

from videofleet.ids import job_id
from videofleet.jobs import ErrorCode, NoticeState
from videofleet.queue import JobQueue, Notice, Settled, outbox

URL = "https://hooks.example.com/x"


@pytest.fixture
async def fleet(queue: JobQueue) -> JobQueue:
    await queue.publish_policy(policy(max_attempts=1))
    return queue


async def ended(queue: JobQueue, how: str, number: int = 1, webhook: str | None = URL) -> str:
    """A job that ended that way."""
    job = (
        await queue.submit(new_job(id=job_id(FLEET, 1_700_000_000_000, number.to_bytes(10, "big")), webhook=webhook))
    ).job
    if how == "cancelled":
        await queue.cancel(job.id, ErrorCode.CANCELLED_BY_USER)
        return job.id
    (claim,) = (await queue.claim(FLEET, worker="w", revision="r1")).claims
    if how == "succeeded":
        await queue.succeed(claim, result(claim.attempt))
    else:
        await queue.fail(claim, ErrorCode.GENERATION_FAILED, "it raised", retry=how == "dead")
    return job.id


async def take(queue: JobQueue) -> list[Notice]:
    return await queue.outbox.take(FLEET, 10)


@pytest.mark.parametrize("how", ["succeeded", "failed", "cancelled", "dead"])
async def test_every_end_leaves_one_notice(fleet: JobQueue, how: str) -> None:
    job_id = await ended(fleet, how)
    (notice,) = await take(fleet)
    assert (notice.job.id, notice.job.state, notice.url, notice.attempts) == (job_id, how, URL, 0)
    assert await take(fleet) == [], "it is in one deliverer's hands"
    assert await fleet.outbox.settle(notice, Settled.DELIVERED)
    assert await fleet.outbox.depth(FLEET) == (0, 0)
    told = (await fleet.get(job_id)).webhook
    assert told is not None
    assert (told.state, told.attempts) == (NoticeState.DELIVERED, 1)


async def test_nobody_is_told_who_did_not_ask(fleet: JobQueue) -> None:
    await ended(fleet, "succeeded", webhook=None)
    assert await take(fleet) == []


async def test_a_lease_that_ran_out_gives_the_notice_to_another_and_fences_the_first(
    fleet: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ended(fleet, "succeeded")
    monkeypatch.setattr(outbox, "LEASE_MS", 1)
    (first,) = await take(fleet)
    again: list[Notice] = []
    async with asyncio.timeout(60):
        while not again:
            again = await take(fleet)
    (second,) = again
    assert (second.id, second.attempts) == (first.id, 0)
    assert not await fleet.outbox.settle(first, Settled.FAILED)
    assert await fleet.outbox.settle(second, Settled.DELIVERED)


async def test_another_attempt_is_due_after_its_delay_and_counts(fleet: JobQueue) -> None:
    job_id = await ended(fleet, "succeeded")
    (notice,) = await take(fleet)
    await fleet.outbox.settle(notice, Settled.AGAIN, delay_s=3600)
    assert await take(fleet) == []
    waiting, overdue_s = await fleet.outbox.depth(FLEET)
    assert (waiting, overdue_s) == (1, 0)
    told = (await fleet.get(job_id)).webhook
    assert told is not None
    assert (told.state, told.attempts) == (NoticeState.PENDING, 1)


async def test_later_is_no_attempt(fleet: JobQueue) -> None:
    await ended(fleet, "succeeded")
    (notice,) = await take(fleet)
    await fleet.outbox.settle(notice, Settled.LATER)
    assert (await take(fleet))[0].attempts == 0


async def test_410_silences_the_url_of_that_tenant_only(fleet: JobQueue) -> None:
    await ended(fleet, "succeeded", 1)
    (notice,) = await take(fleet)
    await fleet.outbox.settle(notice, Settled.DISABLED)
    silenced = await ended(fleet, "succeeded", 2)
    heard = await ended(fleet, "succeeded", 3, webhook=URL + "/other")
    assert [each.job.id for each in await take(fleet)] == [heard]
    told = (await fleet.get(silenced)).webhook
    assert told is not None
    assert told.state is NoticeState.DISABLED


async def test_a_replayed_job_tells_its_second_end_under_a_new_id(fleet: JobQueue) -> None:
    job_id = await ended(fleet, "dead")
    (first,) = await take(fleet)
    await fleet.replay(job_id)
    (claim,) = (await fleet.claim(FLEET, worker="w", revision="r1")).claims
    await fleet.succeed(claim, result(claim.attempt))
    (second,) = await take(fleet)
    assert second.id != first.id
    assert not await fleet.outbox.settle(first, Settled.FAILED), "the first end is history"
    assert await fleet.outbox.settle(second, Settled.DELIVERED)


@pytest.mark.parametrize("how", ["removed", "replayed"])
async def test_a_job_that_has_no_end_any_more_tells_nothing(fleet: JobQueue, how: str) -> None:
    job_id = await ended(fleet, "dead")
    await (fleet.remove(job_id) if how == "removed" else fleet.replay(job_id))
    assert await take(fleet) == []
    assert await fleet.outbox.depth(FLEET) == (0, 0)
