"""Finished models on a volume that many pods share: one folder a revision, published whole by a rename.

    <root>/<name>/              a sealed model; never written to again
    <root>/.partial/<name>/     on its way; kept after a crash, to be gone on with
    <root>/.trash/<name>@…/     was damaged; goes when nobody uses it any more
    <root>/.locks/<name>.fetch  held by the one that fetches
    <root>/.locks/<name>.use    held, shared, by everyone who uses the model; its mtime is the last use

Locks are flock(2): the kernel, or the file server, lets them go when their holder dies. They save work and protect from
eviction; what is published is right without them, because its digests were compared and a rename is atomic.
"""

import asyncio
import contextlib
import errno
import fcntl
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from videofleet.beacons import WorkerFault
from videofleet_worker import manifest
from videofleet_worker.faults import Fault

ASK_AGAIN_S: Final = 0.5


@dataclass(frozen=True)
class Entry:
    """One model's place on the volume."""

    folder: Path  # where it is published

    @property
    def name(self) -> str:
        """Of the folder."""
        return self.folder.name

    @property
    def root(self) -> Path:
        """Of the volume."""
        return self.folder.parent

    @property
    def staging(self) -> Path:
        """Where it is put together."""
        return self.root / ".partial" / self.name

    @property
    def is_published(self) -> bool:
        """Whether the model is there, with its manifest."""
        return (self.folder / manifest.NAME).is_file()

    def lock(self, kind: str) -> Path:
        """`fetch` or `use`."""
        return self.root / ".locks" / f"{self.name}.{kind}"

    def prepare(self) -> None:
        """Makes the folders around it."""
        for folder in (self.staging, self.root / ".locks", self.root / ".trash"):
            folder.mkdir(parents=True, exist_ok=True)

    def publish(self) -> None:
        """The finished folder takes its name; one that stood there, damaged, makes way."""
        for file in self.staging.rglob("*"):
            file.chmod(0o755 if file.is_dir() else 0o444)
        if self.folder.exists():
            self.folder.rename(self.root / ".trash" / f"{self.name}@{time.time_ns()}")
        try:
            self.staging.rename(self.folder)
        except OSError as error:  # a holder of a lock that was lost was faster; its model passed the same checks
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        _fsync(self.root)

    def touch(self) -> None:
        """This is the latest use."""
        self.lock("use").touch()


@contextlib.contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """Keeps a cached model from being evicted; a folder that is in no cache needs nothing."""
    lock = Entry(folder).lock("use")
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # no cache, or a file system without locks
            handle = stack.enter_context(lock.open("rb"))
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield


@contextlib.asynccontextmanager
async def fetching(entry: Entry, waiting: Callable[[], None]) -> AsyncIterator[None]:
    """Holds the model's fetch lock; calls `waiting` while another one does. Raises: Fault when there are no locks."""
    with entry.lock("fetch").open("a+b") as handle:
        while not try_lock(handle):
            waiting()
            await asyncio.sleep(ASK_AGAIN_S)
        yield


def try_lock(handle: IO[bytes]) -> bool:
    """Whether nobody else holds it. Raises: Fault when the file system has no locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise Fault(
            WorkerFault.WEIGHTS_DISK,
            f"the weights' volume knows no file locks (errno {error.errno}); use a file system with flock, such as "
            "NFS 4, CephFS or Lustre, or leave spec.worker.weightCache out",
        ) from error
    return True


def _fsync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
