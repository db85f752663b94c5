"""`status.scaling`: what scaling wants, why, and its last ten decisions."""

from pydantic import Field

from videofleet_operator.crd.values import SpecModel

HISTORY_MAX = 10
SENTENCE_MAX = 512


class ScalingStep(SpecModel):
    """One decision."""

    at: str = Field(max_length=32, description="When.")
    before: int = Field(ge=0, le=100_000, description="Workers wanted before.")
    desired: int = Field(ge=0, le=100_000, description="Workers wanted from then on.")
    reason: str = Field(max_length=63, description="One word: ScaledUp, ScaledDown, ScaledToZero, ScaledFromZero …")
    message: str = Field(max_length=SENTENCE_MAX, description="The figures behind it, in a sentence.")


class ScalingStatus(SpecModel):
    """What scaling wants now."""

    desired: int = Field(ge=0, le=100_000, description="Workers wanted; in mode Advisory what would be wanted.")
    reason: str = Field(max_length=63, description="One word: Steady, ScaledUp, AtMaximum, ResourceShort …")
    message: str = Field(max_length=SENTENCE_MAX, description="Why, in a sentence; at most every 30 s a new one.")
    cold_start_seconds: int = Field(ge=0, le=10**6, description="What nine of ten starts of workers stay under.")
    history: list[ScalingStep] = Field(max_length=HISTORY_MAX, description="The last decisions, newest first.")
