"""What people see: results on stdout, progress and complaints on stderr. Bars only where there is a terminal."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

out: Final = Console(highlight=False, soft_wrap=True)
err: Final = Console(stderr=True, highlight=False, soft_wrap=True)

Report = Callable[[str, int], None]  # (what is going on, percent)


def print_json(value: Any) -> None:
    """The value for programs: nothing else goes to stdout."""
    out.out(json.dumps(value, indent=2, ensure_ascii=False))


def complain(message: str) -> None:
    """An error, to stderr, as it is: no markup is read out of it."""
    err.print("error:", style="bold red", end=" ")
    err.print(message, markup=False)


@contextmanager
def progress(console: Console, title: str) -> Iterator[Report]:
    """A live bar; on anything but a terminal a line whenever the words change."""
    if not console.is_terminal:
        yield _lines(console, title)
        return
    columns = (
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("[dim]{task.fields[detail]}"),
    )
    with Progress(*columns, console=console, transient=True) as bars:
        task = bars.add_task(title, total=100, detail="")
        yield lambda detail, percent: bars.update(task, detail=detail, completed=percent)


def _lines(console: Console, title: str) -> Report:
    last = ""

    def report(detail: str, percent: int) -> None:
        nonlocal last
        if detail != last:
            last = detail
            console.print(f"{title}: {detail} ({percent} %)", markup=False)

    return report


def print_columns(rows: Sequence[Sequence[str | Text]], indent: int = 0) -> None:
    """Aligned columns as kubectl prints them: whole words whatever the width, so that an id can be copied or cut."""
    cells = [[cell if isinstance(cell, Text) else Text(cell) for cell in row] for row in rows]
    widths = [max(cell.cell_len for cell in column) for column in zip(*cells, strict=True)]
    for row in cells:
        line = Text(" " * indent)
        for cell, width in zip(row, widths, strict=True):
            line.append_text(cell).append(" " * (width - cell.cell_len + 3))
        line.rstrip()
        out.print(line)


def ago(seconds: float) -> str:
    """A duration as kubectl says it: 5s, 3m, 2h, 4d."""
    age = timedelta(seconds=max(0, int(seconds)))
    if age.days:
        return f"{age.days}d"
    for unit, size_s in (("h", 3600), ("m", 60)):
        if age.seconds >= size_s:
            return f"{age.seconds // size_s}{unit}"
    return f"{age.seconds}s"
