"""Somebody who looks at the screen goes before a batch job that runs already, which then goes on where it was."""

import time
from collections.abc import Callable
from typing import Any

import av
import numpy as np
import pytest

from videofleet.jobs import Job, JobState, Priority
from videofleet.queue.keys import fleet_prefix
from videofleet.workerspec import Parallelism, WorkerSpec
from videofleet_worker import supervisor

Fleet = Any  # the fixture's class lives in conftest.py
SpecWith = Callable[..., WorkerSpec]


async def is_ago(fleet: Fleet, job: str, seconds: float, what: str) -> None:
    """As if `what` had happened so many seconds earlier."""
    key = f"{fleet_prefix(fleet.installation, fleet.uid)}:job:{job}"
    await fleet.queue._redis.hset(key, what, int((time.time() - seconds) * 1000))


def frames(fleet: Fleet, job: Job) -> np.ndarray:
    assert job.state is JobState.SUCCEEDED
    with av.open(str(fleet.store / job.result.video_key)) as container:
        return np.array([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


@pytest.mark.parametrize("ranks", [1, 2])
async def test_a_batch_job_gives_way_and_goes_on_bit_for_bit(ranks: int, fleet: Fleet, spec_with: SpecWith) -> None:
    await fleet.open(max_attempts=1)
    long = fleet.preview.model_copy(update={"num_inference_steps": 600})
    async with fleet.worker(spec_with(parallelism=Parallelism(cfg=ranks))) as worker:
        job = await fleet.submit(long, priority=Priority.BATCH)
        await fleet.denoising(job)
        await is_ago(fleet, job, 120, "started_at_ms")
        urgent = await fleet.submit(priority=Priority.INTERACTIVE)
        await is_ago(fleet, urgent, 10, "queued_at_ms")
        quick = await fleet.ended(urgent)
        assert (await fleet.queue.get(job)).result is None, "the batch job is not done"
        resumed = await fleet.ended(job)
        reference = await fleet.ended(await fleet.submit(long))
        preempted = worker.metrics.registry.get_sample_value("videofleet_worker_jobs_total", {"outcome": "preempted"})
    assert (quick.state, preempted) == (JobState.SUCCEEDED, 1)
    assert (resumed.attempt, reference.attempt) == (2, 1), "one attempt is allowed: being preempted is not counted"
    assert np.array_equal(frames(fleet, resumed), frames(fleet, reference))
    assert list(fleet.store.rglob("*/checkpoint/*")) == []


async def test_a_whole_batch_gives_way(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    timing = supervisor.encode_warmup
    monkeypatch.setattr(supervisor, "encode_warmup", lambda clip: timing(clip).model_copy(update={"batch": 2}))
    long = fleet.preview.model_copy(update={"num_inference_steps": 2000})
    first = await fleet.submit(long, priority=Priority.BATCH)
    second = await fleet.submit(long, priority=Priority.BATCH)
    async with fleet.worker() as worker:
        await fleet.denoising(second)
        assert set(worker.status.jobs) == {first, second}
        await is_ago(fleet, first, 120, "started_at_ms")
        urgent = await fleet.submit(priority=Priority.INTERACTIVE)
        await is_ago(fleet, urgent, 10, "queued_at_ms")
        assert (await fleet.ended(urgent)).state is JobState.SUCCEEDED
        for job in (first, second):
            assert (await fleet.queue.get(job)).state in (JobState.QUEUED, JobState.RUNNING)
    assert len(fleet.videos) == 1
