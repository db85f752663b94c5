"""How far a prompt lies from prompts known to be ordinary: the Mahalanobis distance of hashed n-gram features. Pure.

Per language, over the prompts of `words/reference.json`. A score of 1 is the reference's own farthest prompt, each
measured against the others; LIMIT leaves room around it. The covariance is shrunk towards its diagonal, because there
are fewer prompts than numbers in the matrix. Catches keyboard mash, repetition and pasted code, not bad taste.
"""

import json
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from videofleet_gateway.prompts.advice import Advice, Weight
from videofleet_gateway.prompts.text import Language, Text, read

LIMIT: Final = 1.6
_CHANCE: Final = 4.0  # a text of n words may lie this much / n farther out: there is little to measure
_BUCKETS: Final = 16  # of single characters, for the vector
_GRAMS: Final = 4096  # of pairs of characters, for their likelihood
_SHRINK: Final = 0.5
_JUDGED_CHARACTERS: Final = 400  # the reference's prompts are no longer
_ENOUGH_WORDS: Final = 3  # below, chance rules

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Model:
    """The reference of one language."""

    seen: Vector  # how often each pair's bucket occurs
    mean: Vector
    inverse: Vector
    farthest: float  # of the reference's own prompts


def unusual(text: Text) -> list[Advice]:
    """An advice when the text is unlike any ordinary prompt."""
    if text.language is Language.OTHER or text.length < _ENOUGH_WORDS or score(text) <= LIMIT + _CHANCE / text.length:
        return []
    message = "reads unlike any ordinary prompt; describe the scene in plain English, Chinese or Japanese sentences"
    return [Advice("unusual", message, Weight.FAULT)]


def score(text: Text) -> float:
    """Distance from ordinary prompts; 1 is the farthest of the reference."""
    model = _model(text.language)
    return _distance(_features(text.plain, model.seen), model) / model.farthest


@cache
def _model(language: Language) -> Model:
    reference = json.loads((files(__package__) / "words" / "reference.json").read_text())
    prompts = [read(prompt).plain for prompt in reference[language]]
    farthest = max(_without(prompts, left_out) for left_out in range(len(prompts)))
    return _fitted(prompts, farthest)


def _without(prompts: Sequence[str], left_out: int) -> float:
    """How far one prompt lies from all the others."""
    model = _fitted([*prompts[:left_out], *prompts[left_out + 1 :]], 1.0)
    return _distance(_features(prompts[left_out], model.seen), model)


def _fitted(prompts: Sequence[str], farthest: float) -> Model:
    seen = sum((_pair_counts(prompt) for prompt in prompts), np.zeros(_GRAMS))
    # A prompt's own pairs are taken out of what was seen, or each would look more ordinary than a new one.
    rows = np.array([_features(prompt, seen - _pair_counts(prompt)) for prompt in prompts])
    spread = np.cov(rows, rowvar=False)
    shrunk = (1 - _SHRINK) * spread + _SHRINK * np.diag(np.diag(spread)) + 1e-4 * np.eye(len(spread))
    return Model(seen, rows.mean(axis=0), np.asarray(np.linalg.inv(shrunk), dtype=np.float64), farthest)


def _distance(features: Vector, model: Model) -> float:
    apart = features - model.mean
    return math.sqrt(float(apart @ model.inverse @ apart))


def _features(plain: str, seen: Vector) -> Vector:
    judged = plain[:_JUDGED_CHARACTERS]
    counts = _pair_counts(judged)
    known = np.log((seen + 0.5) / (seen.sum() + 0.5 * _GRAMS))
    likelihood = float(counts @ known) / max(counts.sum(), 1)
    variety = np.count_nonzero(counts) / math.sqrt(max(counts.sum(), 1))
    signs = sum(not (character.isalnum() or character in " ,.、，。'-") for character in judged) / max(len(judged), 1)
    letters = np.zeros(_BUCKETS)
    for character in judged:
        letters[_hash(character) % _BUCKETS] += 1
    return np.array([likelihood, variety, signs, *(letters / max(len(judged), 1))])


def _pair_counts(plain: str) -> Vector:
    counts = np.zeros(_GRAMS)
    judged = plain[:_JUDGED_CHARACTERS]
    for first, second in pairwise(judged):
        counts[_hash(first + second) % _GRAMS] += 1
    return counts


def _hash(text: str) -> int:
    return zlib.crc32(text.encode())  # the same in every process and release
