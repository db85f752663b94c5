"""Hypothesis drives the queue's model (`tests/models/queue_model.py`) and a real Redis side by side.

Zombies are just claims that are used late. Leases, delays and deadlines end when a rule moves Redis' scores.
"""

import asyncio
import itertools
import os
import time
import uuid
from collections import Counter
from collections.abc import Awaitable
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine
from queue_model import Limits, Model, ModelJob, Rules, Wish
from redis import Redis
from specimens import result

from videofleet import ids
from videofleet.architectures import Architecture
from videofleet.jobs import Claim, ErrorCode, NewJob, Priority, Progress, VideoRequest
from videofleet.policy import CanaryRule, FallbackRule, FleetPolicy, StickyBy, Track
from videofleet.queue import (
    FleetClosed,
    JobNotDead,
    JobNotFinished,
    JobNotFound,
    JobQueue,
    LeaseLost,
    QueueFull,
    StaleEpoch,
    TenantLimits,
)
from videofleet.queue import client as client_module
from videofleet.tiers import Tier

FULL = Tier(name="full", width=64, height=64, num_frames=9, num_inference_steps=4, fps=16)
LOW = Tier(name="low", width=32, height=32, num_frames=9, num_inference_steps=4, fps=16)
TIERS = {"full": FULL, "low": LOW}
NEVER_MS = 10**9
FAR_MS = 4 * 10**12
LIMITS = Limits(max_depth=6, max_attempts=2, give_backs=1)
TENANTS = ["studio", "ads"]
WORKERS = ["w1", "w2", "w3"]
ANSWERS = {
    FleetClosed: "closed",
    QueueFull: "full",
    JobNotFound: "missing",
    JobNotDead: "alive",
    LeaseLost: "lost",
    StaleEpoch: "stale",
}
ENDINGS = ("succeed", "fail", "give_back", "cancelled")
ATTEMPT_COUNTERS = ("attempts", "attempt_failures", "rejected")

rules_of_the_moment = st.builds(
    Rules,
    stable=st.sampled_from(["r1", "r1", "r2"]),
    canary=st.sampled_from([None, "r2", "r2", "r3"]),
    weight=st.sampled_from([0, 300, 500, 1000]),
    is_sticky=st.booleans(),
    failures_in_row=st.sampled_from([1, 2]),
    share=st.sampled_from([0, 400, 1000]),
    lowered=st.frozensets(st.sampled_from(list(Priority))),
    marked=st.sampled_from([frozenset[str](), frozenset[str](), frozenset(WORKERS[:2])]),
    is_dedicated=st.booleans(),
    has_lapsed=st.sampled_from([False, False, False, True]),
    epoch=st.sampled_from([0, 0, 0, 0, 1]),
).map(lambda rules: rules if rules.canary != rules.stable else Rules(rules.stable, epoch=rules.epoch))


wishes_of_users = st.builds(
    Wish,
    tenant=st.sampled_from(TENANTS),
    priority=st.sampled_from(list(Priority)),
    deadline=st.sampled_from([False, False, True]),
    tier=st.sampled_from(["full", "full", "low"]),
    allow_fallback=st.sampled_from([True, True, False]),
    most_running=st.sampled_from([None, None, None, 1, 2]),
)


def policy_of(fleet_uid: str, rules: Rules) -> FleetPolicy:
    """The model's rules as the operator publishes them."""
    tracks, canary = {rules.stable: Track.STABLE}, None
    if rules.canary is not None:
        tracks[rules.canary] = Track.CANARY
        canary = CanaryRule(
            revision=rules.canary,
            weight_permille=rules.weight,
            sticky_by=StickyBy.TENANT if rules.is_sticky else StickyBy.NONE,
            max_failures_in_row=rules.failures_in_row,
        )
    lowered = sorted(rules.lowered)
    return FleetPolicy(
        fleet="studio/model",
        fleet_uid=fleet_uid,
        architecture=Architecture.WAN22_T2V_A14B,
        tiers=[FULL, LOW],
        tracks=tracks,
        epoch=rules.epoch,
        max_depth=LIMITS.max_depth,
        max_attempts=LIMITS.max_attempts,
        tenants=TENANTS if rules.is_dedicated else None,
        store="videos",
        canary=canary,
        fallback=FallbackRule(tier="low", share_permille=rules.share, priorities=lowered, cause="long_wait"),
        marks=dict.fromkeys(sorted(rules.marked), FAR_MS),
        valid_until_ms=1 if rules.has_lapsed else None,
    )


