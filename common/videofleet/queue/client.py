"""JobQueue: the whole queue as typed calls. Each method is one Lua script or one read.

Every method raises `QueueUnavailable` when Redis does not answer; the other errors stand at each method. A call whose
reply was lost is sent once more, which is safe: submit, claim and every ending recognise themselves.
"""

import asyncio
import json
import random
import secrets
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Self, cast

from videofleet import ids
from videofleet.beacons import WorkerBeacon
from videofleet.jobs import Claim, ErrorCode, Job, JobState, NewJob, Outcomes, Progress, QueueStats, VideoResult
from videofleet.policy import FleetPolicy
from videofleet.queue import durability, keys, records
from videofleet.queue.batches import Batches
from videofleet.queue.cache import ResultCache
from videofleet.queue.connection import Connection
from videofleet.queue.connection import answer as _answer
from videofleet.queue.decodes import Decodes
from videofleet.queue.durability import Durability, Persistence
from videofleet.queue.errors import (
    ErasedMeanwhile,
    FleetClosed,
    FleetUnknown,
    IdempotencyConflict,
    JobNotDead,
    JobNotFound,
    LeaseLost,
    LimitReached,
    QueueFull,
    StaleEpoch,
)
from videofleet.queue.golden import Golden
from videofleet.queue.idempotency import KEPT_MS as IDEMPOTENCY_MS
from videofleet.queue.idempotency import IdempotencyKeys
from videofleet.queue.intake import Intake
from videofleet.queue.leaving import TOMBSTONE_MS, Leaving
from videofleet.queue.limits import Reservation, TenantLimits
from videofleet.queue.opinions import Opinions
from videofleet.queue.outbox import Outbox
from videofleet.queue.records import TenantUsage
from videofleet.queue.replies import BeatReply, Claimed, Submitted
from videofleet.queue.signing import SigningKeys
from videofleet.queue.verdicts import Verdicts

LEASE_MS: Final = 30_000  # a dead worker's job is free again after this
BEACON_FRESH_MS: Final = 30_000
BEACON_FORGET_MS: Final = 600_000
GIVE_BACKS: Final = 20  # attempts that a job may lose to drains and deaths without spending them
RETRY_MS: Final = 1_000  # before the second attempt of a job that failed; the third waits four times as long
DEAD_MOST: Final = 1_000  # a listing of dead jobs is not paged
_MARKED, _REAP_FIRST = 1, 2  # what `claim` answers beside jobs
ALONE: Final[Mapping[str, int]] = MappingProxyType({})


