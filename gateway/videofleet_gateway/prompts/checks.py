"""The checks of a prompt's sense: length, structure, number of things, contradictions, negations. Pure.

They lean towards silence: an ordinary prompt must pass, and what no rule understands counts as drawable.
"""

from collections.abc import Iterator
from typing import Final

from videofleet_gateway.prompts.advice import Advice, Weight
from videofleet_gateway.prompts.lexicon import Lexicon, lexicon
from videofleet_gateway.prompts.text import Language, Text

SHORT_WORDS: Final = 3
LONG_WORDS: Final = 380  # about 512 tokens of the text encoder, which reads no further
MANY_THINGS: Final = 20
MANY_NEGATIONS: Final = 3
_THING_WORDS: Final = 3.1  # a list's entry is this short; anything longer is a description
_THING_WORDS_CJK: Final = 4


def length(text: Text) -> list[Advice]:
    """Too short to mean one thing, or longer than the model reads."""
    if text.length > LONG_WORDS:
        message = (
            "is longer than the model reads (512 tokens): its end will have no effect; say the same in fewer words"
        )
        return [Advice("too_long", message, Weight.FAULT)]
    if text.length < SHORT_WORDS:
        message = "is very short; say who or what is seen, what it does, where, and how it is filmed"
        return [Advice("too_short", message, Weight.HINT)]
    return []


def sense(text: Text) -> list[Advice]:
    """All checks that need to know the language."""
    if text.language is Language.OTHER:
        return []
    words = lexicon(text.language)
    return [*_structure(text, words), *_things(text, words), *_contradictions(text, words), *_negations(text, words)]


def _structure(text: Text, words: Lexicon) -> Iterator[Advice]:
    acts, content = words.actions.search(text.plain), words.has_content(text.plain)
    if not content and not acts:
        message = "names nothing that can be drawn; name a person, an animal, a thing or a place"
        yield Advice("nothing_to_draw", message, Weight.FAULT)
    elif not content:
        yield Advice("no_subject", "says what happens but not to whom; name who or what does it", Weight.FAULT)
    elif not acts:
        message = "has no action, so the video may hardly move; say what moves, or how the camera does"
        yield Advice("no_action", message, Weight.HINT)


def _things(text: Text, words: Lexicon) -> Iterator[Advice]:
    entries = words.joiners.split(text.plain)
    if len(entries) <= MANY_THINGS:
        return
    things = sum(1 for entry in entries if _is_thing(entry, text.language) and words.has_content(entry))
    if things > MANY_THINGS:
        message = f"lists {things} things, a few seconds of video hold about {MANY_THINGS}; keep those that matter"
        yield Advice("too_many_things", message, Weight.FAULT)


def _is_thing(entry: str, language: Language) -> bool:
    if language is Language.ENGLISH:
        return Text(entry, language, tuple(entry.split())).length <= _THING_WORDS
    return Text(entry, language, ()).length <= _THING_WORDS_CJK


def _contradictions(text: Text, words: Lexicon) -> Iterator[Advice]:
    if not words.one_sides.search(text.plain) or words.changes.search(text.plain):
        return
    for one, other, named in words.opposites:
        if one.search(text.plain) and other.search(text.plain):
            message = f"asks for {named} at once; choose one, or say how the one becomes the other"
            yield Advice("contradiction", message, Weight.FAULT)
            return


def _negations(text: Text, words: Lexicon) -> Iterator[Advice]:
    if len(words.negations.findall(text.plain)) >= MANY_NEGATIONS:
        message = "says mostly what not to show, and models draw what they read; put that into negative_prompt"
        yield Advice("negation_chain", message, Weight.FAULT)
