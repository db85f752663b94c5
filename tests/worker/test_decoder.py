"""Decoders beside workers: the same video, the denoiser free for the next job, and whoever dies takes nothing along."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import av
import numpy as np
import pytest

from videofleet.jobs import ErrorCode, Job, JobState
from videofleet.queue.keys import decoders, fleet_prefix
from videofleet.workerspec import Decode, WorkerSpec
from videofleet_worker.decoder import Decoder
from videofleet_worker.gate import Flaw, Gate
from videofleet_worker.lease import StopReason
from videofleet_worker.supervisor import Worker

Fleet = Any  # the fixture's class lives in conftest.py
SpecWith = Callable[..., WorkerSpec]


@pytest.fixture
def split(spec_with: SpecWith) -> WorkerSpec:
    """A revision with decoders."""
    return spec_with(decode=Decode(replicas=1))


@asynccontextmanager
async def decoder(fleet: Fleet, spec: WorkerSpec, name: str = "decoder-0") -> AsyncIterator[Decoder]:
    """A running decoder in this process; its compute is a process of its own."""
    decoder = Decoder(fleet.settings(spec, worker=name, scratch=fleet.folder / name), fleet.queue)
    life = asyncio.create_task(decoder.run())
    try:
        await fleet.until(lambda: decoder.status.is_ready or life.done(), "the decoder is ready")
        await fleet.until(lambda: fleet.queue.decodes.is_anyone_there(fleet.uid, spec.revision), "it asks for orders")
        yield decoder
    finally:
        decoder.leaving.set()
        assert await life == 0


def frames(fleet: Fleet, job: Job) -> np.ndarray:
    assert job.state is JobState.SUCCEEDED
    with av.open(str(fleet.store / job.result.video_key)) as container:
        return np.array([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def decodes(program: Worker | Decoder, outcome: str) -> float:
    name = "videofleet_worker_decodes_total"
    return program.metrics.registry.get_sample_value(name, {"outcome": outcome}) or 0.0


async def stage(fleet: Fleet, job: str, wanted: str) -> None:
    async def is_there() -> bool:
        progress = (await fleet.queue.get(job)).progress
        return progress is not None and progress.stage == wanted

    await fleet.until(is_there, f"the job is {wanted}")


async def taken(fleet: Fleet, job: str) -> None:
    async def is_taken() -> bool:
        return await fleet.queue._redis.hget(f"{fleet_prefix(fleet.installation, fleet.uid)}:decode:{job}/1/0", "tries")

    await fleet.until(is_taken, "a decoder has the order")


async def test_a_decoder_makes_the_video_that_the_worker_would_have_made(fleet: Fleet, split: WorkerSpec) -> None:
    async with fleet.worker(split) as worker:
        alone = await fleet.ended(await fleet.submit(seed=5, output_prefix="films"))
        assert decodes(worker, "made") == 0, "no decoder is there yet"
        async with decoder(fleet, split):
            job = await fleet.ended(await fleet.submit(seed=5, output_prefix="films"))
        assert decodes(worker, "made") == 1
    assert np.array_equal(frames(fleet, job), frames(fleet, alone))
    assert job.result.video_key.startswith(f"films/{job.id}/1/")
    for key in (job.result.thumbnail_key, job.result.spritesheet_key):
        assert (fleet.store / key).stat().st_size
    assert (fleet.store / job.result.video_key).stat().st_size == job.result.video_bytes
    assert job.result.seconds_per_step > 0
    assert not list(fleet.store.rglob("*.safetensors")), "the latents are of no use any more"
    assert not [*(fleet.folder / "scratch").glob("*.*"), *(fleet.folder / "decoder-0").glob("*.*")]


async def test_the_worker_is_free_while_a_clip_is_decoded_and_kill_9_of_the_decoder_loses_nothing(
    fleet: Fleet, split: WorkerSpec
) -> None:
    await fleet.open(max_attempts=1)
    async with fleet.worker(split) as worker, decoder(fleet, split) as helper:
        os.kill(helper.engine.pids[0], signal.SIGSTOP)
        first = await fleet.submit()
        await stage(fleet, first, "decoding")
        await taken(fleet, first)
        second = await fleet.submit(fleet.slow)
        await fleet.denoising(second)
        assert (await fleet.queue.get(first)).progress.stage == "decoding"
        os.kill(helper.engine.pids[0], signal.SIGKILL)
        ended = await fleet.ended(first)
        await fleet.queue.cancel(second, ErrorCode.CANCELLED_BY_USER)
        await fleet.ended(second)
        assert decodes(helper, "given_back") == 1
        assert decodes(worker, "made") == 1
    assert (ended.state, ended.attempt) == (JobState.SUCCEEDED, 1)


async def test_where_no_decoder_is_left_the_worker_decodes(fleet: Fleet, split: WorkerSpec) -> None:
    async with fleet.worker(split) as worker:
        async with decoder(fleet, split) as helper:
            os.kill(helper.engine.pids[0], signal.SIGSTOP)
            job = await fleet.submit(seed=9)
            await taken(fleet, job)
        await fleet.queue._redis.delete(decoders(fleet_prefix(fleet.installation, fleet.uid), split.revision))
        ended = await fleet.ended(job)
        alone = await fleet.ended(await fleet.submit(seed=9))
        assert decodes(worker, "returned") == 1
    assert ended.attempt == 1
    assert np.array_equal(frames(fleet, ended), frames(fleet, alone))


async def test_a_worker_that_goes_while_its_clip_is_decoded_leaves_the_latents_to_the_next(
    fleet: Fleet, split: WorkerSpec, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with decoder(fleet, split) as helper:
        os.kill(helper.engine.pids[0], signal.SIGSTOP)
        async with fleet.worker(split) as worker:
            job = await fleet.submit()
            await taken(fleet, job)
            worker.held[0].stop(StopReason.DRAINED)
            await fleet.in_state(job, JobState.QUEUED)
        os.kill(helper.engine.pids[0], signal.SIGCONT)
        async with fleet.worker(split, worker="worker-1"):
            ended = await fleet.ended(job)
    assert (ended.state, ended.attempt) == (JobState.SUCCEEDED, 2)
    resumed = [record.step for record in caplog.records if record.getMessage() == "the job goes on from its checkpoint"]
    assert resumed == [fleet.preview.num_inference_steps], "no step is made twice"
    assert len(fleet.videos) == 1, "what the decoder made of the first attempt is gone"


async def test_cancel_reaches_a_clip_at_its_decoder(fleet: Fleet, split: WorkerSpec) -> None:
    async with fleet.worker(split), decoder(fleet, split) as helper:
        os.kill(helper.engine.pids[0], signal.SIGSTOP)
        job = await fleet.submit()
        await taken(fleet, job)
        await fleet.queue.cancel(job, ErrorCode.CANCELLED_BY_USER)
        assert (await fleet.ended(job)).state is JobState.CANCELLED
        os.kill(helper.engine.pids[0], signal.SIGCONT)
        await fleet.until(lambda: decodes(helper, "lost") == 1, "the decoder has learnt it")
        assert (await fleet.ended(await fleet.submit())).state is JobState.SUCCEEDED
    assert len(fleet.videos) == 1


async def test_a_clip_that_a_decoder_refuses_gets_another_seed_and_one_that_it_cannot_make_comes_back(
    fleet: Fleet, split: WorkerSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    true_flaw, answers = Gate.flaw, iter([Flaw.FROZEN, None, OSError("disk full")])

    def flaw(gate: Gate) -> Flaw | None:
        answer = next(answers, None)
        if isinstance(answer, OSError):
            raise answer
        return answer or true_flaw(gate)

    async with fleet.worker(split) as worker, decoder(fleet, split):
        monkeypatch.setattr(Gate, "flaw", flaw)
        refused = await fleet.ended(await fleet.submit(seed=7))
        returned = await fleet.ended(await fleet.submit(seed=8))
        assert [decodes(worker, word) for word in ("refused", "made", "returned")] == [1, 1, 1]
    assert (refused.state, refused.attempt, refused.result.rejected) == (JobState.SUCCEEDED, 1, (Flaw.FROZEN,))
    assert refused.result.seed != 7
    assert (returned.state, returned.attempt, returned.result.seed) == (JobState.SUCCEEDED, 1, 8)
    assert len(fleet.videos) == 2
