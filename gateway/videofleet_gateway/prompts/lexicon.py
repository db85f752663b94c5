"""What the checks know of a language. The words stand in `words/*.json`, the same groups for each language.

`actions`: something moves, camera moves too. `deeds`: those of them that never name a thing, where that differs.
`empty`: words that give a model nothing to draw (articles, praise, abstractions). `negations`. `changes`: words of a
change in time, which reconcile opposites. `opposites`: pairs of lists. `joiners`: what stands between a list's things.
"""

import json
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from videofleet_gateway.prompts.text import Language


@dataclass(frozen=True)
class Lexicon:
    """Compiled patterns of one language, over normalised text."""

    actions: re.Pattern[str]
    negations: re.Pattern[str]
    changes: re.Pattern[str]
    joiners: re.Pattern[str]
    opposites: tuple[tuple[re.Pattern[str], re.Pattern[str], str], ...]
    one_sides: re.Pattern[str]  # the first of every pair of opposites; most prompts hold none
    substance: re.Pattern[str]  # group 1 is a letter that belongs neither to `deeds` nor to `empty`

    def has_content(self, plain: str) -> bool:
        """Whether letters are left when actions and empty words are taken out: something to draw."""
        return any(match[1] for match in self.substance.finditer(plain))


@cache
def lexicon(language: Language) -> Lexicon:
    """The lexicon of English, Chinese or Japanese."""
    words: dict[str, Any] = json.loads((files(__package__) / "words" / f"{language}.json").read_text())
    whole = language is Language.ENGLISH
    no_content = [*words.get("deeds", words["actions"]), *words["empty"]]
    return Lexicon(
        actions=_any_of(words["actions"], whole),
        substance=re.compile(rf"{_any_of(no_content, whole).pattern}|([^\W\d_])"),
        negations=_any_of(words["negations"], whole),
        changes=_any_of(words["changes"], whole),
        joiners=re.compile(words["joiners"]),
        one_sides=_any_of([word for one, _ in words["opposites"] for word in one], whole),
        opposites=tuple(
            (_any_of(a, whole), _any_of(b, whole), f"“{a[0]}” and “{b[0]}”") for a, b in words["opposites"]
        ),
    )


def _any_of(patterns: list[str], whole_words: bool) -> re.Pattern[str]:
    longest_first = "|".join(sorted(patterns, key=len, reverse=True))
    return re.compile(rf"\b(?:{longest_first})\b" if whole_words else f"(?:{longest_first})")
