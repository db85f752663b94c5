"""`videofleet jobs`: the tenant's jobs, newest first."""

import asyncio
import time
from collections.abc import Iterator
from typing import Annotated

import typer
from rich.text import Text

from videofleet_cli import screen
from videofleet_cli.gateway import Address, Gateway, Video
from videofleet_cli.options import DEFAULT_GATEWAY, ApiKeyFile, AsJson, GatewayUrl

_COLOURS = {"completed": "green", "failed": "red", "in_progress": "cyan", "queued": "yellow"}


def jobs(
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many, newest first.")] = 20,
    as_json: AsJson = False,
    gateway: GatewayUrl = DEFAULT_GATEWAY,
    api_key_file: ApiKeyFile = None,
) -> None:
    """List your jobs."""
    videos = asyncio.run(_videos(Address(gateway, api_key_file), limit))
    if as_json:
        screen.print_json(videos)
    elif videos:
        screen.print_columns(list(_rows(videos, time.time())))
    else:
        screen.out.print('No jobs yet. Make one: videofleet submit "a red panda on a skateboard" -o panda.mp4')


async def _videos(address: Address, limit: int) -> list[Video]:
    async with Gateway.open(address) as gateway:
        return await gateway.videos(limit)


def _rows(videos: list[Video], now_s: float) -> Iterator[tuple[str | Text, ...]]:
    yield "JOB", "STATUS", "DONE", "MODEL", "TIER", "AGE", "ERROR"
    for video in videos:
        fault = video.get("error") or {}
        yield (
            video["id"],
            Text(video["status"], style=_COLOURS.get(video["status"], "")),
            f"{video['progress']} %",
            video["model"],
            str(video.get("tier", video["size"])),
            screen.ago(now_s - video["created_at"]),
            f"{fault['code']}: {fault['message']}" if fault else "",
        )
