"""Blocked terms, found also where they are dressed up. Pure.

Both sides are brought to a skeleton: NFKC, no accents or invisible characters, look-alike letters of other scripts and
digits in place of letters as the Latin letter, letters set apart joined. Latin terms match whole words; terms in
scripts without spaces match anywhere.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from videofleet_gateway.prompts.advice import Advice, Weight

_LOOK_ALIKES: Final = str.maketrans(
    {
        **dict(zip("авеікмнорстухѕјһԁԛԝьгпи", "abeikmhopctyxsjhdqwbrnu", strict=True)),  # Cyrillic
        **dict(zip("αβγεηικνορτυχω", "abyenlkvoptuxw", strict=True)),  # Greek
        **dict(zip("ıɩɡɑƅɴʀʏ", "llgabnry", strict=True)),  # Latin letters of their own
        **dict(zip("013457@$", "oleastas", strict=True)),
    }
)
_STROKES: Final = re.compile(r"i|(?<=\w)[!|](?=\w)")  # i, l, 1, ! and | are one letter to the eye
_VOICING: Final = "\u3099\u309a"  # part of a kana, not an accent
_SPACELESS: Final = re.compile("[\u3041-\u30ff\u3400-\u9fff]")
_RUN_OF_LETTERS: Final = re.compile(r"(?<![^\W_])(?:[^\W\d_][\W_]{1,2}){2,}[^\W\d_](?![^\W_])")


def skeleton(text: str) -> str:
    """What the eye reads: words of Latin look-alikes, one space between."""
    apart = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    shown = "".join(
        character
        for character in apart
        if character in _VOICING
        or unicodedata.category(character) not in ("Mn", "Me", "Cf", "Cc")
        or character in "\n\t"
    )
    alike = unicodedata.normalize("NFC", shown).translate(_LOOK_ALIKES)
    joined = _RUN_OF_LETTERS.sub(lambda run: re.sub(r"[\W_]", "", run.group()), _STROKES.sub("l", alike))
    return " ".join(re.findall(r"[^\W_]+", joined))


@lru_cache(maxsize=1 << 16)
def _bare(term: str) -> str:
    """A term's skeleton; lists are long and change seldom."""
    return skeleton(term)


def blocked_terms(prompt: str, terms: Sequence[str]) -> list[Advice]:
    """One advice if any term is in it; which one is not said, so that nobody feels along the fence."""
    if not terms:
        return []
    seen = f" {skeleton(prompt)} "
    tight = seen.replace(" ", "")
    for term in terms:
        bare = _bare(term)
        if bare and (bare.replace(" ", "") in tight if _SPACELESS.search(bare) else f" {bare} " in seen):
            return [
                Advice("blocked_term", "holds a term that your organisation does not allow; leave it out", Weight.BLOCK)
            ]
    return []