class JobQueue:
    """One installation's queue, over one Redis connection pool. An async context manager that closes the pool."""

    def __init__(self, connection: Connection, installation: str) -> None:
        self._connection = connection
        self._redis = connection.redis
        self._installation = installation
        self.outbox = Outbox(connection, installation)
        self.batches = Batches(connection, installation)
        self.idempotency = IdempotencyKeys(connection, installation)
        self.cache = ResultCache(connection, installation)
        self.decodes = Decodes(connection, installation)
        self.golden = Golden(connection, installation)
        self.intake = Intake(connection, installation)
        self.leaving = Leaving(connection, installation)
        self.opinions = Opinions(connection, installation)
        self.signing = SigningKeys(connection, installation)
        self.verdicts = Verdicts(connection, installation)

    @classmethod
    def connect(cls, url: str, installation: str, durability: Durability = Durability.AOF) -> Self:
        """A queue on `redis://` or `rediss://`; connects at first use and reconnects by itself."""
        return cls(Connection.to(url, durability), installation)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the pool."""
        await self._redis.aclose()

    async def check_durability(self) -> Persistence:
        """Raises `QueueError` unless Redis keeps what it acknowledges, as far as the durability mode asks for it."""
        return durability.check(await _answer(self._redis.info()), self._connection.durability)

    # operator
    async def publish_policy(self, policy: FleetPolicy) -> None:
        """Replaces the fleet's policy and lists the fleet; acts on the next submit and claim.

        Raises: StaleEpoch, FleetClosed.
        """
        await _answer(self._redis.hset(keys.fleet_index(self._installation), policy.fleet_uid, policy.fleet))
        in_force = await self._run("publish", policy.fleet_uid, policy.to_json(), policy.epoch)
        if in_force == -1:
            raise FleetClosed("the VideoGenerator was deleted, and all of its fleet is gone")
        if in_force != policy.epoch:
            raise StaleEpoch(in_force)

    async def close_fleet(self, fleet_uid: str, code: ErrorCode) -> list[str]:
        """Closes a fleet for good: waiting jobs are cancelled with `code`, running ones asked to stop.

        Returns: ids of the jobs cancelled at once. Calling it again changes nothing.
        """
        return cast(list[str], await self._run_durably("close", fleet_uid, code, TOMBSTONE_MS))

    async def fleets(self) -> dict[str, str]:
        """Every fleet published: UID → namespace/name; closed ones too, until the last of them has left."""
        return cast(dict[str, str], await _answer(self._redis.hgetall(keys.fleet_index(self._installation))))

    async def policy(self, fleet_uid: str) -> FleetPolicy | None:
        """The last published policy; `closed` is set once the fleet is."""
        prefix = self._prefix(fleet_uid)
        raw, closed = await _answer(self._redis.mget(keys.policy(prefix), keys.closed(prefix)))
        if raw is None:
            return None
        return FleetPolicy.model_validate_json(raw).model_copy(update={"closed": closed})

    async def stats(self, fleet_uid: str) -> QueueStats:
        """The fleet's figures from one snapshot."""
        return QueueStats.model_validate_json(await self._run("stats", fleet_uid))

    async def outcomes(self, fleet_uid: str) -> list[Outcomes]:
        """How jobs ended, by revision and tier."""
        return records.outcomes(await _answer(self._redis.hgetall(keys.outcomes(self._prefix(fleet_uid)))))

    async def ahead(self, job_id: str) -> int | None:
        """About how many waiting jobs come before this one, or None when it does not wait in line.

        Exact while every job takes as long and nobody submits; the fair share of other tenants is counted in.
        """
        return cast(int | None, await self._run("ahead", self._fleet_of(job_id), job_id))

    async def beacons(self, fleet_uid: str) -> list[WorkerBeacon]:
        """Beacons of the last 30 s, by worker name."""
        rows = await self._run("beacons", fleet_uid, BEACON_FRESH_MS, BEACON_FORGET_MS)
        return sorted((records.beacon(row) for row in rows), key=lambda beacon: beacon.worker)

    # gateway
    async def submit(
        self, job: NewJob, limits: TenantLimits | None = None, *, erasures: int | None = None
    ) -> Submitted:
        """Queues a job, if the tenant's limits allow it.

        `erasures`: what `leaving.erasures` said before the caller read what it submits here.
        Raises: QueueFull, LimitReached, FleetUnknown, FleetClosed, IdempotencyConflict, ErasedMeanwhile.
        """
        if not job.idempotency_key:
            return await self._submit_within(job, limits, erasures)
        used_for = await self.idempotency.use(job)
        if used_for not in (None, job.fleet_uid):  # the same words meant another fleet then
            earlier = await self.idempotency.earlier_job(job, used_for)
            known = await self._get_or_none(earlier) if earlier else None
            if known is not None:
                return Submitted(known, created=False)
            await self.idempotency.move(job, used_for)
        try:
            return await self._submit_within(job, limits, erasures)
        except (QueueFull, LimitReached, FleetUnknown, FleetClosed):
            if used_for is None:
                await self.idempotency.forget(job)
            raise

    async def _submit_within(self, job: NewJob, limits: TenantLimits | None, erasures: int | None) -> Submitted:
        if limits is None or limits.is_unlimited:
            return await self._submit(job, limits, erasures)
        async with Reservation(self._connection, self._installation, job, limits) as reservation:
            submitted = await self._submit(job, limits, erasures)
            reservation.is_used = submitted.created
        return submitted

    async def _submit(self, job: NewJob, limits: TenantLimits | None, erasures: int | None) -> Submitted:
        tier = job.request.tier
        verdict, *rest = await self._run_durably(
            "submit",
            job.fleet_uid,
            job.id,
            job.tenant,
            job.request.to_json(),
            job.idempotency_digest,
            job.body_digest,
            IDEMPOTENCY_MS,
            job.priority,
            tier.name,
            tier.cost,
            tier.shape,
            f"{job.request.guidance_scale}/{job.request.guidance_scale_2}",
            int(job.request.allow_fallback),
            "" if job.deadline_ms is None else job.deadline_ms,
            job.webhook or "",
            "" if limits is None else limits.running or 0,
            "" if erasures is None else erasures,
        )
        match verdict:
            case "full":
                raise QueueFull(int(rest[0]))
            case "unknown":
                raise FleetUnknown("no VideoGenerator published a policy under this UID")
            case "closed":
                raise FleetClosed("the VideoGenerator was deleted")
            case "erased":
                raise ErasedMeanwhile("a tenant was erased; read again what is to be submitted")
            case "conflict":
                raise IdempotencyConflict("this Idempotency-Key was used with a different request")
        if verdict == "created":
            return Submitted(job=records.queued(job), created=True)
        return Submitted(job=await self.get(rest[0]), created=False)

    async def get(self, job_id: str) -> Job:
        """Raises: JobNotFound."""
        if not (found := await self._get_all(self._fleet_of(job_id), [job_id])):
            raise JobNotFound("no such job")
        return found[0]

    async def page(
        self, fleet_uids: list[str], tenant: str, *, after: str | None, limit: int, newest_first: bool
    ) -> list[Job]:
        """A tenant's jobs over these fleets by creation time, beginning behind the job `after`."""
        found: list[str] = []
        for fleet_uid in fleet_uids:
            bound = "(" + ids.with_serial_of(fleet_uid, after) if after else None
            key = keys.tenant(self._prefix(fleet_uid), tenant)
            if newest_first:
                reply = self._redis.zrevrangebylex(key, bound or "+", "-", start=0, num=limit)
            else:
                reply = self._redis.zrangebylex(key, bound or "-", "+", start=0, num=limit)
            found += await _answer(reply)
        found.sort(key=ids.serial_of, reverse=newest_first)
        pages = await asyncio.gather(
            *(
                self._get_all(fleet_uid, [job_id for job_id in found[:limit] if self._fleet_of(job_id) == fleet_uid])
                for fleet_uid in fleet_uids
            )
        )
        jobs = [job for page in pages for job in page]
        return sorted(jobs, key=lambda job: ids.serial_of(job.id), reverse=newest_first)

    async def usage(self, fleet_uids: Sequence[str], tenant: str) -> TenantUsage:
        """What a tenant has in these fleets."""
        pipeline = self._redis.pipeline(transaction=False)
        for fleet_uid in fleet_uids:
            pipeline.hgetall(keys.usage(self._prefix(fleet_uid), tenant))
        return records.usage(await _answer(pipeline.execute()))

    async def cancel(self, job_id: str, code: ErrorCode) -> Job:
        """Cancels a waiting job at once; asks a running one to stop; leaves a finished one alone.

        Raises: JobNotFound.
        """
        if not await self._run_durably("cancel", self._fleet_of(job_id), job_id, code):
            raise JobNotFound("no such job")
        return await self.get(job_id)

    async def remove(self, job_id: str) -> Job:
        """Forgets a finished job and returns what it was. Raises: JobNotFound, JobNotFinished."""
        job = await self.get(job_id)
        await self.leaving.remove(job_id)
        return job

    async def dead(self, fleet_uid: str, tenant: str) -> list[Job]:
        """A tenant's dead jobs, the latest first; 1000 at the most."""
        key = keys.dead(self._prefix(fleet_uid), tenant)
        return await self._get_all(fleet_uid, await _answer(self._redis.zrevrange(key, 0, DEAD_MOST - 1)))

    async def replay(self, job_id: str) -> Job:
        """Gives a dead job all its attempts again, at the end of the line and without its deadline.

        Raises: JobNotFound, JobNotDead, FleetClosed, QueueFull.
        """
        match await self._run_durably("replay", self._fleet_of(job_id), job_id):
            case "missing":
                raise JobNotFound("no such job")
            case "alive":
                raise JobNotDead("the job is not dead; only dead jobs are replayed")
            case "closed":
                raise FleetClosed("the VideoGenerator was deleted")
            case ["full", limit]:
                raise QueueFull(int(limit))
        return await self.get(job_id)

    async def reap(self, fleet_uid: str) -> list[str]:
        """Moves on what time has ended: leases that ran out, deadlines that passed. Returns: the ids touched."""
        return cast(list[str], await self._run("reap", fleet_uid, GIVE_BACKS))

    # worker
    async def claim(
        self,
        fleet_uid: str,
        *,
        worker: str,
        revision: str,
        batches: Mapping[str, int] = ALONE,
        beside: Sequence[Claim] = (),
    ) -> Claimed:
        """The next job for a worker of this revision, and others for its batch; expired leases are reaped first.

        `batches`: how many of a `Tier.volume` may be together; others, and who had an attempt before, come alone.
        `beside`: jobs just claimed, whose batch alone is filled. What this version cannot read ends as dead, unseen.
        """
        known, ids_beside = json.dumps(dict(batches)), [claim.job.id for claim in beside]
        while True:
            token = secrets.token_hex(16)
            verdict, *rows = await self._run("claim", fleet_uid, token, worker, revision, LEASE_MS, known, *ids_beside)
            if verdict == _REAP_FIRST:
                await self.reap(fleet_uid)
                continue
            claims = []
            for row in rows:
                fields = records.fields(row)
                job = records.job(fields)
                if (fault := records.fault(job)) is None:
                    claims.append(Claim(job=job, token=fields["token"], attempt=job.attempt, lease_ms=LEASE_MS))
                else:
                    await self._run_durably("park", fleet_uid, fields["id"], fields["token"], fault)
            if claims or not rows:
                return Claimed(claims, is_marked=verdict == _MARKED)

    async def beat(self, claim: Claim, progress: Progress) -> BeatReply:
        """Extends the lease and takes progress in. Raises: LeaseLost."""
        answer = await self._owned("beat", claim, claim.lease_ms, progress.to_json())
        return BeatReply(cancel_requested=answer == "stop", yield_requested=answer == "yield")

    async def succeed(self, claim: Claim, result: VideoResult) -> JobState:
        """Commits the result once. Returns: succeeded, or cancelled if that was asked for first. Raises: LeaseLost."""
        figures = result.seconds_per_step, len(result.rejected), "" if result.peak_bytes is None else result.peak_bytes
        return JobState(await self._owned("succeed", claim, result.to_json(), *figures))

    async def fail(self, claim: Claim, code: ErrorCode, message: str, *, retry: bool) -> JobState:
        """Ends the attempt: back to queued, after a pause, while attempts are left and `retry`, else failed or dead.

        Raises: LeaseLost.
        """
        pause_ms = round(RETRY_MS * random.uniform(0.75, 1.25))  # noqa: S311 - jitter
        again, fault = "retry" if retry else "final", "rejected" if code.is_rejection else "fault"
        return JobState(await self._owned("fail", claim, code, message, again, pause_ms, fault))

    async def give_back(self, claim: Claim, *, is_fault: bool = False) -> JobState:
        """Returns the job to its place without spending the attempt: a drain, or a checkpoint that moved on.

        `is_fault`: the worker broke; the revision's record says so, and stable workers go on. Raises: LeaseLost.
        """
        return JobState(await self._owned("give_back", claim, GIVE_BACKS, "fault" if is_fault else ""))

    async def cancelled(self, claim: Claim) -> None:
        """The worker has stopped as asked: the job is cancelled. Raises: LeaseLost."""
        await self._owned("cancelled", claim)

    async def put_beacon(self, fleet_uid: str, beacon: WorkerBeacon) -> None:
        """Stores a worker's beacon, stamped with Redis' time."""
        await self._run("put_beacon", fleet_uid, beacon.worker, beacon.to_json())

    async def drop_beacon(self, fleet_uid: str, worker: str) -> None:
        """A worker leaves in good order."""
        await _answer(self._redis.hdel(keys.workers(self._prefix(fleet_uid)), worker))

    # inside
    def _prefix(self, fleet_uid: str) -> str:
        return keys.fleet_prefix(self._installation, fleet_uid)

    def _fleet_of(self, job_id: str) -> str:
        fleet_uid = ids.fleet_uid_of(job_id)
        if fleet_uid is None:
            raise JobNotFound("no such job")
        return fleet_uid

    async def _get_or_none(self, job_id: str) -> Job | None:
        try:
            return await self.get(job_id)
        except JobNotFound:
            return None

    async def _get_all(self, fleet_uid: str, job_ids: list[str]) -> list[Job]:
        """Those that there are, of one fleet."""
        rows = await self._run("get", fleet_uid, *job_ids) if job_ids else []
        return [records.job(records.fields(row)) for row in rows if row]

    async def _run(self, name: str, fleet_uid: str, *args: str | int | float) -> Any:
        return await self._connection.run(name, self._prefix(fleet_uid), *args)

    async def _run_durably(self, name: str, fleet_uid: str, *args: str | int | float) -> Any:
        return await self._connection.run_durably(name, self._prefix(fleet_uid), *args)

    async def _owned(self, name: str, claim: Claim, *args: str | int | float) -> str:
        run = self._run if name == "beat" else self._run_durably
        answer = await run(name, claim.job.fleet_uid, claim.job.id, claim.token, *args)
        if answer == "lost":
            raise LeaseLost("the lease ended; another worker has the job, or it is finished")
        return cast(str, answer)
