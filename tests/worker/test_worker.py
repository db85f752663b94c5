"""A worker over a real queue: a job becomes a video, and nothing that dies on the way loses one."""

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import av
import numpy as np
import pytest

from videofleet.beacons import WorkerFault, WorkerState
from videofleet.jobs import ErrorCode, JobState, Priority
from videofleet.policy import FallbackRule
from videofleet.queue import JobQueue
from videofleet.workerspec import Warmup, WorkerSpec
from videofleet_worker.supervisor import Worker

Fleet = Any  # the fixture's class lives in conftest.py
NEVER_MS = 4 * 10**12


async def answer(worker: Worker, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{worker.port}{path}") as response:
        return response.status, await response.text()


def processes_of(pid: int | None) -> bool:
    return pid is not None and Path(f"/proc/{pid}").exists()


async def test_a_job_becomes_the_pipelines_own_video(fleet: Fleet, spec_with: Callable[..., WorkerSpec]) -> None:
    async with fleet.worker() as worker:
        job = await fleet.ended(await fleet.submit(fleet.small, seed=3, output_prefix="films/", guidance_scale=4.0))
        await fleet.until(lambda: not worker.held, "the worker has seen that it is committed")
        metrics = (await answer(worker, "/metrics"))[1]
    assert job.state is JobState.SUCCEEDED
    assert job.result is not None
    assert job.result.video_key == f"films/{job.id}/1/video.mp4"
    assert job.result.seed == 3
    assert job.result.revision == "rev-1"
    video = fleet.store / job.result.video_key
    assert video.stat().st_size == job.result.video_bytes
    for picture in (job.result.thumbnail_key, job.result.spritesheet_key):
        assert (fleet.store / picture).read_bytes()[:2] == b"\xff\xd8"
    assert 'videofleet_worker_jobs_total{outcome="succeeded"} 1.0' in metrics
    assert 'videofleet_worker_seconds_per_step_count{tier="small"} 1.0' in metrics
    assert luma_psnr_db(video, reference_frames(fleet, spec_with())) >= 30


def reference_frames(fleet: Fleet, spec: WorkerSpec) -> np.ndarray:
    """The same request through diffusers' own `pipe()`."""
    import torch

    from videofleet_worker.compute.loading import load

    torch.set_num_threads(1)
    tier = fleet.small
    video = load(fleet.model, spec)(
        fleet.prompt,
        negative_prompt="",
        height=tier.height,
        width=tier.width,
        num_frames=tier.num_frames,
        num_inference_steps=tier.num_inference_steps,
        guidance_scale=4.0,
        generator=torch.Generator("cpu").manual_seed(3),
        output_type="np",
    )
    return np.asarray(video.frames[0] * 255)


def luma_psnr_db(video: Path, expected: np.ndarray) -> float:
    weights = np.array([0.2126, 0.7152, 0.0722])
    with av.open(str(video)) as container:
        decoded = np.array([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    assert decoded.shape == expected.shape
    return float(10 * np.log10(255**2 / np.mean((decoded @ weights - expected @ weights) ** 2)))


async def test_it_is_ready_only_when_every_tier_is_warm(fleet: Fleet, spec_with: Callable[..., WorkerSpec]) -> None:
    spec = spec_with(tiers=[fleet.small, fleet.preview])
    worker = Worker(fleet.settings(spec), fleet.queue)
    life = asyncio.create_task(worker.run())
    await fleet.until(lambda: worker.port, "it listens")
    seen: set[tuple[int, int]] = set()
    while worker.status.state is not WorkerState.READY:
        status, text = await answer(worker, "/readyz")
        if not worker.status.is_ready:
            assert status == 503, text
            seen.add((status, (await answer(worker, "/healthz"))[0]))
        await asyncio.sleep(0.02)
    assert seen == {(503, 200)}
    assert (await answer(worker, "/readyz"))[0] == 200
    assert set(worker.status.warmed) == {"small", "preview"}
    assert all(timing.encode_s > 0 for timing in worker.status.warmed.values())

    async def beacon_is_ready() -> bool:
        beacons = await fleet.queue.beacons(fleet.uid)
        return [(b.worker, b.state, len(b.warmed)) for b in beacons] == [("worker-0", WorkerState.READY, 2)]

    await fleet.until(beacon_is_ready, "the beacon says so")
    worker.begin_drain()
    assert await life == 0
    assert await fleet.queue.beacons(fleet.uid) == []


async def test_cancel_stops_a_job_within_a_step(fleet: Fleet) -> None:
    async with fleet.worker() as worker:
        job = await fleet.submit(fleet.slow)
        await fleet.denoising(job)
        held = worker.held[0]
        await fleet.queue.cancel(job, ErrorCode.CANCELLED_BY_USER)
        assert (await fleet.ended(job)).state is JobState.CANCELLED
        assert held.progress.step < fleet.slow.num_inference_steps / 2
        assert (await fleet.ended(await fleet.submit())).state is JobState.SUCCEEDED
        assert worker.status.is_ready
    assert len(fleet.videos) == 1
    assert list((fleet.folder / "scratch").glob("*.rgb")) == []


async def test_kill_9_of_compute_costs_an_attempt_and_no_job(fleet: Fleet) -> None:
    async with fleet.worker() as worker:
        job = await fleet.submit(fleet.long)
        await fleet.denoising(job)
        os.kill(worker.engine.pids[0], signal.SIGKILL)
        await fleet.until(lambda: not worker.status.is_ready, "it is not ready")
        ended = await fleet.ended(job)
        assert worker.status.is_ready
    assert (ended.state, ended.attempt) == (JobState.SUCCEEDED, 2)
    assert len(fleet.videos) == 1


async def test_compute_that_dies_while_idle_is_replaced(fleet: Fleet) -> None:
    async with fleet.worker() as worker:
        os.kill(worker.engine.pids[0], signal.SIGKILL)
        await fleet.until(lambda: not worker.status.is_ready, "it is not ready")
        await fleet.until(lambda: worker.status.is_ready, "it is ready again")
        assert (await fleet.ended(await fleet.submit())).attempt == 1


async def test_compute_that_hangs_is_killed(fleet: Fleet) -> None:
    async with fleet.worker(min_step_timeout_s=10.0) as worker:
        job = await fleet.submit(fleet.long)
        await fleet.denoising(job)
        os.kill(worker.engine.pids[0], signal.SIGSTOP)
        ended = await fleet.ended(job)
    assert (ended.state, ended.attempt) == (JobState.SUCCEEDED, 2)


async def test_a_job_that_always_kills_its_worker_ends_dead(fleet: Fleet) -> None:
    await fleet.open(max_attempts=1)
    async with fleet.worker() as worker:
        job = await fleet.submit(fleet.slow)
        await fleet.denoising(job)
        os.kill(worker.engine.pids[0], signal.SIGKILL)
        ended = await fleet.ended(job)
    assert ended.state is JobState.DEAD
    assert "signal 9" in (ended.error_message or "")


async def test_an_impossible_request_fails_without_another_try(fleet: Fleet) -> None:
    async with fleet.worker() as worker:
        job = await fleet.ended(await fleet.submit(fleet.preview.model_copy(update={"width": 70})))
        assert worker.status.is_ready
    assert (job.state, job.attempt, job.error_code) == (JobState.FAILED, 1, ErrorCode.GENERATION_FAILED)
    assert "width 70 must be a multiple of 16" in (job.error_message or "")


async def test_a_drain_finishes_what_fits_and_claims_no_more(fleet: Fleet) -> None:
    async with fleet.worker() as worker:
        running = await fleet.submit(fleet.long)
        await fleet.denoising(running)
        waiting = await fleet.submit()
        worker.begin_drain()
        assert (await answer(worker, "/readyz"))[0] == 503
        assert (await fleet.ended(running)).state is JobState.SUCCEEDED
    assert (await fleet.queue.get(waiting)).state is JobState.QUEUED


async def test_a_drain_gives_back_what_does_not_fit(fleet: Fleet) -> None:
    await fleet.open(max_attempts=1)
    async with fleet.worker(grace_period_s=fleet.short_grace_s) as worker:
        job = await fleet.submit(fleet.slow)
        await fleet.denoising(job)
        worker.begin_drain()
        await fleet.in_state(job, JobState.QUEUED)
    assert (await fleet.queue.get(job)).state is JobState.QUEUED, "with one attempt allowed, a drain spends none"


async def test_a_drain_while_loading_ends_at_once(fleet: Fleet, spec_with: Callable[..., WorkerSpec]) -> None:
    worker = Worker(fleet.settings(spec_with()), fleet.queue)
    life = asyncio.create_task(worker.run())
    await fleet.until(lambda: bool(worker.engine.pids), "compute starts")
    worker.begin_drain()
    assert await life == 0
    assert worker.engine.pids == []


async def test_a_lost_lease_drops_the_attempt(fleet: Fleet, redis_url: str) -> None:
    async with fleet.worker() as worker:
        job = await fleet.submit(fleet.slow)
        await fleet.denoising(job)
        held = worker.held[0]
        await fleet.queue.give_back(held.claim)  # as if another worker had come between
        await fleet.queue.cancel(job, ErrorCode.CANCELLED_BY_USER)
        await fleet.until(lambda: not worker.held, "the attempt is dropped")
        assert (await fleet.ended(await fleet.submit())).state is JobState.SUCCEEDED
    assert (await fleet.queue.get(job)).state is JobState.CANCELLED
    assert [video.parts[-3] for video in fleet.videos] != [job]


async def test_redis_that_dies_during_a_job_costs_nothing(fleet: Fleet, redis_server: Any, installation: str) -> None:
    async with JobQueue.connect(redis_server.url, installation) as queue:
        fleet.queue, fleet.redis_url = queue, redis_server.url
        await fleet.open()
        async with fleet.worker() as worker:
            job = await fleet.submit(fleet.long)
            await fleet.denoising(job)
            redis_server.kill()
            held = worker.held[0]
            await fleet.until(lambda: held.is_settling, "the video waits for Redis")
            assert worker.status.is_ready
            redis_server.start()
            ended = await fleet.ended(job)
    assert (ended.state, ended.attempt) == (JobState.SUCCEEDED, 1)


async def test_a_store_that_is_away_is_waited_for(fleet: Fleet) -> None:
    async with fleet.worker() as worker:
        fleet.store.rename(fleet.folder / "elsewhere")
        fleet.store.write_text("in the way")
        job = await fleet.submit()
        await fleet.until(lambda: worker.metrics.upload_retries._value.get() > 0, "an upload is refused")
        fleet.store.unlink()
        (fleet.folder / "elsewhere").rename(fleet.store)
        assert (await fleet.ended(job)).state is JobState.SUCCEEDED


async def test_a_store_that_refuses_a_starting_worker_is_told_while_it_waits(fleet: Fleet) -> None:
    fleet.store.write_text("in the way")

    async def told() -> bool:
        return [(each.state, each.reason) for each in await fleet.queue.beacons(fleet.uid)] == [
            (WorkerState.LOADING, WorkerFault.STORE_UNREACHABLE)
        ]

    async def make_way() -> None:
        await fleet.until(told, "the beacon tells")
        fleet.store.unlink()

    making = asyncio.create_task(make_way())
    async with fleet.worker() as worker:
        await making
        assert worker.status.is_ready
        assert worker.status.beacon().reason is None


FAULTS = {"transformer": "step 1 of 4", "transformer_2": "step 3 of 4", "vae": "(vae)"}


@pytest.mark.parametrize(("component", "place"), FAULTS.items(), ids=FAULTS.keys())
async def test_nan_weights_are_a_fault_at_warm_up(
    fleet: Fleet, model: Path, poison: Callable[[str], None], component: str, place: str
) -> None:
    poison(component)
    async with fleet.worker(model=model) as worker:
        assert worker.status.state is WorkerState.FAILED
    beacons = await fleet.queue.beacons(fleet.uid)
    assert [(beacon.state, beacon.reason) for beacon in beacons] == [(WorkerState.FAILED, WorkerFault.NOT_FINITE)]
    assert place in beacons[0].message
    assert fleet.termination == {"reason": "NotFinite", "message": beacons[0].message}


async def test_a_missing_model_is_a_fault_in_no_time(fleet: Fleet) -> None:
    async with fleet.worker(model=fleet.folder / "nowhere"):
        pass
    assert fleet.termination["reason"] == WorkerFault.MODEL_NOT_FOUND
    (beacon,) = await fleet.queue.beacons(fleet.uid)
    assert beacon.reason is WorkerFault.MODEL_NOT_FOUND


async def test_a_warm_up_without_end_is_a_fault(fleet: Fleet, spec_with: Callable[..., WorkerSpec]) -> None:
    spec = spec_with(warmup=Warmup(max_runs=10_000, stable_within=0.0, timeout_s=0.5))
    async with fleet.worker(spec):
        pass
    assert fleet.termination["reason"] == WorkerFault.WARMUP_TIMEOUT


async def test_compute_that_dies_while_starting_is_a_fault(fleet: Fleet, spec_with: Callable[..., WorkerSpec]) -> None:
    worker = Worker(fleet.settings(spec_with()), fleet.queue)
    life = asyncio.create_task(worker.run())
    await fleet.until(lambda: worker.status.state is WorkerState.WARMING, "it warms")
    os.kill(worker.engine.pids[0], signal.SIGKILL)
    assert await life == 1
    assert fleet.termination["reason"] == WorkerFault.COMPUTE_CRASHED


async def test_the_prompt_is_in_no_log_and_no_file(fleet: Fleet, caplog: pytest.LogCaptureFixture, capfd: Any) -> None:
    with caplog.at_level(logging.DEBUG):
        async with fleet.worker():
            job = await fleet.ended(await fleet.submit(negative_prompt="zebra-free"))
            await fleet.ended(await fleet.submit(fleet.preview.model_copy(update={"width": 70})))
    assert job.state is JobState.SUCCEEDED
    said = caplog.text + "".join(str(record.__dict__) for record in caplog.records) + "".join(capfd.readouterr())
    assert "zebra" not in said
    assert job.id in said
    for file in [file for file in fleet.folder.rglob("*") if file.is_file()]:
        assert b"zebra" not in file.read_bytes(), file


async def test_a_marked_worker_takes_no_job_and_serves_again_when_the_mark_lapses(fleet: Fleet) -> None:
    async with fleet.worker() as worker:
        await fleet.open(marks={"worker-0": NEVER_MS})
        await fleet.until(lambda: not worker.status.is_ready, "the worker is not ready")
        status, text = await answer(worker, "/readyz")
        assert (status, text.startswith("draining: for scale-down")) == (503, True)
        job = await fleet.submit()
        assert (await fleet.queue.claim(fleet.uid, worker="worker-0", revision="rev-1")).is_marked
        assert (await fleet.queue.get(job)).state is JobState.QUEUED
        await fleet.open(marks={"worker-0": 1})
        assert (await fleet.ended(job)).state is JobState.SUCCEEDED
        assert (await answer(worker, "/readyz"))[0] == 200


async def test_a_lowered_job_is_made_in_the_tier_that_the_queue_decided(fleet: Fleet) -> None:
    rule = FallbackRule(tier="preview", share_permille=1000, priorities=list(Priority), cause="long_wait")
    await fleet.open(fallback=rule)
    job = await fleet.submit(fleet.small)
    async with fleet.worker():
        done = await fleet.ended(job)
    assert (done.result.tier, done.result.fallback) == (fleet.preview, "long_wait")
    with av.open(str(fleet.store / done.result.video_key)) as container:
        frame = next(container.decode(video=0))
    assert (frame.width, frame.height) == (fleet.preview.width, fleet.preview.height)


async def test_a_worker_waits_for_a_redis_that_keeps_its_jobs(
    fleet: Fleet, redis_server: Any, installation: str, spec_with: Callable[..., WorkerSpec]
) -> None:
    async with JobQueue.connect(redis_server.url, installation) as queue:
        fleet.queue, fleet.redis_url = queue, redis_server.url
        await fleet.open()
        await queue._redis.config_set("maxmemory-policy", "allkeys-lru")
        worker = Worker(fleet.settings(spec_with()), queue)
        life = asyncio.create_task(worker.run())
        await fleet.until(lambda: "set `maxmemory-policy noeviction`" in worker.status.detail, "it says what to do")
        assert (await answer(worker, "/readyz"))[0] == 503
        await queue._redis.config_set("maxmemory-policy", "noeviction")
        await fleet.until(lambda: worker.status.is_ready, "it goes on by itself")
        worker.begin_drain()
        assert await life == 0
