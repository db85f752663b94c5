"""Whether a canary's golden clips are of the same kind as those that stable made of the same prompts and seeds.

Another model makes other pictures, and is meant to: shapes are not compared. What the output gate, which knows one clip
only, lets pass is noise, blur, a tint, darkness, a standstill or a flicker over all prompts. The limits are wide enough
for any two models that work: no figure of one is a quarter or four times that of the other.
"""

from collections.abc import Mapping
from typing import Final

from videofleet.jobs import ClipLook

MOST_RATIO: Final = 4.0  # either way, of contrast, detail, motion and colour
MOST_BRIGHTER: Final = 90.0  # of 255, either way
FAINT: Final = 1.5  # of 255, added to both sides: what is hardly there has no ratio
_RATIOS: Final = ("contrast", "detail", "motion", "colour")


def unlike(canary: Mapping[int, ClipLook], stable: Mapping[int, ClipLook]) -> str | None:
    """How the canary's clips differ from stable's, by seed, over all prompts that both made; None when they do not.

    Example: detail of 40 in the mean instead of 8 is 4.37 times as much, ((40 + 1.5) / (8 + 1.5)), and told.
    """
    seeds = canary.keys() & stable.keys()
    if not seeds:
        return None
    for name in ("brightness", *_RATIOS):
        mine, other = (sum(getattr(looks[seed], name) for seed in seeds) / len(seeds) for looks in (canary, stable))
        if _is_far(name, mine, other):
            return f"their {name} is {mine:.1f} of 255 in the mean, that of stable's {other:.1f}"
    return None


def _is_far(name: str, mine: float, other: float) -> bool:
    if name in _RATIOS:
        ratio = (mine + FAINT) / (other + FAINT)
        return not 1 / MOST_RATIO <= ratio <= MOST_RATIO
    return abs(mine - other) > MOST_BRIGHTER
