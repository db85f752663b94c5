"""Files into a folder, in parallel ranges, so that a killed download goes on where it was.

Each part that is on the disk has a line in the journal; a part without one is read again. The journal belongs to one
listing: when the source's files change, everything starts over. Parts are written in place, nothing is copied.
"""

import asyncio
import contextlib
import errno
import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from videofleet.beacons import WorkerFault
from videofleet_worker.faults import Fault
from videofleet_worker.tasks import end
from videofleet_worker.weights.source import RemoteFile, Source, SourceAway

PART_BYTES: Final = 32 << 20
PARALLEL: Final = 8  # parts at once; each is in memory until it is written
PATIENCE_S: Final = 600.0  # without a single part, before the source counts as unreachable
TELL_AFTER_S: Final = 5.0  # without a single part, before people hear of it
PAUSE_MOST_S: Final = 10.0
JOURNAL: Final = ".parts"

Advance = Callable[[int, int], None]  # bytes done, bytes in all
Hindered = Callable[[Fault], None]  # by what may pass, and what a person could do
Part = tuple[str, int]  # file, offset


class Download:
    """One listing on its way into one folder, which nobody else writes to."""

    def __init__(
        self,
        source: Source,
        files: list[RemoteFile],
        folder: Path,
        hindered: Hindered,
        *,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._source = source
        self._files = files
        self._folder = folder
        self._hindered = hindered
        self._patience_s = patience_s
        self._total = sum(file.size_bytes for file in files)
        self._done_bytes = 0
        self._heard_at = time.monotonic()

    async def run(self, advance: Advance) -> None:
        """Until every byte is there. Raises: Fault with StoreUnreachable, DiskFull and what the source raises."""
        done = self._resumed()
        parts = [(file, start) for file in self._files for start in range(0, file.size_bytes, PART_BYTES)]
        missing = [(file, start) for file, start in parts if (file.name, start) not in done]
        self._done_bytes = self._total - sum(_stop(file, start) - start for file, start in missing)
        advance(self._done_bytes, self._total)
        todo = iter(missing)
        workers = [asyncio.create_task(self._work(todo, advance)) for _ in range(min(PARALLEL, len(missing)))]
        try:
            await asyncio.gather(*workers)
        except OSError as error:
            raise disk_fault(error, self._folder) from error
        finally:
            await end(*workers)

    def adopt(self, folder: Path, names: Iterable[str]) -> None:
        """Takes whole files of another folder of this volume, without a copy; where links fail they are read again."""
        if self._journal():
            return
        lines = [self._label()]
        for file in self._files:
            if file.name not in names or (folder / file.name).stat().st_size != file.size_bytes:
                continue
            with contextlib.suppress(OSError):
                (self._folder / file.name).parent.mkdir(parents=True, exist_ok=True)
                (self._folder / file.name).unlink(missing_ok=True)
                (self._folder / file.name).hardlink_to(folder / file.name)
                lines += [f"{start} {file.name}" for start in range(0, file.size_bytes, PART_BYTES)]
        (self._folder / JOURNAL).write_text("\n".join(lines) + "\n")

    def forget(self, name: str) -> None:
        """The file's content was wrong: it is read again by the next run, and not written in place."""
        (self._folder / name).unlink(missing_ok=True)
        kept = [f"{start} {part}" for part, start in sorted(self._journal()) if part != name]
        (self._folder / JOURNAL).write_text("\n".join([self._label(), *kept]) + "\n")

    def _resumed(self) -> set[Part]:
        """The parts that are there; makes the folder ready for the others."""
        self._heard_at = time.monotonic()
        try:
            done = self._journal()
            if not done:
                (self._folder / JOURNAL).write_text(f"{self._label()}\n")
            for file in self._files:
                path = self._folder / file.name
                path.parent.mkdir(parents=True, exist_ok=True)
                if not path.exists() or path.stat().st_size != file.size_bytes:
                    done = {part for part in done if part[0] != file.name}
                    path.unlink(missing_ok=True)  # never a link to a published file
                    with path.open("wb") as fresh:
                        fresh.truncate(file.size_bytes)
        except OSError as error:
            raise disk_fault(error, self._folder) from error
        return done

    def _journal(self) -> set[Part]:
        try:
            label, *lines = (self._folder / JOURNAL).read_bytes().decode().split("\n")[:-1]  # the last may be torn
        except (OSError, ValueError):
            return set()
        if label != self._label():
            return set()
        return {(name, int(start)) for start, _, name in (line.partition(" ") for line in lines)}

    def _label(self) -> str:
        """What the parts are parts of."""
        listing = sorted((file.name, file.size_bytes, file.version) for file in self._files)
        return hashlib.sha256(f"{PART_BYTES} {listing}".encode()).hexdigest()

    async def _work(self, todo: Iterator[tuple[RemoteFile, int]], advance: Advance) -> None:
        for file, start in todo:
            data = await self._read(file, start)
            await asyncio.to_thread(self._write, file, start, data)
            self._done_bytes += len(data)
            self._heard_at = time.monotonic()
            advance(self._done_bytes, self._total)

    async def _read(self, file: RemoteFile, start: int) -> bytes:
        pause_s = 0.2
        while True:
            try:
                return await self._source.read(file.name, start, _stop(file, start))
            except SourceAway as error:
                silent_s = time.monotonic() - self._heard_at
                if silent_s > self._patience_s:
                    raise unreachable(error) from error
                if silent_s > TELL_AFTER_S:
                    self._hindered(unreachable(error))
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, PAUSE_MOST_S)

    def _write(self, file: RemoteFile, start: int, data: bytes) -> None:
        handle = os.open(self._folder / file.name, os.O_WRONLY)
        try:
            os.pwrite(handle, data, start)
            os.fdatasync(handle)  # the journal must never say more than the disk holds
        finally:
            os.close(handle)
        with (self._folder / JOURNAL).open("ab") as journal:
            journal.write(f"{start} {file.name}\n".encode())  # one write, so lines of other threads stay whole


def unreachable(error: SourceAway) -> Fault:
    """The fault for a source that stays away."""
    return Fault(
        WorkerFault.STORE_UNREACHABLE,
        f"the weights cannot be fetched: {error}; check spec.model.source, the way out (NetworkPolicy, proxy) "
        "and the source itself",
    )


def disk_fault(error: OSError, folder: Path) -> Fault:
    """The fault for a volume that takes no more."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        what = f"the volume of {folder.parent.parent} is full"
    else:
        what = f"{folder.parent.parent} cannot be written: {type(error).__name__} {error.errno}"
    return Fault(
        WorkerFault.WEIGHTS_DISK,
        f"{what}; give spec.worker.weightCache a larger claim that the worker may write, or use smaller weights",
    )


def _stop(file: RemoteFile, start: int) -> int:
    return min(start + PART_BYTES, file.size_bytes)
