"""Weights are mapped: a file that changes under a worker would kill it by SIGBUS. What we publish never does that."""

import asyncio
import os
import shutil
from pathlib import Path
from typing import Any

from videofleet.beacons import WorkerFault
from videofleet.jobs import JobState

Fleet = Any  # the fixture's class lives in conftest.py
WEIGHTS = "vae/diffusion_pytorch_model.safetensors"


def replace_by_a_damaged_one(model: Path) -> None:
    """As the cache publishes and evicts: names are moved, then files removed."""
    away = model.rename(model.with_name("away"))
    shutil.copytree(away, model)
    (model / WEIGHTS).write_bytes(b"")
    shutil.rmtree(away)


async def test_a_model_that_is_replaced_or_evicted_while_it_is_used_kills_nobody(fleet: Fleet, model: Path) -> None:
    async with fleet.worker(model=model) as worker:
        pids = worker.engine.pids
        await asyncio.to_thread(replace_by_a_damaged_one, model)
        job = await fleet.ended(await fleet.submit())
        assert (job.state, worker.engine.pids) == (JobState.SUCCEEDED, pids)


async def test_a_file_that_somebody_cuts_in_place_costs_compute_and_is_named(fleet: Fleet, model: Path) -> None:
    async with fleet.worker(model=model) as worker:
        await asyncio.to_thread(os.truncate, model / WEIGHTS, 0)
        job = await fleet.submit()
        await fleet.until(lambda: worker.status.fault, "the damage is found")
        assert worker.status.fault.reason is WorkerFault.MODEL_CORRUPT
        assert "vae" in worker.status.fault.message
    assert (await fleet.queue.get(job)).state is JobState.QUEUED, "for a worker whose weights are whole"
