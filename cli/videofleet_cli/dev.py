"""`videofleet dev`: the development cluster, up and down, and a node of it alone."""

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from videofleet import logs
from videofleet_cli import fault, screen
from videofleet_cli.exits import CommandError, Exit
from videofleet_devcluster import daemon
from videofleet_devcluster.node.agent import run_node

app = typer.Typer(help="A development cluster on this machine, for demo and tests.", no_args_is_help=True)
app.add_typer(fault.app, name="fault")

StateFolder = Annotated[Path, typer.Option("--state", help="Folder for everything the cluster keeps.")]
Gpus = Annotated[int, typer.Option(min=0, help="nvidia.com/gpu that each node offers to the scheduler.")]
FakeReadyAfter = Annotated[
    float | None, typer.Option(min=0, help="Run nothing: pods count as ready after so many seconds. For scale tests.")
]


@app.command()
def up(
    state: StateFolder = Path("build/dev"),
    models: Annotated[Path, typer.Option(help="Folder behind the claim `models`.")] = Path("build/models"),
    gpus: Gpus = 0,
    nodes: Annotated[int, typer.Option(min=1, help="How many nodes.")] = 1,
    fake_ready_after: FakeReadyAfter = None,
) -> None:
    """Start the cluster and leave it running."""
    with _translated():
        cluster = daemon.start(state, models, gpus, nodes, fake_ready_after)
    screen.out.print("Development cluster: for demo and tests, [bold]not Kubernetes[/]. Pods are processes here.")
    screen.out.print(f"  API server  {cluster.server}")
    screen.out.print(f"  kubeconfig  {cluster.kubeconfig}")
    screen.out.print(f"  Redis URL   in {cluster.redis_url_file}")
    screen.out.print(f"Try: kubectl --kubeconfig {cluster.kubeconfig} get pods. Stop: videofleet dev down")


@app.command()
def down(state: StateFolder = Path("build/dev")) -> None:
    """Stop the cluster with all its pods and data; its logs stay."""
    with _translated():
        was_running = daemon.stop(state)
    screen.out.print("Stopped." if was_running else f"No development cluster runs in {state}.")


@app.command()
def node(
    kubeconfig: Annotated[Path, typer.Option(help="The cluster to join.", exists=True, dir_okay=False)],
    name: Annotated[str, typer.Option(help="Name of the Node.")] = "videofleet-dev",
    state: StateFolder = Path("build/dev-node"),
    gpus: Gpus = 0,
    fake_ready_after: FakeReadyAfter = None,
) -> None:
    """Join any cluster as a node that runs pods as local processes, until interrupted."""
    logs.configure()
    screen.out.print(f"Node {name}: for tests, [bold]not Kubernetes[/]. Pods bound to it run as processes here.")
    with _translated():
        asyncio.run(run_node(kubeconfig, name, state, gpus, fake_ready_after))


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Turns what goes wrong into a CommandError."""
    try:
        yield
    except daemon.FolderTakenError as error:
        raise CommandError(str(error), Exit.REFUSED) from error
    except daemon.DaemonError as error:
        raise CommandError(str(error), Exit.FAILED) from error
