"""The demo's steps on screen: what is going on, live; how long it took; which step it was that failed."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape

from videofleet_cli.demo.watching import Say
from videofleet_cli.exits import CommandError, Exit
from videofleet_cli.screen import Report, progress


class Steps:
    """Numbers and times the steps on a console; plain lines where it is no terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began_s = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the first step began."""
        return time.monotonic() - self._began_s

    @contextmanager
    def step(self, title: str) -> Iterator[Say]:
        """One step; yields what takes the words for its state. Raises: CommandError that names the step."""
        with self._timed(title):
            if not self._console.is_terminal:
                self._console.print(f"… {title}", markup=False)
                yield self._lines()
                return
            with self._console.status(escape(title)) as status:
                yield lambda words: status.update(f"{escape(title)}\n  [dim]{escape(words)}")

    @contextmanager
    def bar(self, title: str) -> Iterator[Report]:
        """One step that knows how far it is."""
        with self._timed(title), progress(self._console, title) as report:
            yield report

    @contextmanager
    def _timed(self, title: str) -> Iterator[None]:
        began_s = time.monotonic()
        try:
            yield
        except CommandError as error:
            self._console.print(f"[red]✗[/] {escape(title)}")
            raise CommandError(f"{title}: {error}", Exit.FAILED) from error
        self._console.print(f"[green]✓[/] {escape(title)} [dim]({time.monotonic() - began_s:.1f} s)")

    def _lines(self) -> Say:
        last = ""

        def say(words: str) -> None:
            nonlocal last
            if words != last:
                last = words
                self._console.print(f"    {words}", markup=False)

        return say
