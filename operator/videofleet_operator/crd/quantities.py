"""Durations (`30m`) and shares (`5%`): text in manifests, numbers in code. There are no floats in the CRD.

Each kind is one pattern, one message and one parser, so that the CEL rule and the Python type cannot
disagree.
"""

import re
from typing import Final

DURATION_PATTERN: Final = "^[1-9][0-9]{0,5}[smh]$"
PERCENT_PATTERN: Final = "^([1-9][0-9]?|0)(\\.[0-9])?%$"
POSITIVE_PERCENT_PATTERN: Final = "^([1-9][0-9]?(\\.[0-9])?|0\\.[1-9])%$"
GROWTH_PATTERN: Final = "^([1-9][0-9]{0,2}(\\.[0-9])?|0\\.[1-9])%$"
QUANTITY_PATTERN: Final = "^([0-9]{1,12})(\\.[0-9]{1,3})?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$"

_MULTIPLES: Final = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12} | {
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
}
_UNIT_S: Final = {"s": 1, "m": 60, "h": 3600}


def duration_s(text: str) -> int:
    """Seconds of a duration such as `90s`, `30m` or `2h`. Raises: ValueError."""
    if not re.fullmatch(DURATION_PATTERN, text):
        raise ValueError(f"{text!r} is no duration; write one number and one unit, e.g. 90s, 30m or 2h")
    return int(text[:-1]) * _UNIT_S[text[-1]]


def ratio(text: str) -> float:
    """The share as a ratio: `5%` is 0.05. Raises: ValueError."""
    if not re.fullmatch(PERCENT_PATTERN, text):
        raise ValueError(
            f"{text!r} is no share; write a percentage below 100 with at most one decimal, e.g. 5% or 2.5%"
        )
    return round(float(text[:-1]) / 100, 6)


def growth(text: str) -> float:
    """How much more, as a ratio: `25%` is 0.25, `150%` is 1.5. Raises: ValueError."""
    if not re.fullmatch(GROWTH_PATTERN, text):
        raise ValueError(f"{text!r} is no growth; write a percentage below 1000 with at most one decimal, e.g. 150%")
    return round(float(text[:-1]) / 100, 6)


def permille(text: str) -> int:
    """The share in thousandths: `0.5%` is 5. Raises: ValueError."""
    return round(ratio(text) * 1000)


def share_text(thousandths: int) -> str:
    """Thousandths as people write them: 5 is `0.5%`, 250 is `25%`."""
    return f"{thousandths / 10:g}%"


def quantity_bytes(text: str) -> int:
    """Bytes of a quantity: `1.5Gi` is 1610612736. Raises: ValueError."""
    match = re.fullmatch(QUANTITY_PATTERN, text)
    if match is None or match.group(3) == "m":
        raise ValueError(f"{text!r} is no amount of bytes; write e.g. 200Gi")
    return int(float(match.group(1) + (match.group(2) or "")) * _MULTIPLES[match.group(3) or ""])
