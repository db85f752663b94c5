"""`videofleet submit` and `videofleet wait`: from a prompt to a file."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer

from videofleet_cli import screen, waiting
from videofleet_cli.exits import Exit
from videofleet_cli.gateway import Address, Gateway, Video
from videofleet_cli.options import DEFAULT_GATEWAY, ApiKeyFile, AsJson, GatewayUrl, OutputFile, Timeout


def submit(
    prompt: Annotated[str, typer.Argument(help="What to show.")],
    output: OutputFile,
    model: Annotated[str | None, typer.Option(help="namespace/name of a VideoGenerator, if there are several.")] = None,
    tier: Annotated[str | None, typer.Option(help="Name of a tier; the best one if unset.")] = None,
    size: Annotated[str | None, typer.Option(help="Or the tier of a size, e.g. 1280x720.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="The same seed gives the same video.")] = None,
    negative_prompt: Annotated[str | None, typer.Option(help="What not to show.")] = None,
    priority: Annotated[str | None, typer.Option(help="interactive, standard or batch.")] = None,
    deadline: Annotated[str | None, typer.Option(help="Begin by then: 2030-01-31T18:00:00Z, or seconds.")] = None,
    timeout: Timeout = None,
    as_json: AsJson = False,
    gateway: GatewayUrl = DEFAULT_GATEWAY,
    api_key_file: ApiKeyFile = None,
) -> None:
    """Queue a prompt, wait for its video, save it."""
    asked = {"model": model, "tier": tier, "size": size, "seed": seed, "negative_prompt": negative_prompt}
    asked |= {"priority": priority, "deadline": deadline}
    fields = {"prompt": prompt} | {name: value for name, value in asked.items() if value is not None}
    _Following(Address(gateway, api_key_file), output, timeout, as_json).run_new(fields)


def wait(
    job: Annotated[str, typer.Argument(help="The job's id, video_….")],
    output: OutputFile,
    timeout: Timeout = None,
    as_json: AsJson = False,
    gateway: GatewayUrl = DEFAULT_GATEWAY,
    api_key_file: ApiKeyFile = None,
) -> None:
    """Wait for a job that was submitted before, save its video."""
    _Following(Address(gateway, api_key_file), output, timeout, as_json, job).run_known(job)


class _Following:
    """One job on its way to a file; remembers the id, to tell it to whoever stops watching."""

    def __init__(
        self, address: Address, output: Path, timeout_s: float | None, as_json: bool, job: str | None = None
    ) -> None:
        self._address = address
        self._output = waiting.writable(output)
        self._timeout_s = timeout_s
        self._as_json = as_json
        self._job = job

    def run_new(self, fields: dict[str, Any]) -> None:
        """Submits, follows, saves."""
        self._run(self._new(fields))

    def run_known(self, job: str) -> None:
        """Follows and saves."""
        self._run(self._known(job))

    def _run(self, work: Coroutine[Any, Any, Video]) -> None:
        try:
            video = asyncio.run(work)
        except KeyboardInterrupt:
            screen.err.print(f"\n{self._how_to_go_on()}", markup=False)
            raise typer.Exit(Exit.INTERRUPTED) from None
        if self._as_json:
            screen.print_json(video | {"file": str(self._output)})
        else:
            screen.out.print(str(self._output), markup=False)

    def _how_to_go_on(self) -> str:
        if self._job is None:
            return "Stopped. If the job was queued already, `videofleet jobs` shows it."
        return f"Stopped watching; the job goes on. Get it with:\n  videofleet wait {self._job} -o {self._output}"

    async def _new(self, fields: dict[str, Any]) -> Video:
        async with Gateway.open(self._address) as gateway:
            video = await gateway.create(fields)
            self._job = video["id"]
            return await self._follow(gateway, video)

    async def _known(self, job: str) -> Video:
        async with Gateway.open(self._address) as gateway:
            return await self._follow(gateway, await gateway.video(job))

    async def _follow(self, gateway: Gateway, video: Video) -> Video:
        with screen.progress(screen.err, video["id"]) as report:
            done = await waiting.finished(gateway, video, report, self._timeout_s)
        await gateway.download(done["id"], self._output)
        return done
