"""A model of the queue in plain Python, and Hypothesis driving it and a real Redis side by side.

The model says what every call must answer and leave behind, for any claim anybody ever held: zombies are just claims
that are used late. Time does not run by itself here: leases, delays and deadlines end when a rule moves Redis' scores.
Which tenant goes first is left open; fairness has tests of its own.
"""

import asyncio
import os
import time
import uuid
from collections import Counter
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine
from redis import Redis

from videofleet import ids
from videofleet.architectures import Architecture
from videofleet.jobs import Claim, ErrorCode, NewJob, Priority, Progress, VideoRequest, VideoResult
from videofleet.policy import FleetPolicy, Track
from videofleet.queue import FleetClosed, JobNotDead, JobNotFinished, JobNotFound, JobQueue, LeaseLost, QueueFull
from videofleet.queue import client as client_module
from videofleet.tiers import Tier

TIER = Tier(name="small", width=64, height=64, num_frames=9, num_inference_steps=4, fps=16)
NEVER_MS = 10**9
FAR_MS = 4 * 10**12
MAX_DEPTH, MAX_ATTEMPTS, GIVE_BACKS = 6, 2, 1


@dataclass
class ModelJob:
    """One job as it should be."""

    id: str
    tenant: str
    priority: Priority
    seq: int
    deadline: bool
    state: str = "queued"
    code: str | None = None
    attempt: int = 0
    spent: int = 0
    given_back: int = 0
    token: str | None = None
    ended_token: str | None = None
    cancel: bool = False
    lapsed: bool = False  # the lease has run out, nobody has noticed
    delayed: bool = False  # waits for its next attempt
    elapsed: bool = False  # the delay is over, nobody has noticed
    late: bool = False  # the deadline has passed
    old: bool = False  # waited longer than batchMaxWait


@dataclass
class Model:
    """One fleet's queue as it should be. Every arrow is a method; it returns what the call must answer."""

    jobs: dict[str, ModelJob] = field(default_factory=dict)
    closed: bool = False
    seq: int = 0
    outcomes: Counter[tuple[bool, str]] = field(default_factory=Counter)  # (was ever begun, state)

    def of_state(self, state: str) -> list[ModelJob]:
        return [job for job in self.jobs.values() if job.state == state]

    def submit(self, job_id: str, tenant: str, priority: Priority, deadline: bool) -> str:
        if self.closed or len(self.of_state("queued")) >= MAX_DEPTH:
            return "closed" if self.closed else "full"
        self.seq += 1
        self.jobs[job_id] = ModelJob(job_id, tenant, priority, self.seq, deadline)
        return "created"

    def claimable(self) -> set[str]:
        """After a sweep: the jobs one of which must be given out."""
        ready = sorted((job for job in self.of_state("queued") if not job.delayed), key=lambda job: job.seq)
        batch = [job for job in ready if job.priority is Priority.BATCH]
        if self.closed or not ready:
            return set()
        if batch and batch[0].old:
            return {batch[0].id}
        first = next(priority for priority in Priority if any(job.priority is priority for job in ready))
        heads: dict[str, str] = {}
        for job in ready:
            if job.priority is first:
                heads.setdefault(job.tenant, job.id)
        return set(heads.values())

    def claim(self, job_id: str, token: str) -> None:
        job = self.jobs[job_id]
        job.state, job.token, job.lapsed = "running", token, False
        job.attempt += 1
        job.spent += 1

    def end(self, job: ModelJob, state: str, code: str | None) -> str:
        job.state, job.code, job.token, job.delayed = state, code, None, False
        self.outcomes[job.attempt > 0, state] += 1
        return state

    def stop_code(self, job: ModelJob) -> str | None:
        if job.cancel:
            return "cancelled"
        return "fleet_deleted" if self.closed else None

    def retry_or_bury(self, job: ModelJob, *, delayed: bool) -> str:
        if code := self.stop_code(job):
            return self.end(job, "cancelled", code)
        if job.spent >= MAX_ATTEMPTS:
            return self.end(job, "dead", "attempts_exhausted")
        job.state, job.token, job.delayed, job.elapsed = "queued", None, delayed, False
        return "queued"

    def sweep(self) -> set[str]:
        touched = {job.id for job in self.of_state("running") if job.lapsed}
        for job_id in touched:
            self.retry_or_bury(self.jobs[job_id], delayed=False)
        for job in self.of_state("queued"):
            if job.deadline and job.late:
                self.end(job, "failed", "deadline_exceeded")
                touched.add(job.id)
            elif job.elapsed:
                job.delayed = False
        return touched

    def owned(self, claim: Claim, ending: str, *, retry: bool = False) -> str:
        """One of the five endings, by whoever holds this claim or once did."""
        job = self.jobs.get(claim.job.id)
        if job is None:
            return "lost"
        if job.token != claim.token:
            return job.state if job.ended_token == claim.token else "lost"
        job.ended_token = claim.token
        code = self.stop_code(job)
        if ending == "give_back":
            job.given_back += 1
            job.spent -= job.given_back <= GIVE_BACKS
        if ending == "give_back" or retry:
            return self.retry_or_bury(job, delayed=ending == "fail")
        if ending == "cancelled" or code:
            return self.end(job, "cancelled", code or "cancelled")
        return self.end(job, *(("succeeded", None) if ending == "succeed" else ("failed", "generation_failed")))

    def replay(self, job_id: str) -> str:
        job = self.jobs.get(job_id)
        if job is None or job.state != "dead":
            return "missing" if job is None else "alive"
        if self.closed or len(self.of_state("queued")) >= MAX_DEPTH:
            return "closed" if self.closed else "full"
        self.seq += 1
        job.state, job.code, job.seq, job.spent, job.given_back = "queued", None, self.seq, 0, 0
        job.deadline = job.cancel = job.old = False
        job.ended_token = None
        return "queued"


