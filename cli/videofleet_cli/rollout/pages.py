"""A rollout and a fleet's revisions for people."""

from datetime import UTC, datetime
from typing import Any, Final

from rich.text import Text

from videofleet_cli import screen
from videofleet_cli.kube import Object
from videofleet_cli.rollout.asking import rollout_of

_STYLES: Final = {"Settled": "green", "Rejected": "red", "Undone": "yellow", "Paused": "yellow"}


def show_rollout(fleet: Object) -> None:
    """Where it stands, what the evidence says, what was rejected and asked."""
    metadata, rollout = fleet["metadata"], rollout_of(fleet)
    screen.out.print(Text(f"{metadata['namespace']}/{metadata['name']}", style="bold"))
    if not rollout:
        screen.out.print("  The operator has not looked at it yet; is it running, and does it serve this namespace?")
        return
    phase, paused = rollout["phase"], rollout.get("paused")
    where = f", step {rollout['step']}" if rollout.get("step") else ""
    rows: list[tuple[str | Text, ...]] = [("phase", Text(f"{phase}{where}", style=_STYLES.get(phase, "cyan")))]
    if paused:
        rows.append(("paused", paused))
    rows.append(("stable", rollout.get("stableRevision", "none yet")))
    if standby := _standby(fleet):
        rows.append(("standby", standby))
    if canary := rollout.get("canaryRevision"):
        rows.append(
            ("canary", f"{canary}, {rollout.get('weight', '0%')} of the jobs, {rollout.get('samples', 0)} judged")
        )
    rows += [(label, rollout[key]) for label, key in (("verdict", "verdict"), ("eta", "eta")) if rollout.get(key)]
    if last := rollout.get("lastCommand"):
        rows.append(("command", f"{last['text']}: {last['outcome']}"))
    screen.print_columns(rows, indent=2)
    _show_metrics(rollout.get("evidence", {}).get("metrics", []))
    for one in rollout.get("rejected", []):
        words = f"  {'rejected' if one['stands'] else 'was rejected'} {one['revision']}: {one['message']}"
        screen.out.print(Text(words))


def _show_metrics(metrics: list[Any]) -> None:
    if not metrics:
        return
    rows: list[tuple[str | Text, ...]] = [("METRIC", "CANARY BAD", "STABLE BAD")]
    for one in metrics:
        canary, stable = f"{one['canaryBad']}/{one['canary']}", f"{one['stableBad']}/{one['stable']}"
        rows.append((one["name"], canary, stable))
    screen.print_columns(rows, indent=2)


def history_rows(fleet: Object, revisions: list[Object]) -> list[Object]:
    """Each kept revision with its part, the latest first."""
    return [_history_row(fleet, one) for one in reversed(revisions)]


def _history_row(fleet: Object, record: Object) -> Object:
    revision, data = record["data"]["worker"]["revision"], record["data"]
    return {
        "number": record["revision"],
        "revision": revision,
        "part": _part(fleet, revision),
        "created": record["metadata"]["creationTimestamp"],
        "source": data["source"],
        "image": data["image"],
        "dtype": data["worker"]["dtype"],
    }


def _standby(fleet: Object) -> str | None:
    """The revision that takes over by itself; None without `spec.rollout.standby`."""
    is_on = fleet["spec"].get("rollout", {}).get("standby") is not None
    return rollout_of(fleet).get("standbyRevision") if is_on else None


def _part(fleet: Object, revision: str) -> str:
    rollout = rollout_of(fleet)
    if revision == rollout.get("stableRevision"):
        return "stable"
    if revision == rollout.get("canaryRevision"):
        return "canary"
    if revision == _standby(fleet):
        return "standby"
    rejected = next((one for one in rollout.get("rejected", []) if one["revision"] == revision), None)
    return "rejected" if rejected else "kept"


def show_history(rows: list[Object]) -> None:
    """One line a revision."""
    table: list[tuple[str | Text, ...]] = [("NUMBER", "REVISION", "PART", "AGE", "SOURCE", "IMAGE")]
    for row in rows:
        age = screen.ago((datetime.now(UTC) - datetime.fromisoformat(row["created"])).total_seconds())
        table.append((str(row["number"]), row["revision"], row["part"], age, row["source"], row["image"]))
    screen.print_columns(table)