class Machine(RuleBasedStateMachine):
    """Model and Redis, side by side."""

    jobs: Bundle[str] = Bundle("jobs")
    claims: Bundle[Claim] = Bundle("claims")

    def __init__(self, url: str, runner: asyncio.Runner, queue: JobQueue) -> None:
        super().__init__()
        self.runner, self.queue, self.model, self.steps = runner, queue, Model(LIMITS), 0
        self.held: dict[str, Claim] = {}  # the latest claim of each job
        self.redis = Redis.from_url(url, decode_responses=True)
        self.fleet = str(uuid.uuid4())
        self.prefix = f"vf:{{model/{self.fleet}}}"
        self.run(queue.publish_policy(policy_of(self.fleet, self.model.rules)))

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

    @initialize(rules=rules_of_the_moment)
    def begin(self, rules: Rules) -> None:
        self.publish(rules)

    @rule(rules=rules_of_the_moment)
    def change_policy(self, rules: Rules) -> None:
        self.publish(rules)

    def publish(self, rules: Rules) -> None:
        got = self.answer(self.queue.publish_policy(policy_of(self.fleet, rules)))
        assert (got or "published") == self.model.publish(rules)

    @rule(target=jobs, wishes=st.lists(wishes_of_users, min_size=1, max_size=4))
    def submit(self, wishes: list[Wish]) -> Any:
        created = []
        for wish in wishes:
            job_id = ids.job_id(self.fleet, time.time_ns() // 1_000_000, os.urandom(10))
            new = NewJob(
                id=job_id,
                fleet_uid=self.fleet,
                tenant=wish.tenant,
                priority=wish.priority,
                deadline_ms=FAR_MS if wish.deadline else None,
                request=VideoRequest(
                    prompt="a red car", seed=1, tier=TIERS[wish.tier], allow_fallback=wish.allow_fallback
                ),
            )
            got = self.answer(self.queue.submit(new, TenantLimits(running=wish.most_running)))
            expected = self.model.submit(ModelJob(job_id, 0, **asdict(wish)))
            assert (got if isinstance(got, str) else "created") == expected
            created += [job_id] if expected == "created" else []
        return multiple(*created)

    @rule(
        target=claims,
        worker=st.sampled_from(WORKERS),
        track=st.sampled_from(["stable", "stable", "canary", "canary", "none"]),
        most=st.sampled_from([1, 1, 3]),
    )
    def claim(self, worker: str, track: str, most: int) -> Any:
        rules = self.model.rules
        revision = {"stable": rules.stable, "canary": rules.canary}.get(track) or "r9"
        batches = {tier.volume: most for tier in TIERS.values()}
        got = self.run(self.queue.claim(self.fleet, worker=worker, revision=revision, batches=batches))
        model = self.model
        model.sweep()
        assert got.is_marked == (worker in model.rules.marked and not model.rules.has_lapsed)
        line = None if got.is_marked else model.rules.line_of(revision)
        same, others = model.claimable(line), set[str]()
        assert bool(got.claims) == bool(same)
        for claim in got.claims:
            assert claim.job.id in same
            model.claim(claim.job.id, claim.token, revision)
            self.held[claim.job.id] = claim
            assert claim.tier == TIERS[model.jobs[claim.job.id].made_in]
            assert claim.fallback == ("long_wait" if model.jobs[claim.job.id].is_lowered else None)
            same, others = model.alike(model.jobs[got.claims[0].job.id])
        assert len(got.claims) in (0, most) or others or not same, "the batch ends for no reason"
        return multiple(*got.claims)

    @rule(claim=claims)
    def beat(self, claim: Claim) -> None:
        got = self.answer(self.queue.beat(claim, Progress(stage="denoising", step=1, steps=4)))
        job = self.model.jobs.get(claim.job.id)
        if job is None or job.token != claim.token:
            assert got == "lost"
            return
        assert got.cancel_requested == (self.model.stop_code(job) is not None)
        job.lapsed, job.has_beaten = False, True

    @precondition(lambda self: self.model.of_state("running"))
    @rule(pick=st.integers(0, 5), ending=st.sampled_from(ENDINGS), retry=st.booleans(), is_fault=st.booleans())
    def end_one_that_is_held(self, pick: int, ending: str, retry: bool, is_fault: bool) -> None:
        running = self.model.of_state("running")
        self.end_by(self.held[running[pick % len(running)].id], ending, retry, is_fault)

    @rule(claim=claims, ending=st.sampled_from(ENDINGS), retry=st.booleans(), is_fault=st.booleans())
    def end(self, claim: Claim, ending: str, retry: bool, is_fault: bool) -> None:
        self.end_by(claim, ending, retry, is_fault)

    def end_by(self, claim: Claim, ending: str, retry: bool, is_fault: bool) -> None:
        code = ErrorCode.NOT_FINITE if is_fault else ErrorCode.GENERATION_FAILED
        calls = {
            "succeed": lambda: self.queue.succeed(claim, result(claim.attempt, tier=claim.tier)),
            "fail": lambda: self.queue.fail(claim, code, "it raised", retry=retry),
            "give_back": lambda: self.queue.give_back(claim, is_fault=is_fault),
            "cancelled": lambda: self.queue.cancelled(claim),
        }
        got = self.answer(calls[ending]())
        expected = self.model.owned(claim.job.id, claim.token, ending, retry=retry, is_fault=is_fault)
        if ending == "cancelled" and got is None:  # it says nothing but `lost`
            assert expected != "lost"
        else:
            assert got == expected

    @rule(job_id=jobs, act=st.sampled_from(["cancel", "remove", "replay"]))
    def manage(self, job_id: str, act: str) -> None:
        {"cancel": self.cancel, "remove": self.remove, "replay": self.replay}[act](job_id)

    def cancel(self, job_id: str) -> None:
        got = self.answer(self.queue.cancel(job_id, ErrorCode.CANCELLED_BY_USER))
        job = self.model.jobs.get(job_id)
        if job is None:
            assert got == "missing"
        elif job.state == "queued":
            self.model.end(job, "cancelled", "cancelled")
        elif job.state == "running":
            job.cancel = True

    def remove(self, job_id: str) -> None:
        job = self.model.jobs.get(job_id)
        if job is not None and job.state in ("queued", "running"):
            with pytest.raises(JobNotFinished):
                self.run(self.queue.remove(job_id))
            return
        got = self.answer(self.queue.remove(job_id))
        assert got == "missing" if job is None else got.id == job_id
        self.model.jobs.pop(job_id, None)

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
        queued = self.model.of_state("queued")
        assert (stats.waiting, stats.running) == (len(queued), len(running))
        assert stats.canary_waiting == sum(job.line == "canary" and not job.delayed for job in queued)
        assert stats.canary_given_up == (self.model.trial.revision if self.model.trial.is_given_up else None)
        work = Counter(f"{job.priority}|{job.tier}/{TIERS[job.tier].cost}" for job in queued)
        assert self.redis.hgetall(f"{self.prefix}:work") == {kind: str(count) for kind, count in work.items()}

    @invariant()
    def every_job_is_in_the_right_sets_and_no_other(self) -> None:
        queued = self.model.of_state("queued")
        assert self.members("delayed") == {job.id for job in queued if job.delayed}
        assert self.members("deadlines") == {job.id for job in queued if job.deadline}
        for line, priority in itertools.product(("stable", "canary"), Priority):
            ready = [job for job in queued if (job.line, job.priority) == (line, priority) and not job.delayed]
            firsts = self.redis.zrange(f"{self.prefix}:first:{line}:{priority}", 0, -1, withscores=True)
            seqs = {tenant: [job.seq for job in ready if job.tenant == tenant] for tenant in TENANTS}
            assert dict(firsts) == {tenant: min(own) for tenant, own in seqs.items() if own}
            assert self.members(f"turn:{line}:{priority}") == {job.tenant for job in ready}
            for tenant in TENANTS:
                lane = {job.id for job in ready if job.tenant == tenant}
                assert self.members(f"lane:{line}:{priority}:{tenant}") == lane
        finished = {job.id for job in self.model.jobs.values() if job.state not in ("queued", "running")}
        assert self.members("finished") == finished
        for tenant in TENANTS:
            dead = {job.id for job in self.model.of_state("dead") if job.tenant == tenant}
            assert {job.id for job in self.run(self.queue.dead(self.fleet, tenant))} == dead

    @invariant()
    def every_ending_and_every_attempt_was_counted_once(self) -> None:
        counted: Counter[tuple[bool, str]] = Counter()
        attempts: Counter[tuple[str, str]] = Counter()
        for row in self.run(self.queue.outcomes(self.fleet)):
            for state in ("succeeded", "failed", "dead", "cancelled"):
                counted[row.revision != "", state] += getattr(row, state)
            for what in ATTEMPT_COUNTERS:
                attempts[row.revision, what] += getattr(row, what)
            assert row.steps == row.succeeded
        assert +counted == +self.model.outcomes
        assert +attempts == +self.model.attempts

    @invariant()
    def every_tenants_usage_is_as_its_records_say(self) -> None:
        for tenant in TENANTS:
            own = [job for job in self.model.jobs.values() if job.tenant == tenant]
            used = self.run(self.queue.usage([self.fleet], tenant))
            assert +Counter(used.jobs) == Counter(job.state for job in own)
            unfinished = sum(TIERS[job.tier].cost for job in own if job.state in ("queued", "running"))
            ahead_ms = int(self.redis.hget(f"{self.prefix}:usage:{tenant}", "ahead_ms") or 0)
            assert (ahead_ms > 0) == bool(unfinished), "nothing is ahead of a tenant whose jobs are over"

    def members(self, name: str) -> set[str]:
        return set(self.redis.zrange(f"{self.prefix}:{name}", 0, -1))


def test_redis_does_what_the_model_says(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "LEASE_MS", NEVER_MS)
    monkeypatch.setattr(client_module, "RETRY_MS", NEVER_MS)
    monkeypatch.setattr(client_module, "GIVE_BACKS", LIMITS.give_backs)
    with asyncio.Runner() as runner:
        queue = JobQueue.connect(redis_url, "model")
        run_machine(
            lambda: Machine(redis_url, runner, queue),
            settings=settings(max_examples=50, stateful_step_count=40, suppress_health_check=list(HealthCheck)),
        )
        runner.run(queue.close())
