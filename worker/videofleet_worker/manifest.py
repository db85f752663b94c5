"""The SHA-256 of every file of a model, written beside it, and the check against it before anything is loaded.

`videofleet-worker manifest DIR` writes it once, where the model is known to be good. Invariant: a folder that has a
manifest holds exactly its files, bit for bit, or is refused; a folder without one is taken as it is.
"""

import argparse
import hashlib
import json
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from videofleet.beacons import WorkerFault
from videofleet_worker.faults import Fault
from videofleet_worker.model_folder import files_in

NAME: Final = "videofleet.sha256.json"
VERSION: Final = 1
CHUNK_BYTES: Final = 8 << 20
THREADS: Final = 8  # one SHA-256 runs at 1-2 GB/s a core, less than a local disk

Advance = Callable[[int, int], None]  # bytes done, bytes in all


class Unreadable(ValueError):
    """A manifest that is none."""


class Cancelled(Exception):
    """The check was called off; nothing is known about the folder."""


def main(argv: Sequence[str]) -> int:
    """`videofleet-worker manifest DIR`. Returns: the exit code."""
    parser = argparse.ArgumentParser(prog="videofleet-worker manifest", description="Writes the SHA-256 of a model.")
    parser.add_argument("model", type=Path, help="model folder in diffusers' format")
    model = parser.parse_args(argv).model
    if not (model / "model_index.json").is_file():
        parser.error(f"{model} has no model_index.json; name a model folder in diffusers' format")
    print(f"{model / NAME}: {write_manifest(model)} files")  # noqa: T201 - a command's answer
    return 0


def write_manifest(model: Path) -> int:
    """Hashes every file and puts the manifest beside them, whole or not at all. Returns: the number of files."""
    digests = digests_of(model, names_in(model), lambda _done, _of: None, threading.Event())
    seal(model, digests)
    return len(digests)


def seal(model: Path, digests: dict[str, str]) -> None:
    """Puts the manifest beside the files, whole or not at all."""
    fresh = model / f".{NAME}"
    fresh.write_text(json.dumps({"v": VERSION, "sha256": digests}, indent=1, sort_keys=True) + "\n")
    fresh.replace(model / NAME)


def parsed(content: bytes) -> dict[str, str]:
    """File → SHA-256. Raises: Unreadable."""
    try:
        document: dict[str, Any] = json.loads(content)
        return {str(name): str(digest) for name, digest in document["sha256"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unreadable from error


def damaged_files(model: Path, advance: Advance) -> list[str]:
    """Names of the manifest whose files are not there or not what it says. Raises: Fault with ModelCorrupt."""
    expected = _read(model)
    there = [name for name in expected if (model / name).is_file()]
    digests = digests_of(model, there, advance, threading.Event())
    return sorted(name for name in expected if digests.get(name) != expected[name])


def verify(model: Path, advance: Advance, cancel: threading.Event) -> None:
    """Compares the folder with its manifest, if it has one. Raises: Fault with ModelCorrupt, Cancelled."""
    if not (model / NAME).is_file():
        return
    expected, names = _read(model), names_in(model)
    if missing := sorted(set(expected) - set(names)):
        raise _corrupt(f"{missing[0]} is in {NAME} and not in the folder")
    if unknown := sorted(set(names) - set(expected)):
        raise _corrupt(f"{unknown[0]} is not in {NAME}")
    for name, digest in digests_of(model, names, advance, cancel).items():
        if digest != expected[name]:
            raise _corrupt(f"{name} is not what {NAME} says: its SHA-256 is {digest[:12]}…, not {expected[name][:12]}…")


def _read(model: Path) -> dict[str, str]:
    try:
        return parsed((model / NAME).read_bytes())
    except (OSError, Unreadable) as error:
        raise _corrupt(f"{NAME} cannot be read") from error


def names_in(model: Path) -> list[str]:
    """Every file but the manifest, and what an interrupted writing of it left."""
    names = (file.relative_to(model).as_posix() for file in files_in(model))
    return sorted(name for name in names if name not in (NAME, f".{NAME}"))


def digests_of(model: Path, names: list[str], advance: Advance, cancel: threading.Event) -> dict[str, str]:
    """SHA-256 of each named file, in parallel threads. Raises: Cancelled, OSError."""
    sizes = {name: (model / name).stat().st_size for name in names}
    total, done, lock = sum(sizes.values()), 0, threading.Lock()

    def digest(name: str) -> str:
        nonlocal done
        sha = hashlib.sha256()
        with (model / name).open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                if cancel.is_set():
                    raise Cancelled
                sha.update(chunk)
                with lock:
                    done += len(chunk)
                    advance(done, total)
        return sha.hexdigest()

    largest_first = sorted(names, key=lambda name: -sizes[name])
    with ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1)) as threads:
        return dict(zip(largest_first, threads.map(digest, largest_first), strict=True))


def _corrupt(what: str) -> Fault:
    return Fault(WorkerFault.MODEL_CORRUPT, f"{what}; copy the model folder again")
