"""The report of a run: a table for the terminal, JSON for programs, and one HTML page with plots."""

from collections.abc import Sequence
from html import escape
from typing import Any, Final

from videofleet_cli.simulator.lineup import Row
from videofleet_cli.simulator.plots import Bar, Series, bars, frontier

COLUMNS: Final = (
    "",
    "wait p50",
    "p95",
    "p99",
    "in target",
    "quality",
    "degraded",
    "moves/5min",
    "killed",
    "rollout",
    "GPU-hours",
)
_STYLE: Final = """body{font:15px/1.5 system-ui,sans-serif;max-width:1080px;
margin:2rem auto;padding:0 1rem;color:#0f172a}h1{font-size:22px}p{max-width:75ch;color:#334155}
table{border-collapse:collapse;font-size:13px}td,th{padding:3px 8px;border-bottom:1px solid #e2e8f0;text-align:right}
td{white-space:nowrap}td:first-child,th:first-child{text-align:left}tr.first td{border-top:2px solid #94a3b8}
tr.ours{background:#eff6ff}svg{max-width:100%;height:auto;margin:1rem 0}"""
_WORDS: Final = {
    "frontier.svg": "Each dot is one run of the whole load, each line one autoscaler from its thriftiest setting to"
    " its most generous one. Both axes are logarithmic; runs whose wait is far above all others are only in the table.",
    "waits.svg": "From submission to the first attempt; of each autoscaler its middle setting.",
    "quality.svg": "Mean share of the work asked for that was done, and share of the jobs that got a lower tier.",
}
_TABLE: Final = (
    "In target: jobs that waited for no longer than the target. Moves: changes of the fallback for each five minutes"
    " that it was on. Killed: jobs that lost an attempt because their pod was taken away. Rollout: until a new revision"
    " had all workers. GPU-hours count every pod from its first second to its last. Nobody with as many workers waits"
    " less or pays less than the clairvoyant bound."
)


def cells(row: Row) -> tuple[str, ...]:
    """A row of the table."""
    seen = row.figures
    return (
        seen.name,
        f"{seen.wait_p50_s:.0f} s",
        f"{seen.wait_p95_s:.0f} s",
        f"{seen.wait_p99_s:.0f} s",
        f"{seen.within_target:.1%}",
        f"{seen.quality:.3f}",
        f"{seen.degraded:.1%}",
        f"{seen.moves_per_5_min:.2f}",
        str(seen.killed),
        f"{seen.rollout_s / 60:.0f} min" if seen.rollouts else "–",
        f"{seen.gpu_hours:.1f}",
    )


def as_json(title: str, rows: Sequence[Row]) -> dict[str, Any]:
    """For programs."""
    return {"title": title, "rows": [{"family": row.family, **row.figures.as_json()} for row in rows]}


def plots(rows: Sequence[Row]) -> dict[str, str]:
    """File name → SVG."""
    families = list(dict.fromkeys(row.family for row in rows))
    points = [
        Series(name, [(r.figures.gpu_hours, r.figures.wait_p95_s) for r in rows if r.family == name])
        for name in families
    ]
    shown = _one_of_each(rows)
    waits = [Bar(row.family, (row.figures.wait_p50_s, row.figures.wait_p95_s, row.figures.wait_p99_s)) for row in shown]
    quality = [Bar(row.family, (row.figures.quality, row.figures.degraded)) for row in shown]
    return {
        "frontier.svg": frontier("Wait against cost: lower left is better", "GPU-hours", "p95 wait, s", points),
        "waits.svg": bars("Waits, s", "seconds", ("p50", "p95", "p99"), waits, is_log=True),
        "quality.svg": bars("Quality", "share", ("mean quality", "degraded jobs"), quality),
    }


def html(title: str, rows: Sequence[Row]) -> str:
    """One page, complete in itself."""
    head = "".join(f"<th>{escape(name)}</th>" for name in COLUMNS)
    before = [None, *(row.family for row in rows)]
    body = "".join(_line(row, is_first=row.family != family) for row, family in zip(rows, before, strict=False))
    pictures = "".join(f"{picture}<p>{_WORDS[name]}</p>" for name, picture in plots(rows).items())
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(title)}</title><style>{_STYLE}</style>"
        f"<h1>{escape(title)}</h1>{pictures}<table><tr>{head}</tr>{body}</table><p>{_TABLE}</p>"
    )


def _line(row: Row, *, is_first: bool) -> str:
    classes = " ".join(["first"] * is_first + ["ours"] * row.family.startswith("VideoFleet"))
    return f'<tr class="{classes}">' + "".join(f"<td>{escape(cell)}</td>" for cell in cells(row)) + "</tr>"


def _one_of_each(rows: Sequence[Row]) -> list[Row]:
    """The middle one of each family."""
    found = []
    for family in dict.fromkeys(row.family for row in rows):
        members = [row for row in rows if row.family == family]
        found.append(members[len(members) // 2])
    return found
