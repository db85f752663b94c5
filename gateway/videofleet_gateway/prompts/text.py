"""A prompt as the checks see it: language, normalised text, words. Pure."""

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Language(StrEnum):
    """By script, because that is what can be known for sure; LATIN is judged as English."""

    ENGLISH = "en"
    CHINESE = "zh"
    JAPANESE = "ja"
    OTHER = "other"


_KANA: Final = re.compile("[\u3041-\u30ff]")
_HAN: Final = re.compile("[\u3400-\u9fff]")
_LATIN: Final = re.compile("[a-z]")
_OTHER: Final = re.compile("[\u0370-\u1fff\uac00-\ud7af]")  # Greek, Cyrillic, Arabic, Indic scripts, Hangul …
_WORD: Final = re.compile(r"[a-z0-9]+(?:['’-][a-z0-9]+)*")
_WORDS_PER_CJK: Final = 0.6  # a Chinese or Japanese character says about this much of an English word


@dataclass(frozen=True)
class Text:
    """The prompt in one case and one width."""

    plain: str
    language: Language
    words: tuple[str, ...]  # Latin words; CJK has none

    @property
    def length(self) -> float:
        """In English words, whatever the language."""
        if self.plain.isascii():
            return len(self.words)
        cjk = len(_HAN.findall(self.plain)) + len(_KANA.findall(self.plain))
        return len(self.words) + _WORDS_PER_CJK * cjk


def read(prompt: str) -> Text:
    """The prompt, normalised (NFKC, case folded)."""
    plain = unicodedata.normalize("NFKC", prompt).casefold()
    return Text(plain, _language(plain), tuple(_WORD.findall(plain)))


def _language(plain: str) -> Language:
    if plain.isascii():
        return Language.ENGLISH if _LATIN.search(plain) else Language.OTHER
    counts = {kind: len(kind.findall(plain)) for kind in (_KANA, _HAN, _LATIN, _OTHER)}
    if counts[_OTHER] > counts[_KANA] + counts[_HAN] + counts[_LATIN]:
        return Language.OTHER
    if 3 * (counts[_KANA] + counts[_HAN]) < counts[_LATIN]:
        return Language.ENGLISH
    if counts[_KANA]:
        return Language.JAPANESE
    return Language.CHINESE if counts[_HAN] else Language.OTHER
