"""The queue in plain Python: what every call must answer and leave behind. Pure; no clock, no Redis.

Time does not run here: leases, delays, deadlines and policies end when a test says so. Which tenant goes first is left
open; fairness has tests of its own.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass, field

from videofleet.jobs import Priority


@dataclass(frozen=True)
class Limits:
    """What a fleet allows."""

    max_depth: int
    max_attempts: int
    give_backs: int


@dataclass(frozen=True)
class Rules:
    """A published policy, as far as the queue obeys it. Two tiers: `full` may be lowered to `low`."""

    stable: str = "r1"
    canary: str | None = None
    weight: int = 0  # permille
    is_sticky: bool = False
    failures_in_row: int = 2
    share: int = 0  # permille
    lowered: frozenset[Priority] = frozenset()
    marked: frozenset[str] = frozenset()
    is_dedicated: bool = False
    has_lapsed: bool = False
    epoch: int = 0

    def line_of(self, revision: str) -> str | None:
        """Whose jobs a revision's workers get."""
        if revision == self.stable:
            return "stable"
        return "canary" if revision == self.canary else None


@dataclass(frozen=True)
class Wish:
    """What a user submits."""

    tenant: str
    priority: Priority
    deadline: bool
    tier: str
    allow_fallback: bool
    most_running: int | None = None  # from now on, of the tenant


@dataclass
class ModelJob:
    """One job as it should be."""

    id: str
    seq: int
    tenant: str
    priority: Priority
    deadline: bool
    tier: str
    allow_fallback: bool
    most_running: int | None = None  # of its tenant, when it was submitted
    line: str = "stable"
    state: str = "queued"
    code: str | None = None
    attempt: int = 0
    revision: str | None = None
    is_decided: bool = False  # whether it is lowered
    is_lowered: bool = False
    spent: int = 0
    given_back: int = 0
    token: str | None = None
    ended_token: str | None = None
    cancel: bool = False
    has_beaten: bool = False  # its worker knows of the latest attempt
    lapsed: bool = False  # the lease has run out, nobody has noticed
    delayed: bool = False  # waits for its next attempt
    elapsed: bool = False  # the delay is over, nobody has noticed
    late: bool = False  # the deadline has passed
    old: bool = False  # waited longer than batchMaxWait

    @property
    def made_in(self) -> str:
        """The tier of its video."""
        return "low" if self.is_lowered else self.tier


@dataclass
class Trial:
    """The record of one canary."""

    revision: str | None = None
    credit: int = 0
    failures: int = 0
    is_given_up: bool = False


