"""A dev cluster in a process of its own: start it, find it, stop it.

Everything it leaves lies in the state folder. `lock` is held (flock) as long as it lives, so there is one cluster a
folder even after kill -9; `state.json` appears, whole, only when the cluster is ready.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Final, TypeVar

from videofleet_devcluster.node.paths import forget_below

_START_S: Final = 90.0  # a machine may be busy, and a disk slow
_STOP_S: Final = 90.0
_KEPT: Final = "logs"
_Answer = TypeVar("_Answer")


class DaemonError(Exception):
    """The cluster cannot be started or stopped; the message says what to do."""


class FolderTakenError(DaemonError):
    """A cluster lives there already."""


@dataclass(frozen=True)
class State:
    """What state.json says about a running cluster."""

    pid: int
    server: str
    kubeconfig: str
    redis_url_file: str

    def write(self, folder: Path) -> None:
        fresh = folder / "state.json.new"
        fresh.write_text(json.dumps(asdict(self), indent=2) + "\n")
        fresh.replace(folder / "state.json")

    @classmethod
    def read(cls, folder: Path) -> "State | None":
        try:
            return cls(**json.loads((folder / "state.json").read_text()))
        except (OSError, ValueError, TypeError):
            return None


def start(folder: Path, models: Path, gpus: int = 0, nodes: int = 1, fake_ready_after_s: float | None = None) -> State:
    """Starts a cluster and returns when it is ready. Raises DaemonError."""
    folder = folder.absolute()
    (folder / "logs").mkdir(parents=True, exist_ok=True, mode=0o700)
    with lock(folder):
        clean(folder)  # whatever an earlier one that was killed left
    log = folder / "logs" / "devcluster.log"
    given = {"state": folder, "models": models.absolute(), "gpus": gpus, "nodes": nodes}
    given |= {"fake-ready-after": fake_ready_after_s} if fake_ready_after_s is not None else {}
    words = [word for name, value in given.items() for word in (f"--{name}", str(value))]
    pid = _detached((sys.executable, "-m", "videofleet_devcluster", *words), log)
    state = _await(lambda: _ready(folder, pid), _START_S)
    if state is None:
        os.kill(pid, signal.SIGKILL)
        raise DaemonError(f"the development cluster did not start; {log} says why")
    return state


def stop(folder: Path) -> bool:
    """Stops the folder's cluster and removes all but its logs; whether there was one. Raises DaemonError."""
    folder = folder.absolute()
    state = State.read(folder)
    was_running = state is not None and _is_ours(state.pid, folder)
    if state is not None and was_running:
        os.kill(state.pid, signal.SIGTERM)
        if not _await(lambda: not _is_ours(state.pid, folder), _STOP_S):
            os.kill(state.pid, signal.SIGKILL)  # its guard then kills what is left of its pods
            _await(lambda: not _is_ours(state.pid, folder), _STOP_S)
        with contextlib.suppress(ChildProcessError):  # it is our child only in the process that started it
            os.waitpid(state.pid, 0)
    if folder.exists():
        with lock(folder):
            clean(folder)
        (folder / "lock").unlink(missing_ok=True)
    return was_running


def lock(folder: Path) -> IO[str]:
    """Holds the folder until the file is closed. Raises FolderTakenError when a cluster lives there."""
    held = (folder / "lock").open("w")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        held.close()
        state = State.read(folder)
        who = f"pid {state.pid}" if state else "starting or stopping"
        message = f"a development cluster already uses {folder} ({who}); stop it with `videofleet dev down`"
        raise FolderTakenError(message) from error
    return held


def clean(folder: Path) -> None:
    """Removes everything but the logs and the lock."""
    forget_below(folder)
    for path in folder.iterdir():
        if path.name in (_KEPT, "lock"):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _detached(argv: tuple[str, ...], log: Path) -> int:
    """Starts a process in a session of its own, which may outlive us; its pid."""
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), append, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    return os.posix_spawn(argv[0], argv, os.environ, file_actions=actions, setsid=True)


def _ready(folder: Path, pid: int) -> State | None:
    if os.waitpid(pid, os.WNOHANG) != (0, 0):
        raise DaemonError(f"the development cluster ended at once; {folder / 'logs/devcluster.log'} says why")
    state = State.read(folder)
    return state if state is not None and state.pid == pid else None


def _is_ours(pid: int, folder: Path) -> bool:
    """Whether the process is a living cluster of this folder, and not another one under a reused pid."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return False
    return "videofleet_devcluster" in words and str(folder) in words  # a zombie has no words


def _await(question: Callable[[], _Answer | None], limit_s: float) -> _Answer | None:
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        answer = question()
        if answer:
            return answer
        time.sleep(0.02)
    return None
