"""A worker of several ranks: the same video as one process, and what becomes of a job whose rank dies or hangs."""

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Any

import av
import numpy as np
import psutil
import pytest

from videofleet.jobs import ErrorCode, Job, JobState
from videofleet.workerspec import Parallelism, WorkerSpec

Fleet = Any  # the fixture's class lives in conftest.py
SpecWith = Callable[..., WorkerSpec]


@pytest.fixture
def warned(caplog: pytest.LogCaptureFixture) -> Callable[[str], str]:
    """What the log says of deaths, a line each."""
    caplog.set_level("INFO")
    return lambda message: "\n".join(
        record.__dict__["error"] for record in caplog.records if record.getMessage() == message
    )


def frames(fleet: Fleet, job: Job) -> np.ndarray:
    with av.open(str(fleet.store / job.result.video_key)) as container:
        return np.array([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


async def advanced(fleet: Fleet, job: str) -> None:
    async def is_so() -> bool:
        progress = (await fleet.queue.get(job)).progress
        return progress is not None and progress.advanced

    await fleet.until(is_so, "a checkpoint is stored")


async def hang(fleet: Fleet, worker: Any, rank: int) -> None:
    """Stops a rank where others must wait for it; one that has just said its word is let go and stopped again."""
    pid, ranks = worker.engine.pids[rank], worker.engine._ranks

    async def is_behind() -> bool:
        os.kill(pid, signal.SIGSTOP)
        for _ in range(20):
            await asyncio.sleep(0.01)
            if f"rank {rank} of" in ranks.laggard():
                return True
        os.kill(pid, signal.SIGCONT)
        return False

    await fleet.until(is_behind, "the others wait for the rank")


def long_tier(fleet: Fleet) -> Any:
    return fleet.preview.model_copy(update={"num_inference_steps": 80})


async def test_two_ranks_deliver_the_video_of_one(fleet: Fleet, spec_with: SpecWith) -> None:
    async with fleet.worker():
        alone = await fleet.ended(await fleet.submit(negative_prompt="blurry"))
    spec = spec_with(parallelism=Parallelism(cfg=2, shard_weights=True))
    async with fleet.worker(spec) as worker:
        processes = [psutil.Process(pid) for pid in worker.engine.pids]
        together = await fleet.ended(await fleet.submit(negative_prompt="blurry"))
    assert len(processes) == 2
    assert not [process for process in processes if process.is_running()]
    assert (alone.state, together.state) == (JobState.SUCCEEDED, JobState.SUCCEEDED)
    seen = frames(fleet, alone).astype(float) - frames(fleet, together)  # bits are test_ranks.py's to compare
    assert np.square(seen).mean() < 1, "less than a level of 255 apart, as H.264 tells them (PSNR above 48 dB)"


@pytest.mark.parametrize("rank", [0, 1])
async def test_kill_9_of_a_rank_costs_neither_an_attempt_nor_the_work(
    rank: int, fleet: Fleet, spec_with: SpecWith, warned: Callable[[str], str]
) -> None:
    await fleet.open(max_attempts=1)
    async with fleet.worker(spec_with(parallelism=Parallelism(cfg=2)), checkpoint_every_s=0.0) as worker:
        pids = worker.engine.pids
        job = await fleet.submit(long_tier(fleet))
        await advanced(fleet, job)
        os.kill(pids[rank], signal.SIGKILL)
        ended = await fleet.ended(job)
    assert (ended.state, ended.attempt) == (JobState.SUCCEEDED, 2)
    assert f"compute rank {rank} of 2 ended (signal 9" in warned("compute died; the attempt is not counted")
    assert not any(psutil.pid_exists(pid) for pid in pids)


async def test_memory_that_runs_out_on_one_rank_is_its_own_words(
    fleet: Fleet, spec_with: SpecWith, warned: Callable[[str], str]
) -> None:
    larger = fleet.small.model_copy(update={"width": 256, "height": 256})  # than all that warm-up has had memory for
    async with fleet.worker(spec_with(parallelism=Parallelism(cfg=2))) as worker:
        psutil.Process(worker.engine.pids[1]).rlimit(psutil.RLIMIT_AS, (1 << 20, 1 << 20))
        job = await fleet.submit(larger)
        await fleet.until(lambda: not worker.status.is_ready, "the group is gone")
        await fleet.queue.cancel(job, ErrorCode.CANCELLED_BY_USER)
        await fleet.ended(job)
    assert "rank 1" in warned("attempt failed")


async def test_a_rank_that_hangs_is_named_and_its_group_replaced(
    fleet: Fleet, spec_with: SpecWith, warned: Callable[[str], str]
) -> None:
    spec = spec_with(parallelism=Parallelism(cfg=2))
    async with fleet.worker(spec, min_step_timeout_s=15.0, checkpoint_every_s=0.0) as worker:
        job = await fleet.submit(fleet.slow)  # so that it is not done before a moment is found to stop the rank in
        await advanced(fleet, job)
        await hang(fleet, worker, rank=1)
        await fleet.until(lambda: warned("compute died; the attempt is not counted"), "the hang is noticed")
        await fleet.until(lambda: worker.status.is_ready and worker.status.jobs, "another group goes on")
        await fleet.queue.cancel(job, ErrorCode.CANCELLED_BY_USER)
        assert (await fleet.ended(job)).attempt == 2
        assert (await fleet.ended(await fleet.submit())).state is JobState.SUCCEEDED
    assert "rank 1 of 2 stopped first" in warned("compute died; the attempt is not counted")


async def test_cancel_stops_every_rank_within_a_step(fleet: Fleet, spec_with: SpecWith) -> None:
    async with fleet.worker(spec_with(parallelism=Parallelism(cfg=2))):
        job = await fleet.submit(fleet.slow)
        await fleet.denoising(job)
        await fleet.queue.cancel(job, ErrorCode.CANCELLED_BY_USER)
        assert (await fleet.ended(job)).state is JobState.CANCELLED
        assert (await fleet.ended(await fleet.submit())).state is JobState.SUCCEEDED


async def test_a_poisoned_weight_is_a_fault_of_the_group(
    fleet: Fleet, spec_with: SpecWith, model: Any, poison: Callable[[str], None]
) -> None:
    poison("transformer_2")
    fleet.model = model
    async with fleet.worker(spec_with(parallelism=Parallelism(cfg=2))) as worker:
        assert worker.status.fault
    assert fleet.termination["reason"] == "NotFinite"
    assert "transformer_2" in fleet.termination["message"]


async def test_more_ranks_than_heads_can_be_split_over_is_said(fleet: Fleet, spec_with: SpecWith) -> None:
    spec = spec_with(parallelism=Parallelism(ulysses=3), tiers=[fleet.preview])
    async with fleet.worker(spec) as worker:
        assert worker.status.fault
    assert "ulysses 3 must divide the model's 4 attention heads" in fleet.termination["message"]
