"""Room on the weights' volume: what was used least recently goes, what is in use stays.

A model is in use while its lock is held, and for an hour after its last fetch, because its pod may be between fetching
and loading. What was begun and left, or found damaged, goes like a model that nobody uses.
"""

import contextlib
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from videofleet.beacons import WorkerFault
from videofleet_worker.faults import Fault
from videofleet_worker.weights.cache import Entry, try_lock
from videofleet_worker.weights.download import JOURNAL

FRESH_S: Final = 3600.0
SPARE: Final = 1.01  # file systems need a little more than the files


@dataclass(frozen=True)
class Evictable:
    """A folder that may go."""

    folder: Path
    lock: Path  # held by whoever needs it
    used_at: float  # seconds since the epoch, by the file server's clock

    @property
    def size_bytes(self) -> int:
        """On the disk."""
        return disk_bytes(self.folder)


def make_room(entry: Entry, need_bytes: int, max_bytes: int | None) -> list[str]:
    """Evicts until the rest of a model fits. Returns: what went. Raises: Fault with DiskFull."""
    candidates = sorted(_evictables(entry), key=lambda old: old.used_at)
    kept_bytes, gone = sum(old.size_bytes for old in candidates), []
    while (short := _short_bytes(entry, need_bytes, kept_bytes, max_bytes)) > 0:
        victim = next((old for old in candidates if _evict(old)), None)
        if victim is None:
            raise Fault(
                WorkerFault.WEIGHTS_DISK,
                f"the model needs {need_bytes / 1e9:.2f} GB and the weights' volume lacks {short / 1e9:.2f} GB of it; "
                "what else lies there is in use. Enlarge the claim, or spec.worker.weightCache.maxSize",
            )
        candidates.remove(victim)
        kept_bytes = sum(old.size_bytes for old in candidates)
        gone.append(victim.folder.name)
    return gone


def empty_trash(entry: Entry) -> None:
    """Removes damaged models that nobody uses any more."""
    for old in _evictables(entry):
        if old.used_at == 0.0:
            _evict(old)


def disk_bytes(folder: Path) -> int:
    """What lies on the disk: files on their way are as long as they will be, and mostly holes."""
    with contextlib.suppress(FileNotFoundError):
        return sum(file.lstat().st_blocks * 512 for file in folder.rglob("*"))
    return 0


def _short_bytes(entry: Entry, need_bytes: int, kept_bytes: int, max_bytes: int | None) -> int:
    there = disk_bytes(entry.staging)
    missing = max(0, int(need_bytes * SPARE) - there)
    disk = os.statvfs(entry.root)
    short = missing - disk.f_bavail * disk.f_frsize
    return short if max_bytes is None else max(short, kept_bytes + there + missing - max_bytes)


def _evictables(entry: Entry) -> list[Evictable]:
    """Everything on the volume but the model itself."""
    locks = entry.root / ".locks"
    finished = [folder for folder in entry.root.iterdir() if folder.is_dir() and not folder.name.startswith(".")]
    found = [
        Evictable(folder, lock := locks / f"{folder.name}.use", _mtime(lock) or _mtime(folder))
        for folder in finished
        if folder != entry.folder
    ]
    for folder in (entry.root / ".partial").iterdir():
        if folder != entry.staging:
            found.append(Evictable(folder, locks / f"{folder.name}.fetch", _mtime(folder / JOURNAL)))
    for folder in (entry.root / ".trash").iterdir():
        found.append(Evictable(folder, locks / f"{folder.name.rpartition('@')[0]}.use", 0.0))
    return found


def _evict(old: Evictable) -> bool:
    """Removes it unless somebody needs it. Returns: whether it is gone."""
    if time.time() - old.used_at < FRESH_S:
        return False
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(FileNotFoundError):  # nobody ever needed it
            if not try_lock(stack.enter_context(old.lock.open("r+b"))):
                return False
        shutil.rmtree(old.folder, ignore_errors=True)
    return not old.folder.exists()


def _mtime(path: Path) -> float:
    with contextlib.suppress(OSError):
        return path.stat().st_mtime
    return 0.0
