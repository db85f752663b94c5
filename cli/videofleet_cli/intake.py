"""`videofleet intake pause|resume`: whether a fleet takes new jobs; needs a key whose role is admin."""

import asyncio
from typing import Annotated, Final

import typer

from videofleet_cli import screen
from videofleet_cli.gateway import Address, Gateway
from videofleet_cli.options import DEFAULT_GATEWAY, ApiKeyFile, GatewayUrl

Fleet = Annotated[str, typer.Argument(metavar="NAMESPACE/NAME", help="The VideoGenerator.")]

app: Final = typer.Typer(no_args_is_help=True, help="Stop a fleet from taking new jobs, or let it again.")


@app.command()
def pause(fleet: Fleet, gateway: GatewayUrl = DEFAULT_GATEWAY, api_key_file: ApiKeyFile = None) -> None:
    """Refuse new jobs with 503; what waits and runs goes on."""
    asyncio.run(_set(Address(gateway, api_key_file), fleet, "pause"))
    screen.out.print(f"{fleet} takes nothing new. Undo: videofleet intake resume {fleet}", markup=False)


@app.command()
def resume(fleet: Fleet, gateway: GatewayUrl = DEFAULT_GATEWAY, api_key_file: ApiKeyFile = None) -> None:
    """Take new jobs again."""
    asyncio.run(_set(Address(gateway, api_key_file), fleet, "resume"))
    screen.out.print(f"{fleet} takes new jobs.", markup=False)


async def _set(address: Address, fleet: str, verb: str) -> None:
    async with Gateway.open(address) as api:
        await api.intake(fleet, verb)
