"""What every program of a pod does before it loads a model: an empty scratch, a queue and a store that keep their word,
a model folder that is what its manifest says.

Each failure that waiting will not cure is a Fault with its remedy; Redis is waited for as long as it takes.
"""

import asyncio
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from videofleet.beacons import WorkerFault, WorkerState
from videofleet.provenance import KeyUnusable, private_key
from videofleet.queue import JobQueue, QueueError
from videofleet.store import ObjectStore, StoreError
from videofleet_worker.faults import Fault
from videofleet_worker.finishing import Finishing
from videofleet_worker.manifest import verify
from videofleet_worker.model_folder import check_model_folder
from videofleet_worker.settings import Settings
from videofleet_worker.status import Status

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

STORE_START_S: Final = 60.0  # how long the store may refuse, which the beacon tells, before the program gives up


async def prepared(settings: Settings, queue: JobQueue, status: Status) -> ObjectStore:
    """The store, once all the rest is right too. Raises: Fault."""
    _empty(settings.scratch)
    await _trusted(queue, status)
    await asyncio.to_thread(check_model_folder, settings.model, settings.spec.architecture)
    await _verified(settings.model, status)
    return await _opened_store(settings, status)


def finishing(settings: Settings) -> Finishing:
    """How clips of this revision are finished. Raises: Fault."""
    spec = settings.spec
    return Finishing(spec.revision, settings.model.name, spec.watermark, _signing_key(settings.signing_key))


def _empty(scratch: Path) -> None:
    """An emptyDir outlives its container: clips of an earlier life go."""
    scratch.mkdir(parents=True, exist_ok=True)
    for pattern in ("*.rgb", "*.mp4", "*.jpg", "*.checkpoint.*"):
        for file in scratch.glob(pattern):
            file.unlink(missing_ok=True)


async def _trusted(queue: JobQueue, status: Status) -> None:
    """Until Redis answers and keeps what it acknowledges, as the gateway asks of it too."""
    while True:
        try:
            await queue.check_durability()
            return
        except QueueError as error:
            status.enter(WorkerState.LOADING, str(error))
        await asyncio.sleep(1.0)


async def _verified(model: Path, status: Status) -> None:
    """Once the model is what its manifest says. Raises: Fault."""
    loop, cancel = asyncio.get_running_loop(), threading.Event()

    def advance(done: int, of: int) -> None:
        detail = f"verifying {model.name}: {done / 1e9:.1f} of {of / 1e9:.1f} GB"
        loop.call_soon_threadsafe(status.enter, WorkerState.LOADING, detail)

    try:
        await asyncio.to_thread(verify, model, advance, cancel)
    finally:  # a thread cannot be cancelled
        cancel.set()


async def _opened_store(settings: Settings, status: Status) -> ObjectStore:
    """The store, once it has taken and returned an object. Raises: Fault."""
    give_up = time.monotonic() + STORE_START_S
    while True:
        try:
            store = settings.store.open()
            await _try(store, settings)
            return store
        except StoreError as error:
            remedy = "check the url, the credentials and that the worker may write"
            fault = Fault(WorkerFault.STORE_UNREACHABLE, f"{error}; {remedy}")
            if time.monotonic() > give_up:
                raise fault from error
            status.enter(WorkerState.LOADING, str(error), fault)
        await asyncio.sleep(1.0)


async def _try(store: ObjectStore, settings: Settings) -> None:
    probe = settings.scratch / "probe"
    probe.write_text("VideoFleet writes this to see whether it may, and removes it.\n")
    key = f".videofleet-probe/{settings.worker}"
    await store.put_file(key, probe, "text/plain")
    await store.remove(key)


def _signing_key(file: Path | None) -> "Ed25519PrivateKey | None":
    try:
        return private_key(file.read_bytes()) if file else None
    except (OSError, KeyUnusable) as error:
        raise Fault(
            WorkerFault.SIGNING_KEY_INVALID,
            f"spec.output.signingSecret: {error}; put a private Ed25519 key in PEM into it as ed25519.pem "
            "(openssl genpkey -algorithm ed25519)",
        ) from error
