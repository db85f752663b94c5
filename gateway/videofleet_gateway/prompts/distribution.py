"""How far a prompt lies from prompts known to be ordinary: the Mahalanobis distance of hashed n-gram features. Pure.

Per language, over the prompts of `words/reference.json`. A score of 1 is the reference's own farthest prompt, each
measured against the others; LIMIT leaves room around it. The covariance is shrunk towards its diagonal, because there
are fewer prompts than numbers in the matrix. Catches keyboard mash, repetition and pasted code, not bad taste.
"""

import json
import math
import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
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
_SIGNS: Final = re.compile(r"[^\w ,.、，。'-]|_")  # neither letters, digits nor the marks of ordinary prose

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
    judged = text.plain[:_JUDGED_CHARACTERS]
    return _distance(_features(judged, _pair_counts(judged), model.seen), model) / model.farthest


@cache
def _model(language: Language) -> Model:
    reference = json.loads((files(__package__) / "words" / "reference.json").read_text())
    prompts = [read(prompt).plain[:_JUDGED_CHARACTERS] for prompt in reference[language]]
    counts = [_pair_counts(prompt) for prompt in prompts]
    farthest = max(_without(prompts, counts, left_out) for left_out in range(len(prompts)))
    return _fitted(prompts, counts, farthest)


def _without(prompts: Sequence[str], counts: Sequence[Vector], left_out: int) -> float:
    """How far one prompt lies from all the others."""
    rest = [at for at in range(len(prompts)) if at != left_out]
    model = _fitted([prompts[at] for at in rest], [counts[at] for at in rest], 1.0)
    return _distance(_features(prompts[left_out], counts[left_out], model.seen), model)


def _fitted(prompts: Sequence[str], counts: Sequence[Vector], farthest: float) -> Model:
    seen = sum(counts, np.zeros(_GRAMS))
    # A prompt's own pairs are taken out of what was seen, or each would look more ordinary than a new one.
    rows = np.array([_features(prompt, own, seen - own) for prompt, own in zip(prompts, counts, strict=True)])
    spread = np.cov(rows, rowvar=False)
    shrunk = (1 - _SHRINK) * spread + _SHRINK * np.diag(np.diag(spread)) + 1e-4 * np.eye(len(spread))
    inverse = np.asarray(np.linalg.inv(shrunk), dtype=np.float64)
    return Model(seen, rows.mean(axis=0), inverse, farthest)


def _distance(features: Vector, model: Model) -> float:
    apart = features - model.mean
    return math.sqrt(float(apart @ model.inverse @ apart))


def _features(judged: str, counts: Vector, seen: Vector) -> Vector:
    there = np.flatnonzero(counts)
    known = np.log((seen[there] + 0.5) / (seen.sum() + 0.5 * _GRAMS))
    likelihood = float(counts[there] @ known) / max(counts.sum(), 1)
    variety = len(there) / math.sqrt(max(counts.sum(), 1))
    signs = len(_SIGNS.findall(judged)) / max(len(judged), 1)
    letters = _counted(judged, _BUCKETS)
    return np.array([likelihood, variety, signs, *(letters / max(len(judged), 1))])


def _pair_counts(judged: str) -> Vector:
    return _counted(map("".join, pairwise(judged)), _GRAMS)


def _counted(pieces: Iterable[str], buckets: int) -> Vector:
    """How often each bucket occurs among the pieces."""
    hashes = np.fromiter(map(_hash, pieces), dtype=np.int64)
    return np.bincount(hashes % buckets, minlength=buckets).astype(np.float64)


def prepare() -> None:
    """Fits all models now, a third of a second's work, so that no request has to wait for it."""
    for language in Language:
        if language is not Language.OTHER:
            _model(language)


@lru_cache(maxsize=1 << 16)
def _hash(text: str) -> int:
    return zlib.crc32(text.encode())  # the same in every process and release
