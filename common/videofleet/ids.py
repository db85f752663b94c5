"""Job ids: opaque to people, and they carry the fleet, so that any gateway replica finds any job.

`video_` + fleet UID (26 Crockford base32 characters) + 48-bit milliseconds and 80 random bits (26 more), lower case.
Ids of one fleet sort by creation time. Nothing a user typed ever becomes part of one.
"""

import re
from functools import lru_cache
from typing import Final
from uuid import UUID

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_DIGITS: Final = 26  # 26 × 5 bits hold a 128-bit number
_RANDOM_DIGITS: Final = 16  # those of the 80 random bits; the time stands before them
_JOB_ID: Final = re.compile(rf"video_([{_ALPHABET}]{{{_DIGITS}}})([{_ALPHABET}]{{{_DIGITS}}})")


def job_id(fleet_uid: str, created_ms: int, entropy: bytes) -> str:
    """The id of a new job.

    Args:
        fleet_uid: metadata.uid of the VideoGenerator.
        created_ms: milliseconds since the epoch.
        entropy: 10 random bytes.
    """
    if len(entropy) != 10:
        raise ValueError(f"entropy must be 10 bytes, not {len(entropy)}")
    serial = (created_ms << 80) | int.from_bytes(entropy, "big")
    return f"video_{_fleet_part(fleet_uid)}{_encode(serial)}"


def fleet_uid_of(job: str) -> str | None:
    """The fleet UID inside a job id; None when the text is no job id of ours."""
    match = _JOB_ID.fullmatch(job)
    if match is None:
        return None
    return _fleet_uid(match[1])


def serial_of(job: str) -> str:
    """The part of a job id that sorts by creation time, over all fleets."""
    return job[-_DIGITS:]


def created_ms_of(job: str) -> int:
    """When the id was made, milliseconds since the epoch."""
    return _decode(serial_of(job)[:-_RANDOM_DIGITS])


def with_serial_of(fleet_uid: str, job: str) -> str:
    """The place in time of `job` among the ids of another fleet; a bound for paging, not a job."""
    return f"video_{_fleet_part(fleet_uid)}{serial_of(job)}"


@lru_cache(maxsize=1024)
def _fleet_part(fleet_uid: str) -> str:
    return _encode(UUID(fleet_uid).int)


@lru_cache(maxsize=1024)
def _fleet_uid(part: str) -> str | None:
    number = _decode(part)
    return str(UUID(int=number)) if number < 1 << 128 else None


def _encode(number: int) -> str:
    return "".join(_ALPHABET[(number >> shift) & 31] for shift in range(5 * (_DIGITS - 1), -1, -5))


def _decode(text: str) -> int:
    number = 0
    for character in text:
        number = number << 5 | _ALPHABET.index(character)
    return number
