"""`status.rollout.comparison`: the A/B report of the latest trial, in whole numbers because a CRD has no floats."""

from typing import Annotated, Final

from pydantic import Field

from videofleet_operator.crd.values import SpecModel

_Count = Annotated[int, Field(ge=0, le=2**53)]
_REVISION: Final = 10
_TIME: Final = 32


class TrackFigures(SpecModel):
    """What a track did."""

    attempts: _Count = Field(default=0, description="Attempts that ended in a video or by a fault.")
    failures: _Count = Field(default=0, description="Of those: by a fault.")
    rejected: _Count = Field(default=0, description="Of those: the output gate refused a clip.")
    timed: _Count = Field(default=0, description="Videos in `stepMs`.")
    step_ms: _Count = Field(default=0, description="Sum of their milliseconds per step.")
    waited: _Count = Field(default=0, description="Jobs in `waitMs`.")
    wait_ms: _Count = Field(default=0, description="Sum of their milliseconds until a worker had them.")
    liked: _Count = Field(default=0, description="Videos that users gave 4 or 5.")
    disliked: _Count = Field(default=0, description="Videos that users gave 1 or 2.")


class Comparison(SpecModel):
    """Both tracks over the same time."""

    canary_revision: str = Field(max_length=_REVISION, description="The one that was on trial.")
    stable_revision: str = Field(max_length=_REVISION, description="The one beside it.")
    since: str = Field(max_length=_TIME, description="When the canary had its first jobs.")
    until: str = Field(max_length=_TIME, description="The last look.")
    canary: TrackFigures = Field(description="What the canary did.")
    stable: TrackFigures = Field(description="What stable did meanwhile.")
    canary_seen: TrackFigures = Field(description="The canary's counters at the last look.")
    stable_seen: TrackFigures = Field(description="Stable's counters at the last look.")
