"""A tier is one rung of the quality ladder: size, frames and steps of a video."""

from typing import Protocol

from videofleet.architectures import CONSTANTS, Architecture
from videofleet.wire import Wire


class Tier(Wire):
    """One rung, as manifest, policy and warm-up all spell it."""

    name: str
    width: int  # pixels
    height: int  # pixels
    num_frames: int
    num_inference_steps: int
    fps: int  # frames a second; the architecture's unless the manifest says otherwise

    @property
    def cost(self) -> int:
        """Relative work: pixels × frames × steps. Tiers are listed with falling cost."""
        return self.width * self.height * self.num_frames * self.num_inference_steps

    @property
    def shape(self) -> str:
        """What jobs of one batch have in common, e.g. `832x480x81x40@16`; scripts spell it the same way."""
        return f"{self.width}x{self.height}x{self.num_frames}x{self.num_inference_steps}@{self.fps}"

    @property
    def volume(self) -> str:
        """What a denoising step's cost depends on, e.g. `832x480x81`; scripts cut it from `shape`."""
        return f"{self.width}x{self.height}x{self.num_frames}"

    @property
    def seconds(self) -> float:
        """Playing time of the video."""
        return self.num_frames / self.fps

    @property
    def size(self) -> str:
        """The OpenAI spelling of the resolution, e.g. `1280x720`."""
        return f"{self.width}x{self.height}"


class Shape(Protocol):
    """Width, height and frames: a tier here, or one of the manifest."""

    @property
    def width(self) -> int:
        """Pixels."""

    @property
    def height(self) -> int:
        """Pixels."""

    @property
    def num_frames(self) -> int:
        """Of the video."""


def tokens(tier: Shape, architecture: Architecture) -> int:
    """Tokens of one sample in a transformer. Example: 1280×720×81 on A14B → 21 · 45 · 80 = 75,600."""
    constants = CONSTANTS[architecture]
    frames = (tier.num_frames - 1) // constants.frames_multiple + 1
    return frames * (tier.height // constants.size_multiple_px) * (tier.width // constants.size_multiple_px)


def tier_faults(tier: Tier, architecture: Architecture, ulysses: int = 1) -> list[str]:
    """Why this architecture cannot render the tier on so many ranks; empty when it can.

    Example: width 500 on A14B → ["width 500 must be a multiple of 16 …"].
    """
    constants = CONSTANTS[architecture]
    faults = [
        f"{field} {value} must be a multiple of {constants.size_multiple_px} for {architecture}"
        for field, value in (("width", tier.width), ("height", tier.height))
        if value < constants.size_multiple_px or value % constants.size_multiple_px
    ]
    if tier.num_frames < 1 or (tier.num_frames - 1) % constants.frames_multiple:
        k = constants.frames_multiple
        faults.append(f"numFrames {tier.num_frames} must be a multiple of {k} plus 1, e.g. 9, 33 or 81")
    if tokens(tier, architecture) % ulysses:
        faults.append(
            f"{tokens(tier, architecture)} tokens must divide by worker.parallelism.ulysses {ulysses}; "
            "change size, numFrames or ulysses"
        )
    if tier.num_inference_steps < 1:
        faults.append(f"numInferenceSteps {tier.num_inference_steps} must be at least 1")
    return faults
