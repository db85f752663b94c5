"""`videofleet jobs`: the tenant's jobs, newest first; and what to do with those that ran out of attempts."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Annotated, Final, TypeVar

import typer
from rich.text import Text

from videofleet_cli import screen
from videofleet_cli.exits import CommandError, Exit
from videofleet_cli.gateway import Address, Gateway, Video
from videofleet_cli.options import DEFAULT_GATEWAY, ApiKeyFile, AsJson, GatewayUrl

_T = TypeVar("_T")
JobId = Annotated[str, typer.Argument(help="The job's id, video_….")]

_COLOURS = {"completed": "green", "failed": "red", "in_progress": "cyan", "queued": "yellow"}


app: Final = typer.Typer(invoke_without_command=True)


@app.callback()
def jobs(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many, newest first.")] = 20,
    as_json: AsJson = False,
    gateway: GatewayUrl = DEFAULT_GATEWAY,
    api_key_file: ApiKeyFile = None,
) -> None:
    """List your jobs, or see to those that are dead."""
    if context.invoked_subcommand is None:
        videos = asyncio.run(_asked(Address(gateway, api_key_file), lambda api: api.videos(limit)))
        nothing = 'No jobs yet. Make one: videofleet submit "a red panda on a skateboard" -o panda.mp4'
        _show(videos, as_json, nothing)


@app.command()
def dead(as_json: AsJson = False, gateway: GatewayUrl = DEFAULT_GATEWAY, api_key_file: ApiKeyFile = None) -> None:
    """List jobs that ran out of attempts, or that no worker could read."""
    _show(asyncio.run(_asked(Address(gateway, api_key_file), Gateway.dead)), as_json, "No job is dead.")


@app.command()
def replay(job: JobId, gateway: GatewayUrl = DEFAULT_GATEWAY, api_key_file: ApiKeyFile = None) -> None:
    """Queue a dead job again, with all its attempts."""
    asyncio.run(_asked(Address(gateway, api_key_file), lambda api: api.replay(job)))
    screen.out.print(f"Queued again. Get it with: videofleet wait {job} -o video.mp4", markup=False)


@app.command()
def purge(job: JobId, gateway: GatewayUrl = DEFAULT_GATEWAY, api_key_file: ApiKeyFile = None) -> None:
    """Remove a dead job for good."""
    asyncio.run(_asked(Address(gateway, api_key_file), lambda api: _purged(api, job)))
    screen.out.print(f"Removed {job}.", markup=False)


async def _purged(api: Gateway, job: str) -> None:
    if job not in [video["id"] for video in await api.dead()]:
        raise CommandError(f"{job} is not dead; `videofleet jobs dead` lists those that are", Exit.REFUSED)
    await api.delete(job)


def _show(videos: list[Video], as_json: bool, nothing: str) -> None:
    if as_json:
        screen.print_json(videos)
    elif videos:
        screen.print_columns(list(_rows(videos, time.time())))
    else:
        screen.out.print(nothing)


async def _asked(address: Address, ask: Callable[[Gateway], Awaitable[_T]]) -> _T:
    async with Gateway.open(address) as api:
        return await ask(api)


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
