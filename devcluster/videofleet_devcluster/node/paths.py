"""Rewrites the paths of a container to where they really are.

A pod's folder stands for its root, and there is no chroot: so every mountPath that appears in command, args
or env is replaced by its place below that folder. Only whole path prefixes count, at the start of a text or
behind a separator.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

_BEFORE: Final = r"(?:(?<=^)|(?<=[=:,;\s'\"])|(?<=file://))"
_AFTER: Final = r"(?=$|[/:,;\s'\")])"


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
