"""Which tier a request means: by name, by size, by length; the best that fits all three. Pure.

A video of 17 frames at 16 a second plays 1.0625 s, and nobody types that. So a tier answers to its length rounded to a
tenth, to the nearest whole second, and up to the next: 1.1, 1 and 2 all mean it.
"""

from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_HALF_UP, Decimal
from functools import lru_cache

from videofleet.policy import FleetPolicy
from videofleet.tiers import Tier
from videofleet_gateway.problems import Fault


def chosen_tier(policy: FleetPolicy, *, tier: str | None, size: str | None, seconds: Decimal | None) -> Tier | Fault:
    """The best tier that fits what is given (tiers are listed best first), or the field that no tier fits."""
    left = policy.tiers
    wishes: list[tuple[str, object, Callable[[Tier], bool], Callable[[Tier], str]]] = [
        ("tier", tier, lambda offer: offer.name == tier, lambda offer: offer.name),
        ("size", size, lambda offer: offer.size == size, lambda offer: offer.size),
        ("seconds", seconds, lambda offer: seconds in lengths(offer), spoken_seconds),
    ]
    for field, wish, fits, spelled in wishes:
        if wish is None:
            continue
        fitting = [offer for offer in left if fits(offer)]
        if not fitting:
            offered = ", ".join(dict.fromkeys(spelled(offer) for offer in left))
            among = "" if left == policy.tiers else " with the tier or size asked for"
            return Fault(field, f"{wish} is not offered by {policy.fleet}{among}; choose {offered}, or leave it out")
        left = fitting
    return left[0]


def lengths(tier: Tier) -> frozenset[Decimal]:
    """Every number of seconds that means this tier, e.g. 17 frames at 16 a second: {1.0625, 1.1, 1, 2}."""
    exact = Decimal(tier.num_frames) / tier.fps
    rounded = {
        exact,
        exact.quantize(Decimal("0.1"), ROUND_HALF_UP),
        exact.quantize(Decimal(1), ROUND_HALF_UP),
        exact.quantize(Decimal(1), ROUND_CEILING),
    }
    return frozenset(length for length in rounded if length > 0)


def spoken_seconds(tier: Tier) -> str:
    """The length as replies spell it, to a tenth: "1.1", "5"."""
    return _spoken(tier.num_frames, tier.fps)


@lru_cache(maxsize=1024)
def _spoken(frames: int, fps: int) -> str:
    tenth = (Decimal(frames) / fps).quantize(Decimal("0.1"), ROUND_HALF_UP)
    return f"{tenth:f}".removesuffix(".0")
