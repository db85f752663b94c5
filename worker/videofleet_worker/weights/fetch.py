"""From a source to a sealed folder: listed, fetched, checked, published; or found there and proven whole.

Invariant: a folder under its final name has passed every check there is, and holds safetensors and text only. A killed
fetch goes on where it was, and a damaged model is fetched again, its whole files kept.
"""

import asyncio
import contextlib
import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

from videofleet.architectures import Architecture
from videofleet.beacons import WorkerFault
from videofleet_worker import manifest
from videofleet_worker.faults import Fault
from videofleet_worker.model_folder import check_model_folder
from videofleet_worker.weights.cache import Entry, fetching, in_use
from videofleet_worker.weights.download import Download, disk_fault, unreachable
from videofleet_worker.weights.eviction import empty_trash, make_room
from videofleet_worker.weights.source import RemoteFile, Source, SourceAway
from videofleet_worker.weights.wanted import INDEX, index_file, wanted_files

log = logging.getLogger(__name__)

Open = Callable[[], Source]

LIST_PATIENCE_S: Final = 60.0
MOST_TRIES: Final = 3  # of files whose digest is wrong


class Say(Protocol):
    """Hears what is being done, for people, and what it waits for."""

    def __call__(self, what: str, hindrance: Fault | None = None) -> None: ...


class Fetch:
    """One model, one volume."""

    def __init__(
        self, entry: Entry, open_source: Open, architecture: Architecture, say: Say, *, max_bytes: int | None = None
    ) -> None:
        self._entry = entry
        self._open_source = open_source
        self._architecture = architecture
        self._say = say
        self._max_bytes = max_bytes
        self._whole: set[str] = set()  # files of a damaged folder that are what they should be

    async def run(self) -> None:
        """Until the model is there and proven. Raises: Fault."""
        entry = self._entry
        try:
            if await self._is_whole():
                return
            entry.prepare()
            async with fetching(entry, lambda: self._say("waiting for another worker that fetches the weights")):
                if not await self._is_whole():
                    await self._fetch()
        except OSError as error:
            raise disk_fault(error, entry.staging) from error

    async def _is_whole(self) -> bool:
        """Whether the published folder is what its manifest says; its whole files are kept for a repair."""
        entry = self._entry
        if not entry.is_published:
            return False
        with in_use(entry.folder):
            damaged = await asyncio.to_thread(manifest.damaged_files, entry.folder, self._percent("verifying weights"))
            if not damaged:
                with contextlib.suppress(OSError):  # a volume that is read only
                    entry.touch()
                return True
        log.error("weights are damaged and are fetched again", extra={"files": damaged, "model": entry.name})
        self._whole = set(await asyncio.to_thread(manifest.names_in, entry.folder)) - set(damaged)
        return False

    async def _fetch(self) -> None:
        source = self._open_source()
        try:
            files = await self._listed(source)
            need = sum(file.size_bytes for file in files)
            empty_trash(self._entry)
            if gone := make_room(self._entry, need, self._max_bytes):
                log.info("evicted", extra={"models": gone})
            begun = time.monotonic()
            digests = await self._downloaded(source, files)
            await self._publish(digests)
            seconds = time.monotonic() - begun
            log.info("weights fetched", extra={"bytes": need, "seconds": round(seconds, 3), "model": self._entry.name})
        finally:
            await source.close()

    async def _listed(self, source: Source) -> list[RemoteFile]:
        give_up = time.monotonic() + LIST_PATIENCE_S
        while True:
            try:
                found = await source.files()
                index = index_file(found)
                content = json.loads(await source.read(INDEX, 0, index.size_bytes))
                return wanted_files(found, content)
            except SourceAway as error:
                if time.monotonic() > give_up:
                    raise unreachable(error) from error
                self._say(str(error), unreachable(error))
            except (ValueError, AttributeError) as error:
                raise Fault(WorkerFault.MODEL_CORRUPT, f"{INDEX} of the source is no JSON object") from error
            await asyncio.sleep(1.0)

    async def _downloaded(self, source: Source, files: list[RemoteFile]) -> dict[str, str]:
        """SHA-256 of every file, each compared with what the source tells."""
        staging = self._entry.staging
        download = Download(source, files, staging, lambda fault: self._say("fetching weights", fault))
        download.adopt(self._entry.folder, self._whole)
        for _ in range(MOST_TRIES):
            await download.run(self._percent("fetching weights"))
            names = [file.name for file in files]
            advance = self._percent("verifying weights")
            digests = await asyncio.to_thread(manifest.digests_of, staging, names, advance, threading.Event())
            wrong = [file.name for file in files if not self._is_right(file, digests[file.name])]
            if not wrong:
                return digests
            log.error("fetched files are not what the source says", extra={"files": wrong})
            for name in wrong:
                download.forget(name)
        raise Fault(
            WorkerFault.MODEL_CORRUPT,
            f"{wrong[0]} came {MOST_TRIES} times with another digest than the source tells; check the mirror or proxy",
        )

    def _is_right(self, file: RemoteFile, sha256: str) -> bool:
        if file.sha256 is not None:
            return file.sha256 == sha256
        if file.git_sha1 is not None:
            content = (self._entry.staging / file.name).read_bytes()
            blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False)
            return blob.hexdigest() == file.git_sha1
        return True

    async def _publish(self, digests: dict[str, str]) -> None:
        staging = self._entry.staging
        await asyncio.to_thread(check_model_folder, staging, self._architecture)
        for file in [path for path in staging.rglob("*") if path.is_file()]:
            if file.relative_to(staging).as_posix() not in digests:
                file.unlink()  # the journal, and what an earlier listing had
        manifest.seal(staging, digests)
        self._entry.publish()
        self._entry.touch()
        empty_trash(self._entry)

    def _percent(self, what: str) -> manifest.Advance:
        loop = asyncio.get_running_loop()

        def advance(done: int, of: int) -> None:  # comes from threads too
            loop.call_soon_threadsafe(self._say, f"{what} {100 * done // of if of else 100} %")

        return advance
