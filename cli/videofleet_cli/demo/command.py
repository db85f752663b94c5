"""The command: starts, tells the story, takes down what it started, whatever happens in between."""

import asyncio
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from videofleet_cli import screen
from videofleet_cli.demo import cluster
from videofleet_cli.demo.access import Access
from videofleet_cli.demo.diagnosis import findings
from videofleet_cli.demo.installing import NAMESPACE
from videofleet_cli.demo.project import find_project, require_model
from videofleet_cli.demo.steps import Steps
from videofleet_cli.demo.story import Made, first_video
from videofleet_cli.exits import CommandError


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave it running; `videofleet dev down` stops it.")] = False,
    state: Annotated[Path | None, typer.Option(metavar="DIR", help="The cluster's folder [build/dev].")] = None,
    output: Annotated[Path | None, typer.Option(metavar="DIR", help="Where the video goes [build/demo].")] = None,
    models: Annotated[Path | None, typer.Option(metavar="DIR", help="Holds tiny-a14b [build/models].")] = None,
    nodes: Annotated[int, typer.Option(min=1, max=8, help="Nodes of the cluster: two to drain one.")] = 1,
) -> None:
    """Start a development cluster, install the chart, make a video, take it all down."""
    project = find_project()
    state = state or project.build / "dev"
    output = output or project.build / "demo"
    models = models or project.build / "models"
    require_model(models)
    output.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGHUP, _leave)
    steps = Steps(screen.out)
    with steps.step("Starting Redis and a development cluster"):
        running = cluster.start(state, models, nodes)
    kept = False
    try:
        made = asyncio.run(first_video(project, running.kubeconfig, running.redis_url(), output, steps))
        _tell(made, steps, running.kubeconfig)
        kept = keep
    except CommandError:
        _explain(running)
        raise
    finally:
        if not kept:
            _take_down(running, output, steps)
    if kept:
        _tell_what_next(output)


def _leave(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


def _take_down(running: cluster.Running, output: Path, steps: Steps) -> None:
    """Nothing may leave half of it running: no second Ctrl-C, and no terminal that was closed."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    try:
        with steps.step("Taking it all down"):
            running.stop()
    except (OSError, SystemExit):  # nobody reads any more
        running.stop()
    Access(output).remove()


def _explain(running: cluster.Running) -> None:
    for line in asyncio.run(findings(running.kubeconfig, NAMESPACE)):
        screen.err.print(line, markup=False)
    for log in running.logs():
        screen.err.print(f"log: {log}", markup=False)


def _tell(made: Made, steps: Steps, kubeconfig: Path) -> None:
    screen.out.print(f"\nA video from a prompt after {steps.seconds:.0f} s:")
    for name, what in (("video", made.video), ("thumbnail", made.thumbnail)):
        screen.out.print(f"  {name:10} {_short(what)}", markup=False)
    screen.out.print(f"  {'gateway':10} {made.gateway}", markup=False)
    screen.out.print(f"  {'kubeconfig':10} {_short(kubeconfig)}\n", markup=False)


def _tell_what_next(output: Path) -> None:
    screen.out.print("\nIt goes on running. Try:")
    for command in (
        f"source {_short(Access(output).env_file)}",
        'videofleet submit "a lighthouse in a storm" --tier preview -o lighthouse.mp4',
        "videofleet status",
        "kubectl get videogenerators,pods        # 1.27 or newer",
        "videofleet dev down                     # stops all of it",
    ):
        screen.out.print(f"  {command}", markup=False)


def _short(path: Path) -> str:
    """Relative to where the user stands, if that is shorter."""
    path = path.absolute()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
