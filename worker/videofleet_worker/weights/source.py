"""Where weights come from, as the fetch sees it: a list of files and ranges of bytes.

Invariant: what a source returns is not trusted. Digests it tells are compared with what was written.
"""

from dataclasses import dataclass
from typing import Protocol

from videofleet.beacons import WorkerFault
from videofleet_worker.faults import Fault


class SourceAway(Exception):
    """The source did not answer, or not in full; asking again may help."""


@dataclass(frozen=True)
class RemoteFile:
    """One file of a source."""

    name: str  # relative, with `/`
    size_bytes: int
    version: str = ""  # etag or blob id: another content has another one
    sha256: str | None = None  # where the source tells it
    git_sha1: str | None = None  # of the git blob, which a hub tells of small files


class Source(Protocol):
    """A model's folder somewhere else."""

    async def files(self) -> list[RemoteFile]:
        """Every file. Raises: Fault with ModelNotFound, SourceAway."""
        ...

    async def read(self, name: str, start: int, end: int) -> bytes:
        """The bytes [start, end). Raises: Fault, SourceAway."""
        ...

    async def close(self) -> None:
        """Lets connections go."""
        ...


def not_found(what: str) -> Fault:
    """The fault for a source that does not hold the model, or not for us."""
    return Fault(WorkerFault.MODEL_NOT_FOUND, f"{what}; check spec.model.source, revision and secret")
