"""`videofleet dev fault`: what the development cluster's API server does wrong on purpose.

The rules live in the running cluster and end with it; its API server checks and counts them.
"""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import typer

from videofleet_cli import screen
from videofleet_cli.exits import CommandError, Exit
from videofleet_cli.options import AsJson
from videofleet_devcluster.apiserver.faults import FAULTS_PATH, FaultAction
from videofleet_devcluster.client import ApiError, connected
from videofleet_devcluster.daemon import State

app = typer.Typer(help="Break the development cluster's API server on purpose.", no_args_is_help=True)

StateFolder = Annotated[Path, typer.Option("--state", help="Folder of the running cluster.")]
_STATE = Path("build/dev")


@app.command()
def add(
    action: Annotated[FaultAction, typer.Option(help="What befalls a matching request, or event of a watch.")],
    verb: Annotated[str, typer.Option(help="get, list, watch, create, update, patch, delete … (shell pattern)")] = "*",
    resource: Annotated[str, typer.Option(help="Plural, with subresource if any: deployments, pods/log.")] = "*",
    namespace: Annotated[str, typer.Option(help="Shell pattern.")] = "*",
    name: Annotated[str, typer.Option(help="Name of the object, a shell pattern.")] = "*",
    count: Annotated[int, typer.Option(min=0, help="How often it strikes; 0 for ever.")] = 1,
    skip: Annotated[int, typer.Option(min=0, help="Matching requests to let through first.")] = 0,
    code: Annotated[int, typer.Option(min=400, max=599, help="HTTP status of error and applied-error.")] = 500,
    delay: Annotated[float, typer.Option(min=0, help="Seconds that delay takes.")] = 1.0,
    retry_after: Annotated[int, typer.Option(min=1, help="Seconds that throttle asks to wait.")] = 1,
    state: StateFolder = _STATE,
    as_json: AsJson = False,
) -> None:
    """Add a rule; the first one that matches strikes."""
    rule = {"action": action, "verb": verb, "resource": resource, "namespace": namespace, "name": name, "skip": skip}
    rule |= {"count": count or None, "status": code, "delay_s": delay, "retry_after_s": retry_after}
    _show(_ask(state, "POST", rule), as_json=as_json)


@app.command("list")
def list_(state: StateFolder = _STATE, as_json: AsJson = False) -> None:
    """The rules in force, and how often each struck."""
    _show(_ask(state, "GET"), as_json=as_json)


@app.command()
def clear(state: StateFolder = _STATE, as_json: AsJson = False) -> None:
    """Nothing goes wrong any more."""
    _show(_ask(state, "DELETE"), as_json=as_json)


def _ask(folder: Path, method: str, rule: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """One exchange with the cluster; the rules then in force. Raises: CommandError."""
    running = State.read(folder)
    if running is None:
        message = f"no development cluster runs in {folder}; start one with `videofleet dev up`, or give its --state"
        raise CommandError(message, Exit.REFUSED)
    try:
        return asyncio.run(_exchange(Path(running.kubeconfig), method, rule))
    except ApiError as error:
        raise CommandError(error.message, Exit.REFUSED) from error
    except (OSError, aiohttp.ClientError) as error:
        message = f"the development cluster in {folder} does not answer: {error}; restart it with `videofleet dev down`"
        raise CommandError(message, Exit.UNREACHABLE) from error


async def _exchange(kubeconfig: Path, method: str, rule: dict[str, Any] | None) -> list[dict[str, Any]]:
    async with connected(kubeconfig) as client:
        return list((await client.request(method, FAULTS_PATH, rule))["rules"])


def _show(rules: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        screen.print_json(rules)
    elif not rules:
        screen.out.print("No faults: everything works.")
    for rule in [] if as_json else rules:
        what = f"{rule['verb']} {rule['resource']} {rule['namespace']}/{rule['name']}"
        often = f"{rule['hits']} of {rule['count']} times" if rule["count"] else f"{rule['hits']} times, for ever"
        screen.out.print(f"{rule['action']}: {what} ({often})", markup=False)
