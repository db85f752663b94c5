"""`videofleet top`: every fleet's workers, queue, tier and rollout in one table, live on a terminal."""

import asyncio
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.live import Live
from rich.table import Table

from videofleet_cli import screen
from videofleet_cli.kube import Object, connected
from videofleet_cli.options import AsJson, Kubeconfig, Namespace

COLUMNS: Final = ("FLEET", "READY", "WORKERS", "DESIRED", "WAITING", "RUNNING", "WAIT", "TIER", "LOWERED", "ROLLOUT")


def top(
    namespace: Namespace = None,
    everywhere: Annotated[bool, typer.Option("--all-namespaces", "-A", help="Fleets of all namespaces.")] = False,
    once: Annotated[bool, typer.Option("--once", help="One table, then stop; always so without a terminal.")] = False,
    every: Annotated[float, typer.Option(min=0.5, metavar="SECONDS", help="Between two looks.")] = 2.0,
    as_json: AsJson = False,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Show all fleets at work, again and again until Ctrl-C."""
    asyncio.run(_run(kubeconfig, namespace, everywhere, once or as_json or not screen.out.is_terminal, every, as_json))


async def _run(
    kubeconfig: Path | None, namespace: str | None, everywhere: bool, once: bool, every_s: float, as_json: bool
) -> None:
    async with connected(kubeconfig) as cluster:

        async def rows() -> list[dict[str, Any]]:
            fleets = await cluster.video_generators(None if everywhere else namespace or cluster.namespace)
            return [row(fleet) for fleet in sorted(fleets, key=_full_name)]

        if as_json:
            screen.print_json(await rows())
        elif once:
            found = await rows()
            screen.print_columns([COLUMNS, *(tuple(map(str, one.values())) for one in found)])
        else:
            with Live(console=screen.out, screen=True) as live:
                while True:
                    live.update(_table(await rows()), refresh=True)
                    await asyncio.sleep(every_s)


def row(fleet: Object) -> dict[str, Any]:
    """One fleet; what the operator has not told yet is `–`."""
    status = fleet.get("status", {})
    ready: Object = next((c for c in status.get("conditions", []) if c["type"] == "Ready"), {})
    queue, scaling, fallback = (status.get(key) or {} for key in ("queue", "scaling", "fallback"))
    rollout = status.get("rollout") or {}
    return {
        "fleet": _full_name(fleet),
        "ready": ready.get("reason", "–"),
        "workers": f"{status.get('readyReplicas', 0)}/{status.get('replicas', 0)}",
        "desired": scaling.get("desired", "–"),
        "waiting": queue.get("waiting", "–"),
        "running": queue.get("running", "–"),
        "wait": queue.get("wait", "–"),
        "tier": fallback.get("tier", "–"),
        "lowered": fallback.get("share", "–"),
        "rollout": f"{rollout.get('phase', '–')} {rollout.get('weight') or ''}".strip(),
    }


def _full_name(fleet: Object) -> str:
    return f"{fleet['metadata']['namespace']}/{fleet['metadata']['name']}"


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in COLUMNS:
        table.add_column(name, no_wrap=True)
    for one in rows:
        table.add_row(*map(str, one.values()))
    return table
