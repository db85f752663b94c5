"""Several ranks compute what one process computes, to the bit: guidance branches, sequence and weights split."""

import multiprocessing
import runpy
from collections.abc import Callable, Iterator
from multiprocessing.sharedctypes import RawArray
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from videofleet.architectures import Architecture
from videofleet.jobs import VideoRequest
from videofleet.tiers import Tier
from videofleet.workerspec import Dtype, Offload, Parallelism, Speed, WorkerSpec
from videofleet_worker.compute.denoise import begin
from videofleet_worker.compute.entry import Seat
from videofleet_worker.compute.generate import denoise
from videofleet_worker.compute.loading import load
from videofleet_worker.compute.parallel import weight_bytes
from videofleet_worker.ranks import fork_server

TIER = Tier(name="preview", width=64, height=64, num_frames=9, num_inference_steps=4, fps=16)
A14B = Architecture.WAN22_T2V_A14B
SpecWith = Callable[..., WorkerSpec]
LAYOUTS = [(2, 1), (1, 2), (2, 2)]


class Ranks:
    """Processes that stay for many tests; a call goes to all of them."""

    def __init__(self, cfg: int, ulysses: int, folder: Path) -> None:
        context = fork_server()
        marks = RawArray("Q", cfg * ulysses)
        self.ends: list[Any] = []
        self.processes = []
        for rank in range(cfg * ulysses):
            ours, theirs = multiprocessing.Pipe()
            seat = Seat(rank, cfg, ulysses, on_gpu=False, rendezvous=folder / f"{cfg}x{ulysses}", marks=marks)
            script = str(Path(__file__).with_name("rank_under_test.py"))
            process = context.Process(target=runpy.run_path, args=(script, {"seat": seat, "channel": theirs}))
            process.start()
            theirs.close()
            self.ends.append(ours)
            self.processes.append(process)

    def __call__(self, name: str, **arguments: Any) -> list[Any]:
        for end in self.ends:
            end.send((name, arguments))
        answers = []
        for end in self.ends:
            assert end.poll(60), f"{name}: a rank does not answer"
            answers.append(end.recv())
        return answers

    def close(self) -> None:
        for end in self.ends:
            end.close()
        for process in self.processes:
            process.kill()
            process.join()


@pytest.fixture(scope="session")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[int, int], Ranks]]:
    """Groups by layout, each started once."""
    folder = tmp_path_factory.mktemp("ranks")
    kept: dict[tuple[int, int], Ranks] = {}

    def group(cfg: int, ulysses: int) -> Ranks:
        if (cfg, ulysses) not in kept:
            kept[cfg, ulysses] = Ranks(cfg, ulysses, folder)
        return kept[cfg, ulysses]

    yield group
    for each in kept.values():
        each.close()


def alone(model: Path, spec: WorkerSpec, request: VideoRequest) -> tuple[np.ndarray, int]:
    """Latents of one process, and the bytes of its experts."""
    torch.set_num_threads(1)
    pipe = load(model, spec)
    job = begin(pipe, request)
    denoise(pipe, job, lambda _: None)
    return job.latents.numpy(), weight_bytes(pipe)


@pytest.mark.parametrize("shard_weights", [False, True], ids=["whole", "sharded"])
@pytest.mark.parametrize("dtype", Dtype)
@pytest.mark.parametrize("architecture", Architecture)
@pytest.mark.parametrize(("cfg", "ulysses"), LAYOUTS)
def test_ranks_make_what_one_process_makes(
    cfg: int,
    ulysses: int,
    architecture: Architecture,
    dtype: Dtype,
    shard_weights: bool,
    ranks: Callable[[int, int], Ranks],
    models: dict[Architecture, Path],
    spec_with: SpecWith,
) -> None:
    request = VideoRequest(prompt="a red car", negative_prompt="blurry", seed=5, tier=TIER)
    parallelism = Parallelism(cfg=cfg, ulysses=ulysses, shard_weights=shard_weights)
    spec = spec_with(architecture=architecture, dtype=dtype)
    expected, whole_bytes = alone(models[architecture], spec, request)
    spec = spec.model_copy(update={"parallelism": parallelism})
    for latents, bytes_here in ranks(cfg, ulysses)("latents", model=models[architecture], spec=spec, request=request):
        assert np.array_equal(latents, expected)
        assert bytes_here < 0.75 * whole_bytes if shard_weights else bytes_here == whole_bytes


