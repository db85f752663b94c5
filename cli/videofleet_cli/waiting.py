"""Following one job until it ends, and saving its video. Whoever stops watching stops nothing."""

import asyncio
from pathlib import Path
from typing import Final

from videofleet_cli.exits import CommandError, Exit
from videofleet_cli.gateway import Gateway, Video
from videofleet_cli.screen import Report

_POLL_S: Final = 0.5


async def finished(gateway: Gateway, video: Video, report: Report, timeout_s: float | None) -> Video:
    """The completed video. Raises: CommandError when the job fails or the time is over."""
    try:
        async with asyncio.timeout(timeout_s):
            while video["status"] in ("queued", "in_progress"):
                report(video["status"].replace("_", " "), int(video["progress"]))
                await asyncio.sleep(_POLL_S)
                video = await gateway.video(video["id"])
    except TimeoutError as error:
        message = f"{video['id']} is not done after {timeout_s:g} s; it goes on"
        raise CommandError(message, Exit.TIMED_OUT) from error
    report(video["status"], int(video["progress"]))
    if video["status"] != "completed":
        fault = video.get("error") or {}
        words = f"{video['id']} failed: {fault.get('message', 'no reason given')} ({fault.get('code', 'unknown')})"
        raise CommandError(words, Exit.FAILED)
    return video


def writable(path: Path) -> Path:
    """The path, if a file can be made there: said before a GPU works for it. Raises: CommandError."""
    if path.is_dir():
        raise CommandError(f"{path} is a folder; name a file", Exit.REFUSED)
    if not path.absolute().parent.is_dir():
        raise CommandError(f"the folder {path.absolute().parent} does not exist; make it first", Exit.REFUSED)
    return path
