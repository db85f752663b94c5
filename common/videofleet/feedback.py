"""What people say of a video, and the counts of it by revision: users' part of an A/B comparison."""

from enum import StrEnum
from typing import Final

from pydantic import Field

from videofleet.wire import Wire

RATINGS: Final = range(1, 6)  # from useless to just right


class Label(StrEnum):
    """Why, in one word of a closed list, so that counts stay few."""

    GOOD = "good"
    ARTIFACTS = "artifacts"  # shapes that are wrong
    FLICKER = "flicker"
    LITTLE_MOTION = "little_motion"
    OFF_PROMPT = "off_prompt"  # not what was asked for
    UNSAFE = "unsafe"
    OTHER = "other"


class Feedback(Wire):
    """What was said of the videos of one revision and delivered tier; each video counts once, by its latest word."""

    revision: str
    tier: str
    ratings: int = 0
    rating_sum: int = 0
    liked: int = 0  # videos that were given 4 or 5
    disliked: int = 0  # 1 or 2
    labels: dict[Label, int] = Field(default_factory=dict)

    @property
    def mean_rating(self) -> float | None:
        """1 to 5; None when nobody said anything."""
        return self.rating_sum / self.ratings if self.ratings else None
