"""The loop is WanPipeline's, to the bit; and what the loop adds: steps one can stop between, and faults with a name."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from videofleet.architectures import Architecture
from videofleet.jobs import Progress, VideoRequest
from videofleet.tiers import Tier
from videofleet.workerspec import Dtype, Guidance, Offload, Warmup, WorkerSpec
from videofleet_worker.compute.denoise import Denoising, NotFinite, begin
from videofleet_worker.compute.entry import Seat
from videofleet_worker.compute.generate import decode_to_file, denoise, timed_step
from videofleet_worker.compute.group import Group
from videofleet_worker.compute.loading import load
from videofleet_worker.compute.offload import take_turns
from videofleet_worker.compute.prompts import MOST_TEXTS, Prompts
from videofleet_worker.compute.warmup import warm_tier
from videofleet_worker.faults import Fault

A14B, TI2V_5B = Architecture.WAN22_T2V_A14B, Architecture.WAN22_TI2V_5B
TIER = Tier(name="preview", width=64, height=64, num_frames=9, num_inference_steps=4, fps=16)
SpecWith = Callable[..., WorkerSpec]


@pytest.fixture(autouse=True)
def deterministic() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)


@pytest.fixture
def pipe(models: dict[Architecture, Path], spec_with: SpecWith) -> Any:
    return load(models[A14B], spec_with())


def by_pipeline(pipe: Any, request: VideoRequest) -> np.ndarray:
    """What `pipe()` itself makes of the request, as uint8 frames."""
    scales = {
        "guidance_scale": request.guidance_scale,
        "guidance_scale_2": request.guidance_scale_2,
    }
    video = pipe(
        request.prompt,
        negative_prompt=request.negative_prompt,
        height=request.tier.height,
        width=request.tier.width,
        num_frames=request.tier.num_frames,
        num_inference_steps=request.tier.num_inference_steps,
        generator=torch.Generator("cpu").manual_seed(request.seed),
        output_type="np",
        **{name: scale for name, scale in scales.items() if scale is not None},
    ).frames[0]
    return np.asarray((video * 255).round().astype(np.uint8))


def by_us(
    pipe: Any, request: VideoRequest, path: Path, between: Callable[[Progress], None] | None = None
) -> np.ndarray:
    job, tell = begin(pipe, request), between or (lambda _: None)
    denoise(pipe, job, tell)
    clip = decode_to_file(pipe, job, request.tier, path, tell, seconds_per_step=0.0)
    shape = (clip.frames.num_frames, clip.frames.height, clip.frames.width, 3)
    return np.fromfile(path, dtype=np.uint8).reshape(shape)


REQUESTS = {
    "defaults": {},
    "negative prompt, two scales": {"negative_prompt": "blurry", "guidance_scale": 4.0, "guidance_scale_2": 2.5},
    "no guidance": {"guidance_scale": 1.0},
}


@pytest.mark.parametrize("changes", REQUESTS.values(), ids=REQUESTS.keys())
@pytest.mark.parametrize("dtype", Dtype)
@pytest.mark.parametrize("architecture", Architecture)
def test_frames_are_bit_equal_to_the_pipelines(
    architecture: Architecture,
    dtype: Dtype,
    changes: dict[str, Any],
    models: dict[Architecture, Path],
    spec_with: SpecWith,
    tmp_path: Path,
) -> None:
    if architecture is TI2V_5B:
        changes = {key: value for key, value in changes.items() if key != "guidance_scale_2"}
    pipe = load(models[architecture], spec_with(architecture=architecture, dtype=dtype))
    request = VideoRequest(prompt="a red car at night", seed=11, tier=TIER, **changes)
    assert np.array_equal(by_us(pipe, request, tmp_path / "clip.rgb"), by_pipeline(pipe, request))


@pytest.mark.parametrize("offload", [Offload.MODEL, Offload.GROUP])
@pytest.mark.parametrize("architecture", Architecture)
def test_offload_changes_where_weights_lie_and_no_frame(
    architecture: Architecture,
    offload: Offload,
    models: dict[Architecture, Path],
    spec_with: SpecWith,
    tmp_path: Path,
) -> None:
    request = VideoRequest(prompt="a red car at night", seed=11, tier=TIER)
    pipe = load(models[architecture], spec_with(architecture=architecture, offload=offload))
    reference = load(models[architecture], spec_with(architecture=architecture))
    expected = by_us(reference, request, tmp_path / "expected.rgb")
    for _ in range(2):
        assert np.array_equal(by_us(pipe, request, tmp_path / "clip.rgb"), expected)


def test_components_take_turns_on_the_device(models: dict[Architecture, Path], spec_with: SpecWith) -> None:
    pipe = load(models[A14B], spec_with())
    turns = take_turns(pipe, torch.device("cpu"), Offload.MODEL)
    home = {name: pointers(getattr(pipe, name)) for name in ("text_encoder", "transformer", "transformer_2")}

    def away() -> list[str]:
        return [name for name, at_home in home.items() if pointers(getattr(pipe, name)) != at_home]

    job = begin(pipe, VideoRequest(prompt="x", seed=1, tier=TIER))
    assert away() == ["text_encoder"]
    seen = []
    while job.step < job.steps:
        timed_step(pipe, [job])
        seen += away()
    assert seen == ["transformer", "transformer", "transformer_2", "transformer_2"]
    assert turns.on_device is pipe.transformer_2


def pointers(component: torch.nn.Module) -> set[int]:
    return {parameter.data_ptr() for parameter in component.parameters()}


def test_both_experts_work_on_either_side_of_the_boundary(pipe: Any) -> None:
    job = begin(pipe, VideoRequest(prompt="x", seed=1, tier=TIER.model_copy(update={"num_inference_steps": 20})))
    assert job.experts == ("transformer",) * 7 + ("transformer_2",) * 13


@pytest.mark.parametrize(
    ("high", "low", "passes"),
    [(5.0, 5.0, (4, 4)), (5.0, 1.0, (4, 2)), (1.0, 5.0, (2, 4)), (1.0, 1.0, (2, 2)), (1.0, None, (2, 2))],
)
def test_each_expert_is_guided_as_its_own_scale_says(
    pipe: Any, high: float, low: float | None, passes: tuple[int, int]
) -> None:
    counts = {pipe.transformer: 0, pipe.transformer_2: 0}

    def count(model: torch.nn.Module, *_: Any) -> None:
        counts[model] += 1

    for model in counts:
        model.register_forward_pre_hook(count)
    job = begin(pipe, VideoRequest(prompt="x", seed=1, guidance_scale=high, guidance_scale_2=low, tier=TIER))
    all_steps(pipe, job)
    assert tuple(counts.values()) == passes
    assert (job.negative_prompt_embeds is None) is (passes == (2, 2)), "an unused text is not encoded"


@pytest.mark.parametrize(
    ("fleet", "request_", "scales"),
    [
        ({}, {}, (5.0, 5.0)),
        ({"high_noise": 4.0, "low_noise": 3.0}, {}, (4.0, 3.0)),
        ({"high_noise": 1.0}, {}, (1.0, 1.0)),
        ({"high_noise": 4.0, "low_noise": 3.0}, {"guidance_scale": 6.0}, (6.0, 6.0)),
        ({"high_noise": 4.0, "low_noise": 3.0}, {"guidance_scale_2": 2.0}, (4.0, 2.0)),
    ],
)
def test_the_fleet_says_how_much_guidance_a_silent_request_gets(
    fleet: dict[str, float], request_: dict[str, float], scales: tuple[float, float], pipe: Any
) -> None:
    job = begin(pipe, VideoRequest(prompt="x", seed=1, tier=TIER, **request_), guidance=Guidance(**fleet))
    assert (job.guidance["transformer"], job.guidance["transformer_2"]) == scales


def test_a_text_is_encoded_once_and_its_embeddings_are_the_pipelines(pipe: Any, monkeypatch: Any) -> None:
    with torch.no_grad():  # as in the pipeline: grad mode takes another kernel
        expected, negative = pipe.encode_prompt("a red car", "blurry", True, max_sequence_length=512)
    encoded: list[str] = []
    encode = pipe.encode_prompt
    monkeypatch.setattr(pipe, "encode_prompt", lambda text, **rest: encoded.append(text) or encode(text, **rest))
    prompts = Prompts(pipe)
    request = VideoRequest(prompt="a red car", negative_prompt="blurry", seed=1, tier=TIER)
    for _ in range(2):
        job = begin(pipe, request, prompts=prompts)
        assert torch.equal(job.prompt_embeds, expected.to(pipe.transformer.dtype))
        assert torch.equal(job.negative_prompt_embeds, negative.to(pipe.transformer.dtype))
    assert encoded == ["a red car", "blurry"]
    for number in range(MOST_TEXTS):
        prompts.embeds(f"another {number}")
    prompts.embeds("blurry")
    assert encoded.count("blurry") == 2, "the cache is bounded"


def test_the_same_seed_gives_the_same_frames_and_another_seed_others(pipe: Any, tmp_path: Path) -> None:
    first, again, other = (
        by_us(pipe, VideoRequest(prompt="x", seed=seed, tier=TIER), tmp_path / "clip.rgb") for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("stage", ["denoising", "decoding"])
def test_a_stopped_job_leaves_nothing_behind(pipe: Any, stage: str, tmp_path: Path) -> None:
    request = VideoRequest(prompt="x", seed=1, tier=TIER)

    def stop(progress: Progress) -> None:
        if progress.stage == stage and progress.step > 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        by_us(pipe, request, tmp_path / "stopped.rgb", stop)
    assert list(tmp_path.glob("*.rgb")) == []
    assert np.array_equal(by_us(pipe, request, tmp_path / "next.rgb"), by_pipeline(pipe, request))


def all_steps(pipe: Any, job: Denoising) -> None:
    while job.step < job.steps:
        timed_step(pipe, [job])


@pytest.mark.parametrize(("component", "place"), [("transformer", "step 1"), ("transformer_2", "step 3")])
def test_nan_is_found_at_its_step_and_expert(
    component: str, place: str, model: Path, poison: Callable[[str], None], spec_with: SpecWith
) -> None:
    poison(component)
    pipe = load(model, spec_with())
    job = begin(pipe, VideoRequest(prompt="x", seed=1, tier=TIER))
    with pytest.raises(NotFinite, match=rf"after {place} of 4 \({component}\)"):
        all_steps(pipe, job)


def test_nan_in_the_decoder_is_found(
    model: Path, poison: Callable[[str], None], spec_with: SpecWith, tmp_path: Path
) -> None:
    poison("vae")
    pipe = load(model, spec_with())
    with pytest.raises(NotFinite, match="vae"):
        by_us(pipe, VideoRequest(prompt="x", seed=1, tier=TIER), tmp_path / "clip.rgb")


def test_dtypes_are_as_the_spec_says(pipe: Any) -> None:
    assert pipe.transformer.blocks[0].attn1.to_q.weight.dtype == torch.float16
    assert pipe.transformer_2.scale_shift_table.dtype == torch.float32, "diffusers keeps it"
    assert pipe.text_encoder.dtype == torch.bfloat16
    assert pipe.vae.dtype == torch.float32


@pytest.mark.parametrize("component", ["transformer", "text_encoder", "vae"])
def test_a_tensor_that_no_file_has_is_a_corrupt_model(component: str, model: Path, spec_with: SpecWith) -> None:
    file = next((model / component).glob("*.safetensors"))
    tensors = load_file(file)
    del tensors[sorted(tensors)[-1]]
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(Fault, match=r"ModelCorrupt.*lacks"):
        load(model, spec_with())


def test_a_tensor_of_another_shape_is_a_corrupt_model(model: Path, spec_with: SpecWith) -> None:
    file = model / "transformer/diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    tensors["proj_out.weight"] = tensors["proj_out.weight"][:, :8].contiguous()
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(Fault, match="ModelCorrupt"):
        load(model, spec_with())


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_gpu_that_is_not_there_is_said() -> None:
    with pytest.raises(Fault, match="gpus is 1 but torch sees 0"):
        Group(Seat(rank=0, cfg=1, ulysses=1, on_gpu=True, rendezvous=Path(), marks=[0]))


def test_warm_up_runs_two_steps_of_each_expert_and_stops_at_max_runs(
    pipe: Any, spec_with: SpecWith, tmp_path: Path
) -> None:
    seen: list[int] = []
    tier = TIER.model_copy(update={"num_inference_steps": 20})
    settings = spec_with(warmup=Warmup(max_runs=3, stable_within=0.0, timeout_s=60))
    warmed = warm_tier(
        pipe, tier, settings, tmp_path, lambda p: seen.append(p.step) if p.stage == "denoising" else None
    )
    assert seen == [0, 1, 7, 8] * 3
    assert warmed.runs == 3
    assert warmed.seconds_per_step > 0
    assert Path(warmed.frames.path).stat().st_size == 9 * 64 * 64 * 3


def test_warm_up_ends_once_times_agree(pipe: Any, spec_with: SpecWith, tmp_path: Path) -> None:
    settings = spec_with(warmup=Warmup(max_runs=9, stable_within=1e9, timeout_s=60))
    assert warm_tier(pipe, TIER, settings, tmp_path, lambda _: None).runs == 2
