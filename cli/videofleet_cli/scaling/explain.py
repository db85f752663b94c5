"""`videofleet explain-scale`: why a fleet has so many workers, in sentences, from what the operator decided."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from videofleet_cli import screen
from videofleet_cli.exits import CommandError, Exit
from videofleet_cli.kube import Object, connected
from videofleet_cli.options import AsJson, Kubeconfig, Namespace
from videofleet_operator.crd.spec import SpecError, parse_spec
from videofleet_operator.plan.schedule import bounds_at, open_window


def explain_scale(
    name: Annotated[str, typer.Argument(help="A VideoGenerator.")],
    namespace: Namespace = None,
    as_json: AsJson = False,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Say why a fleet has this many workers now, and what its last decisions were."""
    told = explanation(asyncio.run(_fleet(kubeconfig, namespace, name)), datetime.now(UTC))
    if as_json:
        screen.print_json(told)
        return
    for sentence in told["sentences"]:
        screen.out.print(sentence, markup=False)
    if told["history"]:
        screen.print_columns([("WHEN", "WORKERS", "WHY"), *(_step(step) for step in told["history"])])


async def _fleet(kubeconfig: Path | None, namespace: str | None, name: str) -> Object:
    async with connected(kubeconfig) as cluster:
        fleets = await cluster.video_generators(namespace or cluster.namespace)
    for fleet in fleets:
        if fleet["metadata"]["name"] == name:
            return fleet
    raise CommandError(f"there is no VideoGenerator {name!r}; `videofleet status -A` lists all", Exit.REFUSED)


def explanation(fleet: Object, now: datetime) -> dict[str, Any]:
    """All there is to say. Raises: CommandError."""
    status = fleet.get("status", {})
    scaling = status.get("scaling")
    if scaling is None:
        message = "the operator has decided nothing yet; `videofleet status` says what it waits for"
        raise CommandError(message, Exit.REFUSED)
    return {
        "namespace": fleet["metadata"]["namespace"],
        "name": fleet["metadata"]["name"],
        "desired": scaling["desired"],
        "reason": scaling["reason"],
        "sentences": [*_decided(fleet, scaling, status), *_bounds(fleet, now), *_limits(scaling, status)],
        "history": scaling.get("history", []),
    }


def _decided(fleet: Object, scaling: Object, status: Object) -> list[str]:
    mode = fleet.get("spec", {}).get("scaling", {}).get("mode", "Auto")
    there = f"{status.get('readyReplicas', 0)} warm of {status.get('replicas', 0)} that are there"
    advice = " This is advice: in mode Advisory nothing is changed." if mode == "Advisory" else ""
    return [f"{scaling['message']}.{advice}", f"Now: {there}."]


def _bounds(fleet: Object, now: datetime) -> list[str]:
    try:
        spec = parse_spec(fleet.get("spec")).scaling
    except SpecError:
        return []
    low, high = bounds_at(spec, now)
    window = open_window(spec.schedule, now)
    why = f", by the window {window.start}–{window.end} UTC" if window else ""
    return [f"Allowed are {low} to {high} workers{why}; a job is to wait for {spec.target_wait} at the most."]


def _limits(scaling: Object, status: Object) -> list[str]:
    sentences = [f"A new worker is warm after {scaling['coldStartSeconds']} s in nine of ten cases."]
    active = next((c for c in status.get("conditions", []) if c["type"] == "FallbackActive"), None)
    if active is not None and active["status"] == "True":
        sentences.append(active["message"])
    return sentences


def _step(step: Object) -> tuple[str, str, str]:
    return step["at"], f"{step['before']} → {step['desired']}", step["message"]
