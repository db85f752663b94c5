"""Where a job's objects lie in its store. Everything of one job is under `<prefix>/<job id>/`.

A video lies under its attempt, so that a zombie never overwrites a delivered one. A checkpoint lies under its revision,
because another revision cannot go on from it.
"""

from typing import Final

VIDEO: Final = "video.mp4"
THUMBNAIL: Final = "thumbnail.jpg"
SPRITESHEET: Final = "spritesheet.jpg"
SPRITES: Final = 4  # in a row, and rows
PROVENANCE: Final = "provenance.json"


def attempt_folder(prefix: str, job: str, attempt: int) -> str:
    """What one attempt delivers; attempt 0 is a copy of an earlier video."""
    return f"{job_folder(prefix, job)}/{attempt}"


def video_key(prefix: str, job: str, attempt: int) -> str:
    """`studio`, job, 2 → `studio/<job>/2/video.mp4`."""
    return f"{attempt_folder(prefix, job, attempt)}/{VIDEO}"


def thumbnail_key(prefix: str, job: str, attempt: int) -> str:
    """Beside the video."""
    return f"{attempt_folder(prefix, job, attempt)}/{THUMBNAIL}"


def spritesheet_key(prefix: str, job: str, attempt: int) -> str:
    """Beside the video: `SPRITES` × `SPRITES` frames, evenly over its length, row by row."""
    return f"{attempt_folder(prefix, job, attempt)}/{SPRITESHEET}"


def provenance_key(prefix: str, job: str, attempt: int) -> str:
    """Beside the video, where a fleet signs."""
    return f"{attempt_folder(prefix, job, attempt)}/{PROVENANCE}"


def checkpoint_folder(prefix: str, job: str) -> str:
    """Checkpoints of every revision that has worked on the job."""
    return f"{job_folder(prefix, job)}/checkpoint"


def checkpoint_key(prefix: str, job: str, revision: str) -> str:
    """The newest state of the job; a later one replaces it."""
    return f"{checkpoint_folder(prefix, job)}/{revision}.safetensors"


def job_folder(prefix: str, job: str) -> str:
    """Everything of one job."""
    return "/".join(part for part in (prefix.strip("/"), job) if part)
