"""Following one job until it ends, and saving its video. Whoever stops watching stops nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Final

import aiohttp

from videofleet_cli.exits import CommandError, Exit
from videofleet_cli.gateway import Gateway, Video
from videofleet_cli.screen import Report

_POLL_S: Final = 0.5


async def finished(gateway: Gateway, video: Video, report: Report, timeout_s: float | None) -> Video:
    """The completed video. Raises: CommandError when the job fails or the time is over."""
    try:
        async with asyncio.timeout(timeout_s):
            async for now in _life(gateway, video):
                report(_words(now), int(now["progress"]))
                video = now
    except TimeoutError as error:
        message = f"{video['id']} is not done after {timeout_s:g} s; it goes on"
        raise CommandError(message, Exit.TIMED_OUT) from error
    if video["status"] != "completed":
        fault = video.get("error") or {}
        words = f"{video['id']} failed: {fault.get('message', 'no reason given')} ({fault.get('code', 'unknown')})"
        raise CommandError(words, Exit.FAILED)
    return video


async def _life(gateway: Gateway, video: Video) -> AsyncIterator[Video]:
    """The job as it stands whenever it changed, its end last. By events; by asking, where there are none to be had."""
    yield video
    while video["status"] in ("queued", "in_progress"):
        with suppress(aiohttp.ClientError, TimeoutError):  # the stream broke: asking tells whether the gateway is there
            async with aclosing(gateway.events(video["id"])) as events:
                async for video in events:
                    yield video
        if video["status"] in ("queued", "in_progress"):
            await asyncio.sleep(_POLL_S)
            video = await gateway.video(video["id"])
            yield video


def _words(video: Video) -> str:
    """E.g. "queued, number 3", "in progress, denoising", "completed"."""
    more = video.get("stage") or (f"number {video['position']}" if video.get("position") else "")
    words = video["status"].replace("_", " ")
    return f"{words}, {more.replace('_', ' ')}" if more else words


def writable(path: Path) -> Path:
    """The path, if a file can be made there: said before a GPU works for it. Raises: CommandError."""
    if path.is_dir():
        raise CommandError(f"{path} is a folder; name a file", Exit.REFUSED)
    if not path.absolute().parent.is_dir():
        raise CommandError(f"the folder {path.absolute().parent} does not exist; make it first", Exit.REFUSED)
    return path
