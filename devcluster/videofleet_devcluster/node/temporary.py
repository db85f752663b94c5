"""A container's folder for temporary files, under a name short enough for a Unix socket.

In a container that is /tmp. Here it lies deep below the state folder, and the path of multiprocessing's socket in it
must fit into 108 bytes. So a long name gets an alias in the system's own folder for as long as it is used.
"""

import contextlib
import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_SHORT: Final = 60  # characters; leaves room for /pymp-12345678/listener-12345678


def forget_below(folder: Path) -> None:
    """Removes the aliases that a killed node left of folders below this one."""
    for alias in Path(tempfile.gettempdir()).glob("vf-*"):
        if alias.is_symlink() and alias.readlink().is_relative_to(folder):
            alias.unlink(missing_ok=True)


@contextlib.contextmanager
def short_name(folder: Path) -> Iterator[Path]:
    """The folder itself, or a symlink to it that lasts as long as the context."""
    if len(str(folder)) <= _SHORT:
        yield folder
        return
    digest = hashlib.sha256(str(folder).encode()).hexdigest()[:12]
    alias = Path(tempfile.gettempdir()) / f"vf-{digest}"  # the same after a crash: nothing piles up
    alias.unlink(missing_ok=True)
    alias.symlink_to(folder)
    try:
        yield alias
    finally:
        alias.unlink(missing_ok=True)
