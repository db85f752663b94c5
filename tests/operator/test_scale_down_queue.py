"""The handshake over the real queue: workers claim all the time, the number changes all the time, no job is lost."""

import asyncio
import random
import time
from dataclasses import dataclass, field

from specimens import FLEET, new_job, policy, result

from videofleet.jobs import JobState
from videofleet.queue import JobQueue
from videofleet_operator.plan.drain import WorkerSeen, plan_drain

JOBS = 150
ENOUGH = 5  # workers removed, to show anything


@dataclass
class Pod:
    """A worker: it claims, works for a moment, commits; when it is taken away it drops what it has."""

    queue: JobQueue
    name: str
    made_s: float
    draw: random.Random
    is_ready: bool = True
    is_costed: bool = False
    job: str | None = None
    task: asyncio.Task[None] = field(init=False)

    def __post_init__(self) -> None:
        self.task = asyncio.create_task(self._live())

    async def _live(self) -> None:
        while True:
            claimed = await self.queue.claim(FLEET, worker=self.name, revision="r1")
            self.is_ready = not claimed.is_marked
            for claim in claimed.claims:
                self.job = claim.job.id
                await asyncio.sleep(self.draw.uniform(0.005, 0.05))  # the work
                await self.queue.succeed(claim, result(claim.attempt))
                self.job = None
            if not claimed.claims:
                await asyncio.sleep(0.01)

    def seen(self) -> WorkerSeen:
        return WorkerSeen(self.name, self.is_ready, self.job is None, self.is_costed, self.made_s)


class SmallCluster:
    """Operator, Deployment and ReplicaSet around the planner, with the marks in Redis."""

    def __init__(self, queue: JobQueue) -> None:
        self.queue, self.pods, self.made = queue, dict[str, Pod](), 0
        self.wanted, self.marks, self.draw = 3, dict[str, int](), random.Random(5)
        self.killed: list[str] = []
        self.removed = 0

    async def publish(self) -> None:
        lapses_ms = time.time_ns() // 1_000_000 + 600_000
        await self.queue.publish_policy(policy(max_attempts=1, marks=self.marks, valid_until_ms=lapses_ms))

    async def look(self, desired: int) -> None:
        alive = [pod.seen() for pod in self.pods.values()]
        plan = plan_drain(desired, self.wanted, alive, self.marks, time.time_ns() // 1_000_000)
        for names, is_costed in ((plan.cost, True), (plan.uncost, False)):
            for name in names:
                self.pods[name].is_costed = is_costed
        if plan.marks != self.marks:
            self.marks = plan.marks
            await self.publish()
        self.wanted = plan.replicas
        self.replica_set()

    def replica_set(self) -> None:
        order = sorted(self.pods.values(), key=lambda pod: (pod.is_ready, not pod.is_costed, -pod.made_s))
        for pod in order[: max(0, len(self.pods) - self.wanted)]:
            if pod.job is not None:
                self.killed.append(pod.job)
            pod.task.cancel()
            self.removed += 1
            del self.pods[pod.name]
        while len(self.pods) < self.wanted:
            self.made += 1
            self.pods[f"w{self.made}"] = Pod(self.queue, f"w{self.made}", float(self.made), self.draw)


async def test_a_number_that_changes_all_the_time_costs_no_job_an_attempt(queue: JobQueue) -> None:
    cluster = SmallCluster(queue)
    await cluster.publish()
    jobs = [(await queue.submit(new_job())).job.id for _ in range(JOBS)]
    deadline = time.monotonic() + 90
    looks, desired = 0, 3
    while (stats := await queue.stats(FLEET)).waiting + stats.running:
        assert time.monotonic() < deadline, stats
        if looks % 6 == 0:
            desired = cluster.draw.randint(1, 5)
        looks += 1
        await cluster.look(desired)
        if cluster.removed <= ENOUGH:  # a slow machine looks less often while the same work lasts
            jobs.append((await queue.submit(new_job())).job.id)
        await asyncio.sleep(0.03)  # between two looks
    for pod in cluster.pods.values():
        pod.task.cancel()
    assert cluster.killed == []
    ended = [await queue.get(job) for job in jobs]
    assert {(job.state, job.attempt) for job in ended} == {(JobState.SUCCEEDED, 1)}
