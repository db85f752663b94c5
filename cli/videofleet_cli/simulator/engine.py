"""The fleet on paper: arrivals, claims, cold starts, failures, rollouts, and an autoscaler that looks now and then.

Discrete events on one heap; nothing happens between two. Worker pods are those of a Deployment: a pod that is taken
away finishes its job within the grace period and holds its GPU until it is gone. Invariant: every job that came waits,
runs or is done.
"""

import heapq
import random
from collections import deque
from collections.abc import Sequence
from typing import Final

from videofleet_cli.simulator.orders import Autoscaler, DegradeRule, Orders, Tracks, View, WorkerView
from videofleet_cli.simulator.rolling import rolling_update
from videofleet_cli.simulator.workload import Job
from videofleet_cli.simulator.world import Account, Ran, Worker, World
from videofleet_operator.plan.shares import WHOLE

PRIORITIES: Final = 3
_ARRIVAL, _READY, _DONE, _GONE, _LOOK, _CRASH, _REVISION = range(7)


class Fleet:
    """One run of one autoscaler over one workload."""

    def __init__(self, jobs: Sequence[Job], world: World, scaler: Autoscaler) -> None:
        self._jobs, self._world, self._scaler = jobs, world, scaler
        self._draw = random.Random(world.seed)  # noqa: S311 - a simulation
        self._events: list[tuple[float, int, int, int]] = []
        self._serial = 0
        self._now = jobs[0].at_s
        self._waiting: tuple[deque[tuple[Job, float]], ...] = tuple(deque() for _ in range(PRIORITIES))
        self._waiting_s = [0.0] * PRIORITIES
        self._arrived_s = 0.0
        self._next = 0
        self._workers: dict[int, Worker] = {}
        self._idle: list[int] = []
        self._wanted = 0
        self._stable = self._target = 0  # revisions
        self._applied_s = 0.0
        self._tracks: Tracks | None = None
        self._trial_done = 0
        self._split = [0, 0]  # claims at this weight: of all, of the canary
        self._look_serial = 0
        self._rule: DegradeRule | None = None
        self._claims = [0, 0]  # of jobs that may be degraded: seen, degraded
        self._looks = False
        self.account = Account()

    def run(self) -> Account:
        """Until the last job is done."""
        self._push(self._now, _ARRIVAL)
        self._look_in(0.0)
        for after_s in self._world.rollouts_s:
            self._push(self._now + after_s, _REVISION)
        pods_since = self._now
        while self._events:
            at_s, _, kind, name = heapq.heappop(self._events)
            self.account.pod_s += len(self._workers) * (at_s - pods_since)
            self.account.degraded_s += (at_s - pods_since) * (self._rule is not None)
            self._now = pods_since = at_s
            self._take(kind, name)
            if self._next == len(self._jobs) and self._is_all_done():
                return self.account
        return self.account

    def _take(self, kind: int, name: int) -> None:
        if kind == _ARRIVAL:
            self._arrive()
        elif kind == _LOOK and name == self._look_serial:
            self._look()
        elif kind == _REVISION and self._stable == self._target:
            self._target, self._applied_s = self._target + 1, self._now
            self._trial_done = 0
            self._look_in(0.0)
        elif (worker := self._workers.get(name)) is not None:
            if kind == _READY:
                self._become_ready(worker)
            elif kind == _DONE and worker.job is not None and worker.ends_s == self._now:
                self._finish(worker)
            elif kind == _GONE and worker.is_terminating:
                self._remove(worker)
            elif kind == _CRASH:
                self._crash(worker)

    def _is_all_done(self) -> bool:
        return not any(self._waiting) and all(worker.job is None for worker in self._workers.values())

    def _push(self, at_s: float, kind: int, name: int = 0) -> None:
        self._serial += 1
        heapq.heappush(self._events, (at_s, self._serial, kind, name))

    def _look_in(self, seconds: float) -> None:
        """The next look; one that was planned before is forgotten."""
        self._looks = True
        self._look_serial += 1
        self._push(self._now + seconds, _LOOK, self._look_serial)

    def _arrive(self) -> None:
        job = self._jobs[self._next]
        self._next += 1
        self._waiting[job.priority].append((job, job.work_s))
        self._waiting_s[job.priority] += job.work_s
        self._arrived_s += job.work_s
        if self._next < len(self._jobs):
            self._push(self._jobs[self._next].at_s, _ARRIVAL)
        self._serve_waiting()
        if not self._looks:
            self._look_in(self._scaler.every_s)

    def _claim(self, worker: Worker) -> None:
        line = next((line for line in self._waiting if line), None)
        if line is None or not self._may_claim(worker):
            self._idle.append(worker.name)
            return
        self._split = [self._split[0] + 1, self._split[1] + (worker.revision != self._stable)]
        job, work_s = line.popleft()
        self._waiting_s[job.priority] = max(0.0, self._waiting_s[job.priority] - work_s)
        scale = self._degraded_to(job)
        worker.job, worker.started_s, worker.ends_s = job, self._now, self._now + work_s * scale
        if work_s == job.work_s:  # its first attempt
            self.account.ran.append(Ran(job, self._now - job.at_s, scale, job.priority))
        self._push(worker.ends_s, _DONE, worker.name)

    def _may_claim(self, worker: Worker) -> bool:
        """A canary has its share of the jobs and no more; with all of them nothing is left for stable."""
        if self._tracks is None or self._stable == self._target:
            return True
        if worker.revision == self._stable:
            return self._tracks.weight < WHOLE
        return (self._split[1] + 1) * WHOLE <= (self._split[0] + 1) * self._tracks.weight

    def _degraded_to(self, job: Job) -> float:
        """The share of its work that is done: 1, or what the fallback rule's tier costs."""
        rule = self._rule
        if rule is None or job.is_protected or job.priority not in rule.priorities:
            return 1.0
        self._claims[0] += 1
        if self._claims[1] < self._claims[0] * rule.share:
            self._claims[1] += 1
            return rule.scale
        return 1.0

    def _finish(self, worker: Worker) -> None:
        self.account.busy_s += self._now - worker.started_s
        worker.job = None
        self._trial_done += worker.revision != self._stable
        if worker.is_terminating:
            self._remove(worker)
        elif worker.is_marked:
            worker.is_ready = False
        else:
            self._idle.append(worker.name)
        self._serve_waiting()

    def _give_back(self, worker: Worker) -> None:
        """The job of a worker that is gone goes to the front; what it had done counts, as checkpoints do."""
        if worker.job is None:
            return
        left_s = max(1.0, worker.ends_s - self._now)
        self.account.busy_s += self._now - worker.started_s
        self._waiting[worker.job.priority].appendleft((worker.job, left_s * (1 - 1e-9)))
        self._waiting_s[worker.job.priority] += left_s
        worker.job = None

    def _become_ready(self, worker: Worker) -> None:
        if worker.is_terminating or worker.is_ready:
            return
        worker.is_ready = True
        if self._world.mtbf_s is not None:
            self._push(self._now + self._draw.expovariate(1 / self._world.mtbf_s), _CRASH, worker.name)
        if worker.is_marked:
            worker.is_ready = False
        else:
            self._claim(worker)
        if self._stable != self._target and self._tracks is None:
            self._obey_counts()

    def _crash(self, worker: Worker) -> None:
        """The container dies and starts again: the model is loaded anew."""
        if not worker.is_ready and worker.job is None:
            return
        self.account.crashed += worker.job is not None
        self._give_back(worker)
        self._forget_idle(worker)
        worker.is_ready, worker.made_s = False, self._now
        if worker.is_terminating:
            self._remove(worker)
        else:
            self._push(self._now + self._cold_start(), _READY, worker.name)
        self._serve_waiting()

    def _serve_waiting(self) -> None:
        """Idle workers claim: a canary whose turn it is first, then whoever became idle last."""
        if not any(self._waiting):
            return
        order = self._idle[::-1]
        order.sort(key=lambda name: self._workers[name].revision == self._stable)
        for name in order:
            if not any(self._waiting):
                return
            self._idle.remove(name)
            self._claim(self._workers[name])

    def _cold_start(self) -> float:
        spread = self._world.cold_start_spread
        return self._world.cold_start_s * self._draw.uniform(1 - spread, 1 + spread)

    def _forget_idle(self, worker: Worker) -> None:
        if worker.name in self._idle:
            self._idle.remove(worker.name)

    def _remove(self, worker: Worker) -> None:
        if worker.job is not None:
            self.account.killed += 1
            self._give_back(worker)
        self._forget_idle(worker)
        del self._workers[worker.name]
        self._start_missing()
        self._serve_waiting()

    def _of(self, revision: int) -> list[Worker]:
        return [one for one in self._workers.values() if one.revision == revision and not one.is_terminating]

    def _counts(self) -> dict[int, int]:
        """Pods asked for, by revision."""
        if self._stable == self._target:
            return {self._stable: self._wanted}
        if self._tracks is not None:
            return {self._stable: self._wanted, self._target: self._tracks.canary}
        old, new = self._of(self._stable), self._of(self._target)
        ready = sum(worker.is_ready for worker in [*old, *new])
        return dict(
            zip((self._stable, self._target), rolling_update(self._wanted, len(old), len(new), ready), strict=True)
        )

    def _obey_counts(self) -> None:
        counts = self._counts()
        for revision in {worker.revision for worker in self._workers.values()} | set(counts):
            self._take_away(revision, len(self._of(revision)) - counts.get(revision, 0))
        self._start_missing()
        if self._stable != self._target and self._tracks is None:
            new = self._of(self._target)
            if not self._of(self._stable) and sum(worker.is_ready for worker in new) >= self._wanted:
                self._promote()

    def _promote(self) -> None:
        self._stable = self._target
        self.account.rollouts_took_s.append(self._now - self._applied_s)

    def _start_missing(self) -> None:
        """Deployments make pods while there is quota; terminating ones still hold their GPUs."""
        for revision, count in self._counts().items():
            missing = min(count - len(self._of(revision)), self._world.max_pods - len(self._workers))
            for _ in range(missing):
                self._serial += 1
                worker = Worker(self._serial, self._now, self._now + self._cold_start(), revision)
                self._workers[worker.name] = worker
                self._push(worker.ready_s, _READY, worker.name)
        self.account.most_pods = max(self.account.most_pods, len(self._workers))

    def _take_away(self, revision: int, count: int) -> None:
        """As a ReplicaSet does: not ready first, then by deletion cost, then the youngest."""
        alive = sorted(self._of(revision), key=lambda one: (one.is_ready, not one.is_costed, -one.ready_s))
        for worker in alive[: max(0, count)]:
            worker.is_terminating = True
            worker.is_ready = False
            self._forget_idle(worker)
            if worker.job is None:
                self._remove(worker)
            else:
                self._push(min(worker.ends_s, self._now + self._world.grace_s), _GONE, worker.name)

    def _look(self) -> None:
        orders = self._scaler.look(self._view(), self._now)
        if orders.wanted != self._wanted:
            self.account.scalings += 1
        self._obey_marks(orders)
        if self._tracks is None or orders.tracks is None or self._tracks.weight != orders.tracks.weight:
            self._split = [0, 0]
        self._wanted, self._tracks = orders.wanted, orders.tracks
        if self._tracks is not None and self._tracks.is_promoted:
            self._promote()
            self._tracks = None
        self._obey_counts()
        self.account.pods_over_time.append((self._now, len(self._workers)))
        if orders.degrade != self._rule:
            self._rule = orders.degrade
            self._claims = [0, 0]
            self.account.moves.append(self._now)
        self._serve_waiting()
        self._looks = orders.wanted > 0 or bool(self._workers) or any(self._waiting)
        if self._looks:
            self._look_in(orders.again_s or self._scaler.every_s)

    def _obey_marks(self, orders: Orders) -> None:
        for worker in self._workers.values():
            marked = worker.name in orders.marks
            worker.is_costed = worker.name in orders.costed
            if marked == worker.is_marked:
                continue
            worker.is_marked = marked
            if marked and worker.is_ready and worker.job is None:
                worker.is_ready = False
                self._forget_idle(worker)
            elif not marked and not worker.is_ready and self._now >= worker.ready_s and not worker.is_terminating:
                worker.is_ready = True
                self._claim(worker)

    def _view(self) -> View:
        workers = [
            WorkerView(
                worker.name,
                worker.is_ready,
                worker.job is None,
                worker.is_marked,
                worker.is_costed,
                worker.made_s,
                worker.revision != self._stable,
            )
            for worker in self._workers.values()
            if not worker.is_terminating
        ]
        running = [worker for worker in self._workers.values() if worker.job is not None]
        is_full, is_trial = len(self._workers) >= self._world.max_pods, self._stable != self._target
        return View(
            waiting=tuple(len(line) for line in self._waiting),
            waiting_s_by_priority=tuple(self._waiting_s),
            oldest_wait_s=max((self._now - line[0][0].at_s for line in self._waiting if line), default=0.0),
            running=len(running),
            running_s=sum(worker.ends_s - self._now for worker in running),
            arrived_s=self._arrived_s,
            wanted=self._wanted,
            workers=tuple(workers),
            is_short=is_full and len(self._of(self._stable)) < self._wanted,
            is_trial=is_trial,
            trial_is_short=is_full and is_trial and len(self._of(self._target)) < self._counts()[self._target],
            trial_done=self._trial_done,
            leaving=sum(worker.is_terminating for worker in self._workers.values()),
        )
