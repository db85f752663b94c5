"""A clip that the gate refuses is never delivered: another seed, a lower tier, another worker; the result says so."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from videofleet.jobs import JobState
from videofleet.workerspec import WorkerSpec
from videofleet_worker.gate import Flaw, Gate
from videofleet_worker.lease import StopReason

Fleet = Any


@pytest.fixture
def black(model: Path) -> Path:
    """A model whose decoder paints everything black, which no number shows."""
    from safetensors.torch import load_file, save_file

    file = next((model / "vae").glob("*.safetensors"))
    tensors = load_file(file)
    tensors["decoder.conv_out.weight"].zero_()
    tensors["decoder.conv_out.bias"].fill_(-2.0)
    save_file(tensors, file, metadata={"format": "pt"})
    return model


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """The gate refuses the next clips, whatever they are."""
    left = 0
    true_flaw = Gate.flaw

    def flaw(gate: Gate) -> Flaw | None:
        nonlocal left
        left -= 1
        return Flaw.FROZEN if left >= 0 else true_flaw(gate)

    def refuse(count: int) -> None:
        nonlocal left
        left = count

    monkeypatch.setattr(Gate, "flaw", flaw)
    return refuse


def counted(worker: Any, tier: str, flaw: Flaw) -> float:
    labels = {"tier": tier, "flaw": flaw}
    return float(worker.metrics.registry.get_sample_value("videofleet_worker_rejected_total", labels) or 0)


async def test_black_videos_are_never_delivered(fleet: Fleet, black: Path) -> None:
    await fleet.open(max_attempts=1)
    async with fleet.worker(model=black) as worker:
        job = await fleet.ended(await fleet.submit())
        assert counted(worker, "preview", Flaw.BLACK) == 2
    assert job.state is JobState.DEAD
    assert "black" in job.error_message
    assert fleet.videos == []


async def test_another_seed_repairs_it_and_the_result_says_so(fleet: Fleet, refusing: Callable[[int], None]) -> None:
    async with fleet.worker():
        refusing(1)
        job = await fleet.ended(await fleet.submit(seed=7))
    assert job.state is JobState.SUCCEEDED
    assert (job.result.rejected, job.result.tier.name, job.result.fallback) == ((Flaw.FROZEN,), "preview", None)
    assert job.result.seed != 7
    assert job.attempt == 1
    assert len(fleet.videos) == 1


async def test_the_next_lower_tier_is_tried_last(
    fleet: Fleet, refusing: Callable[[int], None], spec_with: Callable[..., WorkerSpec]
) -> None:
    async with fleet.worker(spec_with(tiers=[fleet.small, fleet.preview])):
        refusing(2)
        job = await fleet.ended(await fleet.submit(fleet.small))
    assert job.result.rejected == (Flaw.FROZEN, Flaw.FROZEN)
    assert (job.result.tier.name, job.result.fallback) == ("preview", "output_rejected")


async def test_other_jobs_go_on_while_one_is_repaired(fleet: Fleet, refusing: Callable[[int], None]) -> None:
    async with fleet.worker():
        refusing(2)
        jobs = [await fleet.submit(seed=seed) for seed in range(4)]
        ended = [await fleet.ended(job) for job in jobs]
    assert [job.state for job in ended] == [JobState.SUCCEEDED] * 4
    assert sum(len(job.result.rejected) for job in ended) == 2


async def test_a_job_that_waits_for_its_repair_can_be_stopped(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    other_computes = threading.Event()

    def flaw(_: Gate) -> Flaw:
        other_computes.wait(60)
        return Flaw.FROZEN

    monkeypatch.setattr(Gate, "flaw", flaw)
    async with fleet.worker() as worker:
        job = await fleet.submit()
        slow = await fleet.submit(fleet.slow)
        await fleet.denoising(slow)
        other_computes.set()
        await fleet.until(lambda: counted(worker, "preview", Flaw.FROZEN) == 1, "the clip is refused")
        next(held for held in worker.held if held.job == job).stop(StopReason.DRAINED)
        await fleet.in_state(job, JobState.QUEUED)
        assert worker.status.jobs == (slow,)
    assert fleet.videos == []
