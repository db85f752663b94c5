"""The report of a run: a table for the terminal, JSON for programs, and one HTML page with plots."""

from collections.abc import Sequence
from html import escape
from typing import Any, Final

from videofleet_cli.simulator.lineup import Row
from videofleet_cli.simulator.plots import Bar, Series, bars, frontier

COLUMNS: Final = ("", "wait p50", "p95", "p99", "in target", "quality", "degraded", "moves/5min", "killed", "GPU-hours")
_STYLE: Final = """body{font:15px/1.5 system-ui,sans-serif;max-width:900px;
margin:2rem auto;padding:0 1rem;color:#0f172a}
table{border-collapse:collapse;font-size:13px}td,th{padding:3px 8px;border-bottom:1px solid #e2e8f0;text-align:right}
td:first-child,th:first-child{text-align:left}svg{max-width:100%;height:auto;margin:1rem 0}"""


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
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells(row)) + "</tr>" for row in rows)
    pictures = "".join(plots(rows).values())
    return (
        f"<!doctype html><meta charset=utf-8><title>{escape(title)}</title><style>{_STYLE}</style>"
        f"<h1>{escape(title)}</h1>{pictures}<table><tr>{head}</tr>{body}</table>"
    )


def _one_of_each(rows: Sequence[Row]) -> list[Row]:
    """The middle one of each family."""
    found = []
    for family in dict.fromkeys(row.family for row in rows):
        members = [row for row in rows if row.family == family]
        found.append(members[len(members) // 2])
    return found
