"""How an unexpected exception is logged: its type and the places it passed, never its text.

Texts of exceptions quote what was being handled (a prompt, a header), so none of them may reach a log.
"""

import logging
import traceback
from pathlib import Path
from typing import Any


def describe(error: BaseException) -> dict[str, Any]:
    """Log fields: `error` and `where`, outermost call first."""
    frames = traceback.extract_tb(error.__traceback__)
    where = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
    return {"error": type(error).__name__, "where": where[-12:]}


class TextlessErrors(logging.Filter):
    """For libraries that log exceptions as they are: aiohttp quotes the bytes of a malformed header."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Keeps the record, without the exception's text."""
        if record.exc_info and record.exc_info[1] is not None:
            record.__dict__.update(describe(record.exc_info[1]))
        record.exc_info = None
        record.exc_text = None
        return True
