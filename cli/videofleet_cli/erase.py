"""`videofleet erase`: jobs, or everything of a tenant, gone for good; prompts, records, checkpoints and files."""

import asyncio
from typing import Annotated

import typer

from videofleet_cli import screen
from videofleet_cli.exits import CommandError, Exit
from videofleet_cli.gateway import Address, Gateway
from videofleet_cli.options import DEFAULT_GATEWAY, ApiKeyFile, GatewayUrl


def erase(
    jobs: Annotated[list[str] | None, typer.Argument(help="Ids, video_…, of jobs in any state.")] = None,
    tenant: Annotated[
        str | None, typer.Option(metavar="NAME", help="Instead of ids: every job of this tenant; it is your key's own.")
    ] = None,
    gateway: GatewayUrl = DEFAULT_GATEWAY,
    api_key_file: ApiKeyFile = None,
) -> None:
    """Erase jobs, or a whole tenant, for good: prompts, records, checkpoints and files. Running ones are stopped."""
    if bool(jobs) == bool(tenant):
        raise CommandError("name the jobs, or --tenant NAME for everything of a tenant", Exit.REFUSED)
    asyncio.run(_erase(Address(gateway, api_key_file), jobs or [], tenant))


async def _erase(address: Address, jobs: list[str], tenant: str | None) -> None:
    async with Gateway.open(address) as api:
        for job in jobs:
            await api.purge(job)
            screen.out.print(f"Erased {job}.", markup=False)
        if tenant is not None:
            told = await api.erase(tenant)
            later = "" if told["files"] == "deleted" else " A store is away: their files go when it is back."
            screen.out.print(f"Erased {told['videos']} videos of {tenant}.{later}", markup=False)
