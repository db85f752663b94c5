"""`spec.tiers` and `spec.warmup`: the quality ladder, and how each rung is proven."""

from typing import Annotated, Final

from pydantic import Field

from videofleet.architectures import CONSTANTS
from videofleet_operator.crd.rules import duration, percent
from videofleet_operator.crd.values import Label, SpecModel

_FPS: Final = ", ".join(f"{name} {constants.fps}" for name, constants in CONSTANTS.items())


class TierSpec(SpecModel):
    """One rung of the quality ladder. No field has a default, so that a repeated apply finds no change."""

    name: Label = Field(description="What requests and status call it; unique.")
    width: int = Field(ge=16, le=4096, description="Pixels.")
    height: int = Field(ge=16, le=4096, description="Pixels.")
    num_frames: int = Field(ge=1, le=1025, description="Frames of the video.")
    num_inference_steps: int = Field(ge=1, le=200, description="Denoising steps.")
    fps: int | None = Field(
        default=None, ge=1, le=60, description=f"Frames a second; the architecture's when not given: {_FPS}."
    )

    @property
    def cost(self) -> int:
        """Relative work, as `videofleet.tiers.Tier.cost`."""
        return self.width * self.height * self.num_frames * self.num_inference_steps


class Warmup(SpecModel):
    """When a worker counts as warm: seconds per step of two runs in a row agree, for every tier."""

    max_runs: int = Field(default=4, ge=1, le=20, description="Most runs of one tier.")
    stable_within: Annotated[str, Field(max_length=5), percent()] = Field(
        default="5%", description="How far the seconds per step of two runs in a row may differ."
    )
    loading_timeout: Annotated[str, Field(max_length=7), duration("10s", "6h")] = Field(
        default="1h", description="Longest loading, before warm-up; after it the worker fails as `LoadingTimeout`."
    )
    timeout: Annotated[str, Field(max_length=7), duration("10s", "6h")] = Field(
        default="30m", description="Longest warm-up; after it the worker fails as `WarmupTimeout`."
    )
