"""How far a prompt lies from prompts known to be ordinary: the Mahalanobis distance of hashed n-gram features. Pure.

Per language, over the prompts of `words/reference.json`. A score of 1 is the reference's own farthest prompt, each
measured against the others; LIMIT leaves room around it. The covariance is shrunk towards its diagonal, because there
are fewer prompts than numbers in the matrix. Catches keyboard mash, repetition and pasted code, not bad taste.
"""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
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
_SIGNS: Final = re.compile(r"[^\w ,.、，。'-]|_")  # neither letters, digits nor the marks of ordinary prose

_MIX: Final = np.uint64(0x9E3779B97F4A7C15)  # spreads neighbours over the buckets, the same in every release

Vector = NDArray[np.float64]
Hashes = NDArray[np.uint64]


@dataclass(frozen=True)
class Model:
    """The reference of one language."""

    known: Vector  # logarithm of how likely a pair of each bucket is
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
    judged = text.plain[:_JUDGED_CHARACTERS]
    return _distance(_features(judged, _pairs(judged), model.known), model) / model.farthest


@cache
def _model(language: Language) -> Model:
    reference = json.loads((files(__package__) / "words" / "reference.json").read_text())
    prompts = [read(prompt).plain[:_JUDGED_CHARACTERS] for prompt in reference[language]]
    counts = [np.bincount(_pairs(prompt), minlength=_GRAMS).astype(np.float64) for prompt in prompts]
    farthest = max(_without(prompts, counts, left_out) for left_out in range(len(prompts)))
    return _fitted(prompts, counts, farthest)


def _without(prompts: Sequence[str], counts: Sequence[Vector], left_out: int) -> float:
    """How far one prompt lies from all the others."""
    rest = [at for at in range(len(prompts)) if at != left_out]
    model = _fitted([prompts[at] for at in rest], [counts[at] for at in rest], 1.0)
    judged = prompts[left_out]
    return _distance(_features(judged, _pairs(judged), model.known), model)


def _fitted(prompts: Sequence[str], counts: Sequence[Vector], farthest: float) -> Model:
    seen = sum(counts, np.zeros(_GRAMS))
    # A prompt's own pairs are taken out of what was seen, or each would look more ordinary than a new one.
    rows = np.array(
        [
            _features(prompt, _pairs(prompt), _likelihoods(seen - own))
            for prompt, own in zip(prompts, counts, strict=True)
        ]
    )
    spread = np.cov(rows, rowvar=False)
    shrunk = (1 - _SHRINK) * spread + _SHRINK * np.diag(np.diag(spread)) + 1e-4 * np.eye(len(spread))
    inverse = np.asarray(np.linalg.inv(shrunk), dtype=np.float64)
    return Model(_likelihoods(seen), rows.mean(axis=0), inverse, farthest)


def _likelihoods(seen: Vector) -> Vector:
    """Of each bucket of pairs, as logarithms; `seen` is how often each occurred."""
    likelihoods: Vector = np.log((seen + 0.5) / (seen.sum() + 0.5 * _GRAMS))
    return likelihoods


def _distance(features: Vector, model: Model) -> float:
    apart = features - model.mean
    return math.sqrt(float(apart @ model.inverse @ apart))


def _features(judged: str, pairs: Hashes, known: Vector) -> Vector:
    """How likely the pairs are, how many differ, signs, and the share of each bucket of characters."""
    features = np.zeros(3 + _BUCKETS)
    if len(pairs):
        features[0] = known[pairs].sum() / len(pairs)
        features[1] = len(set(pairs.tolist())) / math.sqrt(len(pairs))
    if judged:
        features[2] = len(_SIGNS.findall(judged)) / len(judged)
        features[3:] = np.bincount(_hashed(_points(judged), _BUCKETS), minlength=_BUCKETS) / len(judged)
    return features


def _pairs(judged: str) -> Hashes:
    """The bucket of each two neighbouring characters."""
    points = _points(judged)
    return _hashed(points[:-1] << np.uint64(21) | points[1:], _GRAMS)


def _points(judged: str) -> Hashes:
    return np.frombuffer(judged.encode("utf-32-le"), dtype=np.uint32).astype(np.uint64)


def _hashed(numbers: Hashes, buckets: int) -> Hashes:
    """`buckets` is a power of two; the top bits of the product are the mixed ones."""
    return (numbers * _MIX) >> np.uint64(65 - buckets.bit_length())


def prepare() -> None:
    """Fits all models now, a third of a second's work, so that no request has to wait for it."""
    for language in Language:
        if language is not Language.OTHER:
            _model(language)
