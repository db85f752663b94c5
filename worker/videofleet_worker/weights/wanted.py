"""Which files of a source are a model: those that `model_index.json` names, safetensors and text only. Pure.

Owns the list of what may be written to a volume. Whatever is not on it stays where it is, so nothing that can run code
is ever written.
"""

import re
from pathlib import PurePosixPath
from typing import Any, Final

from videofleet.beacons import WorkerFault
from videofleet_worker.faults import Fault
from videofleet_worker.model_folder import UNSAFE_SUFFIXES, WEIGHTS
from videofleet_worker.weights.source import RemoteFile, not_found

INDEX: Final = "model_index.json"
SUFFIXES: Final = frozenset({".json", ".safetensors", ".model", ".txt"})
MOST_INDEX_BYTES: Final = 1 << 20


def index_file(files: list[RemoteFile]) -> RemoteFile:
    """The file that says what the model is made of. Raises: Fault with ModelNotFound."""
    found = next((file for file in files if file.name == INDEX), None)
    if found is None or found.size_bytes > MOST_INDEX_BYTES:
        raise not_found(f"the source has no {INDEX}; it must be a folder in diffusers' format")
    return found


def wanted_files(files: list[RemoteFile], index: dict[str, Any]) -> list[RemoteFile]:
    """The index and its components' files. Raises: Fault with ModelUnsafe when weights exist as pickles only."""
    components = {name for name, value in index.items() if isinstance(value, list) and value[:1] != [None]}
    inside = [file for file in files if len(PurePosixPath(file.name).parts) == 2]
    ours = [file for file in inside if PurePosixPath(file.name).parts[0] in components and _is_plain(file.name)]
    safe = [file for file in ours if PurePosixPath(file.name).suffix in SUFFIXES]
    for component in components & set(WEIGHTS):
        if not any(file.name.startswith(f"{component}/") and file.name.endswith(".safetensors") for file in safe):
            raise _no_weights(component, ours)
    return [index_file(files), *safe]


def _is_plain(name: str) -> bool:
    """A name that cannot leave the folder, hide in it or break a line."""
    return re.fullmatch(r"\w[\w-]*/\w[\w.-]*", name, re.ASCII) is not None


def _no_weights(component: str, files: list[RemoteFile]) -> Fault:
    unsafe = [file.name for file in files if PurePosixPath(file.name).suffix in UNSAFE_SUFFIXES]
    pickled = next((name for name in unsafe if name.startswith(f"{component}/")), None)
    if pickled is None:
        return not_found(f"the source has no {component}/*.safetensors")
    return Fault(
        WorkerFault.MODEL_UNSAFE,
        f"the source has {component} only as {pickled}, which can run code when it is loaded; "
        "convert it to safetensors, or name a revision that has them",
    )