@dataclass
class Model:
    """One fleet's queue as it should be. Every arrow is a method; it returns what the call must answer."""

    limits: Limits
    rules: Rules = field(default_factory=Rules)
    trial: Trial = field(default_factory=Trial)
    jobs: dict[str, ModelJob] = field(default_factory=dict)
    closed: bool = False
    seq: int = 0
    fallback_credit: int = 0
    most_running: dict[str, int | None] = field(default_factory=dict)  # by tenant
    outcomes: Counter[tuple[bool, str]] = field(default_factory=Counter)  # (was ever begun, state)
    attempts: Counter[tuple[str, str]] = field(default_factory=Counter)  # (revision, what)

    def of_state(self, state: str) -> list[ModelJob]:
        """Jobs in a state."""
        return [job for job in self.jobs.values() if job.state == state]

    @property
    def _is_full(self) -> bool:
        return len(self.of_state("queued")) >= self.limits.max_depth

    # policy
    def publish(self, rules: Rules) -> str:
        """Another policy; a revoked canary's jobs go back."""
        if rules.epoch < self.rules.epoch:
            return "stale"
        self.rules = rules
        if rules.canary != self.trial.revision:
            self._dissolve()
            self.trial = Trial(rules.canary)
        return "published"

    def _dissolve(self) -> None:
        for job in self.of_state("queued"):
            job.line = "stable"

    def _is_on_trial(self, revision: str | None) -> bool:
        return revision is not None and revision == self.trial.revision and not self.trial.is_given_up

    def _judge(self, revision: str | None, *, is_fault: bool) -> None:
        if not self._is_on_trial(revision):
            return
        self.trial.failures = self.trial.failures + 1 if is_fault else 0
        if self.trial.failures >= self.rules.failures_in_row:
            self.trial.is_given_up = True
            self._dissolve()

    def _admit(self, tenant: str) -> str:
        rules = self.rules
        if rules.canary is None or rules.has_lapsed or not self._is_on_trial(rules.canary):
            return "stable"
        if rules.is_sticky:
            digest = hashlib.sha1(f"{rules.canary}|{tenant}".encode()).hexdigest()
            return "canary" if int(digest[:8], 16) % 1000 < rules.weight else "stable"
        self.trial.credit += rules.weight
        if self.trial.credit < 1000:
            return "stable"
        self.trial.credit -= 1000
        return "canary"

    # arrows
    def submit(self, job: ModelJob) -> str:
        """(new) → queued."""
        if self.closed or self._is_full:
            return "closed" if self.closed else "full"
        self.seq += 1
        job.seq, job.line = self.seq, self._admit(job.tenant)
        self.jobs[job.id] = job
        self.most_running[job.tenant] = job.most_running
        return "created"

    def _is_at_cap(self, tenant: str) -> bool:
        most = self.most_running.get(tenant)
        return most is not None and sum(job.tenant == tenant for job in self.of_state("running")) >= most

    def claimable(self, line: str | None) -> set[str]:
        """After a sweep: the jobs of a line one of which must be given out."""
        queued = [job for job in self.of_state("queued") if job.line == line and not job.delayed]
        ready = sorted((job for job in queued if not self._is_at_cap(job.tenant)), key=lambda job: job.seq)
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

    def alike(self, first: ModelJob) -> tuple[set[str], set[str]]:
        """Who may come next: those that share a batch with `first`, which has begun, and those that do not."""
        if self.rules.is_dedicated:
            lane = [job for job in self.of_state("queued") if not job.delayed and job.line == first.line]
            own = [job for job in lane if (job.tenant, job.priority) == (first.tenant, first.priority)]
            is_free = own and not self._is_at_cap(first.tenant)
            found = {min(own, key=lambda job: job.seq).id} if is_free else set[str]()
        else:
            found = self.claimable(first.line)
        same = {
            job_id
            for job_id in found
            if self.jobs[job_id].priority is first.priority
            and self._tier_now(self.jobs[job_id])[0] == first.made_in
            and (first.attempt, self.jobs[job_id].attempt) == (1, 0)
        }
        return same, found - same

    def _tier_now(self, job: ModelJob) -> tuple[str, int | None]:
        """The tier that a claim would give, and the credit if the job counts in the share."""
        rules = self.rules
        may = not job.is_decided and job.allow_fallback and job.priority in rules.lowered and job.tier == "full"
        if not may or rules.has_lapsed:
            return job.made_in, None
        credit = self.fallback_credit + rules.share
        return ("low" if credit >= 1000 else job.made_in), credit % 1000

    def claim(self, job_id: str, token: str, revision: str) -> None:
        """queued → running."""
        job = self.jobs[job_id]
        tier, credit = self._tier_now(job)
        if credit is not None:
            self.fallback_credit = credit
        job.is_lowered = tier != job.tier
        job.state, job.token, job.revision, job.is_decided = "running", token, revision, True
        job.lapsed = job.has_beaten = False
        job.attempt += 1
        job.spent += 1

    def end(self, job: ModelJob, state: str, code: str | None) -> str:
        """→ a terminal state."""
        job.state, job.code, job.token, job.delayed = state, code, None, False
        self.outcomes[job.attempt > 0, state] += 1
        return state

    def stop_code(self, job: ModelJob) -> str | None:
        """Why the job must not run any more."""
        if job.cancel:
            return "cancelled"
        return "fleet_deleted" if self.closed else None

    def _count_attempt(self, job: ModelJob, *faults: str) -> None:
        for what in ("attempts", *faults):
            self.attempts[job.revision or "", what] += 1
        self._judge(job.revision, is_fault=bool(faults))

    def _spare(self, job: ModelJob, *, is_due: bool) -> None:
        """An attempt that is not counted."""
        job.given_back += is_due
        job.spent -= is_due and job.given_back <= self.limits.give_backs

    def _retry_or_bury(self, job: ModelJob, *faults: str, delayed: bool = False) -> str:
        if faults:
            self._count_attempt(job, *faults)
        if code := self.stop_code(job):
            return self.end(job, "cancelled", code)
        if job.spent >= self.limits.max_attempts:
            return self.end(job, "dead", "attempts_exhausted")
        job.state, job.token, job.delayed, job.elapsed = "queued", None, delayed, False
        if faults or not self._is_on_trial(job.revision):
            job.line = "stable"
        return "queued"

    def sweep(self) -> set[str]:
        """What time alone does. Returns: ids of those whose lease or deadline ended."""
        touched = {job.id for job in self.of_state("running") if job.lapsed}
        for job_id in touched:
            self._spare(self.jobs[job_id], is_due=not self.jobs[job_id].has_beaten)
            self._retry_or_bury(self.jobs[job_id], "attempt_failures")
        for job in self.of_state("queued"):
            if job.deadline and job.late:
                self.end(job, "failed", "deadline_exceeded")
                touched.add(job.id)
            elif job.elapsed:
                job.delayed = False
        if self.rules.has_lapsed:
            self._dissolve()
        return touched

    def owned(self, job_id: str, token: str, ending: str, *, retry: bool, is_fault: bool) -> str:
        """One of the endings, by whoever holds this token or once did. `is_fault`: the gate refused the video, or the
        job is given back because its worker broke.
        """
        job = self.jobs.get(job_id)
        if job is None:
            return "lost"
        if job.token != token:
            return job.state if job.ended_token == token else "lost"
        job.ended_token = token
        code = self.stop_code(job)
        match ending:
            case "give_back":
                self._spare(job, is_due=True)
                return self._retry_or_bury(job, *(["attempt_failures"] if is_fault else []))
            case "fail":
                faults = ("attempt_failures", "rejected") if is_fault else ("attempt_failures",)
                if retry:
                    return self._retry_or_bury(job, *faults, delayed=True)
                self._count_attempt(job, *faults)
            case "succeed":
                self._count_attempt(job)
        if ending == "cancelled" or code:
            return self.end(job, "cancelled", code or "cancelled")
        if ending == "succeed":
            return self.end(job, "succeeded", None)
        return self.end(job, "failed", "not_finite" if is_fault else "generation_failed")

    def replay(self, job_id: str) -> str:
        """dead → queued."""
        job = self.jobs.get(job_id)
        if job is None or job.state != "dead":
            return "missing" if job is None else "alive"
        if self.closed or self._is_full:
            return "closed" if self.closed else "full"
        self.seq += 1
        job.state, job.code, job.seq, job.spent, job.given_back = "queued", None, self.seq, 0, 0
        job.deadline = job.cancel = job.old = job.is_decided = job.is_lowered = False
        job.ended_token, job.line = None, "stable"
        return "queued"
