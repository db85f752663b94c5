"""`videofleet status`: what the operator says about fleets, in full sentences."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from videofleet_cli import screen
from videofleet_cli.exits import CommandError, Exit
from videofleet_cli.kube import Object, connected
from videofleet_cli.options import AsJson, Kubeconfig

_GOOD = {("Ready", "True"), ("Progressing", "False"), ("Degraded", "False"), ("Stalled", "False")}


def status(
    name: Annotated[str | None, typer.Argument(help="A VideoGenerator; all of the namespace if unset.")] = None,
    namespace: Annotated[str | None, typer.Option("--namespace", "-n", help="The context's if unset.")] = None,
    everywhere: Annotated[bool, typer.Option("--all-namespaces", "-A", help="Fleets of all namespaces.")] = False,
    as_json: AsJson = False,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Show fleets: conditions and what to do, workers, queue, revisions."""
    fleets = asyncio.run(_fleets(kubeconfig, namespace, everywhere))
    if name is not None:
        fleets = [fleet for fleet in fleets if fleet["metadata"]["name"] == name]
        if not fleets:
            raise CommandError(f"there is no VideoGenerator {name!r}; `videofleet status -A` lists all", Exit.REFUSED)
    if as_json:
        screen.print_json([_summary(fleet) for fleet in fleets])
        return
    if not fleets:
        screen.out.print("No VideoGenerator here. Try -A, or apply one: kubectl apply -f examples/tiny.yaml")
    for fleet in fleets:
        show(fleet)


async def _fleets(kubeconfig: Path | None, namespace: str | None, everywhere: bool) -> list[Object]:
    async with connected(kubeconfig) as cluster:
        return await cluster.video_generators(None if everywhere else namespace or cluster.namespace)


def show(fleet: Object) -> None:
    """One fleet for people."""
    metadata, told = fleet["metadata"], fleet.get("status", {})
    screen.out.print(Text(f"{metadata['namespace']}/{metadata['name']}", style="bold"))
    if not told:
        screen.out.print("  The operator has not looked at it yet; is it running, and does it serve this namespace?")
        return
    queue, revisions = told.get("queue"), told.get("revisions", {})
    waiting = f"{queue['waiting']} waiting, {queue['running']} running" if queue else "unknown, Redis is not reached"
    screen.out.print(f"  workers   {told.get('readyReplicas', 0)} warm of {told.get('replicas', 0)}")
    if decoders := told.get("decoders"):
        words = f": {decoders['message']}" if "message" in decoders else ""
        screen.out.print(Text(f"  decoders  {decoders['ready']} warm of {decoders['replicas']}{words}"))
    screen.out.print(f"  queue     {waiting}")
    screen.out.print(f"  revision  {_revision(revisions)}")
    screen.print_columns([_condition(condition) for condition in told.get("conditions", [])], indent=2)


def _revision(revisions: dict[str, str]) -> str:
    stable, target = revisions.get("stable", ""), revisions.get("target", "")
    if not stable:
        return f"none serves yet, {target or 'none'} on its way"
    return stable if target in ("", stable) else f"{stable} serves, {target} on its way"


def _condition(condition: Object) -> tuple[str | Text, ...]:
    good = (condition["type"], condition["status"]) in _GOOD
    state = Text(condition["status"], style="green" if good else "yellow")
    return condition["type"], state, condition["reason"], condition["message"]


def _summary(fleet: Object) -> Object:
    """The fields that scripts ask for; the whole object is `kubectl get vg -o json`."""
    metadata = fleet["metadata"]
    return {
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "generation": metadata.get("generation"),
        **fleet.get("status", {}),
    }
