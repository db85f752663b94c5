"""Evidence of two streams of jobs, good or bad, that may be looked at as often as anybody likes.

A block is what both tracks finished between two looks. For a null hypothesis that is a half-plane of the two shares
of bad jobs, and any alternative chosen before the block, the likelihood ratio of the alternative to the point of the
null that is nearest to it is an e-value: its mean is at most 1 under the null, whatever the two shares are (Turner,
Ly, Grünwald, "Generic E-variables for exact sequential k-sample tests", 2024; Turner, Grünwald, "Exact anytime-valid
confidence intervals for contingency tables", 2023). Proof in two lines: each stream's factor has a mean g linear in
its share; nearest means Σ n·(g − 1) ≤ 0 all over the null; and the mean of the product, Π g^n, is at most (Σ n·g / Σ
n)^Σn ≤ 1. So the product over blocks is a test martingale even when the shares drift from block to block, and exceeds
1/a with probability a at most (Ville).

All logarithms are natural. Nothing is assumed but that a job's end does not decide in which block the others fall.
"""

from dataclasses import dataclass
from math import log
from typing import Final

_HALVINGS: Final = 48
_EDGE: Final = 1e-9


@dataclass(frozen=True)
class Block:
    """What both tracks finished between two looks."""

    canary: int
    canary_bad: int
    stable: int
    stable_bad: int

    @property
    def is_comparison(self) -> bool:
        """Whether both tracks are in it: one alone says nothing about the other."""
        return self.canary > 0 and self.stable > 0


def worse_factor(block: Block, canary: float, stable: float) -> float:
    """Log e-value against "the canary is not worse than stable" for the alternative of these two shares.

    Example: worse_factor(Block(1, 1, 99, 0), 0.03, 0.01) is about 1.08: one failure, and it is the canary's.
    """
    return _factor(block, canary, stable, 0.0)


def good_factor(block: Block, canary: float, stable: float, margin: float) -> float:
    """Log e-value against "the canary is worse by `margin` or more" for the alternative of these two shares.

    Example: good_factor(Block(10, 0, 90, 0), 0.01, 0.01, 0.05) is about 0.4: ten jobs without a failure.
    """
    return _factor(block, canary, stable, margin)


def share_factor(jobs: int, bad: int, share: float, most: float) -> float:
    """Log e-value against "at most `most` of the events are bad" for the alternative `share`, which is more.

    Its mean is linear in the true share and 1 at `most`, so at most 1 under the null. Example: share_factor(1, 1, 0.9,
    1 / 3) is about 0.99.
    """
    return _log_ratio(jobs, bad, share, most)


def _factor(block: Block, canary: float, stable: float, margin: float) -> float:
    near_canary, near_stable = _nearest(block, canary, stable, margin)
    return _log_ratio(block.canary, block.canary_bad, canary, near_canary) + _log_ratio(
        block.stable, block.stable_bad, stable, near_stable
    )


def _nearest(block: Block, canary: float, stable: float, margin: float) -> tuple[float, float]:
    """The point with canary = stable + margin that is nearest by Kullback-Leibler distance, weighted by jobs."""
    if margin == 0:
        pooled = (block.canary * canary + block.stable * stable) / (block.canary + block.stable)
        return pooled, pooled
    low, high = _EDGE, 1 - margin - _EDGE
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        slope = block.canary * _slope(canary, middle + margin) + block.stable * _slope(stable, middle)
        low, high = (low, middle) if slope > 0 else (middle, high)
    return low + margin, low


def _slope(share: float, at: float) -> float:
    """Derivative by `at` of the distance from `share` to `at`."""
    return (at - share) / (at * (1 - at))


def _log_ratio(jobs: int, bad: int, share: float, null: float) -> float:
    return bad * log(share / null) + (jobs - bad) * log((1 - share) / (1 - null))
