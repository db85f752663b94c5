"""A state on disk: what goes on from it is equal to the bit, and what does not fit is refused."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler

from videofleet.architectures import Architecture
from videofleet.jobs import VideoRequest
from videofleet.tiers import Tier
from videofleet.workerspec import WorkerSpec
from videofleet_worker.compute.checkpoint import HISTORY, Unusable, label, restore, save
from videofleet_worker.compute.denoise import Denoising, begin
from videofleet_worker.compute.generate import timed_step
from videofleet_worker.compute.loading import load

A14B, TI2V_5B = Architecture.WAN22_T2V_A14B, Architecture.WAN22_TI2V_5B
# diffusers' DPM-Solver under numpy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
STEPS = 5
TIER = Tier(name="preview", width=64, height=64, num_frames=9, num_inference_steps=STEPS, fps=16)
REQUEST = VideoRequest(prompt="zebra", negative_prompt="crossing", seed=5, tier=TIER)
LABEL = label("video_1", "rev-1", REQUEST)
SCHEDULERS = {
    "UniPC": lambda: UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0),
    "DPM-Solver": lambda: DPMSolverMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
    ),
    "Euler": lambda: FlowMatchEulerDiscreteScheduler(shift=3.0),
}


@pytest.fixture(scope="module", autouse=True)
def deterministic() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def pipe_of(models: dict[Architecture, Path], spec_with: Callable[..., WorkerSpec]) -> Callable[..., Any]:
    """Loads a pipeline as another worker would."""
    return lambda architecture=A14B: load(models[architecture], spec_with(architecture=architecture))


def run(pipe: Any, job: Denoising, until: int = STEPS) -> Denoising:
    while job.step < until:
        timed_step(pipe, [job])
    return job


@pytest.mark.parametrize("architecture", Architecture)
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_job_restored_after_any_step_is_bit_equal(
    scheduler: str, architecture: Architecture, pipe_of: Callable[..., Any], tmp_path: Path
) -> None:
    here, there = pipe_of(architecture), pipe_of(architecture)
    here.scheduler, there.scheduler = SCHEDULERS[scheduler](), SCHEDULERS[scheduler]()
    uninterrupted = run(here, begin(here, REQUEST)).latents
    job = begin(here, REQUEST)
    for step in range(1, STEPS + 1):
        save(tmp_path / "state", run(here, job, step), LABEL)
        resumed = begin(there, REQUEST)
        restore(tmp_path / "state", resumed, LABEL)
        assert resumed.step == step
        assert torch.equal(run(there, resumed).latents, uninterrupted)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_steps_change_nothing_of_a_scheduler_that_is_not_saved(scheduler: str, pipe_of: Callable[..., Any]) -> None:
    pipe = pipe_of()
    pipe.scheduler = SCHEDULERS[scheduler]()
    job = begin(pipe, REQUEST)
    before = {name: str(value) for name, value in vars(job.scheduler).items()}
    run(pipe, job, 3)
    changed = {name for name, value in vars(job.scheduler).items() if before.get(name) != str(value)}
    assert changed <= set(HISTORY)


@pytest.fixture
def state(pipe_of: Callable[..., Any], tmp_path: Path) -> tuple[Any, Path]:
    """A pipeline, and the file of a job that is two steps along."""
    pipe = pipe_of()
    save(tmp_path / "state", run(pipe, begin(pipe, REQUEST), 2), LABEL)
    return pipe, tmp_path / "state"


OTHERS = {
    "another revision": label("video_1", "rev-2", REQUEST),
    "another job": label("video_2", "rev-1", REQUEST),
    "another seed": label("video_1", "rev-1", REQUEST.model_copy(update={"seed": 6})),
    "another tier": label("video_1", "rev-1", REQUEST.model_copy(update={"tier": TIER.model_copy(update={"fps": 8})})),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_a_state_of_something_else_is_refused(other: dict[str, Any], state: tuple[Any, Path]) -> None:
    pipe, path = state
    job = begin(pipe, REQUEST)
    noise = job.latents.clone()
    with pytest.raises(Unusable, match="another"):
        restore(path, job, other)
    assert job.step == 0
    assert torch.equal(job.latents, noise)


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("place", ["first", "header", "last", "cut", "empty", "gone"])
def test_a_damaged_state_is_refused(place: str, state: tuple[Any, Path]) -> None:
    pipe, path = state
    match place:
        case "first":
            flip(path, 0)
        case "header":
            flip(path, path.read_bytes().index(b"seconds"))
        case "last":
            flip(path, -1)
        case "cut":
            path.write_bytes(path.read_bytes()[:-10])
        case "empty":
            path.write_bytes(b"")
        case "gone":
            path.unlink()
    with pytest.raises(Unusable, match="damaged"):
        restore(path, begin(pipe, REQUEST), LABEL)


def test_the_prompt_is_not_in_a_state(state: tuple[Any, Path]) -> None:
    content = state[1].read_bytes()
    assert b"zebra" not in content
    assert b"crossing" not in content
    assert b"rev-1" in content
