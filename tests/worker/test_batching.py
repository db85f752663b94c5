"""A burst of equal small jobs through a real queue: made together, each with an ending of its own."""

import os
import signal
from collections.abc import Callable
from typing import Any

import av
import numpy as np
import pytest

from videofleet.jobs import ErrorCode, Job, JobState
from videofleet.workerspec import Parallelism, WorkerSpec
from videofleet_worker import supervisor
from videofleet_worker.supervisor import Worker

Fleet = Any  # the fixture's class lives in conftest.py
SpecWith = Callable[..., WorkerSpec]
SUCCEEDED = JobState.SUCCEEDED
pytestmark = pytest.mark.usefixtures("found")


@pytest.fixture
def steps(fleet: Fleet) -> Callable[[int], Any]:
    """The preview with so many steps."""
    return lambda count: fleet.preview.model_copy(update={"num_inference_steps": count})


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """What warm-up finds of the previews, whatever this machine's would: how many of them gain."""
    true_timing = supervisor.encode_warmup

    def find(**changes: Any) -> None:
        monkeypatch.setattr(supervisor, "encode_warmup", lambda clip: true_timing(clip).model_copy(update=changes))

    find(batch=4)
    return find


def batches(worker: Worker) -> tuple[float, float]:
    """How often compute was given jobs, and how many in all."""
    sample = worker.metrics.registry.get_sample_value
    return sample("videofleet_worker_batch_size_count"), sample("videofleet_worker_batch_size_sum")


def frames(fleet: Fleet, job: Job) -> np.ndarray:
    assert job.state is SUCCEEDED
    with av.open(str(fleet.store / job.result.video_key)) as container:
        return np.array([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


async def burst(fleet: Fleet, worker: Worker, tier: Any, count: int) -> list[str]:
    """So many jobs, none of which is claimed before all of them wait."""
    await fleet.open(marks={"worker-0": 4 * 10**12})
    await fleet.until(lambda: not worker.status.is_ready, "the worker claims nothing")
    jobs = [await fleet.submit(tier, seed=seed) for seed in range(count)]
    await fleet.open()
    return jobs


async def test_a_burst_is_made_together_and_each_video_is_the_jobs_own(fleet: Fleet, steps: Any) -> None:
    async with fleet.worker() as worker:
        jobs = [await fleet.ended(job) for job in await burst(fleet, worker, steps(8), 3)]
        assert batches(worker) == (1, 3)
        alone = [await fleet.ended(await fleet.submit(steps(8), seed=seed)) for seed in range(3)]
        assert batches(worker) == (4, 6)
    for together, single in zip(jobs, alone, strict=True):
        assert (together.result.seed, together.attempt) == (single.result.seed, 1)
        assert np.array_equal(frames(fleet, together), frames(fleet, single))


async def test_one_that_comes_a_moment_later_joins(fleet: Fleet, steps: Any, found: Callable[..., None]) -> None:
    found(batch=2, encode_s=100.0)  # the first one waits 50 ms for another
    tier = steps(8)
    async with fleet.worker() as worker:
        ended = []
        for seed in range(20):  # the second one may be too late on a busy machine, not each time
            pair = [await fleet.submit(tier, seed=seed), await fleet.submit(tier, seed=seed)]
            ended = [await fleet.ended(job) for job in pair]
            if batches(worker)[0] < batches(worker)[1]:
                break
    assert batches(worker)[0] < batches(worker)[1]
    assert [job.state for job in ended] == [SUCCEEDED] * 2


async def test_cancelling_one_leaves_the_others_in_their_batch(fleet: Fleet, steps: Any) -> None:
    async with fleet.worker() as worker:
        jobs = await burst(fleet, worker, steps(400), 3)
        await fleet.denoising(jobs[1])
        await fleet.queue.cancel(jobs[1], ErrorCode.CANCELLED_BY_USER)
        assert (await fleet.ended(jobs[1])).state is JobState.CANCELLED
        assert set(worker.status.jobs) == set(jobs), "the others are at work still"
        ended = [await fleet.ended(job) for job in jobs]
    assert [(job.state, job.attempt) for job in ended] == [(SUCCEEDED, 1), (JobState.CANCELLED, 1), (SUCCEEDED, 1)]


async def test_a_death_of_compute_costs_no_attempt_and_each_goes_on_alone(fleet: Fleet, steps: Any) -> None:
    async with fleet.worker() as worker:
        jobs = await burst(fleet, worker, steps(400), 2)
        await fleet.open(max_attempts=1)
        await fleet.denoising(jobs[0])
        os.kill(worker.engine.pids[0], signal.SIGKILL)
        await fleet.until(lambda: not worker.status.is_ready, "it is noticed")
        await fleet.until(lambda: worker.status.is_ready, "it is ready again")
        ended = [await fleet.ended(job) for job in jobs]
        assert batches(worker) == (3, 4), "a batch of two, then each by itself"
    assert [(job.state, job.attempt) for job in ended] == [(SUCCEEDED, 2)] * 2
    failures = [row.attempt_failures for row in await fleet.queue.outcomes(fleet.uid)]
    assert sum(failures) == 1, "one death is one fault"


async def test_ranks_make_a_batch(fleet: Fleet, steps: Any, spec_with: SpecWith) -> None:
    async with fleet.worker(spec_with(parallelism=Parallelism(cfg=2))) as worker:
        jobs = await burst(fleet, worker, steps(400), 3)
        await fleet.denoising(jobs[0])
        await fleet.queue.cancel(jobs[0], ErrorCode.CANCELLED_BY_USER)
        ended = [await fleet.ended(job) for job in jobs]
        assert batches(worker) == (1, 3)
    assert [job.state for job in ended] == [JobState.CANCELLED, SUCCEEDED, SUCCEEDED]


async def test_a_drain_hands_a_whole_batch_over_with_a_state_each(fleet: Fleet, steps: Any) -> None:
    async with fleet.worker(grace_period_s=fleet.short_grace_s) as worker:
        jobs = await burst(fleet, worker, steps(2000), 2)
        await fleet.denoising(jobs[1])
        worker.begin_drain()
        for job in jobs:
            await fleet.in_state(job, JobState.QUEUED)
    assert len(list(fleet.store.rglob("*/checkpoint/*"))) == 2