@pytest.mark.parametrize(("cfg", "ulysses"), LAYOUTS)
def test_ranks_make_a_batch_as_they_make_its_jobs(
    cfg: int, ulysses: int, ranks: Callable[[int, int], Ranks], models: dict[Architecture, Path], spec_with: SpecWith
) -> None:
    requests = [VideoRequest(prompt=f"a red car {seed}", seed=seed, tier=TIER) for seed in range(3)]
    spec = spec_with(parallelism=Parallelism(cfg=cfg, ulysses=ulysses, shard_weights=True))
    expected = [alone(models[A14B], spec_with(), request)[0] for request in requests]
    for batch in ranks(cfg, ulysses)("batch", model=models[A14B], spec=spec, requests=requests):
        assert np.array_equal(batch, expected)


@pytest.mark.parametrize("shard_weights", [False, True], ids=["whole", "sharded"])
@pytest.mark.parametrize("speed", [Speed.BALANCED, Speed.TURBO])
@pytest.mark.parametrize(("cfg", "ulysses"), LAYOUTS)
def test_ranks_skip_what_one_process_skips(
    cfg: int,
    ulysses: int,
    speed: Speed,
    shard_weights: bool,
    ranks: Callable[[int, int], Ranks],
    models: dict[Architecture, Path],
    spec_with: SpecWith,
) -> None:
    """A rank that computes what the other one skips would wait for ever."""
    tier = TIER.model_copy(update={"num_inference_steps": 40})
    request = VideoRequest(prompt="a red car", negative_prompt="blurry", seed=5, tier=tier)
    exact, _ = alone(models[A14B], spec_with(), request)
    expected, _ = alone(models[A14B], spec_with(speed=speed), request)
    assert not np.array_equal(exact, expected)
    spec = spec_with(speed=speed, parallelism=Parallelism(cfg=cfg, ulysses=ulysses, shard_weights=shard_weights))
    for latents, _ in ranks(cfg, ulysses)("latents", model=models[A14B], spec=spec, request=request):
        assert np.array_equal(latents, expected)


@pytest.mark.parametrize(
    "changes",
    [{"guidance_scale": 1.0}, {"guidance_scale": 4.0, "guidance_scale_2": 2.5}, {"guidance_scale_2": 1.0}],
)
def test_guidance_is_the_same_on_two_branches(
    changes: dict[str, Any],
    ranks: Callable[[int, int], Ranks],
    models: dict[Architecture, Path],
    spec_with: SpecWith,
) -> None:
    request = VideoRequest(prompt="a red car", seed=6, tier=TIER, **changes)
    spec = spec_with(parallelism=Parallelism(cfg=2))
    expected, _ = alone(models[A14B], spec_with(), request)
    for latents, _ in ranks(2, 1)("latents", model=models[A14B], spec=spec, request=request):
        assert np.array_equal(latents, expected)


@pytest.mark.parametrize("offload", [Offload.MODEL, Offload.GROUP])
def test_ranks_with_offloaded_weights_make_the_same(
    offload: Offload, ranks: Callable[[int, int], Ranks], models: dict[Architecture, Path], spec_with: SpecWith
) -> None:
    request = VideoRequest(prompt="a red car", seed=7, tier=TIER)
    spec = spec_with(parallelism=Parallelism(cfg=2, ulysses=2), offload=offload)
    expected, _ = alone(models[A14B], spec_with(), request)
    for latents, _ in ranks(2, 2)("latents", model=models[A14B], spec=spec, request=request):
        assert np.array_equal(latents, expected)


def test_rank_0_decides_and_is_understood(ranks: Callable[[int, int], Ranks]) -> None:
    assert ranks(2, 2)("word") == [(7, "naïve")] * 4


def test_a_rank_that_drifts_is_named_to_all(ranks: Callable[[int, int], Ranks]) -> None:
    messages = ranks(2, 2)("drift")
    assert len(set(messages)) == 1
    assert messages[0].startswith("latents of rank 1 differ from those of rank 0")
