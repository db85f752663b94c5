"""The A/B report of a trial: both tracks over the same time, each share with its 95 % interval."""

from math import sqrt
from typing import Any, Final

from rich.text import Text

from videofleet_cli import screen
from videofleet_cli.exits import CommandError, Exit
from videofleet_cli.kube import Object
from videofleet_cli.rollout.asking import rollout_of

_Z: Final = 1.959964  # 95 % of a normal distribution lie within so many standard deviations
_TRACKS: Final = ("canary", "stable")


def report_of(fleet: Object) -> dict[str, Any]:
    """The report of the latest trial, as `--json` prints it. Raises: CommandError."""
    told = rollout_of(fleet).get("comparison")
    if told is None:
        name = fleet["metadata"]["name"]
        raise CommandError(f"{name} has had no canary with jobs yet; there is nothing to compare", Exit.REFUSED)
    tracks = {track: _track(told[f"{track}Revision"], told[track]) for track in _TRACKS}
    return {"since": told["since"], "until": told["until"], "tracks": tracks}


def interval(part: int, whole: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share: interval(0, 0) is (0, 1), interval(1, 20) about (0.009, 0.236)."""
    if whole == 0:
        return 0.0, 1.0
    share, square = part / whole, _Z**2 / whole
    middle = (share + square / 2) / (1 + square)
    reach = _Z * sqrt(share * (1 - share) / whole + square / whole / 4) / (1 + square)
    return max(0.0, middle - reach), min(1.0, middle + reach)


def show_report(fleet: Object) -> None:
    """One column a track. Raises: CommandError."""
    report = report_of(fleet)
    metadata = fleet["metadata"]
    screen.out.print(Text(f"{metadata['namespace']}/{metadata['name']}", style="bold"))
    screen.out.print(Text(f"  {report['since']} to {report['until']}"))
    columns = [report["tracks"][track] for track in _TRACKS]
    rows: list[tuple[str | Text, ...]] = [
        ("", *(f"{track.upper()} {report['tracks'][track]['revision']}" for track in _TRACKS))
    ]
    rows.append(("attempts", *(str(each["attempts"]) for each in columns)))
    for label, key in (("errors", "errors"), ("refused by the gate", "rejected"), ("thumbs up", "thumbsUp")):
        rows.append((label, *(_share(each[key]) for each in columns)))
    for label, key in (("seconds per step", "secondsPerStep"), ("wait, seconds", "waitSeconds")):
        rows.append((label, *("–" if each[key] is None else f"{each[key]:.3g}" for each in columns)))
    screen.print_columns(rows, indent=2)


def _track(revision: str, told: dict[str, int]) -> dict[str, Any]:
    return {
        "revision": revision,
        "attempts": told["attempts"],
        "errors": _counted(told["failures"], told["attempts"]),
        "rejected": _counted(told["rejected"], told["attempts"]),
        "secondsPerStep": _mean(told["stepMs"], told["timed"]),
        "waitSeconds": _mean(told["waitMs"], told["waited"]),
        "thumbsUp": _counted(told["liked"], told["liked"] + told["disliked"]),
    }


def _counted(part: int, whole: int) -> dict[str, Any]:
    low, high = interval(min(part, whole), whole)
    return {"count": part, "of": whole, "low": round(low, 4), "high": round(high, 4)}


def _mean(sum_ms: int, count: int) -> float | None:
    return sum_ms / count / 1000 if count else None


def _share(counted: dict[str, Any]) -> str:
    """`2 of 40: 5% (1.4% to 16.5%)`."""
    if not counted["of"]:
        return "–"
    share = f"{100 * counted['count'] / counted['of']:.3g}%"
    return (
        f"{counted['count']} of {counted['of']}: {share} ({100 * counted['low']:.3g}% to {100 * counted['high']:.3g}%)"
    )