ANSWERS = {FleetClosed: "closed", QueueFull: "full", JobNotFound: "missing", JobNotDead: "alive", LeaseLost: "lost"}
ENDINGS = ("succeed", "fail", "give_back", "cancelled")
POLICY = FleetPolicy(
    fleet="studio/model",
    fleet_uid="",
    architecture=Architecture.WAN22_T2V_A14B,
    tiers=[TIER],
    tracks={"r1": Track.STABLE},
    max_depth=MAX_DEPTH,
    max_attempts=MAX_ATTEMPTS,
    store="videos",
)


class Machine(RuleBasedStateMachine):
    """Model and Redis, side by side."""

    jobs: Bundle[str] = Bundle("jobs")
    claims: Bundle[Claim] = Bundle("claims")

    def __init__(self, url: str, runner: asyncio.Runner, queue: JobQueue) -> None:
        super().__init__()
        self.runner, self.queue, self.model, self.steps = runner, queue, Model(), 0
        self.redis = Redis.from_url(url, decode_responses=True)
        self.fleet = str(uuid.uuid4())
        self.prefix = f"vf:{{model/{self.fleet}}}"
        self.run(queue.publish_policy(POLICY.model_copy(update={"fleet_uid": self.fleet})))

    def run(self, call: Awaitable[Any]) -> Any:
        async def wait() -> Any:
            return await call

        return self.runner.run(wait())

    def teardown(self) -> None:
        self.redis.close()

    def answer(self, call: Awaitable[Any]) -> Any:
        """The call's result, or the word for its refusal."""
        try:
            return self.run(call)
        except tuple(ANSWERS) as refusal:
            return ANSWERS[type(refusal)]

    @rule(
        target=jobs,
        tenant=st.sampled_from(["studio", "ads"]),
        priority=st.sampled_from(list(Priority)),
        deadline=st.booleans(),
    )
    def submit(self, tenant: str, priority: Priority, deadline: bool) -> Any:
        job_id = ids.job_id(self.fleet, time.time_ns() // 1_000_000, os.urandom(10))
        new = NewJob(
            id=job_id,
            fleet_uid=self.fleet,
            tenant=tenant,
            priority=priority,
            deadline_ms=FAR_MS if deadline else None,
            request=VideoRequest(prompt="a red car", seed=1, tier=TIER),
        )
        got = self.answer(self.queue.submit(new))
        expected = self.model.submit(job_id, tenant, priority, deadline)
        assert (got if isinstance(got, str) else "created") == expected
        return job_id if expected == "created" else multiple()

    @rule(target=claims, worker=st.sampled_from(["w1", "w2", "w3"]))
    def claim(self, worker: str) -> Any:
        claimed = self.run(self.queue.claim(self.fleet, worker=worker, revision="r1"))
        self.model.sweep()
        claimable = self.model.claimable()
        if not claimed.claims:
            assert not claimable
            return multiple()
        (got,) = claimed.claims
        assert got.job.id in claimable
        self.model.claim(got.job.id, got.token)
        return got

    @rule(claim=claims)
    def beat(self, claim: Claim) -> None:
        got = self.answer(self.queue.beat(claim, Progress(stage="denoising", step=1, steps=4)))
        job = self.model.jobs.get(claim.job.id)
        if job is None or job.token != claim.token:
            assert got == "lost"
            return
        assert got.cancel_requested == (self.model.stop_code(job) is not None)
        job.lapsed = False

    @rule(claim=claims, ending=st.sampled_from(ENDINGS), retry=st.booleans())
    def end(self, claim: Claim, ending: str, retry: bool) -> None:
        calls = {
            "succeed": lambda: self.queue.succeed(claim, result(claim)),
            "fail": lambda: self.queue.fail(claim, ErrorCode.GENERATION_FAILED, "it raised", retry=retry),
            "give_back": lambda: self.queue.give_back(claim),
            "cancelled": lambda: self.queue.cancelled(claim),
        }
        got = self.answer(calls[ending]())
        expected = self.model.owned(claim, ending, retry=retry and ending == "fail")
        if ending == "cancelled" and got is None:  # it says nothing but `lost`
            assert expected != "lost"
        else:
            assert got == expected

    @rule(job_id=jobs)
    def cancel(self, job_id: str) -> None:
        got = self.answer(self.queue.cancel(job_id, ErrorCode.CANCELLED_BY_USER))
        job = self.model.jobs.get(job_id)
        if job is None:
            assert got == "missing"
        elif job.state == "queued":
            self.model.end(job, "cancelled", "cancelled")
        elif job.state == "running":
            job.cancel = True

    @rule(job_id=jobs)
    def remove(self, job_id: str) -> None:
        job = self.model.jobs.get(job_id)
        if job is not None and job.state in ("queued", "running"):
            with pytest.raises(JobNotFinished):
                self.run(self.queue.remove(job_id))
            return
        got = self.answer(self.queue.remove(job_id))
        assert got == "missing" if job is None else got.id == job_id
        self.model.jobs.pop(job_id, None)

    @rule(job_id=jobs)
    def replay(self, job_id: str) -> None:
        got = self.answer(self.queue.replay(job_id))
        assert (got if isinstance(got, str) else got.state) == self.model.replay(job_id)

    @rule()
    def reap(self) -> None:
        assert set(self.run(self.queue.reap(self.fleet))) == self.model.sweep()

    @precondition(lambda self: self.steps > 25)
    @rule()
    def close(self) -> None:
        cancelled = self.run(self.queue.close_fleet(self.fleet, ErrorCode.FLEET_DELETED))
        self.model.closed = True
        waiting = self.model.of_state("queued")
        assert set(cancelled) == {job.id for job in waiting}
        for job in waiting:
            self.model.end(job, "cancelled", "fleet_deleted")

    @rule(claim=claims)
    def a_lease_runs_out(self, claim: Claim) -> None:
        job = self.model.jobs.get(claim.job.id)
        if job is not None and job.state == "running":
            job.lapsed = True
            self.redis.zadd(f"{self.prefix}:running", {job.id: 1}, xx=True)

    @rule(job_id=jobs)
    def time_passes(self, job_id: str) -> None:
        """The job's delay, deadline and batchMaxWait are over."""
        job = self.model.jobs.get(job_id)
        if job is None:
            return
        job.old, job.late, job.elapsed = True, job.deadline, job.delayed
        self.redis.zadd(f"{self.prefix}:delayed", {job_id: 1}, xx=True)
        self.redis.zadd(f"{self.prefix}:deadlines", {job_id: 1}, xx=True)
        self.redis.hset(f"{self.prefix}:job:{job_id}", mapping={"queued_at_ms": 1})
        if job.deadline:
            self.redis.hset(f"{self.prefix}:job:{job_id}", mapping={"deadline_ms": 1})

    @invariant()
    def every_job_is_as_the_model_says(self) -> None:
        self.steps += 1
        for job in self.model.jobs.values():
            found = self.run(self.queue.get(job.id))
            assert (found.state, found.error_code, found.attempt) == (job.state, job.code, job.attempt)
            assert (found.result is not None) == (job.state == "succeeded")
        stats = self.run(self.queue.stats(self.fleet))
        running = self.model.of_state("running")
        assert (stats.waiting, stats.running) == (len(self.model.of_state("queued")), len(running))

    @invariant()
    def every_job_is_in_the_right_sets_and_no_other(self) -> None:
        queued = self.model.of_state("queued")
        assert self.members("delayed") == {job.id for job in queued if job.delayed}
        assert self.members("deadlines") == {job.id for job in queued if job.deadline}
        for priority in Priority:
            ready = [job for job in queued if job.priority is priority and not job.delayed]
            assert self.members(f"waiting:stable:{priority}") == {job.id for job in ready}
            assert self.members(f"turn:stable:{priority}") == {job.tenant for job in ready}
            for tenant in ("studio", "ads"):
                lane = {job.id for job in ready if job.tenant == tenant}
                assert self.members(f"lane:stable:{priority}:{tenant}") == lane
        finished = {job.id for job in self.model.jobs.values() if job.state not in ("queued", "running")}
        assert self.members("finished") == finished
        for tenant in ("studio", "ads"):
            dead = {job.id for job in self.model.of_state("dead") if job.tenant == tenant}
            assert {job.id for job in self.run(self.queue.dead(self.fleet, tenant))} == dead

    @invariant()
    def every_ending_was_counted_once(self) -> None:
        counted: Counter[tuple[bool, str]] = Counter()
        for row in self.run(self.queue.outcomes(self.fleet)):
            for state in ("succeeded", "failed", "dead", "cancelled"):
                counted[row.revision == "r1", state] += getattr(row, state)
            assert row.steps == row.succeeded
        assert +counted == +self.model.outcomes

    def members(self, name: str) -> set[str]:
        return set(self.redis.zrange(f"{self.prefix}:{name}", 0, -1))


def result(claim: Claim) -> VideoResult:
    return VideoResult(
        store="videos",
        video_key="video.mp4",
        thumbnail_key="thumbnail.jpg",
        video_bytes=1,
        tier=TIER,
        seed=1,
        revision="r1",
        attempt=claim.attempt,
        seconds_per_step=0.5,
        worker_seconds=2.0,
    )


def test_redis_does_what_the_model_says(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "LEASE_MS", NEVER_MS)
    monkeypatch.setattr(client_module, "RETRY_MS", NEVER_MS)
    monkeypatch.setattr(client_module, "GIVE_BACKS", GIVE_BACKS)
    with asyncio.Runner() as runner:
        queue = JobQueue.connect(redis_url, "model")
        run_machine(
            lambda: Machine(redis_url, runner, queue),
            settings=settings(max_examples=60, stateful_step_count=40, suppress_health_check=list(HealthCheck)),
        )
        runner.run(queue.close())
