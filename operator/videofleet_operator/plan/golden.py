"""The golden prompts: what a canary renders at full length before any user's job goes to it.

The same words and seeds for every revision, so that what one made can be made again. They ask for what breaks first:
motion, faces, text, water, crowds, darkness, other languages.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from videofleet.jobs import GoldenFigures, VideoRequest
from videofleet.tiers import Tier
from videofleet_operator.plan.likeness import unlike

PROMPTS: Final = (
    "A red fox runs through fresh snow at dawn, the camera follows close behind",
    "An old woman laughs and pours tea in a sunlit kitchen, close-up of her face and hands",
    "Waves break over black rocks at night under a full moon, slow motion",
    "A busy street crossing in the rain seen from above, hundreds of umbrellas",
    "一只熊猫在竹林里吃竹子，镜头慢慢推近",
    "A neon sign that says OPEN flickers in a dark alley, steam rises from a grate",
    "夕暮れの海辺を白い馬が走り、たてがみが風になびく",
    "A glass of water falls from a table and shatters on a wooden floor",
)


@dataclass(frozen=True)
class Golden:
    """What to queue for a canary."""

    revision: str
    requests: tuple[VideoRequest, ...]


@dataclass(frozen=True)
class Rendered:
    """How far a canary is with its golden prompts."""

    is_proven: bool
    failed: str | None  # why it is turned down
    words: str


def golden_prompts(revision: str, count: int, tiers: Sequence[Tier], output_prefix: str) -> Golden:
    """The first `count` of them at the best tier, each with a seed of its own."""
    requests = [
        VideoRequest(prompt=prompt, seed=seed, tier=tiers[0], allow_fallback=False, output_prefix=output_prefix)
        for seed, prompt in enumerate(PROMPTS[:count], start=1)
    ]
    return Golden(revision, tuple(requests))


def rendered(figures: GoldenFigures, revision: str, stable: str, count: int) -> Rendered:
    """What has become of them so far.

    One that failed or that the output gate refused turns the canary down; so does, once all are there, that they look
    unlike those that stable made when it was the canary.
    """
    if not count:  # the spec asks for none any more
        return Rendered(True, None, "no golden prompts are asked for")
    if figures.revision != revision:  # the policy with this canary is not in force yet
        return Rendered(False, None, "golden prompts are about to be queued")
    bad, count = figures.failed + figures.rejected, min(count, figures.asked or count)
    words = f"{figures.succeeded} of {count} golden prompts rendered"
    failed = f"{bad} of {count} golden prompts failed or were refused by the output gate" if bad else None
    is_proven = not bad and figures.succeeded >= count
    if not is_proven:
        return Rendered(False, failed, words)
    others = figures.looks.get(stable, {})
    difference = unlike(figures.looks.get(revision, {}), others)
    if difference is not None:
        return Rendered(False, f"Golden prompts look unlike those of revision {stable}: {difference}", words)
    return Rendered(True, None, f"{words}, like those of stable" if others else words)
