"""Every injected bad clip is refused, by its name; clips of a working model, fades, nights and slow pans pass."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from videofleet.jobs import ClipLook, VideoRequest
from videofleet.tiers import Tier
from videofleet_worker.gate import Flaw, Gate
from videofleet_worker.look import Look
from videofleet_worker.repair import next_request

SHAPE = (48, 64, 3)
FRAMES = 17


def verdict(clip: np.ndarray) -> Flaw | None:
    gate = Gate()
    for frame in clip:
        gate.see(frame)
    return gate.flaw()


def noise(seed: int, frames: int = FRAMES, low: int = 0, high: int = 256) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, high, (frames, *SHAPE), dtype=np.uint8)


def flat(seed: int, wobble: int = 0) -> np.ndarray:
    source = np.random.default_rng(seed)
    colour = source.integers(40, 200, 3)
    clip = np.broadcast_to(colour, (FRAMES, *SHAPE)) + source.integers(-wobble, wobble + 1, (FRAMES, *SHAPE))
    return clip.astype(np.uint8)


def frozen(seed: int, moving: int = 1) -> np.ndarray:
    clip = noise(seed)
    clip[moving:] = clip[moving - 1]
    return clip


BAD = {
    "black": (Flaw.BLACK, lambda seed: np.zeros((FRAMES, *SHAPE), np.uint8)),
    "nearly black": (Flaw.BLACK, lambda seed: noise(seed, high=16)),
    "black from the third frame on": (Flaw.BLACK, lambda seed: np.concatenate([noise(seed, 2), noise(seed, 15, 0, 9)])),
    "one colour": (Flaw.FLAT, flat),
    "one colour and some noise": (Flaw.FLAT, lambda seed: flat(seed, 2)),
    "white": (Flaw.FLAT, lambda seed: np.full((FRAMES, *SHAPE), 255, np.uint8)),
    "one picture": (Flaw.FROZEN, frozen),
    "one picture after a start": (Flaw.FROZEN, lambda seed: frozen(seed, 2)),
}


@pytest.mark.parametrize(("flaw", "make"), BAD.values(), ids=BAD)
def test_injected_bad_clips_are_all_refused(flaw, make) -> None:
    assert [verdict(make(seed)) for seed in range(64)] == [flaw] * 64  # 8 kinds × 64: more than 500


def test_clips_of_coloured_noise_pass() -> None:
    assert [verdict(noise(seed)) for seed in range(200)] == [None] * 200


def ramp() -> np.ndarray:
    """A picture with a gradient: a wall, a sky."""
    return np.broadcast_to(np.linspace(60, 180, SHAPE[1])[None, :, None], SHAPE)


VIDEOS = {
    "a fade from black": [ramp() * min(1, n / 6) for n in range(FRAMES)],
    "a slow pan": [np.roll(ramp(), n, axis=1) for n in range(FRAMES)],
    "a night with a lamp": [np.where(ramp() > 170 - n, 220, 8) for n in range(FRAMES)],
    "a still life that breathes": [ramp() + np.sin(n) * 2 for n in range(FRAMES)],
    "a single frame": [ramp()],
}


@pytest.mark.parametrize("frames", VIDEOS.values(), ids=VIDEOS)
def test_quiet_videos_pass(frames) -> None:
    assert verdict(np.stack(frames).astype(np.uint8)) is None


HIGH = Tier(name="high", width=128, height=128, num_frames=17, num_inference_steps=8, fps=16)
LOW = HIGH.model_copy(update={"name": "low", "num_inference_steps": 4})


@given(st.integers(0, 2**32 - 1))
def test_a_refused_clip_gets_another_seed_then_a_lower_tier_then_up(seed: int) -> None:
    first = VideoRequest(prompt="p", seed=seed, tier=HIGH)
    second = next_request(first, [HIGH, LOW], 1)
    third = next_request(second, [HIGH, LOW], 2)
    assert (second.tier, third.tier) == (HIGH, LOW)
    assert len({first.seed, second.seed, third.seed}) == 3
    assert next_request(third, [HIGH, LOW], 3) is None


def test_nobody_gets_a_lower_tier_who_asked_for_none() -> None:
    request = VideoRequest(prompt="p", seed=1, tier=HIGH, allow_fallback=False)
    assert next_request(request, [HIGH, LOW], 1).tier == HIGH
    assert next_request(request, [HIGH, LOW], 2) is None
    assert next_request(VideoRequest(prompt="p", seed=1, tier=LOW), [HIGH, LOW], 2) is None


def look(clip: np.ndarray) -> ClipLook:
    seen = Look()
    for frame in clip:
        seen.see(frame)
    return seen.figures()


def test_a_look_tells_noise_from_a_slow_pan_and_grey_from_colour() -> None:
    ramp = np.linspace(0, 255, SHAPE[1]).astype(np.uint8)
    pan = np.stack([np.broadcast_to(np.roll(ramp, n)[None, :, None], SHAPE) for n in range(FRAMES)])
    calm, wild = look(pan), look(noise(1))
    assert calm.colour == 0 < wild.colour
    assert wild.motion > 4 * calm.motion
    assert wild.detail > 4 * calm.detail
    assert 120 < calm.brightness < 135
    assert look(noise(1, frames=1)).motion == 0
