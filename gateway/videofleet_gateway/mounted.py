"""A mounted file that is read again when it changes. A broken new version is logged, and the last good one stays."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final, Generic, TypeVar

from pydantic import BaseModel, ValidationError

log: Final = logging.getLogger(__name__)

_T = TypeVar("_T")
_M = TypeVar("_M", bound=BaseModel)


class MountedFile(Generic[_T]):
    """What `read` makes of the file of the moment. Raises at construction what `read` raises."""

    def __init__(self, path: Path, what: str, read: Callable[[Path], _T], failure: type[Exception]) -> None:
        self._path, self._what, self._read, self._failure = path, what, read, failure
        self._seen = _signature(path)
        self._known = read(path)

    def current(self) -> _T:
        """The last good version."""
        if (signature := _signature(self._path)) != self._seen:
            self._seen = signature
            try:
                self._known = self._read(self._path)
            except self._failure as error:  # its text never quotes the file
                log.error("%s not reloaded, the last good ones stay: %s", self._what, error)
            else:
                log.info("%s reloaded", self._what)
        return self._known


def read_json(path: Path, model: type[_M], failure: type[Exception], what: str, depth: int | None = None) -> _M:
    """The file as this model; `failure` names field and fault, and quotes nothing but names down to `depth`."""
    try:
        return model.model_validate_json(path.read_bytes())
    except OSError as error:
        raise failure(f"{path}: {error.strerror}; mount the Secret with {what}") from error
    except ValidationError as error:
        faults = (
            f"{'.'.join(map(str, fault['loc'][:depth])) or 'file'}: {fault['msg']}"
            for fault in error.errors(include_input=False)
        )
        raise failure(f"{path}: {'; '.join(faults)}") from None


def _signature(path: Path) -> tuple[int, int, int] | None:
    """Changes whenever the file does: a mounted Secret swaps a symlink, so the inode counts too."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_ino, stat.st_size
