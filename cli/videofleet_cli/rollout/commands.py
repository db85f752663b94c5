"""The commands. What is asked of a rollout is bound to the revision that the fleet shows at that moment."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import typer

from videofleet_cli import screen
from videofleet_cli.exits import CommandError, Exit
from videofleet_cli.kube import Object, connected
from videofleet_cli.options import AsJson, Kubeconfig, Namespace, Timeout
from videofleet_cli.rollout import pages
from videofleet_cli.rollout.asking import ask, fleet_named, looks, revisions, rollout_of
from videofleet_cli.rollout.report import report_of, show_report

app: Final = typer.Typer(help="Watch and steer how a new revision takes over.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The VideoGenerator.")]
_ENDED: Final = ("Settled", "Rejected", "Undone")


@app.command()
def status(
    name: Name,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Until it has ended; a page whenever it changes.")
    ] = False,
    timeout: Timeout = None,
    namespace: Namespace = None,
    as_json: AsJson = False,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Step, weight, verdict and ETA. Exit code 1 when the revision of the spec was rejected."""
    rollout = asyncio.run(_watched(kubeconfig, namespace, name, watch=watch, timeout_s=timeout, as_json=as_json))
    if rollout.get("phase") == "Rejected":
        raise typer.Exit(Exit.FAILED)


@app.command()
def history(name: Name, namespace: Namespace = None, as_json: AsJson = False, kubeconfig: Kubeconfig = None) -> None:
    """The kept revisions, the latest first; `undo` goes back to any."""
    rows = asyncio.run(_history(kubeconfig, namespace, name))
    if as_json:
        screen.print_json(rows)
    else:
        pages.show_history(rows)


@app.command()
def report(name: Name, namespace: Namespace = None, as_json: AsJson = False, kubeconfig: Kubeconfig = None) -> None:
    """The A/B report: what both tracks did while the latest canary was on trial, users' ratings included."""
    fleet = asyncio.run(_fleet(kubeconfig, namespace, name))
    if as_json:
        screen.print_json(report_of(fleet))
    else:
        show_report(fleet)


@app.command()
def promote(name: Name, namespace: Namespace = None, as_json: AsJson = False, kubeconfig: Kubeconfig = None) -> None:
    """Enough evidence: the canary takes over as its workers are warm."""
    _ask(kubeconfig, namespace, name, "promote", _canary, as_json=as_json)


@app.command()
def abort(name: Name, namespace: Namespace = None, as_json: AsJson = False, kubeconfig: Kubeconfig = None) -> None:
    """No more jobs to the canary; its revision stays rejected until `retry` or another spec."""
    _ask(kubeconfig, namespace, name, "abort", _canary, as_json=as_json)


@app.command()
def pause(name: Name, namespace: Namespace = None, as_json: AsJson = False, kubeconfig: Kubeconfig = None) -> None:
    """The canary keeps its weight until `resume`."""
    _ask(kubeconfig, namespace, name, "pause", _canary, as_json=as_json)


@app.command()
def resume(name: Name, namespace: Namespace = None, as_json: AsJson = False, kubeconfig: Kubeconfig = None) -> None:
    """Go on: after `pause`, through a gate, or with all the step's time again."""
    _ask(kubeconfig, namespace, name, "resume", _canary, as_json=as_json)


@app.command()
def retry(name: Name, namespace: Namespace = None, as_json: AsJson = False, kubeconfig: Kubeconfig = None) -> None:
    """Try the rejected revision of the spec again, from the first step."""
    _ask(kubeconfig, namespace, name, "retry", _rejected, as_json=as_json)


@app.command()
def undo(
    name: Name,
    revision: Annotated[str | None, typer.Argument(help="A kept one of `history`; the one before if unset.")] = None,
    namespace: Namespace = None,
    as_json: AsJson = False,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Go back to a kept revision; it holds until the spec names another one."""
    revision = revision or asyncio.run(_one_before(kubeconfig, namespace, name))
    _ask(kubeconfig, namespace, name, "undo", lambda _: revision, as_json=as_json)


def _ask(
    kubeconfig: Path | None,
    namespace: str | None,
    name: str,
    verb: str,
    revision_of: Callable[[Object], str | None],
    *,
    as_json: bool,
) -> None:
    outcome = asyncio.run(_asked(kubeconfig, namespace, name, verb, revision_of))
    if outcome.startswith("Ignored"):
        raise CommandError(outcome, Exit.REFUSED)
    if as_json:
        screen.print_json({"outcome": outcome})
    else:
        screen.out.print(outcome, markup=False)


async def _asked(
    kubeconfig: Path | None, namespace: str | None, name: str, verb: str, revision_of: Callable[[Object], str | None]
) -> str:
    async with connected(kubeconfig) as cluster:
        where = namespace or cluster.namespace
        revision = revision_of(rollout_of(await fleet_named(cluster, where, name)))
        if revision is None:
            missing = "rejected revision" if verb == "retry" else "canary"
            raise CommandError(f"{name} has no {missing}; see `videofleet rollout status {name}`", Exit.REFUSED)
        return await ask(cluster, where, name, f"{verb}:{revision}")


def _canary(rollout: Object) -> str | None:
    revision: str | None = rollout.get("canaryRevision")
    return revision


def _rejected(rollout: Object) -> str | None:
    return next((str(one["revision"]) for one in rollout.get("rejected", []) if one["stands"]), None)


async def _one_before(kubeconfig: Path | None, namespace: str | None, name: str) -> str:
    """The latest kept revision that is neither serving nor on trial nor rejected. Raises: CommandError."""
    rows = await _history(kubeconfig, namespace, name)
    if before := next((str(row["revision"]) for row in rows if row["part"] in ("standby", "kept")), None):
        return before
    raise CommandError(f"{name} keeps no other revision to go back to", Exit.REFUSED)


async def _history(kubeconfig: Path | None, namespace: str | None, name: str) -> list[Object]:
    async with connected(kubeconfig) as cluster:
        where = namespace or cluster.namespace
        fleet = await fleet_named(cluster, where, name)
        return pages.history_rows(fleet, await revisions(cluster, where, name))


async def _fleet(kubeconfig: Path | None, namespace: str | None, name: str) -> Object:
    async with connected(kubeconfig) as cluster:
        return await fleet_named(cluster, namespace or cluster.namespace, name)


async def _watched(
    kubeconfig: Path | None, namespace: str | None, name: str, *, watch: bool, timeout_s: float | None, as_json: bool
) -> Object:
    shown: Object | None = None
    deadline = time.monotonic() + (timeout_s or float("inf"))
    async with connected(kubeconfig) as cluster:
        async for fleet in looks(cluster, namespace or cluster.namespace, name):
            rollout = rollout_of(fleet)
            if rollout != shown:
                shown = rollout
                screen.print_json(rollout) if as_json else pages.show_rollout(fleet)
            if not watch or rollout.get("phase") in _ENDED:
                return rollout
            if time.monotonic() > deadline:
                raise CommandError("--timeout passed; the rollout goes on", Exit.TIMED_OUT)
    raise AssertionError("looks never ends")
