"""A job that loses its worker goes on from its checkpoint, and its video is the one it would have been."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from videofleet.jobs import ErrorCode, Job, JobState
from videofleet.workerspec import WorkerSpec

Fleet = Any  # the fixture's class lives in conftest.py
STEPS = 200


def long_tier(fleet: Fleet) -> Any:
    return fleet.preview.model_copy(update={"num_inference_steps": STEPS})


def frames(fleet: Fleet, job: Job) -> np.ndarray:
    assert job.state is JobState.SUCCEEDED
    with av.open(str(fleet.store / job.result.video_key)) as container:
        return np.array([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def checkpoints(fleet: Fleet) -> list[Path]:
    return sorted(fleet.store.rglob("*/checkpoint/*"))


def resumed_at(log: Iterable[dict[str, Any]]) -> list[int]:
    """The steps after which jobs went on."""
    return [line["step"] for line in log if line["message"] == "the job goes on from its checkpoint"]


async def advanced(fleet: Fleet, job: str) -> None:
    async def is_so() -> bool:
        progress = (await fleet.queue.get(job)).progress
        return progress is not None and progress.advanced

    await fleet.until(is_so, "a checkpoint is stored")


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Callable[[], list[dict[str, Any]]]:
    """What the workers in this process have logged."""
    caplog.set_level("INFO")
    return lambda: [record.__dict__ | {"message": record.getMessage()} for record in caplog.records]


Log = Callable[[], list[dict[str, Any]]]


async def test_kill_9_of_compute_costs_neither_an_attempt_nor_the_work(fleet: Fleet, log: Log) -> None:
    await fleet.open(max_attempts=1)
    async with fleet.worker(checkpoint_every_s=0.0) as worker:
        job = await fleet.submit(long_tier(fleet), output_prefix="films")
        await advanced(fleet, job)
        assert [path.name for path in checkpoints(fleet)] == ["rev-1.safetensors"]
        os.kill(worker.engine.pids[0], signal.SIGKILL)
        resumed = await fleet.ended(job)
        reference = await fleet.ended(await fleet.submit(long_tier(fleet)))
        await fleet.until(lambda: not checkpoints(fleet), "the checkpoints are removed")
    assert list((fleet.folder / "scratch").glob("*.checkpoint*")) == []
    assert (resumed.attempt, reference.attempt) == (2, 1), "one attempt is allowed: the first was not counted"
    assert np.array_equal(frames(fleet, resumed), frames(fleet, reference))
    (step,) = resumed_at(log())
    assert 0 < step < STEPS


async def test_a_drain_hands_a_job_over_to_another_worker(fleet: Fleet, log: Log) -> None:
    await fleet.open(max_attempts=1)
    async with fleet.worker(grace_period_s=fleet.short_grace_s) as first:
        job = await fleet.submit(fleet.slow)
        await fleet.denoising(job)
        reached = first.held[0].progress.step
        first.begin_drain()
        await fleet.in_state(job, JobState.QUEUED)
    assert len(checkpoints(fleet)) == 1
    async with fleet.worker(worker="worker-1"):
        await fleet.denoising(job)
        (step,) = resumed_at(log())
        assert step >= reached > 0
        await fleet.queue.cancel(job, ErrorCode.CANCELLED_BY_USER)
        assert (await fleet.ended(job)).attempt == 2
    assert checkpoints(fleet) == []


@asynccontextmanager
async def program(fleet: Fleet, spec: WorkerSpec, name: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A worker as the kubelet starts it, which leaves a checkpoint after each step."""
    (fleet.folder / "worker.json").write_text(spec.to_json())
    (fleet.folder / "url").write_text(fleet.redis_url)
    with (fleet.folder / f"{name}.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "videofleet_worker",
            f"--spec={fleet.folder}/worker.json",
            f"--model={fleet.model}",
            f"--redis-url-file={fleet.folder}/url",
            f"--store=videos=file://{fleet.store}",
            f"--installation={fleet.installation}",
            f"--fleet-uid={fleet.uid}",
            f"--scratch={fleet.folder}/{name}",
            f"--termination-log={fleet.folder}/termination.json",
            "--port=0",
            "--checkpoint-every-s=0",
            env={**os.environ, "POD_NAME": name, "BIND_ADDRESS": "127.0.0.1"},
            stderr=log,
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_kill_9_of_the_supervisor_costs_neither_an_attempt_nor_the_work(
    fleet: Fleet, spec_with: Callable[..., WorkerSpec], log: Log
) -> None:
    await fleet.open(max_attempts=1)
    async with program(fleet, spec_with(), "pod-1") as process:
        job = await fleet.submit(long_tier(fleet))
        await advanced(fleet, job)
        process.kill()
        await process.wait()
    await fleet.lapse(job)
    async with fleet.worker(worker="pod-2"):
        resumed = await fleet.ended(job)
        reference = await fleet.ended(await fleet.submit(long_tier(fleet)))
        await fleet.until(lambda: not checkpoints(fleet), "the checkpoints are removed")
    assert (resumed.attempt, resumed.worker) == (2, "pod-2")
    (step,) = resumed_at(log())
    assert 0 < step < STEPS
    assert np.array_equal(frames(fleet, resumed), frames(fleet, reference))


async def test_a_damaged_checkpoint_costs_the_work_and_not_the_job(fleet: Fleet, log: Log) -> None:
    async with fleet.worker(checkpoint_every_s=0.0) as worker:
        job = await fleet.submit(fleet.long)
        await advanced(fleet, job)
        os.kill(worker.engine.pids[0], signal.SIGKILL)
        await fleet.in_state(job, JobState.QUEUED)
        (path,) = checkpoints(fleet)
        path.write_bytes(path.read_bytes()[:-1])
        resumed = await fleet.ended(job)
    assert resumed.state is JobState.SUCCEEDED
    assert "checkpoint ignored; the job starts over" in [line["message"] for line in log()]
    assert resumed_at(log()) == []


async def test_cancel_removes_the_checkpoint(fleet: Fleet) -> None:
    async with fleet.worker(checkpoint_every_s=0.0):
        job = await fleet.submit(fleet.slow)
        await advanced(fleet, job)
        await fleet.queue.cancel(job, ErrorCode.CANCELLED_BY_USER)
        assert (await fleet.ended(job)).state is JobState.CANCELLED
        assert checkpoints(fleet) == []
