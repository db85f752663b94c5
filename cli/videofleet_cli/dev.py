"""`videofleet dev`: the development cluster, up and down, and a node of it alone."""

import asyncio
import contextlib
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from videofleet import logs
from videofleet_cli import fault
from videofleet_devcluster import daemon
from videofleet_devcluster.standalone import run_node

app = typer.Typer(help="A development cluster on this machine, for demo and tests.", no_args_is_help=True)
app.add_typer(fault.app, name="fault")
_console = Console(soft_wrap=True, highlight=False)

StateFolder = Annotated[Path, typer.Option("--state", help="Folder for everything the cluster keeps.")]
Gpus = Annotated[int, typer.Option(min=0, help="nvidia.com/gpu that the node offers to the scheduler.")]


@app.command()
def up(
    state: StateFolder = Path("build/dev"),
    models: Annotated[Path, typer.Option(help="Folder behind the claim `models`.")] = Path("build/models"),
    gpus: Gpus = 0,
) -> None:
    """Start the cluster and leave it running."""
    try:
        cluster = daemon.start(state, models, gpus)
    except daemon.DaemonError as error:
        raise _failure(error) from error
    _console.print("Development cluster: for demo and tests, [bold]not Kubernetes[/]. Pods are processes here.")
    _console.print(f"  API server  {cluster.server}")
    _console.print(f"  kubeconfig  {cluster.kubeconfig}")
    _console.print(f"  Redis URL   in {cluster.redis_url_file}")
    _console.print(f"Try: kubectl --kubeconfig {cluster.kubeconfig} get pods. Stop: videofleet dev down")


@app.command()
def down(state: StateFolder = Path("build/dev")) -> None:
    """Stop the cluster with all its pods and data; its logs stay."""
    try:
        was_running = daemon.stop(state)
    except daemon.DaemonError as error:
        raise _failure(error) from error
    _console.print("Stopped." if was_running else f"No development cluster runs in {state}.")


@app.command()
def node(
    kubeconfig: Annotated[Path, typer.Option(help="The cluster to join.", exists=True, dir_okay=False)],
    name: Annotated[str, typer.Option(help="Name of the Node.")] = "videofleet-dev",
    state: StateFolder = Path("build/dev-node"),
    gpus: Gpus = 0,
) -> None:
    """Join any cluster as a node that runs pods as local processes, until interrupted."""
    logs.configure()
    _console.print(f"Node {name}: for tests, [bold]not Kubernetes[/]. Pods bound to it run as processes here.")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run_node(kubeconfig, name, state, gpus))


def _failure(error: Exception) -> typer.Exit:
    Console(stderr=True, soft_wrap=True, highlight=False).print(f"[red]error:[/] {error}")
    return typer.Exit(1)
