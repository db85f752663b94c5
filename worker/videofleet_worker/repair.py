"""What is tried when a clip was refused: another seed, then another seed one tier lower. Pure.

Nobody gets a lower tier who asked for none, and every job tells what was delivered and why.
"""

from typing import Final

from videofleet.jobs import VideoRequest
from videofleet.tiers import Tier

SEED_STRIDE: Final = 0x9E3779B1  # odd: no seed meets itself again in 2³² tries
SEEDS: Final = 1 << 32
CAUSE: Final = "output_rejected"  # of a lower tier


def next_request(request: VideoRequest, tiers: list[Tier], refused: int) -> VideoRequest | None:
    """The request to try after so many clips were refused; None when nothing is left to try.

    Example: 1 refused → the same with another seed; 2 → the next tier of a fleet that has one; 3 → None.
    """
    seed = (request.seed + SEED_STRIDE) % SEEDS
    if refused == 1:
        return request.model_copy(update={"seed": seed})
    lower = next((tier for tier in tiers if tier.cost < request.tier.cost), None)
    if refused > 2 or lower is None or not request.allow_fallback:
        return None
    return request.model_copy(update={"seed": seed, "tier": lower})
