"""One JSON object a line on stderr, for ELK and Loki. Prompts and secrets never reach it.

Structured fields are passed as `extra={"job": …}`; text that a user typed is no field. As a second line of defence the
formatter masks what looks like a credential.
"""

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Final

_ENCODER: Final = json.JSONEncoder(default=str, ensure_ascii=False)
_STANDARD: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_CREDENTIAL: Final = re.compile(
    r"(?P<userinfo>(?<=://)[^/@\s]*:[^/@\s]+(?=@))"  # user:password in a URL
    r"|(?P<key>vf_[A-Za-z0-9]+_[A-Za-z0-9_-]{16,})"  # an API key of ours
    r"|(?P<query>(?<=[?&])(?:X-Amz-[A-Za-z-]+|sig|token)=[^&\s\"]+)"  # a presigned query
    r"|(?P<bearer>(?i:(?<=bearer ))\S+)"
)
_SIGNS: Final = ("://", "vf_", "?", "&", "bearer ")  # each match holds or follows one of them, in some case


def redact(text: str) -> str:
    """The text with anything that looks like a credential replaced by `***`."""
    lowered = text.lower()  # nearly every line is clean, and seeing that is far quicker than the search
    if not any(sign in lowered for sign in _SIGNS):
        return text
    return _CREDENTIAL.sub("***", text)


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, redacted."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {key: value for key, value in record.__dict__.items() if key not in _STANDARD}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return redact(_ENCODER.encode(line))


def configure(level: str = "INFO") -> None:
    """Sends every log line of this process to stderr as JSON."""
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False  # nobody shows them
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
