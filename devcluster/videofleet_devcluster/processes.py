"""Child processes that never outlive this one, not even when it is killed with SIGKILL. Linux only.

Each child leads its own process group. The kernel kills the leader when we die (PR_SET_PDEATHSIG); a guard, one tiny
process at the other end of a pipe, kills whatever else is left in the groups when the pipe breaks.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

_LIBC: Final = ctypes.CDLL(None)
_PR_SET_PDEATHSIG: Final = 1
_GUARD: Final = """
import os, signal, sys
groups = set()
for line in sys.stdin:
    (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
for group in groups:
    try:
        os.killpg(group, signal.SIGKILL)
    except OSError:
        pass
"""

Child = asyncio.subprocess.Process


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Processes:
    """Starts children, and sees to their end. Use as an async context manager, on the main thread."""

    def __init__(self) -> None:
        self._guard: Child | None = None

    async def __aenter__(self) -> "Processes":
        self._guard = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", "-c", _GUARD),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.close()
            await self._guard.wait()

    async def spawn(self, argv: Sequence[str], env: Mapping[str, str], cwd: Path, output: int) -> Child:
        """Starts a child that leads its own group; stdout and stderr go to the descriptor `output`.

        Raises OSError when the program does not exist or cannot be run.
        """
        child = await asyncio.create_subprocess_exec(
            *argv, env=env, cwd=cwd, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True, preexec_fn=_die_with_parent,
        )  # fmt: skip
        self._tell_guard("+", child.pid)
        return child

    async def finished(self, child: Child) -> int:
        """Waits for the child, kills what is left of its group; the exit code, 128+n for a signal n."""
        code = await child.wait()
        kill_group(child)
        self._tell_guard("-", child.pid)
        return code if code >= 0 else 128 - code

    def _tell_guard(self, sign: str, group: int) -> None:
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.write(f"{sign}{group}\n".encode())


async def stop(child: Child, grace_s: float) -> None:
    """SIGTERM to the child alone, as a kubelet does; after the grace SIGKILL to its whole group."""
    if child.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        child.terminate()
    try:
        await asyncio.wait_for(child.wait(), grace_s)
    except TimeoutError:
        kill_group(child)
        await child.wait()


def kill_group(child: Child) -> None:
    """SIGKILL to everything in the child's group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)


async def until_signalled(work: Coroutine[Any, Any, None]) -> None:
    """Runs the work, and cancels it on SIGTERM or SIGINT."""
    task, loop = asyncio.ensure_future(work), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        current = asyncio.current_task()
        if current is not None and current.cancelling():
            raise
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
