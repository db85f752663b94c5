"""What a check says: a code that programs rely on, words for people, and how much it weighs."""

from dataclasses import dataclass
from enum import StrEnum


class Weight(StrEnum):
    """What an advice may lead to."""

    HINT = "hint"  # the video could be better: never more than said
    FAULT = "fault"  # the video will likely disappoint: the tenant's policy decides
    BLOCK = "block"  # the tenant's own list forbids it: always refused


@dataclass(frozen=True)
class Advice:
    """One finding. The message never quotes the prompt, so that it may be logged and shown anywhere."""

    code: str
    message: str
    weight: Weight
