"""Paths of a container: where they really are, and a short name for its temporary files.

A pod's folder stands for its root, and there is no chroot: so every mountPath in command, args or env is replaced by
its place below that folder, where it is a whole path prefix at the start of a text or behind a separator. The folder
for temporary files lies deep, and the path of a Unix socket in it must fit into 108 bytes: a long name gets an alias in
the system's own folder for as long as it is used.
"""

import contextlib
import hashlib
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

_BEFORE: Final = r"(?:(?<=^)|(?<=[=:,;\s'\"])|(?<=file://))"
_AFTER: Final = r"(?=$|[/:,;\s'\")])"
_SHORT: Final = 60  # characters; leaves room for /pymp-12345678/listener-12345678


def rewriter(root: Path, mount_paths: list[str]) -> Callable[[str], str]:
    """A function that replaces the mount paths in a text.

    >>> rewriter(Path("/r"), ["/data"])("--store=v=file:///data/x --b=/database")
    '--store=v=file:///r/data/x --b=/database'
    """
    if not mount_paths:
        return lambda text: text
    longest_first = sorted((path.rstrip("/") for path in mount_paths), key=len, reverse=True)
    # The root itself matches first and stays: a text may pass here twice, and the root may lie below a mountPath.
    pattern = re.compile(_BEFORE + "(" + "|".join(map(re.escape, (str(root), *longest_first))) + ")" + _AFTER)

    def real(match: re.Match[str]) -> str:
        return match.group() if match.group() == str(root) else str(root) + match.group()

    return lambda text: pattern.sub(real, text)


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
