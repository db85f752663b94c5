"""A model that float16 does not hold is served in bfloat16 and says so, or fails with the reason, as the spec wants."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from videofleet.beacons import WorkerFault, WorkerState
from videofleet.jobs import JobState
from videofleet.workerspec import Dtype, DtypeFallback, Warmup, WorkerSpec

Fleet = Any


@pytest.fixture
def too_large_for_float16(model: Path) -> Path:
    """A model with one weight of 1e5: infinity in float16, and just a number in bfloat16."""
    from safetensors.torch import load_file, save_file

    file = next((model / "transformer").glob("*.safetensors"))
    tensors = load_file(file)
    tensors["blocks.0.ffn.net.2.weight"].view(-1)[0] = 1e5
    save_file(tensors, file, metadata={"format": "pt"})
    return model


async def test_a_model_that_float16_does_not_hold_is_served_in_bfloat16(
    fleet: Fleet, too_large_for_float16: Path
) -> None:
    async with fleet.worker(model=too_large_for_float16) as worker:
        assert worker.status.is_ready
        assert worker.engine.dtype is Dtype.BFLOAT16
        (beacon,) = [worker.status.beacon()]
        assert "bfloat16, because float16 does not hold it" in beacon.note
        assert "step 1" in beacon.note
        assert (await fleet.ended(await fleet.submit())).state is JobState.SUCCEEDED


async def test_without_a_fallback_it_is_a_fault(
    fleet: Fleet, too_large_for_float16: Path, spec_with: Callable[..., WorkerSpec]
) -> None:
    spec = spec_with(dtype_fallback=DtypeFallback.NONE)
    async with fleet.worker(spec, model=too_large_for_float16) as worker:
        assert worker.status.state is WorkerState.FAILED
    assert fleet.termination["reason"] == WorkerFault.NOT_FINITE


async def test_compute_that_dies_later_comes_back_in_the_dtype_that_holds(
    fleet: Fleet, too_large_for_float16: Path
) -> None:
    import os
    import signal

    async with fleet.worker(model=too_large_for_float16) as worker:
        (pid,) = worker.engine.pids
        os.kill(pid, signal.SIGKILL)
        await fleet.until(lambda: worker.engine.pids not in ([pid], []) and worker.status.is_ready, "it is back")
        assert worker.engine.dtype is Dtype.BFLOAT16


async def test_loading_has_a_clock_of_its_own(fleet: Fleet, spec_with: Callable[..., WorkerSpec]) -> None:
    spec = spec_with(warmup=Warmup(max_runs=1, stable_within=0.5, timeout_s=60, loading_timeout_s=0.01))
    async with fleet.worker(spec):
        pass
    assert fleet.termination["reason"] == WorkerFault.LOADING_TIMEOUT
    assert "spec.warmup.loadingTimeout" in fleet.termination["message"]
