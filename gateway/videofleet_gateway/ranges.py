"""The Range header of RFC 9110 §14, for one range. Pure.

Anything that is not one well-formed byte range is ignored, as the RFC allows: the whole is sent.
"""

import re
from typing import Final

_ONE_RANGE: Final = re.compile(r"\s*bytes\s*=\s*([0-9]{0,18})-([0-9]{0,18})\s*", re.IGNORECASE)


class Unsatisfiable(ValueError):
    """The range begins behind the end of the object."""


def asked_range(header: str | None, size_bytes: int) -> tuple[int, int] | None:
    """The bytes [start, end) asked for; None for the whole. Raises: Unsatisfiable.

    Examples, of 10 bytes: bytes=0-3 → (0, 4); bytes=8-99 → (8, 10); bytes=-2 → (8, 10); bytes=10- → Unsatisfiable.
    """
    match = _ONE_RANGE.fullmatch(header) if header else None
    if match is None or match.group(1) == match.group(2) == "":
        return None
    first, last = match.groups()
    if not first:
        if int(last) == 0 or size_bytes == 0:
            raise Unsatisfiable
        return max(0, size_bytes - int(last)), size_bytes
    start = int(first)
    end = min(int(last) + 1, size_bytes) if last else size_bytes
    if last and int(last) < start:
        return None
    if start >= size_bytes:
        raise Unsatisfiable
    return start, end
