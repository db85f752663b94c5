"""From frames to objects: encode, look, upload. What it stored and nobody wants is removed again.

Whoever calls chooses a folder that nobody else writes to. The store may be away for a while; what was made waits.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from videofleet.jobs import ClipLook
from videofleet.store import ObjectStore, StoreError
from videofleet_worker.finishing import Finishing, Made
from videofleet_worker.metrics import Metrics
from videofleet_worker.protocol import FramesFile

log = logging.getLogger(__name__)

STORE_PATIENCE_S: Final = 600.0  # how long a store may be away before the attempt fails
RETRY_MOST_S: Final = 10.0
FINISHERS: Final = 2  # clips looked at and encoded at a time; a batch ends in many, and each thread keeps its memory


@dataclass(frozen=True)
class Published:
    """A clip in the store."""

    folder: str
    video_bytes: int
    look: ClipLook | None = None  # a golden one's


class Publishing:
    """Brings files into the object store."""

    def __init__(
        self, store: ObjectStore, metrics: Metrics, finishing: Finishing, *, store_patience_s: float = STORE_PATIENCE_S
    ) -> None:
        self.store = store
        self.finishing = finishing
        self._metrics = metrics
        self._store_patience_s = store_patience_s
        self._finishers = ThreadPoolExecutor(FINISHERS, "finish")

    async def publish(self, frames: FramesFile, folder: str, made: Made, say: Callable[[str], None]) -> Published:
        """Raises: Rejected, StoreError; nothing is in the folder then.

        `say` hears the stage. The frames are gone afterwards, whatever happens.
        """
        files = self.finishing.files(frames, folder)
        is_done = False
        try:
            say("muxing")
            finish = partial(self.finishing.finish, frames, files, made)
            look = await asyncio.get_running_loop().run_in_executor(self._finishers, finish)
            say("uploading")
            for file in files:
                await self.put(file.key, file.path, file.content_type)
            is_done = True
            return Published(folder, files.video.path.stat().st_size, look)
        finally:
            for path in (*(file.path for file in files), Path(frames.path)):
                path.unlink(missing_ok=True)
            if not is_done:
                await self.remove(folder)

    async def put(self, key: str, path: Path, content_type: str) -> None:
        """Uploads a file, for as long as the store may be away. Raises: StoreError."""
        give_up = time.monotonic() + self._store_patience_s
        pause_s = 0.25
        while True:
            try:
                return await self.store.put_file(key, path, content_type)
            except StoreError as error:
                if time.monotonic() > give_up:
                    raise
                log.warning("upload will be tried again", extra={"key": key, "error": str(error)})
                self._metrics.upload_retries.inc()
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, RETRY_MOST_S)

    async def remove(self, folder: str) -> None:
        """Nobody wants what lies there."""
        with contextlib.suppress(StoreError):
            await self.store.remove_folder(folder)
