"""`videofleet batch`: a file of requests in, their results out. The gateway keeps it; this may stop at any time."""

import asyncio
import hashlib
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from videofleet_cli import screen
from videofleet_cli.exits import CommandError, Exit
from videofleet_cli.gateway import Address, Gateway, Video
from videofleet_cli.options import DEFAULT_GATEWAY, ApiKeyFile, AsJson, GatewayUrl

BatchId = Annotated[str, typer.Argument(help="The batch's id, batch_….")]

app: Final = typer.Typer(no_args_is_help=True, help="Many requests at once, as JSON Lines.")


@app.command()
def submit(
    file: Annotated[Path, typer.Argument(help='JSON Lines: {"custom_id": "a", "body": {"prompt": "…"}}')],
    as_json: AsJson = False,
    gateway: GatewayUrl = DEFAULT_GATEWAY,
    api_key_file: ApiKeyFile = None,
) -> None:
    """Hand in a file. The same file again within 30 days is the same batch."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}", Exit.REFUSED) from error
    batch = asyncio.run(_submitted(Address(gateway, api_key_file), data))
    if as_json:
        screen.print_json(batch)
        return
    for fault in (batch["errors"] or {"data": []})["data"]:
        screen.complain(f"line {fault['line']}: {fault['message']}")
    counts = batch["request_counts"]
    screen.out.print(batch["id"], markup=False)
    screen.err.print(
        f"{counts['total']} lines. Look after them with: videofleet batch status {batch['id']}", markup=False
    )


@app.command()
def status(
    batch: BatchId, as_json: AsJson = False, gateway: GatewayUrl = DEFAULT_GATEWAY, api_key_file: ApiKeyFile = None
) -> None:
    """Show how far a batch is."""
    found = asyncio.run(_found(Address(gateway, api_key_file), batch))
    if as_json:
        screen.print_json(found)
        return
    counts = found["request_counts"]
    done = ", ".join(f"{counts[name]} {name}" for name in ("completed", "failed", "deleted") if counts[name])
    screen.out.print(f"{found['status']}: {done or 'none done'} of {counts['total']}", markup=False)


@app.command()
def results(
    batch: BatchId,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where; stdout if unset.")
    ] = None,
    gateway: GatewayUrl = DEFAULT_GATEWAY,
    api_key_file: ApiKeyFile = None,
) -> None:
    """Write the results, a line of JSON for each line of the file."""
    text = asyncio.run(_results(Address(gateway, api_key_file), batch))
    if output is None:
        sys.stdout.write(text)
        return
    try:
        output.write_text(text)
    except OSError as error:
        raise CommandError(f"writing {output}: {error.strerror}", Exit.REFUSED) from error


async def _submitted(address: Address, data: bytes) -> Video:
    async with Gateway.open(address) as api:
        return await api.create_batch(data, hashlib.sha256(data).hexdigest())


async def _found(address: Address, batch: str) -> Video:
    async with Gateway.open(address) as api:
        return await api.batch(batch)


async def _results(address: Address, batch: str) -> str:
    async with Gateway.open(address) as api:
        return await api.batch_results(batch)
