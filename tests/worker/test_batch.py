"""Jobs in one batch are what they are alone, and what happens to one of them changes no other."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from videofleet.architectures import Architecture
from videofleet.jobs import ErrorCode, VideoRequest
from videofleet.tiers import Tier
from videofleet.workerspec import Dtype, WorkerSpec
from videofleet_worker import protocol
from videofleet_worker.compute.batch import Batch
from videofleet_worker.compute.denoise import Denoising, begin
from videofleet_worker.compute.gain import batch_gain
from videofleet_worker.compute.group import SOLO
from videofleet_worker.compute.loading import load
from videofleet_worker.compute.making import Making
from videofleet_worker.compute.prompts import Prompts

A14B = Architecture.WAN22_T2V_A14B
TIER = Tier(name="preview", width=64, height=64, num_frames=9, num_inference_steps=6, fps=16)
REQUESTS = [
    VideoRequest(prompt=f"a red car {seed}", negative_prompt="blurry" * seed, seed=seed, tier=TIER) for seed in range(3)
]
BOUND = {Dtype.FLOAT16: 4e-3, Dtype.BFLOAT16: 0.0}  # of latents with a standard deviation of 1.1; seen here: 0.0
SpecWith = Callable[..., WorkerSpec]


@pytest.fixture(autouse=True)
def one_thread_each() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def pipe(models: dict[Architecture, Path], spec_with: SpecWith) -> Any:
    return load(models[A14B], spec_with())


def together(pipe: Any, requests: Sequence[VideoRequest]) -> list[Denoising]:
    """The jobs after their last step, from one batch."""
    jobs = [begin(pipe, request) for request in requests]
    batch = Batch(pipe, jobs)
    while jobs[0].step < jobs[0].steps:
        assert batch.step() == []
    return jobs


@pytest.mark.parametrize("dtype", Dtype)
@pytest.mark.parametrize("architecture", Architecture)
def test_a_batch_makes_what_each_job_makes_alone(
    architecture: Architecture, dtype: Dtype, models: dict[Architecture, Path], spec_with: SpecWith
) -> None:
    pipe = load(models[architecture], spec_with(architecture=architecture, dtype=dtype))
    for request, job in zip(REQUESTS, together(pipe, REQUESTS), strict=True):
        (alone,) = together(pipe, [request])
        assert float((job.latents - alone.latents).abs().max()) <= BOUND[dtype]


class Desk:
    """Makes videos as compute does, and keeps what it says."""

    def __init__(self, pipe: Any, spec: WorkerSpec, folder: Path) -> None:
        self.pipe = pipe
        self.folder = folder
        self.events: list[Any] = []
        self.stops: dict[str, protocol.Stop] = {}
        self.prompts = Prompts(pipe)
        self._making = Making(pipe, spec, SOLO, self, self.events.append)  # it is its own inbox
        self._making._prompts = self.prompts

    def stop_of(self, job: str) -> protocol.Stop | None:
        return self.stops.get(job)

    def make(self, requests: Sequence[VideoRequest]) -> dict[str, Any]:
        """What became of each job; they are called a, b, c."""
        works = [
            protocol.Work(
                job=job,
                request=request,
                frames_path=str(self.folder / f"{job}.rgb"),
                checkpoint_path=str(self.folder / f"{job}.checkpoint"),
                checkpoint_every_s=60,
            )
            for job, request in zip("abc", requests, strict=False)
        ]
        self._making.make(works)
        return {event.job: event for event in self.events if isinstance(event, protocol.Outcome)}

    def frames(self, job: str) -> bytes:
        return (self.folder / f"{job}.rgb").read_bytes()


@pytest.fixture
def desk(pipe: Any, spec_with: SpecWith, tmp_path: Path) -> Desk:
    return Desk(pipe, spec_with(), tmp_path)


@pytest.fixture
def alone(pipe: Any, spec_with: SpecWith, tmp_path: Path) -> list[bytes]:
    """The frames of each request by itself."""
    made = []
    for request in REQUESTS:
        (folder := tmp_path / f"alone-{request.seed}").mkdir()
        desk = Desk(pipe, spec_with(), folder)
        desk.make([request])
        made.append(desk.frames("a"))
    return made


def kinds(outcomes: dict[str, Any]) -> list[str]:
    return [outcomes[job].kind for job in "abc"]


def test_nan_in_one_job_leaves_its_neighbours_alone(desk: Desk, alone: list[bytes]) -> None:
    desk.prompts._kept[REQUESTS[1].prompt] = torch.full_like(desk.prompts.embeds("x"), float("nan"))
    outcomes = desk.make(REQUESTS)
    assert kinds(outcomes) == ["generated", "failed", "generated"]
    assert (outcomes["b"].code, outcomes["b"].retry) == (ErrorCode.NOT_FINITE, True)
    assert "after step 1 of 6 (transformer)" in outcomes["b"].message
    assert [desk.frames("a"), desk.frames("c")] == [alone[0], alone[2]]


def test_a_stop_takes_one_job_out_at_the_next_step_and_leaves_its_state(desk: Desk, alone: list[bytes]) -> None:
    def stop(*_: Any) -> None:
        desk.stops["a"] = protocol.Stop(job="a", checkpoint=True)

    with desk.pipe.transformer_2.register_forward_pre_hook(stop):
        outcomes = desk.make(REQUESTS)
    assert kinds(outcomes) == ["stopped", "generated", "generated"]
    (left,) = [event for event in desk.events if isinstance(event, protocol.Checkpointed)]
    assert (left.job, 0 < left.step < TIER.num_inference_steps) == ("a", True)
    assert [desk.frames("b"), desk.frames("c")] == alone[1:]
    again = protocol.Work(
        job="a",
        request=REQUESTS[0],
        frames_path=str(desk.folder / "a.rgb"),
        checkpoint_path=str(desk.folder / "a.checkpoint"),
        checkpoint_every_s=60,
        resume_path=left.path,
    )
    desk.stops.clear()
    desk._making.make([again])
    assert desk.frames("a") == alone[0], "it goes on alone where the batch left it"


@pytest.mark.parametrize("rows", [1, 2])
def test_memory_that_does_not_hold_the_batch_splits_it(rows: int, desk: Desk, alone: list[bytes]) -> None:
    seen = []

    def full(_: Any, __: Any, given: dict[str, Any]) -> None:
        seen.append(len(given["hidden_states"]))
        if seen[-1] > rows:
            raise torch.OutOfMemoryError("CUDA out of memory")

    with desk.pipe.transformer.register_forward_pre_hook(full, with_kwargs=True):
        outcomes = desk.make(REQUESTS)
    assert kinds(outcomes) == ["generated"] * 3
    assert [desk.frames(job) for job in "abc"] == alone
    assert seen.count(3) == 1, "what did not fit is not tried again"


def test_a_job_that_memory_does_not_hold_even_alone_fails_alone(desk: Desk, alone: list[bytes]) -> None:
    seen = []

    def full(_: Any, __: Any, given: dict[str, Any]) -> None:
        seen.append(given["hidden_states"])
        if len(seen[-1]) > 1 or len(seen) == 4:  # passes 2 and 3 are the first job's branches
            raise torch.OutOfMemoryError("CUDA out of memory")

    with desk.pipe.transformer.register_forward_pre_hook(full, with_kwargs=True):
        outcomes = desk.make(REQUESTS)
    assert kinds(outcomes) == ["generated", "failed", "generated"]
    assert "ran out of memory" in outcomes["b"].message
    assert [desk.frames("a"), desk.frames("c")] == [alone[0], alone[2]]


def test_what_breaks_the_pass_they_share_is_tried_again_by_each(desk: Desk) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("zebra")

    with desk.pipe.transformer.register_forward_pre_hook(broken):
        outcomes = desk.make(REQUESTS)
    assert [(outcomes[job].retry, "zebra" in outcomes[job].message) for job in "abc"] == [(True, False)] * 3
    assert kinds({event.job: event for event in desk.make(REQUESTS).values()}) == ["generated"] * 3


def test_an_impossible_request_leaves_a_batch_before_it_begins(desk: Desk, alone: list[bytes]) -> None:
    wrong = REQUESTS[0].model_copy(update={"tier": TIER.model_copy(update={"width": 70})})
    outcomes = desk.make([wrong, *REQUESTS[1:]])
    assert kinds(outcomes) == ["failed", "generated", "generated"]
    assert not outcomes["a"].retry
    assert [desk.frames("b"), desk.frames("c")] == alone[1:]


def test_large_videos_are_never_tried_together(pipe: Any, spec_with: SpecWith) -> None:
    large = TIER.model_copy(update={"width": 832, "height": 480, "num_frames": 81})
    assert batch_gain(pipe, large, spec_with(), Prompts(pipe), SOLO, lambda _: True) == (1, 1.0)


@pytest.mark.parametrize(("most", "batch"), [(1, 1), (4, 4), (100, 8)])
def test_a_batch_is_as_large_as_pays_and_fits(
    most: int, batch: int, pipe: Any, spec_with: SpecWith, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(10**9))  # every step takes as long, whatever is in it
    monkeypatch.setattr("time.perf_counter", lambda: float(next(clock)))
    found, gain = batch_gain(pipe, TIER, spec_with(), Prompts(pipe), SOLO, lambda jobs: jobs <= most)
    assert (found, gain) == (batch, pytest.approx(batch))
