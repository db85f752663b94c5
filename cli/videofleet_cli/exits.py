"""How a command ends: one table of exit codes, and the error that carries one.

0 done · 1 the job failed, or a step of the demo did · 2 wrong usage, refused, or not there · 3 unreachable or busy: try
again later · 4 not allowed · 5 --timeout passed, the job goes on · 130 Ctrl-C
"""

from enum import IntEnum


class Exit(IntEnum):
    """The exit codes; the texts stand in `videofleet --help`."""

    OK = 0
    FAILED = 1
    REFUSED = 2
    UNREACHABLE = 3
    UNAUTHORIZED = 4
    TIMED_OUT = 5
    INTERRUPTED = 130


class CommandError(Exception):
    """A command cannot go on; the message says what is wrong and what to do."""

    def __init__(self, message: str, exit_code: Exit) -> None:
        super().__init__(message)
        self.exit_code = exit_code
